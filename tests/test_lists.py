"""Every page and API answer takes as many queries, and is as long, for any number of rows as for 10."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, override_settings

from portal.foundation.pages import PER_PAGE
from tests.lists import grow, prepare
from tests.people.table import read

pytestmark = pytest.mark.django_db
FEW = 10
# For each kind of person; signed-out people see no lists.
WHO = ("dev", "admin", "agent", "rev", "super")
# Every URL is in the table, so a new list is measured without being named here.
LINES = [
    line for line in read()[1] if line.method == "GET" and any(line.cells.get(who, "")[:3] == "200" for who in WHO)
]
# Files of any length, which are streamed.
FILES = ("GET ledger/export.csv", "GET ledger/export.json")
# Selects of what a person works with, an option each: the teams, their free OAuth credentials.
SELECTS = (
    "GET credentials/new/",
    "GET apps/new/",
    "GET/bare apps/<slug:slug>/",
)
# What one row may take on a page.
ROW = 2500


def viewers(line):
    """Return two people who see what the line is about, or one who sees the page without it."""
    seen = [who for who in WHO if line.cells.get(who, "")[:3] == "200"]
    return [who for who in seen if line.cells[who].endswith("+")][:2] or seen[:1]


@pytest.fixture(scope="module", params=[290, pytest.param(9_990, marks=pytest.mark.soak)])
def sizes(world, request):
    """{page: (queries, bytes) of each viewer} with 10 rows, and the same with 300 or ten thousand."""

    def measure():
        return {str(line): {who: look(line, who) for who in viewers(line)} for line in LINES}

    def look(line, who):
        with transaction.atomic():
            with CaptureQueriesContext(connection) as queries:
                response = world.send(who, line.address, line.method, line.about)
                length = len(response.getvalue() if response.streaming else response.content)
            transaction.set_rollback(True)
        assert response.status_code == 200, (str(line), who, response.status_code)
        return len(queries), length

    # So that nobody is asked for their password, however slow the machine is.
    with transaction.atomic(), override_settings(ACCOUNT_REAUTHENTICATION_TIMEOUT=24 * 60 * 60):
        prepare(world)
        grow(world, FEW - 1, "few")
        few = measure()
        grow(world, request.param, "many", guarded=False)
        yield few, measure()
        transaction.set_rollback(True)


@pytest.mark.parametrize("page", [str(line) for line in LINES])
def test_a_page_takes_as_many_queries_and_is_as_long_for_any_number_of_rows_as_for_ten(sizes, page):
    few, many = (taken[page] for taken in sizes)
    for who, (queries, length) in many.items():
        if page != FILES[0]:
            # Fewer where the first page of the process read what each process reads once.
            assert queries <= few[who][0], (who, "queries")
        if page not in (*FILES, *SELECTS):
            assert length - few[who][1] <= 2 * (PER_PAGE - FEW) * ROW, (who, "bytes")
