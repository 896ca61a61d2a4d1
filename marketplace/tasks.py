"""Background work: talking to vendors, offering versions, erasing pictures. Each task can run twice and be killed anywhere; the sweep finds what is left (T3)."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from portal.foundation.refusals import Refused

from .actions import offering, picturing, upgrading
from .models import Connection, Installation, Offer, OfferKind, Status, Version
from .vendors import actions
from .vendors.oauth_client import VendorError

SWEEP_BATCH = 500


@shared_task
def refresh_connection(connection_id: str) -> None:
    """Refresh a connection's tokens before they expire."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection:
        try:
            actions.refresh_connection(connection)
        except (VendorError, Refused):
            # The row records it, with the time of the next try.
            return


@shared_task
def revoke_connection(connection_id: str) -> None:
    """Revoke a connection at its vendor, and erase what is left of it here."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection:
        actions.revoke_connection(connection)


@shared_task
def tell_of_broken_connection(connection_id: str) -> None:
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection:
        actions.tell_of_broken_connection(connection)


@shared_task
def sweep_connections() -> None:
    """Find in the database what is due or left to do, whatever became of the messages."""
    now = Now()
    left = {
        refresh_connection: Connection.objects.live().filter(refresh_at__lte=now, broken_at=None),
        revoke_connection: Connection.objects.over().filter(Q(revoke_at=None) | Q(revoke_at__lte=now)),
        tell_of_broken_connection: Connection.objects.live().filter(broken_at__isnull=False, told_at=None),
    }
    for task, rows in left.items():
        for pk in rows.order_by("pk").values_list("pk", flat=True)[:SWEEP_BATCH]:
            task.delay(str(pk))


@shared_task
def upgrade_itself(offer_id: int) -> None:
    """Install a version that asks for nothing new, if the account allows that."""
    offer = Offer.objects.select_related("installation__app__client", "version").filter(pk=offer_id).first()
    if offer and offer.taken_at is None and offer.version:
        upgrading.upgrade_itself(offer, offer.version)


@shared_task
def tell_of_offer(offer_id: int) -> None:
    offer = Offer.objects.filter(pk=offer_id).first()
    if offer:
        offering.tell_of_offer(offer)


@shared_task
def sweep_offers() -> None:
    """Find installations that were not offered a version yet, and offers to act on."""
    # Publishing or withdrawing does not see installations whose transaction was still open.
    lately = Now() - timedelta(days=1)
    versions = Version.objects.select_related("app__client", "app__team")
    for version in versions.filter(status=Status.PUBLISHED, published_at__gt=lately):
        offering.offer_version(version)
    told = Offer.objects.filter(installation=OuterRef("pk"), from_version=OuterRef("version"))
    left_behind = Installation.objects.filter(version__status=Status.WITHDRAWN, uninstalled_at=None).exclude(
        Exists(told)
    )
    for version in versions.filter(pk__in=left_behind.values("version")):
        offering.offer_another(version)
    left = {
        upgrade_itself: Offer.objects.pending().filter(kind=OfferKind.ITSELF),
        tell_of_offer: Offer.objects.to_tell(),
    }
    for task, rows in left.items():
        for pk in rows.order_by("pk").values_list("pk", flat=True)[:SWEEP_BATCH]:
            task.delay(pk)


@shared_task
def clear_pictures() -> None:
    """Erase the screenshots that no version has any more.

    It stops where none is left to look at, or somebody has the rest locked; the next run goes on.
    """
    while picturing.erase_pictures():
        pass
