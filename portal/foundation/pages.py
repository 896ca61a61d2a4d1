"""Pagination."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

from django.contrib.postgres.expressions import ArraySubquery
from django.core.paginator import Page, Paginator
from django.db.models import Func, IntegerField, QuerySet
from django.http import HttpRequest

PER_PAGE = 25
# A longer list has only an order that an index has, since sorting means reading all of it.
MOST_SORTED = 10 * PER_PAGE
# Whoever asks for a later page gets this one: all rows before it are counted.
MOST_PAGES = 4000
# Nothing is counted further, since PostgreSQL counts by reading; beyond, a page says "more than".
MOST_COUNTED = 1000


def capped_count(rows: QuerySet[Any]) -> Func:
    """Count the rows of a subquery, up to one more than MOST_COUNTED."""
    some = ArraySubquery(rows.order_by().values("pk")[: MOST_COUNTED + 1])
    return Func(some, function="cardinality", output_field=IntegerField())


class Part(Page):
    """One page of a list, with the addresses of its neighbours; empty where there is none."""

    previous_url = next_url = ""
    # Whether the list is too long to be sorted as asked, and whether it has more pages than were counted.
    is_long = has_uncounted = False
    # If only the newest rows were searched: how many.
    searched = 0


class _Paginator(Paginator):
    # Set before it is read.
    count = 0

    def _get_page(self, *args: Any, **kwargs: Any) -> Part:
        return Part(*args, **kwargs)


def merged(parts: Sequence[Any], order: tuple[str, ...], end: int | None = None) -> Any:
    """Return the rows of sorted querysets in one order; with `end`, that many of each are enough, and no more are read."""
    if len(parts) == 1:
        return parts[0]
    first, *others = (part[:end] for part in parts)
    return first.union(*others, all=True).order_by(*order)


def first_beyond(parts: Iterable[QuerySet[Any]], order: tuple[str, ...], most: int) -> dict[str, Any] | None:
    """Return what sorts the row that follows the first `most` rows of several querysets, or None where none follows."""
    rows = [part.order_by(*order).values(*(name.lstrip("-") for name in order)) for part in parts]
    return next(iter(merged(rows, order, most + 1)[most : most + 1]), None)


def first_of_each(owners: QuerySet[Any], rows: QuerySet[Any], most: int) -> QuerySet[Any, Any]:
    """Return the keys of the first `most` rows of each owner, to whom `rows` refer by OuterRef, in an order that an index has."""
    keys = ArraySubquery(rows.values("pk")[:most])
    each = Func(keys, function="unnest", output_field=rows.model._meta.pk)
    return owners.order_by().annotate(each=each).values_list("each", flat=True)


def paginate_merged(
    request: HttpRequest, parts: Iterable[QuerySet[Any]], order: tuple[str, ...], name: str = "page"
) -> Part:
    """Return the page of all rows of several querysets, each of which an index sorts by `order`."""
    parts = [part.order_by(*order) for part in parts]
    page = paginate(request, merged(parts, order), name, many=partial(merged, parts, order))
    page.is_long = False
    return page


def paginate(
    request: HttpRequest,
    rows: Any,
    name: str = "page",
    *,
    many: Callable[[int], Any] | None = None,
    counts_all: bool = False,
    per_page: int = PER_PAGE,
) -> Part:
    """Return the page of `rows` that the request names, or the nearest one that exists.

    `name` is the query parameter; a second list on one page needs its own. If there are more than MOST_SORTED rows, `many`
    returns them in an order that follows an index; it is told how many are needed.
    """
    number = 1
    with contextlib.suppress(TypeError, ValueError):
        number = max(1, min(int(request.GET.get(name, "")), MOST_PAGES))
    most = max(MOST_COUNTED, number * per_page) + 1
    if isinstance(rows, QuerySet) and not counts_all:
        count = (many(most) if many else rows).order_by()[:most].count()
    else:
        most, count = 0, len(rows) if isinstance(rows, list) else rows.count()
    is_long = many is not None and count > MOST_SORTED
    paginator = _Paginator(many(min(number * per_page, count)) if many and is_long else rows, per_page)
    paginator.count = count
    page = cast(Part, paginator.get_page(number))
    page.is_long, page.has_uncounted = is_long, count == most

    def address(number: int) -> str:
        query = request.GET.copy()
        query[name] = str(number)
        return f"?{query.urlencode()}"

    if page.has_previous():
        page.previous_url = address(page.number - 1)
    if page.has_next():
        page.next_url = address(page.number + 1)
    return page
