"""Clean up after what ended (T3), and send reminders. Each task can run twice and be killed anywhere; a sweep finds what is left."""

from celery import shared_task

from portal.accounts.models import Account, Membership

from .actions import ending, failing, reminding, succeeding, trying
from .actions.ending import access_to_revoke, mark_erased
from .actions.path import queue_revoke_tokens
from .models import Access

SWEEP_BATCH = 500


@shared_task
def revoke_tokens(access_id: str) -> None:
    """Stamp and count the tokens that an ended access or consent left behind."""
    access = Access.objects.filter(pk=access_id).first()
    if access:
        ending.revoke_tokens(access)


@shared_task
def expire() -> None:
    """Stamp the consents that have expired."""
    ending.expire_consents()


@shared_task
def erase() -> None:
    """Erase what was tried an hour ago, codes and access tokens a day after their end, and failures after 30 days.

    It stops where none is left, or somebody has one locked; the next run goes on.
    """
    # Erased tokens can no longer be counted.
    for access in access_to_revoke().order_by("pk"):
        ending.revoke_tokens(access)
    while trying.erase_trials():
        pass
    for size in ending.batches():
        if not ending.erase_batch(size) and not failing.erase_failures():
            break
    while mark_erased():
        pass


@shared_task
def sweep() -> None:
    """Find in the database what is left to do, whatever became of the messages."""
    for access in access_to_revoke()[:SWEEP_BATCH]:
        queue_revoke_tokens(access)


@shared_task
def tell_of_ends(account_id: int, membership_id: str | None = None) -> None:
    """Mail those who can agree again: an account's admins, or the agent of `membership_id`."""
    account = Account.objects.get(pk=account_id)
    reminding.tell_of_ends(account, Membership.objects.get(pk=membership_id) if membership_id else None)


@shared_task
def sweep_ends() -> None:
    """Find whom to remind of consents that end soon, the nearest end first."""
    for account_id, membership_id in reminding.whom_to_tell()[:SWEEP_BATCH]:
        tell_of_ends.delay(account_id, membership_id and str(membership_id))


@shared_task
def ask_for_successor(account_id: int) -> None:
    succeeding.ask_for_successor(Account.objects.get(pk=account_id))


@shared_task
def sweep_successors() -> None:
    """Find the accounts whose admins have yet to be told that the person who agreed has left."""
    succeeding.forget_who_came_back()
    for pk in succeeding.whom_to_ask().values_list("pk", flat=True)[:SWEEP_BATCH]:
        ask_for_successor.delay(pk)
