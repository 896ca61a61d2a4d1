"""Lists that people search, filter and sort: what they ask for, and the page that shows it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial, reduce
from operator import and_, or_
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from .pages import Part, first_beyond, merged, paginate, paginate_merged

# What no index finds is looked for among so many rows, the newest.
SEARCHED = 500
# Shorter lists are read faster than searched.
FEW = 5
# How long a search is, and how many words of it are looked for.
LONGEST, MOST_WORDS = 200, 8


class Filter(NamedTuple):
    """Values, with their labels, of which people choose one; `everything` is what the list shows where none is chosen."""

    name: str
    label: Any
    everything: Any
    choices: Sequence[tuple[str, Any]]
    value: str = ""


class Asked:
    """What the address of a list asks for: words, filters, an order. What the list does not know is not asked for.

    `placeholder` says what is searched. `sorts` are {order: its label}; the first applies where none is chosen.
    """

    def __init__(
        self, request: HttpRequest, *, placeholder: Any, sorts: Mapping[str, Any], filters: Iterable[Filter] = ()
    ) -> None:
        self._request = request
        self.placeholder, self.sorts = placeholder, list(sorts.items())
        self.words = request.GET.get("q", "").replace("\0", " ").strip()[:LONGEST]
        self.filters = [
            each._replace(value=value) if (value := request.GET.get(each.name, "")) in dict(each.choices) else each
            for each in filters
        ]
        self.sort = named if (named := request.GET.get("sort", "")) in sorts else next(iter(sorts))
        # Whose list it is.
        self.kept = [(name, request.GET[name]) for name in ("account", "team") if name in request.GET]
        # Whether there is anything to search.
        self.is_useful = self.narrows

    def value_of(self, name: str) -> str:
        """Return what is chosen of a filter, or ""."""
        return next(each.value for each in self.filters if each.name == name)

    @property
    def narrows(self) -> bool:
        return bool(self.words or any(each.value for each in self.filters))

    @property
    def cleared_url(self) -> str:
        """Return the address of the whole list, or "" if it is shown."""
        if not self.narrows:
            return ""
        return f"{self._request.path}?{urlencode(self.kept)}" if self.kept else self._request.path

    def chosen(self, **paths: str) -> Q:
        """Match rows by the filters that are chosen, each of which has its value at a lookup path."""
        return Q(**{path: value for name, path in paths.items() if (value := self.value_of(name))})

    def found_in(self, *lookups: str) -> Q:
        """Match rows for which each word fits one of these lookups."""
        words = self.words.split()[:MOST_WORDS]
        return reduce(and_, (reduce(or_, (Q(**{lookup: word}) for lookup in lookups)) for word in words), Q())

    def page(
        self,
        parts: Iterable[QuerySet[Any]],
        where: Q,
        orders: Mapping[str, tuple[str, ...]],
        *,
        by_index: Collection[str] = ("newest",),
        name: str = "page",
    ) -> Part:
        """Return the page of what is asked for. Each part of the list's rows has an index for the orders `by_index`.

        Only the newest rows are searched. A list that is too long to be sorted as asked has the newest first.
        """
        parts, order, newest, searched = list(parts), orders[self.sort], orders["newest"], 0
        if self.narrows:
            if beyond := first_beyond(parts, newest, SEARCHED):
                time, searched = newest[0].removeprefix("-"), SEARCHED
                parts = [part.filter(**{f"{time}__gt": beyond[time]}) for part in parts]
            found = [part.filter(where).order_by(*order) for part in parts]
            page = paginate(self._request, merged(found, order), name)
        elif self.sort in by_index:
            page = paginate_merged(self._request, parts, order, name)
        else:
            rows = merged([part.order_by(*order) for part in parts], order)
            by_time = [part.order_by(*newest) for part in parts]
            page = paginate(self._request, rows, name, many=partial(merged, by_time, newest))
        page.searched = searched
        self.is_useful = self.is_useful or page.paginator.count > FEW
        return page
