"""Limits in a real server with the production numbers, on its own Redis, which hangs and then stops."""

import signal
import time
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from portal.demo import embedded
from portal.foundation.limits import rates
from tests.browsing import Browser
from tests.clock import eventually
from tests.factories import PASSWORD
from tests.oauth import authorize_url, pkce
from tests.servers import Http, Server, together
from tests.worlds import shared

pytestmark = pytest.mark.django_db(transaction=True)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def valkey(tmp_path):
    process, url = embedded._start_valkey(tmp_path)
    process.url = url
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait(180)


@pytest.fixture
def limited_server(valkey, tmp_path):
    """A server with a log; `said` counts a word in it."""
    with open(tmp_path / "server.log", "wb") as file:
        server = Server(REDIS_URL=valkey.url, log=file, TRUSTED_PROXIES="1", EMAIL_URL="dummymail://")
        server.said = lambda word: (tmp_path / "server.log").read_text().count(word)
        try:
            yield server.wait()
        finally:
            server.stop()


def form(side, secret):
    client = {"client_id": side.client.client_id, "client_secret": secret}
    return urlencode({"grant_type": "client_credentials", "account": "nobody", **client})


def ask(server, side, secret, address="203.0.113.1"):
    forwarded = {"X-Forwarded-For": address}
    return Http(server.port).request("POST", "/oauth/token", form(side, secret), **FORM, **forwarded)


def failures_until_refused(server, side):
    for number in range(200):
        answer = ask(server, side, "amp_cs_wrong")
        if answer.status == 429:
            assert 0 < int(answer.headers["Retry-After"]) <= 60
            return number
        assert answer.status == 401, answer
    return None


def everything_works(server, side, person):
    """Sign in, request a new password, authorize and get a token, all at the same time."""

    def sign_in():
        Browser(server.url, person)

    def reset_password():
        browser = Browser(server.url)
        page = browser.submit(browser.open("/accounts/password/reset/"), email="nobody@example.com")
        assert page.status_code == 200

    def authorize():
        url = authorize_url(side.client, pkce()[1])
        assert Http(server.port).get(url).status == 302

    def token():
        # The right secret, for an account without a consent.
        assert ask(server, side, side.secret).status == 400

    assert together(sign_in, reset_password, authorize, token, authorize, token) == [None] * 6


@shared
def person(cast):
    """A person with a slow password hash: a separate server does not accept the tests' fast one."""
    hasher = PBKDF2PasswordHasher()
    cast.agent.password = hasher.encode(PASSWORD, hasher.salt())
    cast.agent.save()
    return cast.agent


def unlimited_without_waiting(server, side):
    """Tell whether a request of 30 took less than waiting for Redis twice, half a second each, would take."""
    took = []
    for _number in range(30):
        begin = time.monotonic()
        assert ask(server, side, "amp_cs_wrong").status == 401
        took.append(time.monotonic() - begin)
    return min(took) < 1


def test_everything_works_while_redis_hangs_with_an_alarm_and_limits_return_with_it(
    external, person, limited_server, valkey
):
    assert failures_until_refused(limited_server, external) >= rates.RATES["token failed by address and client"][0]
    assert ask(limited_server, external, external.secret).status == 400, (
        "the right secret passes; nobody has agreed to anything yet"
    )
    assert limited_server.said("rate_limits_off") == 0
    valkey.send_signal(signal.SIGSTOP)
    assert unlimited_without_waiting(limited_server, external)
    everything_works(limited_server, external, person)
    assert limited_server.said("rate_limits_off") == 1
    valkey.send_signal(signal.SIGCONT)
    eventually(
        lambda: (
            ask(limited_server, external, external.secret, "203.0.113.2")
            and limited_server.said("rate_limits_on_again")
        )
    )
    assert failures_until_refused(limited_server, external) is not None


def test_everything_works_without_redis_with_one_alarm_a_minute(external, person, limited_server, valkey):
    valkey.kill()
    valkey.wait(180)
    assert unlimited_without_waiting(limited_server, external)
    everything_works(limited_server, external, person)
    assert limited_server.said("rate_limits_off") == 1


def test_callers_cannot_choose_their_address(external, limited_server):
    """A caller's address stands before the one that the proxy appends, in one header or two."""

    def guess(number):
        http = HTTPConnection("127.0.0.1", limited_server.port, timeout=180)
        body = form(external, "amp_cs_wrong").encode()
        http.putrequest("POST", "/oauth/token")
        forged = f"198.51.100.{number}"
        for value in ([forged, "203.0.113.7"], [f"{forged}, 203.0.113.7"])[number % 2]:
            http.putheader("X-Forwarded-For", value)
        http.putheader("Content-Type", FORM["Content-Type"])
        http.putheader("Content-Length", str(len(body)))
        http.endheaders(body)
        return http.getresponse().status

    assert 429 in {guess(number) for number in range(60)}
    assert ask(limited_server, external, external.secret, "203.0.113.8").status == 400
