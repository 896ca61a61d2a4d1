"""Limits are counted in Redis, by its clock, and not at all while Redis is away."""

import contextlib
import gc
import re
import time

import pytest
import redis
from django.urls import reverse
from structlog.testing import capture_logs

from portal.foundation.limits import address, breaker, rates
from tests.servers import together

pytestmark = pytest.mark.django_db


def keys():
    return [key.decode() for key in redis.Redis.from_url(rates.settings.REDIS_URL).scan_iter("*")]


def connections():
    """Return how many connections there are to this process's database of the server."""
    store = redis.Redis.from_url(rates.settings.REDIS_URL)
    number = store.get_connection_kwargs()["db"]
    return sum(int(client["db"]) == number for client in store.client_list())


def move(seconds):
    """Move the limiter's clock by making all its stored times older by so many seconds."""
    store = redis.Redis.from_url(rates.settings.REDIS_URL)
    for key in store.scan_iter("limit:*"):
        if store.type(key) == b"list":
            times = [int(time) - int(seconds * 1_000_000) for time in store.lrange(key, 0, -1)]
            store.delete(key)
            store.rpush(key, *times)
        else:
            store.set(key, int(store.get(key)) - int(seconds * 1_000_000))


def count_passed(mark, tries):
    count = 0
    for _number in range(tries):
        with contextlib.suppress(rates.TooMany):
            rates.spend(mark)
            count += 1
    return count


def holds_in_every_minute(log):
    """Check `log`, the start and end of each passed act in seconds; an act on the edge of a minute may belong to the next."""
    return all(sum(began <= start and end < began + 60 for start, end in log) <= 50 for began, _ended in log)


def test_threads_that_end_leave_no_connection_behind(rate):
    """A server ends idle threads and starts others, so that in time there are any number."""
    rate("sign-in by address", 1, 5000)
    told = []

    def count():
        try:
            rates.spend(("sign-in by address", "somebody"))
        except rates.TooMany:
            told.append("too many")

    before = connections()
    for _number in range(120):
        together(count)
    assert len(told) == 119, "each thread reaches Redis"
    gc.collect()
    assert connections() <= before


def test_a_burst_passes_then_an_even_rate_and_refusals_do_not_count(rate):
    # Over more than an hour, so that a slow machine does not make room for another.
    rate("sign-in by address", 5, 5000)
    mark = ("sign-in by address", "somebody")
    assert count_passed(mark, 50) == 5
    with pytest.raises(rates.TooMany) as refusal:
        rates.spend(mark)
    assert 0 < refusal.value.wait <= 1000
    rates.spend(("sign-in by address", "somebody else"))
    move(1000)
    assert count_passed(mark, 50) == 1
    move(3000)
    assert count_passed(mark, 50) == 3


@pytest.mark.parametrize("steps", [[0, 59, 59, 59], [0, 1] * 30, [30, 30, 30, 30], [7] * 30, [59.9, 0.05] * 4])
def test_no_minute_has_more_request_templates_than_the_limit(rate, steps):
    """In any 60 seconds, not only those that begin with a pause."""
    moved, log = 0, []
    rate("requests by app and account", 50, 60)
    mark = ("requests by app and account", "app", "acme")
    for step in steps:
        move(step)
        moved += step
        for _number in range(60):
            began = moved + time.monotonic()
            if count_passed(mark, 1):
                log.append((began, moved + time.monotonic()))
    assert len(log) >= 50 and holds_in_every_minute(log)


def test_a_request_template_may_be_called_again_when_the_wait_is_over(rate):
    # Twenty times as long, so that a slow machine does not make room for another.
    rate("requests by app and account", 50, 1200)
    mark = ("requests by app and account", "app", "acme")
    assert count_passed(mark, 20) == 20
    move(400)
    assert count_passed(mark, 30) == 30
    with pytest.raises(rates.TooMany) as refusal:
        rates.spend(mark)
    assert 0 < refusal.value.wait <= 800
    move(800)
    assert count_passed(mark, 60) == 20
    rates.give_back(mark)
    assert count_passed(mark, 60) == 1


@pytest.mark.soak
def test_no_real_minute_has_more_request_templates_than_the_limit(rate):
    """Ask as fast as possible for two and a half minutes, by the clock of Redis itself."""
    mark, log = ("requests by app and account", "app", "acme"), []
    ends = time.monotonic() + 150
    while time.monotonic() < ends:
        began = time.monotonic()
        if count_passed(mark, 1):
            log.append((began, time.monotonic()))
        time.sleep(0.002)
    assert len(log) >= 150, "the first fifty pass at once, and fifty more in each minute"
    assert holds_in_every_minute(log)


def test_no_mark_is_counted_when_one_is_full(rate):
    rate("token by client", 1, 60)
    rate("token by address", 2, 60)
    rates.spend(("token by client", "a"))
    for _number in range(3):
        with pytest.raises(rates.TooMany):
            rates.spend(("token by address", "x"), ("token by client", "a"))
        with pytest.raises(rates.TooMany):
            rates.spend(("token by address", "x"), within=[("token by client", "a")])
    rates.spend(("token by address", "x"), within=[("token by client", "b")])
    rates.spend(("token by address", "x"), ("token by client", "b"))


