"""The checklist of an installation for one person: what it connects to, what is done and what is left."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Q
from django.urls import reverse

from portal.accounts.models import Membership, Role

from ..models import Connection, Installation
from ..package import formats
from ..package.contents import Contents
from . import settings_values


@dataclass
class Part:
    """A vendor integration with its connection, of the account or of the person who looks."""

    name: str
    integration: formats.Integration
    connection: Connection | None
    # Whether this person can connect it: an admin the account's, everybody their own.
    is_theirs: bool
    # Whether it was connected before and has ended.
    was_connected: bool = False
    # Whether an admin has to fill something in first.
    waits_for_admin: bool = False

    @property
    def is_agent_level(self) -> bool:
        return self.integration.token_type == "agent"

    @property
    def is_connected(self) -> bool:
        return self.connection is not None and self.connection.is_connected

    @property
    def is_broken(self) -> bool:
        return self.connection is not None and self.connection.broken_at is not None


class Checklist:
    """`connections` are the live ones. `ended` are the names of the account's integrations with an ended connection."""

    def __init__(
        self, installation: Installation, membership: Membership, connections: Iterable[Connection], ended: set[str]
    ) -> None:
        self.installation, self.membership, self._connections = installation, membership, list(connections)
        self._ended = ended
        self.is_admin = membership.role == Role.ADMIN
        self.contents = Contents.of(installation.version)

    @cached_property
    def vendors(self) -> list[Part]:
        parts = []
        for name, one in self.contents.vendors.items():
            is_own = one.token_type == "agent"
            whose = self.membership.pk if is_own else None
            found = (row for row in self._connections if (row.integration, row.membership_id) == (name, whose))
            was = not is_own and name in self._ended
            waits = is_own and settings_values.lacks_credentials(self.contents, name, self.installation.values)
            parts.append(Part(name, one, next(found, None), is_own or self.is_admin, was, waits))
        # The account's part comes before each agent's.
        return sorted(parts, key=lambda part: part.is_agent_level)

    @property
    def needs_settings(self) -> bool:
        return settings_values.missing(self.contents.fields, self.installation.values)

    @property
    def is_waiting(self) -> bool:
        """Tell whether the account has something left to do besides agreeing."""
        return self.needs_settings or any(map(self._is_left, self.vendors))

    @staticmethod
    def _is_left(part: Part) -> bool:
        return not part.is_agent_level and (part.connection is None or not part.connection.connected_at)

    @property
    def lacks_own(self) -> bool:
        """Tell whether this person has a connection of their own to make."""
        return any(part.is_agent_level and not part.is_connected for part in self.vendors)

    @property
    def is_disconnected(self) -> bool:
        """Tell whether what is left was connected before."""
        left = [part for part in self.vendors if self._is_left(part)]
        return bool(left) and not self.needs_settings and all(part.was_connected for part in left)

    @property
    def _never_agreed(self) -> bool:
        access: Any = self.installation.access
        return access is not None and not (access.client.is_agent_level or access.live_consent or access.was_agreed)

    @property
    def is_unfinished(self) -> bool:
        """Tell whether the account has a step left that it never did. Its access says what was agreed to (give_states)."""
        access: Any = self.installation.access
        is_agreed = access is None or access.client.is_agent_level or access.live_consent
        return self._never_agreed or bool(is_agreed and self.is_waiting and not self.is_disconnected)

    @property
    def finish_url(self) -> str:
        """Return where an admin does the next step of an unfinished installation, or "" if there is none for this person."""
        if not self.is_admin or not self.is_unfinished:
            return ""
        pk = self.installation.pk
        if self.needs_settings:
            return reverse("installation-settings", args=[pk])
        if self._never_agreed:
            return reverse("installation-connect", args=[pk])
        return reverse("connection-view", args=[pk, next(part.name for part in self.vendors if self._is_left(part))])

    @property
    def is_broken(self) -> bool:
        return any(part.is_broken for part in self.vendors)

    @property
    def has_more(self) -> bool:
        """Tell whether there is more to do than to agree."""
        return bool(self.vendors or self.contents.fields)


def checklists(installations: Iterable[Installation], membership: Membership) -> dict[Installation, Checklist]:
    """Return the checklists of several installations of one account, in two queries."""
    installations = list(installations)
    found: dict[object, list[Connection]] = {installation.pk: [] for installation in installations}
    whose = Q(membership=None) | Q(membership=membership)
    rows = Connection.objects.filter(whose, installation__in=installations, ended_at=None)
    for row in rows.defer("tokens", "values"):
        found[row.installation_id].append(row)
    ended: dict[object, set[str]] = {installation.pk: set() for installation in installations}
    former = Connection.objects.filter(membership=None, installation__in=installations).exclude(
        Q(ended_at=None) | Q(connected_at=None)
    )
    for pk, name in former.values_list("installation", "integration").distinct():
        ended[pk].add(name)
    return {each: Checklist(each, membership, found[each.pk], ended[each.pk]) for each in installations}
