"""Which consents end before long, or did lately, and who can agree again (T5)."""

import datetime as dt

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from portal.accounts.models import Membership, User

from .models import Consent
from .reasons import ConsentEnd
from .validity import live_consents

# How long before the end people are told by mail.
TELL_AHEAD = (dt.timedelta(days=30), dt.timedelta(days=7), dt.timedelta(days=1))
# From the first of these on, pages tell of it too; how far the list of what ends looks.
SOON, COMING = TELL_AHEAD[0], dt.timedelta(days=60)
# How long what ended without being renewed is told of.
LATELY = dt.timedelta(days=30)


def ending_within(length: dt.timedelta = SOON) -> QuerySet:
    """Return the live consents that end within `length`, the nearest end first."""
    consents = live_consents().filter(expires_at__lte=Now() + length)
    return consents.select_related("access__client", "access__account", "membership__user").order_by("expires_at", "pk")


def ended_lately() -> QuerySet:
    """Return the consents that ran out within the last 30 days and were not given again, the latest end first."""
    of_members = Q(membership=None) | Q(membership__ended_at=None, membership__user__is_active=True)
    ran_out = Q(revoked_at=None) | Q(reason=ConsentEnd.EXPIRED)
    # An access is of one level: none of an agent's has the account's beside it.
    same = Q(membership=None) | Q(membership=OuterRef("membership"))
    later = Consent.objects.filter(same, access=OuterRef("access"), granted_at__gt=OuterRef("granted_at"))
    consents = Consent.objects.filter(
        of_members,
        ran_out,
        ~Exists(later),
        expires_at__lte=Now(),
        expires_at__gt=Now() - LATELY,
        access__ended_at=None,
        access__account__suspended_at=None,
        access__client__suspended_at=None,
    )
    return consents.select_related("access__client", "access__account", "membership__user").order_by(
        "-expires_at", "pk"
    )


def is_own_of(user: User) -> Q:
    """Match the consents that a person gave for themself, where they still belong."""
    return Q(membership__in=Membership.objects.live().filter(user=user))


def is_of_account_run_by(user: User) -> Q:
    """Match the accounts' consents that a person answers for as an admin."""
    return Q(membership=None, access__account__in=Membership.objects.administered_by(user))


def renewable_by(user: User) -> Q:
    """Match the consents that a person can renew."""
    return is_own_of(user) | is_of_account_run_by(user)