def test_a_mark_given_back_no_longer_counts(rate):
    rate("token by client", 2, 60)
    for _number in range(10):
        rates.spend(("token by client", "a"))
        rates.give_back(("token by client", "a"))
    assert keys() == []
    rates.spend(("token by client", "a"))
    rates.give_back(("token by client", "a"), ("token by client", "b"))
    for _number in range(2):
        rates.spend(("token by client", "a"))


# --- counting while the caller goes on ---


def test_a_limit_that_is_full_refuses_whoever_waits_for_the_count(rate):
    rate("token by client", 1, 60)
    rates.begin_to_spend(("token by client", "a"))()
    wait = rates.begin_to_spend(("token by client", "a"))
    with pytest.raises(rates.TooMany):
        wait()


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(rate):
    rate("token by client", 1, 60)
    rates.spend(("token by client", "a"))
    rates.begin_to_spend(("token by client", "a"))
    rates.spend(("token by client", "b"))


def test_a_connection_lost_while_the_caller_goes_on_is_made_again(rate):
    rate("token by client", 1, 60)
    rates.spend(("token by client", "a"))
    wait = rates.begin_to_spend(("token by client", "a"))
    host, port = rates._redis().connection._sock.getsockname()
    redis.Redis.from_url(rates.settings.REDIS_URL).client_kill_filter(addr=f"{host}:{port}")
    with pytest.raises(rates.TooMany):
        wait()


def test_a_count_ends_on_the_connection_on_which_it_began(rate):
    """The first calls of several threads may each create one."""
    rate("token by client", 1, 60)
    rates.spend(("token by client", "a"))
    wait = rates.begin_to_spend(("token by client", "a"))
    rates._redis.cache_clear()
    with pytest.raises(rates.TooMany):
        wait()


def test_while_redis_is_away_nothing_is_sent_ahead(rate, monkeypatch):
    """One thread at a time tries whether Redis is back, and only by waiting for an answer."""
    rate("token by client", 1, 60)
    rates.spend(("token by client", "a"))
    monkeypatch.setattr(rates.breaker, "is_away", True)
    monkeypatch.setattr(rates.breaker, "_next_try", float("inf"))
    begun = []
    monkeypatch.setattr(rates._redis(), "begin", lambda *given: begun.append(given), raising=False)
    rates.begin_to_spend(("token by client", "a"))()
    assert begun == []


def test_eight_simultaneous_callers_get_no_more_than_one(rate):
    rate("token by client", 100, 3600)

    def fifty():
        passed = 0
        for _number in range(50):
            try:
                rates.spend(("token by client", "a"))
                passed += 1
            except rates.TooMany:
                pass
        return passed

    # With a hundred an hour, room for another comes back only after 36 seconds.
    assert sum(together(*[fifty] * 8)) == 100


def test_counts_expire_and_contain_no_names(rate, cast, client):
    client.post(reverse("account_login"), {"login": cast.admin.email, "password": "wrong"}, REMOTE_ADDR="192.0.2.1")
    client.post(reverse("account_reset_password"), {"email": cast.admin.email}, REMOTE_ADDR="192.0.2.1")
    store = redis.Redis.from_url(rates.settings.REDIS_URL)
    assert len(keys()) >= 5
    for key in keys():
        assert re.fullmatch(r"(limit|cache):[0-9a-f]{40}", key)
        assert store.pttl(key) > 0
        assert b"192.0.2" not in store.dump(key) and cast.admin.email.encode() not in store.dump(key)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "found"),
    [
        (0, "", "192.0.2.1"),
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "10.0.0.1, 203.0.113.9", "203.0.113.9"),
        (2, "10.0.0.1, 203.0.113.9, 198.51.100.2", "203.0.113.9"),
        (2, "198.51.100.2", "198.51.100.2"),
        (1, "203.0.113.9:4711", "203.0.113.9"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (1, "[2001:db8:1:2:ffff::1]:443", "2001:db8:1:2::"),
        (1, "::1", "::"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "nonsense", "192.0.2.1"),
        (1, "203.0.113.9, " + "x" * 5000, "192.0.2.1"),
    ],
)
def test_the_address_is_the_one_that_the_outermost_trusted_proxy_saw(settings, proxies, forwarded, found):
    settings.TRUSTED_PROXIES = proxies
    assert address.address_of({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": forwarded}) == found


def test_callers_without_an_address_share_one_name():
    assert address.address_of({}) == address.address_of({"REMOTE_ADDR": ""}) == "unknown"


# --- without Redis ---


def test_an_alarm_is_raised_at_once_and_repeated_while_redis_is_retried(monkeypatch):
    """Redis is retried every REST_SECONDS, and not asked in between."""
    clock, tries = [1000.0], []
    monkeypatch.setattr(breaker.time, "monotonic", lambda: clock[0])

    def away():
        tries.append(clock[0])
        raise redis.ConnectionError

    own_breaker = breaker.Breaker()
    with capture_logs() as logs:
        for _second in range(2 * breaker.ALARM_SECONDS):
            for _request in range(3):
                assert own_breaker.call(away, "open") == "open"
            clock[0] += 1
        assert [entry["event"] for entry in logs] == ["rate_limits_off"] * 2
        assert {entry["log_level"] for entry in logs} == {"error"}
        assert len(tries) == 2 * breaker.ALARM_SECONDS / breaker.REST_SECONDS
        clock[0] += breaker.REST_SECONDS
        assert [own_breaker.call(lambda: "closed", "open") for _request in range(3)] == ["closed"] * 3
        assert [entry["event"] for entry in logs][2:] == ["rate_limits_on_again"]
