"""Which accesses and consents a person may see (E1), and what they are told of there."""

from django.db.models import Q

from portal.accounts.models import Membership, Role
from portal.foundation.database import database_now

from ..coming_ends import ending_within
from ..models import Access, Consent, RefreshToken
from ..succession import without_admin
from ..validity import unended_consents


def access_seen_by(user):
    """The accesses of accounts that a person belongs to (E1)."""
    accounts = Membership.objects.live().filter(user=user).values("account")
    return Access.objects.filter(account__in=accounts).select_related("client__team", "account")


def consents_seen_by(user):
    """A person's own consents, and all of the accounts they administer (E1)."""
    administered = Membership.objects.administered_by(user)
    own = Membership.objects.live().filter(user=user)
    return Consent.objects.filter(Q(membership__in=own) | Q(access__account__in=administered)).select_related(
        "access__client__team", "access__account", "membership__user"
    )


def notices_of(access, membership):
    """What the page of an app tells a member beside what was agreed: that something ends, was misused or wants an admin."""
    is_admin = membership.role == Role.ADMIN
    return {
        "is_admin": is_admin,
        "endings": ending_within().filter(Q(membership=None) | Q(membership=membership), access=access),
        "reuse": RefreshToken.objects.filter(consent__access=access).ended_by_reuse().first() if is_admin else None,
        "leaderless": without_admin().filter(access=access) if is_admin else None,
        "may_revoke_for_all": is_admin and unended_consents().filter(access=access, membership__isnull=False).exists(),
        "now": database_now(),
    }
