"""When the person who agreed for an account leaves, the consent goes on, and another admin confirms it."""

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from portal.accounts.models import Account, User
from portal.accounts.rights import require_admin
from portal.foundation.broker import queue_on_commit
from portal.foundation.database import database_now, lock
from portal.foundation.mail import Mail, mail_once
from portal.foundation.models import MailKind
from portal.foundation.refusals import Refused
from portal.foundation.seals import check_shown
from portal.ledger.actions import actor_name

from ..events import Event
from ..models import Consent
from ..succession import is_answered_for, statement_of, without_admin
from .ending import AlreadyEnded
from .path import lock_path, record_consent

# A mail lists this many; pages show the next ones once these are done.
LISTED = 20


class NotNeeded(Refused):
    """An admin already answers for the consent, or it is not in force at the moment."""


@transaction.atomic
def confirm_consent(consent: Consent, *, by: User, shown: str) -> Consent:
    """Answer for a consent given by a former admin. Its scopes and its end stay as they are (T5).

    `shown` is the digest of what was read. Raises NotAnAdmin, AlreadyEnded, NotNeeded, ScreenIsStale.
    """
    account = lock(Account, consent.access.account_id)
    require_admin(account, by)
    consent = lock_path(consent)
    if consent.is_over(database_now()):
        raise AlreadyEnded(_("This has already ended."))
    if not without_admin().filter(pk=consent.pk).exists():
        raise NotNeeded(_("No confirmation is needed now."))
    check_shown(shown, statement_of(consent, by).digest())
    consent.confirmed_at, consent.confirmed_by, consent.successor_asked_at = database_now(), by, None
    consent.save(update_fields=["confirmed_at", "confirmed_by", "successor_asked_at"])
    record_consent(
        consent,
        Event.CONSENT_CONFIRMED,
        by=by,
        expires_at=consent.expires_at.isoformat(),
        agreed_by=actor_name(consent.granted_by),
    )
    return consent


# --- telling the admins who stay, once ---


def queue_successor(account_id: int) -> None:
    """On commit, have a worker ask an account's admins; the sweep finds it too (T3)."""
    queue_on_commit("consent.tasks.ask_for_successor", account_id)


def whom_to_ask() -> QuerySet:
    """Return the accounts whose admins have yet to be told that something needs confirming; each gets one mail."""
    accounts = without_admin().filter(successor_asked_at=None).values("access__account")
    return Account.objects.filter(pk__in=accounts).order_by("pk")


def ask_for_successor(account: Account) -> None:
    """Mail the admins of an account what one of them should confirm. If it has none, the sweep tries again."""

    def mail(consents: list[Consent]) -> Mail | None:
        if not (people := account.memberships.admins().people()):
            return None
        context = {"account": account, "consents": consents[:LISTED], "more": len(consents[LISTED:])}
        return Mail(MailKind.SUCCESSORS, "consent/mail/successor.txt", people, context)

    rows = without_admin().filter(access__account=account, successor_asked_at=None)
    mail_once(f"successor:{account.pk}", rows, mail, stamp="successor_asked_at")


def forget_who_came_back() -> int:
    """When an admin answers for a consent again, allow a new mail once that admin leaves."""
    return Consent.objects.filter(is_answered_for(), successor_asked_at__isnull=False).update(successor_asked_at=None)
