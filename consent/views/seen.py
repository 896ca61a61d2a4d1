"""Which accesses and consents a person may see (E1), and where they manage them."""

from django.db.models import Q
from django.urls import reverse

from portal.accounts.models import Membership

from ..models import Access, Consent


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


def access_url(access):
    """Where a person manages an access: the installation's page, or for an external app the access's own."""
    if access.installation_id:
        return reverse("installation-view", args=[access.installation_id])
    return reverse("authorization-view", args=[access.pk])
