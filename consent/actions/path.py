"""The first and last steps of every act on an access or consent: lock its path, queue the cleanup, record it."""

from typing import Any

from portal.accounts.models import Membership, User
from portal.foundation.broker import queue_on_commit
from portal.foundation.database import lock
from portal.ledger.actions import record
from portal.ledger.models import Entry

from ..events import Event
from ..models import Access, Consent


def lock_path(consent: Consent) -> Consent:
    """Lock membership, access and consent, in this order (T11), and return the consent as it then is."""
    if consent.membership_id:
        lock(Membership, consent.membership_id)
    lock(Access, consent.access_id)
    return lock(Consent, consent.pk)


def queue_revoke_tokens(access: Access) -> None:
    """On commit, queue the stamping of what ended; without a broker the sweep finds it (T3)."""
    queue_on_commit("consent.tasks.revoke_tokens", str(access.pk))


def record_access(access: Access, event: Event, *, by: User | None, **details: Any) -> Entry:
    """Record an act on an access and return the entry; call it last, since the chain's lock comes last (T11)."""
    return record(
        access.account.chain_name,
        event,
        by=by,
        subject=f"access:{access.pk}",
        client=access.client.client_id,
        name=access.name,
        installation=str(access.installation_id) if access.installation_id else None,
        **details,
    )


def record_consent(consent: Consent, event: Event, *, by: User | None, **details: Any) -> None:
    """Record an act on a consent; call it last, since the chain's lock comes last (T11)."""
    access: Access = consent.access
    record(
        access.account.chain_name,
        event,
        by=by,
        subject=f"consent:{consent.pk}",
        access=str(access.pk),
        client=access.client.client_id,
        name=access.name,
        granted=consent.granted,
        **details,
    )
