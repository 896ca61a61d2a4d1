"""How far the cleaning up is after an act that ended much (T3), as pages and receipts tell it."""

from typing import Any, NamedTuple

from portal.ledger.exports import NotRecorded, check_recorded
from portal.ledger.models import Entry

from .events import Event
from .models import Access, Consent
from .reasons import ConsentEnd

_COUNTS = ("consents", "agents", "refresh_tokens", "access_tokens", "connections", "vendors")


class Cleanup(NamedTuple):
    """What the act of an entry ended, and whether its tokens have been counted and stamped since."""

    entry: Entry
    ends: dict[str, Any]
    is_done: bool


def what_ended(entry: Entry) -> dict[str, Any]:
    """Return what an entry, which the caller checked, says that it ended; tokens as counted later, by an entry of their own.

    Raises NotRecorded if that one was altered.
    """
    ends = {name: entry.details[name] for name in _COUNTS if name in entry.details}
    if entry.event != Event.ACCESS_ENDED or not ends.get("consents") or "access_tokens" in ends:
        return ends
    counted = Entry.objects.filter(subject=entry.subject, event=Event.TOKENS_COUNTED).first()
    if counted is None:
        return {**ends, "being_counted": True}
    check_recorded(counted)
    return {**ends, **what_ended(counted), "counted": counted.pk}


def cleanup_of(entry: Entry, ends: dict[str, Any]) -> Cleanup | None:
    """Return how far the cleaning up after an act is, which ended this; None if it left nothing to clean up."""
    if entry.event not in (Event.ACCESS_ENDED, Event.CONSENT_REVOKED_FOR_ALL) or not ends.get("consents"):
        return None
    is_left = ends.get("being_counted", False)
    if entry.event == Event.CONSENT_REVOKED_FOR_ALL:
        # That act counts by itself; what is left is to stamp.
        is_left = _unstamped(entry.subject.removeprefix("access:")).exists()
    return Cleanup(entry, ends, is_done=not is_left)


def cleanup_in(access: Access) -> Cleanup | None:
    """Return what the page of an access tells of its end, or of a *revoke for all* that is not cleaned up yet."""
    event = Event.ACCESS_ENDED
    if not access.ended_at:
        if not _unstamped(access.pk).exists():
            return None
        event = Event.CONSENT_REVOKED_FOR_ALL
    entry = Entry.objects.filter(subject=f"access:{access.pk}", event=event).first()
    if entry is None:
        return None
    try:
        check_recorded(entry)
        return cleanup_of(entry, what_ended(entry))
    except NotRecorded:
        # Its receipt says so.
        return None


def _unstamped(access: Any) -> Any:
    """Return the consents that were revoked for all agents and still have tokens to stamp."""
    return Consent.objects.filter(
        access=access, reason=ConsentEnd.REVOKED_FOR_ALL, revoked_at__isnull=False, stamped_at=None
    )
