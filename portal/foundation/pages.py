"""Pagination."""

from typing import Any, cast

from django.core.paginator import Page, Paginator
from django.http import HttpRequest

PER_PAGE = 25


class Part(Page):
    """One page of a list, with the addresses of its neighbours; empty where there is none."""

    previous_url = next_url = ""


class _Paginator(Paginator):
    def _get_page(self, *args: Any, **kwargs: Any) -> Part:
        return Part(*args, **kwargs)


def paginate(request: HttpRequest, rows: Any, name: str = "page") -> Part:
    """Return the page of `rows` that the request names, or the nearest one that exists.

    `name` is the query parameter; a second list on one page needs its own.
    """
    page = cast(Part, _Paginator(rows, PER_PAGE).get_page(request.GET.get(name)))

    def address(number: int) -> str:
        query = request.GET.copy()
        query[name] = str(number)
        return f"?{query.urlencode()}"

    if page.has_previous():
        page.previous_url = address(page.number - 1)
    if page.has_next():
        page.next_url = address(page.number + 1)
    return page
