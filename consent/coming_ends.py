"""Which consents end before long, and who can agree again (T5)."""

import datetime as dt

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from portal.accounts.models import Membership, User

from .validity import live_consents

# How long before the end people are told by mail.
TELL_AHEAD = (dt.timedelta(days=30), dt.timedelta(days=7), dt.timedelta(days=1))
# From the first of these on, pages tell of it too; how far the list of what ends looks.
SOON, COMING = TELL_AHEAD[0], dt.timedelta(days=60)


def ending_within(length: dt.timedelta = SOON) -> QuerySet:
    """Return the live consents that end within `length`, the nearest end first."""
    consents = live_consents().filter(expires_at__lte=Now() + length)
    return consents.select_related("access__client", "access__account", "membership__user").order_by("expires_at", "pk")


def renewable_by(user: User) -> Q:
    """Which consents a person can renew: their own, and the accounts' that they administer."""
    own = Membership.objects.live().filter(user=user)
    return Q(membership__in=own) | Q(membership=None, access__account__in=Membership.objects.administered_by(user))
