"""Accounts, teams or people to choose from: all of a person's where they are few, or else those that fit what is typed."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)

# As many are shown without a search, and of those found.
MOST = 20
# The query parameters that name the account and the team that a person looks at, and the session's keys for the last ones.
REMEMBERED, REMEMBERED_TEAM = "account", "team"
# The rows of more teams than this are sorted together.
MOST_TEAMS = 40
# The query parameter with what was typed if a page has one search, and how many words of it are looked for.
WORDS, MOST_WORDS = "find", 8


class Choice(Generic[Row]):
    """What to show on a page, by name, of `rows`: accounts, teams or people, or rows that have theirs at `path`.

    No page reads more than MOST + 1 of them, however many a person has, unless they search: then each of theirs is looked at.
    `keys` are the fields that are searched, and `words_in` is the query parameter with what was typed. `some` are more than
    MOST of `rows`, or all of them, where the first by key cannot be found without reading all.
    """

    def __init__(
        self,
        request: HttpRequest,
        rows: QuerySet[Row],
        path: str = "",
        keys: tuple[str, ...] = ("name", "slug"),
        words_in: str = WORDS,
        some: QuerySet[Row] | None = None,
    ) -> None:
        self._path, self.words_in = path, words_in
        self._prefix = prefix = f"{path}__" if path else ""
        self._request, self._rows = request, rows
        found = list((rows if some is None else some).order_by(f"{prefix}pk")[: MOST + 1])
        self.are_many = len(found) > MOST
        # The one to show where none is chosen: the oldest, as in the header (portal/context.py).
        self.first = found[0] if found else None
        self.words = request.GET.get(words_in, "").strip().replace("\0", "")[:100] if self.are_many else ""
        if self.words:
            for word in self.words.split()[:MOST_WORDS]:
                rows = rows.filter(reduce(or_, (Q(**{f"{prefix}{key}__icontains": word}) for key in keys)))
            found = list(rows.order_by(f"{prefix}name", f"{prefix}pk")[: MOST + 1])
        elif self.are_many:
            found = []
        else:
            found.sort(key=self._key)
        self.shown, self.has_more = found[:MOST], len(found) > MOST
        # What else the address of the page says, for the form that searches.
        self.kept = [(name, value) for name, values in request.GET.lists() for value in values if name != words_in]

    def pick(self) -> Row | None:
        """Return what the address names, else what this person looked at last, else the first; None if they may not see it."""
        row = _pick(self._request, REMEMBERED, self._find, lambda row: self._organisation(row).slug)
        return row or (None if REMEMBERED in self._request.GET else self.first)

    def _find(self, slug: str | None) -> Row | None:
        return self._rows.filter(**{f"{self._prefix}slug": slug.replace("\0", "")}).first() if slug else None

    @property
    def organisations(self) -> list[Any]:
        return [self._organisation(row) for row in self.shown]

    def _organisation(self, row: Row) -> Any:
        return getattr(row, self._path) if self._path else row

    def _key(self, row: Row) -> tuple[str, int]:
        organisation = self._organisation(row)
        return organisation.name, organisation.pk


def _pick(request: HttpRequest, name: str, find: Callable[[str | None], Any], key: Callable[[Any], str]) -> Any:
    """Return what the address names, which is remembered while this person stays signed in, or else what is remembered."""
    named, remembered = request.GET.get(name), request.session.get(name)
    row = find(remembered if named is None else named)
    if row and named is not None and key(row) != remembered:
        request.session[name] = key(row)
    return row


def pick_team(request: HttpRequest, teams: QuerySet[Any]) -> Any:
    """Return that of a person's teams which they chose, now or last; None for all of them, as `team=` without a value asks."""

    def find(public_id: str | None) -> Any:
        with suppress(ValueError):
            return teams.filter(public_id=uuid.UUID(public_id)).first() if public_id else None

    if request.GET.get(REMEMBERED_TEAM) == "":
        request.session.pop(REMEMBERED_TEAM, None)
    return _pick(request, REMEMBERED_TEAM, find, lambda team: str(team.public_id))


def rows_by_team(
    request: HttpRequest, rows: QuerySet[Any], teams: QuerySet[Any]
) -> tuple[list[QuerySet[Any]], list[Any], Any]:
    """Return the rows of a person's teams, or of the one they chose, in parts that an index sorts; the teams; the one chosen."""
    some, team = list(teams[: MOST_TEAMS + 1]), pick_team(request, teams)
    looked_at = [team] if team else some
    parts = [rows.filter(team=each) for each in looked_at] if 0 < len(looked_at) <= MOST_TEAMS else [rows]
    return parts, some, team
