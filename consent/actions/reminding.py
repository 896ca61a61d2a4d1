"""Remind people of consents that end soon, 30, 7 and 1 days ahead; if late, once for the nearest (T5)."""

from django.db.models import F, Min, Q, QuerySet
from django.db.models.functions import Now

from portal.accounts.models import Account, Membership
from portal.foundation.mail import Mail, mail_once
from portal.foundation.models import MailKind

from ..coming_ends import TELL_AHEAD, ending_within
from ..models import Consent
from ..validity import agreement_days

# A mail lists this many; the page lists all.
LISTED = 20


def _to_tell() -> QuerySet:
    """Return the consents with no reminder since the latest day on which one was due."""
    due = Q()
    for ahead in TELL_AHEAD:
        due |= Q(expires_at__lte=Now() + ahead) & (Q(told_at=None) | Q(told_at__lt=F("expires_at") - ahead))
    return ending_within().filter(due)


def whom_to_tell() -> QuerySet:
    """Return the (account, agent's membership or None) to mail, nearest end first; each gets one mail."""
    pairs = _to_tell().values_list("access__account", "membership").annotate(first=Min("expires_at"))
    return pairs.order_by("first", "access__account", "membership").values_list("access__account", "membership")


def tell_of_ends(account: Account, membership: Membership | None) -> None:
    """Mail an agent about their own consents that end soon, or an account's admins about the account's."""

    def mail(consents: list[Consent]) -> Mail:
        members = Membership.objects.live().filter(pk=membership.pk) if membership else account.memberships.admins()
        context = {
            "account": account,
            "consents": consents[:LISTED],
            "more": len(consents[LISTED:]),
            "days": agreement_days(),
            "is_own": membership is not None,
        }
        return Mail(MailKind.ENDS, "consent/mail/ends_soon.txt", members.people(), context)

    rows = _to_tell().filter(access__account=account, membership=membership)
    mail_once(f"ends:{account.pk}:{membership and membership.pk}", rows, mail)
