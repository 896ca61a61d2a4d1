"""The events that can be recorded. Each app lists its own in its `events.py`, each stored value with its title."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models


class LedgerEvent(models.TextChoices):
    """An app's events: entries store the value, people read the label."""

    def title_for(self, details: Mapping[str, Any]) -> Any:
        """Return the title of an entry with these details."""
        return self.label

    def why(self, details: Mapping[str, Any]) -> str:
        """Return the reason that an entry with these details gives, in words."""
        return details.get("reason", "")


_known: dict[str, LedgerEvent] = {}


def register(events: type[LedgerEvent]) -> type[LedgerEvent]:
    """Register an app's events; a class decorator."""
    for event in events:
        if _known.setdefault(event.value, event) is not event:
            raise ImproperlyConfigured(f"Two apps record an event named {event.value}.")
    return events


def known_events() -> dict[str, LedgerEvent]:
    """Return {stored value: event} of all apps, grouped by what they are about."""
    return dict(sorted(_known.items()))


def find_event(name: str) -> LedgerEvent | None:
    return _known.get(name)
