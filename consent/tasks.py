"""Cleaning up after what ended already (T3). Each task can run twice, be killed anywhere, and is found by the sweep."""

from celery import shared_task

from . import actions
from .actions.ending import access_to_revoke, mark_erased, queue_revoke_tokens
from .models import Access

SWEEP_BATCH = 500


@shared_task
def revoke_tokens(access_id):
    """Stamp and count the tokens that an ended access or consent left behind."""
    access = Access.objects.filter(pk=access_id).first()
    if access:
        actions.revoke_tokens(access)


@shared_task
def expire():
    """Stamp the consents whose 365 days are over."""
    actions.expire_consents()


@shared_task
def erase():
    """Erase codes and access tokens a day after their end, in batches until none is left."""
    while actions.erase_batch():
        pass
    mark_erased()


@shared_task
def sweep():
    """Find what is left to do in the database, whatever became of the messages."""
    for access in access_to_revoke()[:SWEEP_BATCH]:
        queue_revoke_tokens(access)
