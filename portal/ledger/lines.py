"""Entries as lines: all that one click of a person recorded is one line."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from portal.foundation.pages import merged

from .models import Entry
from .reading import ORDER, choose_chain, entries_seen_by, parts_of, with_names

# So many entries of the lines of a page are read, and of an act where only its newest is shown.
_MOST, _ENTRIES_OF_AN_ACT = 500, 4


def _act_of(entry: Any) -> tuple[Any, str]:
    """Return what entries of one act share: its time, which is that of its first entry."""
    return entry.act_at or entry.at, entry.actor


def heads_of(entries: Iterable[Any], before: Any = None) -> list[Any]:
    """Return the newest entry of each act; none of the act of `before`, which precedes them."""
    heads = {_act_of(before): None} if before else {}
    for entry in entries:
        heads.setdefault(_act_of(entry), entry)
    return [head for head in heads.values() if head]


def with_parts(heads: list[Any], readable: QuerySet[Entry]) -> list[Any]:
    """Add names to each entry, and as `parts` what else of its act a person may read."""
    acts = {_act_of(head): head for head in heads}
    times = [at for at, _actor in acts]
    # Each by its index; hardly any entry is later than its act.
    found = [readable.filter(**{name: times}).order_by(*ORDER)[:_MOST] for name in ("act_at__in", "at__in")]
    others = {entry.pk: entry for some in found for entry in some} if heads else {}
    parts = [entry for entry in others.values() if _act_of(entry) in acts and entry.pk != acts[_act_of(entry)].pk]
    with_names([*heads, *parts])
    for head in heads:
        head.parts = [part for part in parts if _act_of(part) == _act_of(head)]
    return heads


def recent_lines(request: HttpRequest, most: int) -> list[Any]:
    """Return the newest acts that a person sees, each as its newest entry, with names."""
    parts = parts_of(request.user, entries_seen_by(request.user), choose_chain(request))
    read = _ENTRIES_OF_AN_ACT * most
    return with_names(heads_of(merged([part.order_by(*ORDER) for part in parts], ORDER, read)[:read])[:most])
