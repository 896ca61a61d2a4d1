"""Addresses of an app that pages of consent, below, show."""

from django.db.models import Q
from django.urls import reverse

from consent.models import Access
from consent.pages import AppAddresses
from credentials.redirect_uris import host_of

from .models import Version


def icon_url(version: Version, *, shows: object) -> str:
    """Return the address of a version's icon; "" unless it has one, as `shows` tells."""
    return reverse("version-icon", args=[version.app.slug, version.pk]) if shows else ""


def addresses_of(access: Access) -> AppAddresses:
    """Return the addresses of the version that is installed; nothing of its package or icon is read."""
    versions = Version.objects.filter(installations=access.installation_id).annotate(has_icon=Q(icon__isnull=False))
    for version in versions.select_related("app").only("app__slug", "install_url"):
        return AppAddresses(icon_url(version, shows=version.has_icon), host_of(version.install_url))
    return AppAddresses()
