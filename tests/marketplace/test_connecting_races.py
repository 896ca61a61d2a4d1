"""Several processes use one connection: only one talks to the vendor, and an ending meanwhile wins."""

import os
import signal

import pytest
from django.db.models.functions import Now

from marketplace.actions import installing
from marketplace.models import Connection, Installation
from marketplace.tasks import sweep_connections
from marketplace.vendors import actions as connecting
from marketplace.vendors import running
from marketplace.vendors.oauth_client import VendorError
from portal.foundation.limits.rates import TooMany
from tests.clock import eventually
from tests.marketplace.connected import code_of_vendor, connect_directly
from tests.servers import start_worker, together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def calendar(vendors):
    return vendors[0]


@pytest.fixture
def row(multi):
    return connect_directly(multi)


def now(row):
    return Connection.objects.get(pk=row.pk)


def test_eight_simultaneous_refreshes_of_a_connection_ask_the_vendor_once(row, calendar):
    """A vendor that rotates refresh tokens would revoke everything at the second request."""
    for number in range(1, 3):
        Connection.objects.update(refresh_at=Now())
        calendar.clear_log()
        results = together(*[lambda: connecting.refresh_connection(row)] * 8)
        assert {result.generation for result in results} == {number + 1}
        assert len(calendar.log("/token")) == 1
    assert now(row).is_connected


def test_a_rejected_token_is_refreshed_once_for_everyone_who_used_it(row, calendar):
    results = together(*[lambda: connecting.refresh_connection(row, rejected=row.generation)] * 6)
    assert {result.generation for result in results} == {2} and len(calendar.log("/token")) == 2


def test_uninstalling_never_waits_for_a_vendor(row, multi, cast, calendar):
    """M5: even while a refresh hangs at the vendor; the tokens that it brings are revoked."""
    Connection.objects.update(refresh_at=Now())
    calendar.switch(token_fault={"seconds": 2, "times": 1})

    def uninstall():
        eventually(lambda: calendar.log("/token")[-1]["form"].get("grant_type") == "refresh_token")
        installing.uninstall(multi.installation, by=cast.admin)
        return now(row).generation

    refreshed, during = together(lambda: connecting.refresh_connection(row), uninstall)
    assert during == 1, "the uninstall came first"
    assert not isinstance(refreshed, Exception) and not Connection.objects.live().exists()
    connecting.revoke_connection(row)
    assert now(row).erased_at and not calendar.tokens()


def test_connecting_twice_at_once_makes_one_connection(multi, cast):
    codes = [code_of_vendor(multi, "calendar", {"room": "4"}) for _twice in range(2)]
    results = together(
        *[
            lambda code=code: connecting.finish_connection(multi.installation, "calendar", by=cast.admin, **code)
            for code in codes
        ]
    )
    assert not [result for result in results if isinstance(result, Exception)], results
    assert Connection.objects.filter(ended_at=None).count() == 1


def test_disconnecting_and_connecting_at_once_ends_as_one_of_the_two(row, multi, cast):
    code = code_of_vendor(multi, "calendar", {"room": "4"})
    results = together(
        lambda: connecting.disconnect(row, by=cast.admin),
        lambda: connecting.finish_connection(multi.installation, "calendar", by=cast.admin, **code),
    )
    assert not [result for result in results if isinstance(result, Exception)], results
    assert Connection.objects.filter(ended_at=None).count() <= 1


def test_a_killed_workers_refresh_is_done_by_the_next_worker(row, calendar):
    """Its lock is released with it, and the database knows which refreshes are due (T3)."""
    Connection.objects.update(refresh_at=Now())
    calendar.clear_log()
    calendar.switch(token_fault={"seconds": 30, "times": 1})
    worker = start_worker()
    try:
        sweep_connections()
        eventually(lambda: calendar.log("/token"))
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(180)
    finally:
        worker.kill()
    assert connecting.refresh_connection(row).generation == 2


def test_the_worker_refreshes_revokes_and_erases_by_itself(row, multi, cast, calendar, worker):
    Connection.objects.update(refresh_at=Now())
    sweep_connections()
    eventually(lambda: now(row).generation == 2)
    installing.uninstall(multi.installation, by=cast.admin)
    eventually(lambda: now(row).erased_at)
    assert not calendar.tokens()


def test_a_reply_lost_after_the_vendor_rotated_breaks_the_connection(row, calendar):
    """Nobody knows the new token and the vendor refuses the old one, so a person has to connect again."""
    Connection.objects.update(refresh_at=Now())
    calendar.switch(token_fault={"status": 0, "after": True, "times": 1})
    with pytest.raises(VendorError):
        connecting.refresh_connection(row)
    assert now(row).is_connected
    Connection.objects.update(refresh_at=Now())
    with pytest.raises(VendorError):
        connecting.refresh_connection(row)
    assert now(row).broken_at


def test_connecting_again_wins_over_a_refresh_under_way(row, multi, cast, calendar):
    """Otherwise tokens issued for other settings, or to another person, would be stored with theirs."""
    Connection.objects.update(refresh_at=Now())
    code = code_of_vendor(multi, "calendar", {"room": "5"})
    calendar.switch(token_fault={"seconds": 2, "times": 1})

    def connect_again():
        eventually(lambda: calendar.log("/token")[-1]["form"].get("grant_type") == "refresh_token")
        return connecting.finish_connection(multi.installation, "calendar", by=cast.admin, **code)

    _refreshed, again = together(lambda: connecting.refresh_connection(row), connect_again)
    assert (now(row).values, now(row).tokens, now(row).generation) == ({"room": "5"}, again.tokens, 2)


def test_simultaneous_callers_wait_for_a_hanging_vendor_once(row, calendar):
    calendar.clear_log()
    calendar.switch(token_fault={"seconds": 1, "status": 503})
    results = together(*[lambda: connecting.refresh_connection(row, rejected=row.generation)] * 6)
    assert len(calendar.log("/token")) == 1 and len([one for one in results if isinstance(one, VendorError)]) == 1
    # Later callers ask the vendor again.
    with pytest.raises(VendorError):
        connecting.refresh_connection(now(row), rejected=row.generation)


def run(multi, cast):
    installation = Installation.objects.get(pk=multi.installation.pk)
    caller = running.Caller(cast.admin.memberships.get(account=multi.installation.account))
    return running.run(installation, "events", context={"id": "7"}, caller=caller)


def test_an_app_with_a_hanging_vendor_leaves_threads_for_others(row, multi, cast, calendar, settings):
    settings.LIMITS_ARE_ON = True
    calendar.switch(api_fault={"seconds": 3})
    results = together(*[lambda: run(multi, cast)] * 8)
    assert len([one for one in results if isinstance(one, TooMany)]) == 5, results
    # Their threads are free again.
    calendar.switch(api_fault=None)
    assert run(multi, cast).status == 200


def test_ending_a_connection_stops_the_retries_of_a_call_under_way(row, multi, cast, calendar):
    calendar.switch(api_fault={"status": 503, "headers": {"Retry-After": "3"}})

    def uninstall():
        eventually(lambda: calendar.log("/api"))
        installing.uninstall(multi.installation, by=cast.admin)

    refused, _ended = together(lambda: run(multi, cast), uninstall)
    assert isinstance(refused, running.NeedsConnection) and len(calendar.log("/api")) == 1
