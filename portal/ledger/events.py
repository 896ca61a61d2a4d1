"""What can be recorded: each app lists its events in its `events.py`, the title of each beside what entries keep."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import models


class LedgerEvent(models.TextChoices):
    """What an app's events are made of: the value is what entries keep, the label what people read."""

    def title_for(self, details: Mapping[str, Any]) -> Any:
        """Return what people read of an entry with these details."""
        return self.label

    def why(self, details: Mapping[str, Any]) -> str:
        """Return the reason that an entry with these details gives, in words."""
        return details.get("reason", "")


_known: dict[str, LedgerEvent] = {}


def register(events: type[LedgerEvent]) -> type[LedgerEvent]:
    """Let these events be recorded; a class decorator."""
    for event in events:
        if _known.setdefault(event.value, event) is not event:
            raise ImproperlyConfigured(f"Two apps record an event named {event.value}.")
    return events


def known_events() -> dict[str, LedgerEvent]:
    """Return {what entries keep: event} of all apps, those of one thing beside each other."""
    return dict(sorted(_known.items()))


def find_event(name: str) -> LedgerEvent | None:
    return _known.get(name)
