"""Talking to vendors without anybody waiting. Each task can run twice, be killed anywhere, and is found by the sweep (T3)."""

from celery import shared_task
from django.db.models import Q
from django.db.models.functions import Now

from portal.accounts.actions import Refused

from .actions import connecting
from .connections import VendorError
from .models import Connection

SWEEP_BATCH = 500


@shared_task
def refresh_connection(connection_id):
    """Ask a vendor for the next tokens, ahead of the end of those that are there."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection:
        try:
            connecting.refresh_connection(connection)
        except (VendorError, Refused):
            # Noted on the row, with the time of the next try.
            return


@shared_task
def revoke_connection(connection_id):
    """Tell a vendor that a connection is over, and erase what is left of it here."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection:
        connecting.revoke_connection(connection)


@shared_task
def tell_of_broken_connection(connection_id):
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection:
        connecting.tell_of_broken_connection(connection)


@shared_task
def sweep_connections():
    """Find what is due or left to do in the database, whatever became of the messages."""
    now = Now()
    left = {
        refresh_connection: Connection.objects.live().filter(refresh_at__lte=now, broken_at=None),
        revoke_connection: Connection.objects.over().filter(Q(revoke_at=None) | Q(revoke_at__lte=now)),
        tell_of_broken_connection: Connection.objects.live().filter(broken_at__isnull=False, told_at=None),
    }
    for task, rows in left.items():
        for pk in rows.order_by("pk").values_list("pk", flat=True)[:SWEEP_BATCH]:
            task.apply_async([str(pk)], queue="vendors")
