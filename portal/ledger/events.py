"""The events that can be recorded. Each app lists its own in its `events.py`, each stored value with its title."""

from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils.translation import gettext_lazy as _


class Group(models.TextChoices):
    """What an event is about, as people choose among them."""

    INSTALLING = "installing", _("Installing and updating")
    ACCESS = "access", _("Access and agreements")
    CONNECTIONS = "connections", _("Connections to vendors")
    CREDENTIALS = "credentials", _("OAuth credentials")
    VERSIONS = "versions", _("Apps and versions")
    PEOPLE = "people", _("People, accounts and teams")
    PRODUCTS = "products", _("Products and scopes")


# Those whose entries name an app.
_OF_APPS = (Group.INSTALLING, Group.ACCESS, Group.CONNECTIONS, Group.CREDENTIALS, Group.VERSIONS)


class LedgerEvent(models.TextChoices):
    """An app's events: entries store the value, people read the label."""

    @property
    def group(self) -> Group:
        return _groups[_subject_of(self)]

    def title_for(self, details: Mapping[str, Any]) -> Any:
        """Return the title of an entry with these details."""
        return self.label

    def why(self, details: Mapping[str, Any]) -> str:
        """Return the reason that an entry with these details gives, in words."""
        return details.get("reason", "")


_known: dict[str, LedgerEvent] = {}
# By the first part of the stored values.
_groups: dict[str, Group] = {}


def _subject_of(event: LedgerEvent) -> str:
    return str(event.value).partition(".")[0]


def register(**groups: Group) -> Callable[[type[LedgerEvent]], type[LedgerEvent]]:
    """Register an app's events; a class decorator. `groups` says to which group each first part of a value belongs."""

    def register_events(events: type[LedgerEvent]) -> type[LedgerEvent]:
        for event in events:
            if _subject_of(event) not in groups:
                raise ImproperlyConfigured(f"{event.value} has no group: name it where its events are registered.")
            if _known.setdefault(event.value, event) is not event:
                raise ImproperlyConfigured(f"Two apps record an event named {event.value}.")
        _groups.update(groups)
        return events

    return register_events


def known_events() -> dict[str, LedgerEvent]:
    """Return {stored value: event} of all apps, grouped by what they are about."""
    return dict(sorted(_known.items()))


def events_of(group: Group) -> dict[str, LedgerEvent]:
    """Return {stored value: event} of the events of a group."""
    return {name: event for name, event in known_events().items() if event.group == group}


def find_event(name: str) -> LedgerEvent | None:
    return _known.get(name)


def is_about_an_app(name: str) -> bool:
    """Tell whether the entries of an event name an app."""
    event = find_event(name)
    return event is not None and event.group in _OF_APPS
