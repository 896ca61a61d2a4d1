"""Which of the entries that a person may read they ask for."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Upper
from django.http import HttpRequest, QueryDict
from django.utils.timezone import make_aware

from portal.foundation.pages import first_beyond

from .actions import SYSTEM, actor_name
from .events import Group, events_of, is_about_an_app, known_events
from .forms import FilterForm
from .models import Entry
from .reading import ORDER, PORTAL_NAME, choose_chain, choose_person, name_of_chain_seen_by, parts_of

# What no index finds is looked for among so many entries: the newest that the other filters leave.
SEARCHED = 5_000
# How many words of a search are looked for, and in how many parts a group of events is read.
_MOST_WORDS, _MOST_PARTS = 8, 100


def _says(text: str) -> Q:
    """Match entries that are about something with this text in its name or scopes."""
    return Q(words__contains=Upper(Value(text)))


@dataclass(frozen=True)
class Filters:
    """What a person chose: nothing that is unknown, or that they may not see."""

    user: Any
    chain: str = ""
    # Whose chain it is.
    place: str = ""
    # An event, or a group of them.
    event: str = ""
    # "me", "portal" or the id of a person; and under which name they act.
    who: str = ""
    actor: str = ""
    q: str = ""
    app: str = ""
    since: dt.date | None = None
    until: dt.date | None = None
    # The people to choose from, the one chosen, and the names of the chains that are looked at.
    people: Any = None
    person: Any = None
    chains: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Any, places: Any, typed: dict[str, Any]) -> "Filters":
        """Return the filters of a request; `typed` are the valid ones of a FilterForm."""
        chain, event, who = (request.GET.get(name, "") for name in ("chain", "event", "who"))
        place = name_of_chain_seen_by(request.user, chain)
        shown = {each.chain_name: str(each) for some in places for each in some.shown}
        chains = {chain: place} if place else shown
        people, person = choose_person(request, [*chains], who)
        actors = {"me": actor_name(request.user), "portal": SYSTEM}
        actor = actors.get(who) or (actor_name(person) if person else "")
        return cls(
            user=request.user,
            chain=chain if place else "",
            place=place,
            event=event if event in known_events() or event in Group.values else "",
            who=who if actor else "",
            actor=actor,
            people=people,
            person=person,
            chains=chains,
            **{name: value for name, value in typed.items() if value},
        )

    @classmethod
    def again(cls, user: Any, query: dict[str, str]) -> "Filters":
        """Return the filters that said `query`, as they are for this person now."""
        request = HttpRequest()
        request.user, request.GET = user, QueryDict(urlencode(query))  # type: ignore[assignment]
        form = FilterForm(request.GET)
        form.is_valid()
        return cls.of(request, choose_chain(request), form.cleaned_data)

    @property
    def query(self) -> dict[str, str]:
        """Return the parameters that say the same."""
        names = ("q", "chain", "event", "who", "app", "since", "until")
        return {name: str(value) for name in names if (value := getattr(self, name))}

    @property
    def has_more_than_words(self) -> bool:
        return bool(self.query.keys() - {"q"})

    def _query_but(self, name: str) -> str:
        rest = urlencode({key: value for key, value in self.query.items() if key != name})
        return f"{rest}&" if rest else ""

    @property
    def but_chain(self) -> str:
        """Return the beginning of an address that names another chain."""
        return self._query_but("chain")

    @property
    def but_who(self) -> str:
        """Return the beginning of an address that names another person."""
        return self._query_but("who")

    @property
    def is_narrow(self) -> bool:
        """Tell whether one index has all the entries in question in their order."""
        return bool(self.chain or self.who == "me")

    @property
    def _events(self) -> list[str]:
        if self.event in Group.values:
            return [*events_of(Group(self.event))]
        return [self.event] if self.event else []

    @property
    def _before(self) -> dt.datetime | None:
        return _midnight(self.until + dt.timedelta(days=1)) if self.until else None

    def _indexed(self) -> Q:
        """Match by what the indexes have: chain, actor and time."""
        chosen = {
            "chain": self.chain,
            "actor": self.actor,
            "at__gte": _midnight(self.since) if self.since else None,
            "at__lt": self._before,
        }
        return Q(**{name: value for name, value in chosen.items() if value})

    @property
    def _people(self) -> list[Any]:
        """Return the people whose names are searched. Where they are many, one chooses a person instead."""
        return [] if self.people.are_many else [self.user, *self.people.shown]

    def _words(self) -> Q:
        """Match by words: each is in something that the page shows of an entry."""
        found = Q()
        for word in self.q.split()[:_MOST_WORDS]:
            folded = word.casefold()
            titles = [name for name, event in known_events().items() if folded in str(event.label).casefold()]
            chains = [name for name, title in self.chains.items() if folded in title.casefold()]
            people = [actor_name(person) for person in self._people if folded in str(person).casefold()]
            names = [*chains, *people, *([SYSTEM] if folded in str(PORTAL_NAME).casefold() else [])]
            about = _says(word) | Q(event__in=titles)
            found &= about | Q(actor__in=names) | Q(subject__in=names) | Q(chain__in=names)
        if self.app:
            of_apps = [name for name in known_events() if is_about_an_app(name)]
            # The first is quick, and leaves few to take the name from.
            found &= _says(self.app) & Q(details__name__icontains=self.app, event__in=of_apps)
        return found

    def apply(self, entries: QuerySet[Entry]) -> QuerySet[Entry]:
        """Return all entries asked for, however many must be looked at."""
        events = Q(event__in=self._events) if self.event else Q()
        return entries.filter(self._indexed() & events & self._words())

    def parts(self, entries: QuerySet[Entry], places: Any) -> tuple[list[QuerySet[Entry]], bool]:
        """Return the entries asked for as querysets that an index sorts, and whether older ones were not looked at."""
        # A chain that is chosen is read as a whole, so that no entry of it needs a closer look (E1).
        entries = (Entry.objects.all() if self.chain else entries).filter(self._indexed())
        events, words = self._events, self._words()
        are_many = not self.is_narrow and any(each.are_many for each in places)
        parts = [entries] if self.is_narrow else parts_of(self.user, entries, places, self._before)
        splits = not (words or self.actor or are_many) and len(parts) * len(events) <= _MOST_PARTS
        if events and splits:
            return [part.filter(event=event) for part in parts for event in events], False
        looked_for = words & Q(event__in=events) if events else words
        if not looked_for:
            return parts, False
        # Of many places, only the newest entries are looked at anyway.
        # Without the closer look of E1 at each, which `parts` have: it is only a time.
        uncut = [Entry.objects.filter(self._indexed())]
        sorted_parts = uncut if self.is_narrow else parts_of(self.user, uncut[0], places, self._before)
        oldest = None if are_many else _oldest_of(sorted_parts)
        if oldest:
            parts = [part.filter(at__gt=oldest) for part in parts]
        return [part.filter(looked_for) for part in parts], bool(oldest)


def _midnight(day: dt.date) -> dt.datetime:
    """Return the beginning of a day in the reader's time zone."""
    return make_aware(dt.datetime.combine(day, dt.time.min))


def _oldest_of(parts: list[QuerySet[Entry]]) -> dt.datetime | None:
    """Return the time of the newest entry that is not searched, or None if all are."""
    row = first_beyond(parts, ORDER, SEARCHED)
    return row["at"] if row else None
