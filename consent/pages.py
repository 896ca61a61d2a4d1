"""The addresses at which people manage an access and connect its app."""

from dataclasses import dataclass

from django.urls import reverse

from .models import Access


@dataclass
class _InstallationPages:
    """The URL names of an installation's pages, which marketplace, above, has."""

    view: str = ""
    connect: str = ""


_installation = _InstallationPages()


def register_installation_pages(*, view: str, connect: str) -> None:
    _installation.view, _installation.connect = view, connect


def access_url(access: Access) -> str:
    """Return the page on which a person manages an access: its installation's, or for an external app the access's own."""
    if access.installation_id:
        return reverse(_installation.view, args=[access.installation_id])
    return reverse("authorization-view", args=[access.pk])


def connect_url(access: Access) -> str:
    """Return the page that sends a person on to connect an installed app."""
    return reverse(_installation.connect, args=[access.installation_id])
