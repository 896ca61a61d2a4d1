"""What every page with a list shares."""

from django.core.paginator import Paginator

PER_PAGE = 25


def paginate(request, rows, name="page"):
    """Return the page of `rows` that the request names; a page that is not there becomes the nearest that is.

    `name` is the parameter that names it, for a second list on one page.
    """
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get(name))

    def address(number):
        query = request.GET.copy()
        query[name] = number
        return f"?{query.urlencode()}"

    page.previous_url = address(page.number - 1) if page.has_previous() else ""
    page.next_url = address(page.number + 1) if page.has_next() else ""
    return page
