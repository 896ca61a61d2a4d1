"""The addresses at which people manage an access and connect its app."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from django.urls import reverse

from credentials.models import Client
from portal.accounts.models import User

from .models import Access


class AppAddresses(NamedTuple):
    """Where an installed app has its icon, and the host that its own setup sends people to; "" if it has none."""

    icon_url: str = ""
    setup_host: str = ""


class Installer(Protocol):
    def __call__(self, client: Client, *, by: User) -> None:
        """Install a client's app on its team's test account. Raises Refused."""


@dataclass
class _Installations:
    """The URL names of an installation's pages, the addresses of its app, and an act, which marketplace, above, has."""

    view: str
    connect: str
    addresses: Callable[[Access], AppAddresses]
    install: Installer


_installation: _Installations


def register_installations(
    *, view: str, connect: str, addresses: Callable[[Access], AppAddresses], install: Installer
) -> None:
    global _installation
    _installation = _Installations(view, connect, addresses, install)


def access_url(access: Access) -> str:
    """Return the page on which a person manages an access: its installation's, or for an external app the access's own."""
    if access.installation_id:
        return reverse(_installation.view, args=[access.installation_id])
    return reverse("authorization-view", args=[access.pk])


def connect_url(access: Access) -> str:
    """Return the page that sends a person on to connect an installed app."""
    return reverse(_installation.connect, args=[access.installation_id])


def install_to_try(client: Client, *, by: User) -> None:
    """Install a client's app on its team's test account. Raises Refused."""
    _installation.install(client, by=by)


def app_addresses(access: Access | None) -> AppAddresses:
    """Return the addresses of the app that an access belongs to; an external app has none here."""
    return _installation.addresses(access) if access and access.installation_id else AppAddresses()
