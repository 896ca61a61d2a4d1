"""What a person may read in the ledger, and the names that people see instead of opaque ids."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from django.db.models import Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .actions import PORTAL, SYSTEM, actor_name
from .events import LedgerEvent, find_event
from .models import Entry

# The newest entry first.
ORDER = "-at", "-sequence"
# No index follows many chains at once: their entries are looked for among so many of the portal's newest.
NEWEST = 10_000
# The name of the portal's own chain, and of what it does by itself.
PORTAL_NAME = _("The portal")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class People(Protocol):
    """What the accounts app, which is above the ledger, tells it about readers and names."""

    def chains_seen_by(self, user: Any) -> dict[str, str]:
        """Return {chain: its name} for the chains that a person reads as a whole."""

    def is_in_chain_seen_by(self, user: Any) -> Q:
        """Match the entries of the chains that a person reads as a whole."""

    def is_in_chain_of(self, user: Any) -> Q:
        """Match the entries among which a person reads their own acts."""

    def chains_of_own_acts(self, user: Any) -> list[str] | None:
        """Return the chains in which a person reads their own acts; None means any, or too many to look in each."""

    def choose_chain(self, request: HttpRequest) -> tuple[Any, Any]:
        """Return the accounts and the teams among whose chains a person chooses."""

    def choose_person(self, request: HttpRequest, chains: Iterable[str], who: str) -> tuple[Any, Any]:
        """Return the people of accounts and teams, other than oneself, and the one with the id `who`."""

    def name_of_chain_seen_by(self, user: Any, chain: str) -> str:
        """Return whose chain it is, or "" if the person does not read it as a whole."""

    def names_of(self, ids: Mapping[str, set[str]]) -> dict[str, str]:
        """Return {"<kind>:<id>": name} for the ids of each kind: person, team and account."""


_people: list[People] = []


def register_people(people: People) -> None:
    """Register the module that knows people; the accounts app calls this when it is ready."""
    _people[:] = [people]


def chains_seen_by(user: Any) -> dict[str, str]:
    """Return {chain: its name} for the chains that a person reads as a whole (E1)."""
    return _people[0].chains_seen_by(user)


def entries_seen_by(user: Any) -> QuerySet[Entry]:
    """Return the entries of a person's chains, and their own acts where they still belong (E1)."""
    own = Q(actor=actor_name(user)) & _people[0].is_in_chain_of(user)
    return Entry.objects.filter(_people[0].is_in_chain_seen_by(user) | own)


def chains_of_own_acts(user: Any) -> list[str] | None:
    """Return the chains in which a person reads their own acts; None means any, or too many to look in each."""
    return _people[0].chains_of_own_acts(user)


def choose_chain(request: HttpRequest) -> tuple[Any, Any]:
    """Return the accounts and the teams among whose chains a person chooses, a Choice each."""
    return _people[0].choose_chain(request)


def chains_of(places: Iterable[Any]) -> list[str]:
    """Return the chains of the accounts and teams that `choose_chain` shows."""
    return [each.chain_name for some in places for each in some.shown]


def choose_person(request: HttpRequest, chains: Iterable[str], who: str) -> tuple[Any, Any]:
    """Return a Choice among the people of these chains, and the one with the id `who`, if any."""
    return _people[0].choose_person(request, chains, who)


def _newest(before: dt.datetime | None) -> Q:
    """Match the newest entries of the portal, or the last ones before a time."""
    times = (
        Entry.objects.filter(**({"at__lt": before} if before else {}))
        .order_by(*ORDER)
        .values("at")[NEWEST : NEWEST + 1]
    )
    return Q(at__gte=Coalesce(Subquery(times), Value(dt.datetime.min.replace(tzinfo=dt.UTC))))


def parts_of(
    user: Any, entries: QuerySet[Entry], places: Iterable[Any], before: dt.datetime | None = None
) -> list[QuerySet[Entry]]:
    """Return querysets that together have what a person sees of `entries`, each of which an index sorts.

    If they choose among many accounts or teams, only the newest entries of the portal are looked at, or
    the last ones before a time.
    """
    if any(each.are_many for each in places):
        return [entries.filter(_newest(before))]
    chains, elsewhere = chains_of(places), chains_of_own_acts(user)
    own, parts = entries.filter(actor=actor_name(user)), [entries.filter(chain=chain) for chain in chains]
    if elsewhere is None:
        return [*parts, own.exclude(chain__in=chains)]
    return [*parts, *(own.filter(chain=chain) for chain in elsewhere if chain not in chains)]


def name_of_chain_seen_by(user: Any, chain: str) -> str:
    """Return whose chain it is, or "" if the person does not read it as a whole (E1)."""
    return _people[0].name_of_chain_seen_by(user, chain)


def with_names(entries: Iterable[Any]) -> list[Any]:
    """Add the names that people see to each entry, in a bounded number of queries."""
    entries = list(entries)
    ids: dict[str, set[str]] = {"person": set(), "team": set(), "account": set()}
    named = (name for entry in entries for name in (entry.actor, entry.subject, entry.chain_id))
    for kind, _colon, key in (name.partition(":") for name in named):
        if kind in ids and (kind == "account" or _UUID.fullmatch(key)):
            ids[kind].add(key)
    names: dict[str, Any] = {**_people[0].names_of(ids), SYSTEM: PORTAL_NAME}
    for entry in entries:
        entry.chain_title = PORTAL_NAME if entry.chain_id == PORTAL else names.get(entry.chain_id, "")
        event = find_event(entry.event)
        entry.title = event.title_for(entry.details) if event else entry.event
        entry.reason = event.why(entry.details) if event else entry.details.get("reason", "")
        entry.actor_name = names.get(entry.actor) or (entry.details.get("name") if "client:" in entry.actor else "")
        entry.about = names.get(entry.subject) or entry.details.get("name") or entry.subject
    return entries


def last_reason(subject: str, event: LedgerEvent) -> str:
    """Return the reason that the last entry of this event about a subject states, or ""."""
    entry = Entry.objects.filter(subject=subject, event=event.value).order_by("-at", "-sequence").first()
    return entry.details.get("reason", "") if entry else ""
