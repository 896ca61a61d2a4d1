"""Credentials for trying the flow: the call they are made for, and the portal's own page where their codes return."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.accounts.models import Team, User
from portal.accounts.rights import require_teammate
from portal.foundation.database import lock

from .actions import TwoSecretsActive, UnknownScope, active_secrets, create_client, insert_secret, record_client
from .events import Event
from .models import Client, ClientSecret, Kind, Level, Risk, Scope

NAME = "Test credentials"
DESCRIPTION = "For trying the flow on the team’s test account."


@dataclass
class _Registered:
    """URL names in the apps above, and the scope that the call needs."""

    call: str = ""
    query: str = ""
    scope: str = ""
    # Of the page that puts back what the call shows.
    reset: str = ""
    callback: str = ""


_registered = _Registered()


def register_call(name: str, *, query: str, needs: str, reset: str) -> None:
    """Name the route that is called to try a token, its query, the scope that it needs, and what puts back its data."""
    _registered.call, _registered.query, _registered.scope, _registered.reset = name, query, needs, reset


def register_callback(name: str) -> None:
    _registered.callback = name


def call_path() -> str:
    return f"{reverse(_registered.call)}?{_registered.query}"


def reset_name() -> str:
    """Return the name of the URL that puts back the data of the call, for a client's team."""
    return _registered.reset


def callback_uri() -> str:
    """Return the redirect URL of the portal's own page for trying credentials."""
    return settings.BASE_URL + reverse(_registered.callback)


def call_scope() -> Scope | None:
    """Return the scope that trying takes, or None where no product publishes it as a low-risk one."""
    return Scope.objects.filter(name=_registered.scope, risk=Risk.LOW, deprecated_at=None).first()


def returns_here(client: Client) -> bool:
    """Tell whether the client's codes may return to the portal's own page."""
    return callback_uri() in client.redirect_uris.split()


def prefilled() -> dict[str, Any]:
    """Return what the form for new credentials starts with, for who wants to edit test credentials first."""
    fields = {"name": NAME, "description": DESCRIPTION, "redirect_uris": callback_uri(), "kind": Kind.EXTERNAL}
    fields["level"] = Level.ACCOUNT
    scope = call_scope()
    return {"initial": fields, "ticked": [scope.name] if scope else []}


@transaction.atomic
def create_test_client(team: Team, *, by: User) -> tuple[Client, str]:
    """Make the team's test credentials; return them and their secret, or "" for those that the team has already.

    Raises NotATeammate, and UnknownScope where no product publishes the scope.
    """
    require_teammate(team, by)
    # A team gets one set, however many press at once.
    lock(Team, team.pk)
    if client := Client.objects.filter(team=team, is_for_trying=True).first():
        return client, ""
    if (scope := call_scope()) is None:
        raise UnknownScope(_("No product publishes the scope that the sample tickets need."))
    return create_client(
        team,
        name=NAME,
        description=DESCRIPTION,
        redirect_uris=[callback_uri()],
        scopes={scope.name: ""},
        kind=Kind.EXTERNAL,
        level=Level.ACCOUNT,
        by=by,
        for_trying=True,
    )


@transaction.atomic
def make_test_secret(client: Client, *, by: User) -> tuple[ClientSecret, str]:
    """Make a secret that works for an hour, to try the flow with. It takes one of the two places, and shortens no other (C3).

    Raises NotATeammate, TwoSecretsActive.
    """
    require_teammate(client.team, by)
    client = lock(Client, client.pk)
    if active_secrets(client).count() > 1:
        raise TwoSecretsActive(
            _("These credentials have two active secrets already. Enter one of them, or end one first.")
        )
    secret, value = insert_secret(client, by, None, for_trying=True)
    record_client(client, Event.CLIENT_TEST_SECRET_MADE, by, secret=secret.prefix)
    return secret, value
