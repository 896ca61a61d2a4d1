"""What people will see of a version: its listing, and the consent screen of an account that has not agreed to anything."""

from collections.abc import Iterable, Sequence
from typing import Any

from consent.asking import Terms
from consent.screen import Screen, preview_screen
from portal.accounts.models import User
from portal.foundation.database import database_now

from .markdown import render
from .models import Version
from .package.contents import Contents


def beside_scopes(contents: Any) -> dict[str, Any]:
    """Return what a version has people connect and fill in, and where it calls, as _scopes.html shows it."""
    return {
        "vendors": contents.vendors.values(),
        "fields": contents.fields.values(),
        "hosts": sorted(contents.other_hosts),
    }


def listing_of(version: Any, releases: Sequence[Any] = ()) -> dict[str, Any]:
    """Return what listing_view.html says of a version to everybody; its history is that of `releases`, or it alone."""
    for release in releases or [version]:
        release.notes = render(release.release_notes)
    client, contents = version.app.client, Contents.of(version)
    rows = list(client.scopes.filter(scope__name__in=version.scopes).select_related("scope")) if client else []
    return {
        "version": version,
        "app": version.app,
        "description": render(version.description),
        "releases": releases or [version],
        "required": [row for row in rows if row.scope.name in version.required_scopes],
        "optional": [row for row in rows if row.scope.name in version.optional_scopes],
        "for_agents": [name for name, one in contents.templates.items() if one.options.agents],
        **beside_scopes(contents),
    }


def consent_screen_of(
    version: Version, *, required: list[str], optional: list[str], vendors: Iterable[str], by: User
) -> Screen | None:
    """Return the consent screen of a version with these scopes that connects to these vendors, or None without scopes."""
    client, account = version.app.client, version.app.team.test_account
    if not client or not (required or optional):
        return None
    services = {*vendors} | Contents.of(version).other_hosts
    terms = Terms(frozenset(required), frozenset(optional), version.name, version.number, None, tuple(sorted(services)))
    return preview_screen(client, account, by=by, now=database_now(), terms=terms)
