"""Account-level consents given by people who are no longer admins there. They go on, and an admin takes them over."""

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet

from credentials.models import ClientScope
from portal.accounts.models import Membership, User
from portal.foundation.seals import seal

from .models import Consent
from .validity import live_consents


def is_answered_for(besides: Membership | None = None) -> Exists:
    """Match consents whose giver, or last confirmer, still administers the account. It is read, never copied (T2)."""
    admins = Membership.objects.admins().filter(account=OuterRef("access__account"))
    admins = admins.exclude(pk=besides.pk) if besides else admins
    return Exists(admins.filter(Q(user=OuterRef("granted_by")) | Q(user=OuterRef("confirmed_by"))))


def without_admin() -> QuerySet:
    """Return the live account-level consents that no admin answers for, oldest first."""
    consents = live_consents().filter(~is_answered_for(), membership=None)
    return consents.select_related("access__client__team", "access__account", "granted_by").order_by("granted_at", "pk")


def answered_for_by_alone(membership: Membership) -> QuerySet:
    """Return the consents that only this admin answers for: they need confirming once the person is no longer an admin."""
    consents = live_consents().filter(access__account=membership.account_id, membership=None)
    return consents.filter(is_answered_for()).exclude(is_answered_for(besides=membership))


def to_confirm(user: User) -> QuerySet:
    """Return the consents that a person can confirm: those of accounts they administer."""
    return without_admin().filter(access__account__in=Membership.objects.administered_by(user))


@dataclass
class Statement:
    """What is read before confirming: everything that the app may do here, and until when."""

    consent: Consent
    by: User
    rows: list[ClientScope]

    def digest(self) -> str:
        """Return a MAC over what was shown and to whom."""
        texts = [[row.scope.name, row.scope.sentence, row.scope.risk, row.justification] for row in self.rows]
        # Whatever changes its end raises its revision.
        consent = [str(self.consent.pk), self.consent.revision, self.consent.access.name, self.consent.access.services]
        return seal("confirmation", [str(self.by.public_id), *consent, texts])


def statement_of(consent: Consent, by: User) -> Statement:
    rows = consent.access.client.scopes.filter(scope__name__in=consent.granted).select_related("scope")
    return Statement(consent, by, list(rows.order_by("scope__name")))
