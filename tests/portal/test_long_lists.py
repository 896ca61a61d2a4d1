"""Long lists are paged without being counted or sorted whole."""

import pytest
from django.test import RequestFactory

from portal.accounts.models import Account
from portal.foundation.pages import MOST_COUNTED, MOST_SORTED, PER_PAGE, first_beyond, merged, paginate
from portal.foundation.templatetags.counts import up_to_most
from tests import factories
from tests.volume import multiply

pytestmark = pytest.mark.django_db


@pytest.fixture
def accounts():
    """A function that makes so many accounts, of which the newest has the first name."""

    def make(count):
        one = factories.account("a")
        multiply(one, count - 1, id=f"{one.pk} + n", slug="'many-' || n", name=f"'Many ' || ({count} - n + 10000)")
        return Account.objects.filter(pk__gte=one.pk)

    return make


def page(rows, number=None):
    request = RequestFactory().get("/", {"page": number} if number else {})
    return paginate(request, rows.order_by("name", "pk"), many=lambda _end: rows.order_by("pk"))


def test_a_list_of_up_to_ten_pages_is_sorted(accounts):
    rows = accounts(MOST_SORTED)
    first = page(rows)
    assert [*first] == [*rows.order_by("name")[:PER_PAGE]] and not first.is_long and not first.has_uncounted
    assert first.paginator.num_pages == 10 and [*page(rows, 10)] == [*rows.order_by("name")[MOST_SORTED - PER_PAGE :]]


def test_a_longer_list_follows_an_index(accounts):
    rows = accounts(MOST_SORTED + 3 * PER_PAGE + 1)
    first = page(rows)
    assert [*first] == [*rows.order_by("pk")[:PER_PAGE]] and first.is_long and first.paginator.count == 326
    assert first.next_url == "?page=2" and first.previous_url == ""


@pytest.mark.parametrize(
    ("asked", "shown"), [(11, 11), (14, 14), (15, 14), ("-1", 1), (10**30, 14), ("x", 1), ("1e3", 1)]
)
def test_each_page_can_be_reached_and_none_beyond_the_last_is_empty(accounts, asked, shown):
    rows = accounts(MOST_SORTED + 3 * PER_PAGE + 1)
    found = page(rows, asked)
    assert found.number == shown and [*found] == [*rows.order_by("pk")[(shown - 1) * PER_PAGE : shown * PER_PAGE]]
    assert bool(found.next_url) is (shown < 14)


def test_up_to_a_thousand_rows_are_counted(accounts):
    rows = accounts(MOST_COUNTED + 1)
    first = page(rows)
    assert first.has_uncounted and up_to_most(first.paginator.count) == "more than 1,000"
    assert not page(rows.exclude(pk=rows.first().pk)).has_uncounted


def test_what_follows_the_first_rows_of_several_parts_is_found(accounts):
    rows = accounts(9).order_by("pk")
    parts = [rows.filter(name__endswith=end) for end in "0123456789"]
    assert first_beyond(parts, ("-name", "-pk"), 4)["name"] == sorted((row.name for row in rows), reverse=True)[4]
    assert first_beyond(parts, ("-name", "-pk"), 9) is None


def test_parts_that_are_each_sorted_become_one_list(accounts):
    rows = accounts(60)
    parts = [rows.filter(name__endswith=end).order_by("name", "pk") for end in ("1", "2", "3")]
    whole = [row for row in rows.order_by("name", "pk") if row.name[-1] in "123"]
    assert [*merged(parts, ("name", "id"))] == whole
    assert [*merged(parts, ("name", "id"), 10)][:10] == whole[:10]
    assert merged(parts[:1], ("name", "id")) is parts[0]
