"""Which accesses, consents and receipts a person sees (E1), and the notices on an app's page."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat

from portal.accounts.models import Account, Membership, Role, User
from portal.accounts.seen import accounts_seen_by, memberships_of
from portal.foundation.database import database_now
from portal.ledger.models import Entry
from portal.ledger.reading import entries_seen_by

from .cleaning import cleanup_in
from .coming_ends import ending_within
from .models import Access, Consent, RefreshToken
from .succession import without_admin
from .validity import unended_consents

# The agents of one app that are counted for a page.
MOST_AGENTS = 100


def accesses_seen_by(user: User) -> QuerySet[Access]:
    """Return the accesses of accounts that a person belongs to (E1)."""
    return Access.objects.filter(account__in=accounts_seen_by(user)).select_related("client__team", "account")


def accounts_with_access(client_id: str) -> QuerySet[Account]:
    """Return the accounts that a client has access to, with what the app is called there.

    Not the test account of its team, whose admins are its developers.
    """
    accesses = Access.objects.filter(client__client_id=client_id, ended_at=None)
    accounts = Account.objects.filter(pk__in=accesses.values("account"), test_of_team=None)
    return accounts.annotate(app_name=Subquery(accesses.filter(account=OuterRef("pk")).values("app_name")[:1]))


def own_consents_seen_by(user: User) -> QuerySet[Consent]:
    """Return the consents that a person gave for themself, where they still belong (E1)."""
    return Consent.objects.filter(membership__in=memberships_of(user))


def consents_seen_by(user: User) -> QuerySet[Consent]:
    """Return a person's own consents, and all of the accounts they administer (E1)."""
    administered = Membership.objects.administered_by(user)
    return Consent.objects.filter(
        Q(membership__in=memberships_of(user)) | Q(access__account__in=administered)
    ).select_related("access__client__team", "access__account", "membership__user")


class Agents(NamedTuple):
    """How many agents authorized an app, and when one of them last got a token: None if there are too many to look."""

    number: int
    last: datetime | None

    @property
    def are_uncounted(self) -> bool:
        return self.number > MOST_AGENTS


def agents_of(accesses: Collection[Any]) -> dict[UUID, Agents]:
    """Return {access: its agents} for those of the accesses that agents authorized; beyond MOST_AGENTS none is counted."""
    agents = unended_consents().filter(access=OuterRef("pk")).exclude(membership=None).order_by()
    times = ArraySubquery(agents.values("last_issued_at")[: MOST_AGENTS + 1])
    found = Access.objects.filter(pk__in=accesses).annotate(times=times).values_list("pk", "times")
    return {
        pk: Agents(len(times), max(filter(None, times), default=None) if len(times) <= MOST_AGENTS else None)
        for pk, times in found
        if times
    }


def consents_of(accesses: Collection[Any], whose: Q) -> QuerySet[Consent]:
    """Return the unended consents of these accesses that fit `whose`, looked up access by access."""
    found = ArraySubquery(unended_consents().filter(whose, access=OuterRef("pk")).order_by().values("pk"))
    rows = Access.objects.filter(pk__in=accesses).annotate(found=found).values_list("found", flat=True)
    return Consent.objects.filter(pk__in=[pk for keys in rows for pk in keys])


def entries_about(consents: QuerySet[Consent]) -> QuerySet[Entry]:
    """Return the ledger's entries about consents, each found by the index of subjects."""
    return Entry.objects.filter(subject__in=consents.values_list(Concat(Value("consent:"), Cast("pk", CharField()))))


def receipts_seen_by(user: User) -> QuerySet[Entry]:
    """Return what a person may read of the ledger, and all that happened to their own consents, whoever did it (E1)."""
    return entries_seen_by(user) | entries_about(own_consents_seen_by(user))


def receipts_of_app(membership: Membership, access: Access | None, others: list[QuerySet[Entry]]) -> QuerySet[Entry]:
    """Return the receipts of one app in one account: all for an admin, those of their own consents for an agent.

    `others`: further entries for an admin, as unordered querysets.
    """
    consents = Consent.objects.filter(access=access)
    if membership.role != Role.ADMIN:
        return entries_about(consents.filter(membership__user=membership.user_id))
    about = [f"access:{access.pk}"] if access else []
    own = Entry.objects.filter(subject__in=about).order_by()
    return entries_about(consents).order_by().union(own, *others, all=True)


def notices_of(access: Access | None, membership: Membership) -> dict[str, Any]:
    """Return what an app's page tells a member besides what was agreed: what ends, ended, was misused or needs an admin."""
    is_admin = membership.role == Role.ADMIN
    return {
        "is_admin": is_admin,
        "endings": ending_within().filter(Q(membership=None) | Q(membership=membership), access=access),
        "reuse": RefreshToken.objects.filter(consent__access=access).ended_by_reuse().first() if is_admin else None,
        "leaderless": without_admin().filter(access=access) if is_admin else None,
        "cleanup": cleanup_in(access) if is_admin and access else None,
        "may_revoke_for_all": is_admin and unended_consents().filter(access=access, membership__isnull=False).exists(),
        "now": database_now(),
    }
