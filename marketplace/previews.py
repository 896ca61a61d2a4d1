"""What people will see of a version: its listing, what it changes, and the consent screen of an account that has not agreed to anything."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from consent.asking import Terms
from consent.screen import Screen, preview_screen
from credentials.models import Client
from portal.accounts.models import User
from portal.foundation.database import database_now
from portal.foundation.markdown import render

from .differences import Difference
from .models import Version
from .package.contents import Contents


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
        "vendors": contents.vendors.values(),
        "fields": contents.fields.values(),
        "hosts": sorted(contents.other_hosts),
    }


def published_before(version: Version) -> QuerySet[Version]:
    """Return the versions of an app that were published before this one, whatever became of them, newest first."""
    earlier = version.app.versions.exclude(published_at=None).exclude(pk=version.pk)
    if version.published_at:
        earlier = earlier.filter(published_at__lt=version.published_at)
    return earlier.order_by("-published_at", "-pk")


def scope_rows(client: Client | None, required_scopes: list[str], optional_scopes: list[str]) -> list[Any]:
    """Return the scopes of an app's credentials, each with the level that was chosen for it."""
    rows: list[Any] = list(client.scopes.select_related("scope").order_by("scope__name")) if client else []
    for row in rows:
        required, optional = row.scope.name in required_scopes, row.scope.name in optional_scopes
        row.level = "required" if required else "optional" if optional else "none"
    return rows


def changed_scopes(difference: Difference) -> list[tuple[str, list[Any]]]:
    """Return the scopes that a version changes, as rows of its app's credentials, by what becomes of them."""
    names = {
        _("Newly requested"): difference.added_scopes,
        _("No longer optional"): difference.raised_scopes,
        _("Now optional"): difference.lowered_scopes,
        _("No longer requested"): difference.removed_scopes,
    }
    version = difference.new
    rows = scope_rows(version.app.client, version.required_scopes, version.optional_scopes)
    return [(title, [row for row in rows if row.scope.name in chosen]) for title, chosen in names.items()]


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
