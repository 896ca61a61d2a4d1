"""What every page with a list shares."""

from django.core.paginator import Paginator

PER_PAGE = 25


def paginate(request, rows):
    """Return the page of `rows` that the request names; a page that is not there becomes the nearest that is."""
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
