"""Every fault of the table once, shortened, and a portal with a mistake that the checker must find."""

import pytest

from portal.demo import embedded
from tests.faults import checker, run
from tests.faults.table import FAULTS, Fault, nothing

pytestmark = pytest.mark.soak
# A test machine may be busy with other things.
SLACK = 4


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    embedded._remove(tmp_path)


def test_under_every_fault_no_answer_is_wrong_and_nothing_is_lost(folder):
    possible = [fault for fault in FAULTS if fault.is_possible]
    with run.stage_of(folder) as stage:
        rows = checker.judge(run.run(stage, possible, seconds=3), slack=SLACK)
    print(*run.table(rows), sep="\n")
    assert [each for row in rows for each in row.wrong] == []
    assert {row.name for row in rows} == {fault.name for fault in possible}
    assert all(row.answers[checker.OK] and row.answers[checker.REFUSED] for row in rows)


def test_validity_cached_for_two_seconds_is_found_wrong(folder):
    with run.stage_of(folder, application="tests.faults.caching_wsgi:application") as stage:
        (row,) = checker.judge(run.run(stage, [Fault("cached", nothing)], seconds=10), slack=SLACK)
    assert any(each["why"].startswith("accepted although over") for each in row.wrong)
