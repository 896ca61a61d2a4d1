"""The long tests. A run starts with them, so that none keeps one process busy at the end."""

import gc
from collections import Counter

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

# The longest first.
SLOW_FILES = [
    "tests/browser/",
    "tests/portal/test_run.py",
    "tests/races/",
    "tests/portal/test_ledger_volume.py",
    "tests/faults/test_broker.py",
    "tests/faults/test_lost_replies.py",
    "tests/marketplace/test_connecting_races.py",
    "tests/portal/test_embedded.py",
    "tests/test_whole_story.py",
    "tests/portal/test_limits_served.py",
    "tests/test_database_away.py",
    "tests/gateways/",
]
# They try everything there is, one thing at a time, or with thousands of rows; or migrate, start
# processes or wait for timeouts.
WHOLE = (
    "tests/test_people_table.py",
    "tests/test_swapped_ids.py",
    "tests/test_every_action.py",
    "tests/test_lists.py",
    "tests/portal/test_once.py",
    "tests/portal/test_bounds.py",
    "tests/portal/test_headers.py",
    "tests/portal/test_logs.py",
    "tests/portal/test_verify_receipt.py",
    "tests/portal/egress/test_how_much.py",
    "tests/test_settings.py",
    "tests/consent/test_reasons.py",
    "tests/marketplace/test_many_installations.py",
    "tests/marketplace/test_overview.py",
    "tests/protocol/test_fuzz.py",
    "tests/machine/",
    "tests/marketplace/test_package_work.py",
)
# They start processes, or need the database emptied afterwards.
SLOW_FIXTURES = {"live_server", "servers", "start_servers", "transactional_db", "vendors", "worker"}


def _file(item):
    return item.nodeid.partition("::")[0]


def _place(item):
    """The file's place among the long ones; past their end for any other."""
    file, long = _file(item), [*SLOW_FILES, *WHOLE]
    return next((place for place, name in enumerate(long) if file.startswith(name)), len(long))


class ByFile(LoadFileScheduling):
    """Give each process whole files, and one process all that a browser looks at: it remembers what it saw."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "tests/browser/" if file.startswith("tests/browser/") else file


def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log) if config.option.dist == "loadfile" else None


def _commits(item):
    marker = item.get_closest_marker("django_db")
    return bool(marker and (marker.kwargs.get("transaction") or marker.args[:1] == (True,)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark slow tests, and put their files first, then the files of most tests."""
    for item in items:
        slow = _file(item).startswith((*SLOW_FILES, *WHOLE))
        if slow or SLOW_FIXTURES & {*item.fixturenames} or _commits(item):
            item.add_marker("slow")
    sizes = Counter(_file(item) for item in items)
    items.sort(key=lambda item: (_place(item), -sizes[_file(item)], _file(item)))


def pytest_collection_finish():
    """Exempt the collected tests from garbage collection, which would search them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
