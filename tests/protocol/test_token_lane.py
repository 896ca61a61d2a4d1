"""The fast lane answers good token requests as Django would, in two round trips, and leaves everything else to Django."""

import re
from urllib.parse import urlencode

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from consent.actions import ending
from consent.lane import tokens as lane
from consent.models import AccessToken, AuthorizationCode, Consent, RefreshToken
from credentials import actions as credentials
from credentials.models import Client, ClientSecret
from credentials.secrets import CLIENT_SECRET, generate
from portal.accounts.actions import accounts, memberships
from portal.accounts.models import Membership, User
from portal.foundation.limits import rates
from tests import factories
from tests.clock import advance
from tests.factories import EDIT, VIEW
from tests.laning import off_the_lane
from tests.oauth import REDIRECT_URI, basic
from tests.protocol.asking import each, nothing_changed
from tests.worlds import shared

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"
SIDES = ("external", "external_agent", "installed", "installed_agent")
GRANTS = ("refresh_token", "authorization_code", "client_credentials")
# What no answer has twice.
FRESH = ("access_token", "refresh_token", "expires_in")


class Asking:
    """An app's side with a family and unused codes, and what it sends."""

    def __init__(self, side, browser, account):
        self.side, self.browser, self.account = side, browser, account
        self.tokens = self.side.tokens_for(browser, account=account)
        # Neither use is recorded again within the minute and the hour.
        ClientSecret.objects.update(last_used_at=Now())
        Consent.objects.update(last_issued_at=Now())

    def form(self, grant):
        if grant == "authorization_code":
            code, verifier = self.side.code_without_page()
            return {"code": code, "code_verifier": verifier, "redirect_uri": REDIRECT_URI}
        if grant == "client_credentials":
            return {"account": self.account}
        return {"refresh_token": self.tokens["refresh_token"]}

    def send(self, grant, *, post=False, path="/oauth/token", content_type=FORM, body=None, headers=(), **changes):
        """Ask for tokens; `post` sends the secret in the body, and `changes` are more or other fields."""
        form = {"grant_type": grant, **self.form(grant), **changes}
        who = self.side.client.client_id, self.side.secret
        sent = {} if post else basic(*who)
        if post:
            form |= {"client_id": who[0], "client_secret": who[1], **changes}
        fields = {name: value for name, value in form.items() if value is not None}
        text = urlencode(fields) if body is None else body.format(form=urlencode(fields))
        response = self.side.http.post(path, text, content_type, **{**sent, **dict(headers)})
        if response.status_code == 200 and "refresh_token" in response.json():
            self.tokens = response.json()
        return response


@pytest.fixture
def asks(request, cast, browse):
    """A function that returns the Asking of a side, by its name."""

    def of(name):
        side = request.getfixturevalue(name)
        return Asking(side, browse(cast.agent if "agent" in name else cast.admin), cast.acme.slug)

    return of


@shared
def asking(external, cast, browse):
    return Asking(external, browse(cast.admin), cast.acme.slug)


def same(send):
    """Send a request down the lane, and the like to Django alone; return the lane's answer, once both said the same."""
    lane = send()
    with off_the_lane():
        django = send()
    told, other = lane.json(), django.json()
    # Both in the same order, and the time that Django takes is off its lifetime.
    assert [*told] == [*other] and 0 <= told["expires_in"] - other["expires_in"] <= 60
    assert all(told[name] == other[name] for name in told if name not in FRESH)
    assert lane.status_code == django.status_code and dict(lane.headers) == dict(django.headers)
    return lane


@pytest.mark.parametrize("name", SIDES)
@each("grant", GRANTS)
def test_a_good_request_is_answered_in_the_lane_as_django_would(asks, name, grant):
    if grant == "client_credentials" and "agent" in name:
        return
    ask = asks(name)
    scopes = ({}, {"scope": VIEW}, {"scope": f" {VIEW}  {VIEW} "}, {"scope": ""})
    for more in scopes if grant != "authorization_code" else ({}, {"redirect_uri": None}, {"redirect_uri": ""}):
        for post in (False, True):
            answer = same(lambda more=more, post=post: ask.send(grant, post=post, **more))
            assert (answer.status_code, answer.lane) == (200, "fast"), (more, post, answer.content)
            token = AccessToken.objects.get(token_checksum=lane.digest(answer.json()["access_token"]))
            assert token.scope == answer.json()["scope"] and token.consent.granted
            assert ask.side.call(answer.json()["access_token"]).status_code == 200


@pytest.mark.parametrize("grant", GRANTS)
def test_a_good_request_takes_two_statements_or_one(asking, grant):
    """Each is a transaction of its own, so that there is no BEGIN and no COMMIT."""
    asking.send(grant)
    form = {"grant_type": grant, **asking.form(grant)}
    with CaptureQueriesContext(connection) as queries:
        answer = asking.side.token(**form)
    assert answer.lane == "fast" and len(queries) == (1 if grant == "client_credentials" else 2), [
        query["sql"] for query in queries
    ]


def test_a_rotation_writes_what_django_writes(asking):
    def rows():
        family = RefreshToken.objects.get()
        token = AccessToken.objects.latest("pk")
        assert family.previous_made_at < family.current_made_at == token.expires - lane.settings.ACCESS_TOKEN_LIFETIME
        assert token.created <= family.current_made_at and token.family == family and token.consent == family.consent
        return family.generation, token.scope, family.scope

    first = asking.send("refresh_token", scope=VIEW)
    assert first.lane == "fast" and rows() == (2, VIEW, f"{EDIT} {VIEW}" if EDIT < VIEW else f"{VIEW} {EDIT}")
    assert asking.send("refresh_token").lane == "fast" and rows()[0] == 3


def test_an_exchange_writes_what_django_writes(asking):
    assert asking.send("authorization_code").lane == "fast"
    code, family = AuthorizationCode.objects.latest("pk"), RefreshToken.objects.latest("created_at")
    assert code.family == family and code.used_at == family.current_made_at and family.scope == code.scope
    assert family.created_at <= family.current_made_at and (family.generation, family.reason) == (1, "")


ENDS = {
    "revoked": lambda cast, ask: Consent.objects.update(revoked_at=Now(), reason="revoked"),
    "expired": lambda cast, ask: Consent.objects.update(expires_at=Now()),
    "access ended": lambda cast, ask: ending.end_access(Consent.objects.get().access, by=cast.admin, reason="revoked"),
    "account suspended": lambda cast, ask: accounts.suspend_account(cast.acme, reason="Late", by=None),
    "client suspended": lambda cast, ask: credentials.suspend_client(
        ask.side.client, reason="Harm", by=factories.reviewer()
    ),
    # As lift_client() does where a secret leaked.
    "leaked": lambda cast, ask: Client.objects.update(not_before=Now()),
    "all taken back": lambda cast, ask: ending.trim_consent(
        Consent.objects.get(), scopes={*Consent.objects.get().granted}, by=cast.admin
    ),
    "given back": lambda cast, ask: ask.side.revoke(ask.tokens["refresh_token"]),
}
OF_AGENTS = {
    "left": lambda cast, ask: memberships.end_membership(
        Membership.objects.get(account=cast.acme, user=cast.agent), by=cast.admin
    ),
    "deactivated": lambda cast, ask: User.objects.filter(pk=cast.agent.pk).update(is_active=False),
}
CASES = [
    *((end, "external", "refresh_token") for end in ENDS),
    *((end, "external", "authorization_code") for end in ENDS if end != "given back"),
    *((end, "external", "client_credentials") for end in ENDS if end not in ("given back", "leaked")),
    *((end, "external_agent", grant) for end in OF_AGENTS for grant in GRANTS[:2]),
]


@pytest.mark.parametrize(("end", "name", "grant"), CASES)
def test_nothing_is_issued_in_the_lane_under_what_ended(asks, cast, end, name, grant):
    ask = asks(name)
    assert ask.send(grant).lane == "fast"
    form = {"grant_type": grant, **ask.form(grant)}
    {**ENDS, **OF_AGENTS}[end](cast, ask)
    before = AccessToken.objects.count(), RefreshToken.objects.count()
    answer = ask.side.token(**form)
    assert (answer.lane, answer.status_code // 100) == ("django", 4), answer.content
    assert (AccessToken.objects.count(), RefreshToken.objects.count()) == before


UNUSUAL = [
    {"body": "{form}&grant_type=refresh_token"}, {"body": "{form}&scope=%00"}, {"body": "{form}&unknown=x"},
    {"body": "{form}&scope=" + "x" * 5000}, {"body": "{form}&x=" + "x" * 9000}, {"body": "{form}&é=1"}, {"body": ""},
    {"body": "{{}}", "content_type": "application/json"}, {"content_type": f"{FORM}; charset=utf-8"},
    {"path": "/oauth/token?x=1"}, {"path": "/oauth/token?client_id=x"}, {"path": "/oauth/token/"},
    {"client_id": "another"}, {"client_secret": "amp_cs_x"}, {"headers": {"HTTP_AUTHORIZATION": "Basic x"}},
    {"headers": basic("nobody", "amp_cs_wrong")}, {"headers": basic("x" * 101, "amp_cs_wrong")}, {"grant_type": "password"},
    {"grant_type": None}, {"headers": {"HTTP_HOST": "evil.example"}}, {"headers": {"HTTP_COOKIE": 'a="\\000"'}},
]  # fmt: skip


@pytest.mark.parametrize("grant", GRANTS)
@each("changes", UNUSUAL)
def test_an_unusual_request_is_left_to_django(asking, grant, changes):
    assert asking.send(grant, **changes).lane == "django"


@pytest.mark.parametrize(
    ("grant", "changes"),
    [
        ("refresh_token", {"refresh_token": None}), ("refresh_token", {"refresh_token": "amp_rt_x"}),
        ("refresh_token", {"scope": "freshservice.tickets.none"}), ("refresh_token", {"scope": f"{VIEW} nothing"}),
        ("authorization_code", {"code": "amp_ac_x"}), ("authorization_code", {"code_verifier": "x" * 43}),
        ("authorization_code", {"code_verifier": "x"}), ("authorization_code", {"redirect_uri": "https://evil.example"}),
        ("client_credentials", {"account": "globex"}), ("client_credentials", {"account": None}),
        ("client_credentials", {"scope": "nothing"}),
        *((grant, {"scope": f"{VIEW}{space}{EDIT}"}) for grant in GRANTS[::2] for space in "\t\n\x85\u3000"),
    ],
)  # fmt: skip
def test_a_request_that_is_not_good_changes_nothing(asking, grant, changes):
    form = {"grant_type": grant, **asking.form(grant), **changes}
    with nothing_changed():
        answer = asking.side.token(**{name: value for name, value in form.items() if value is not None})
    assert (answer.lane, answer.status_code) == ("django", 400), answer.content


def test_another_clients_token_or_code_is_not_accepted(asks):
    mine, other = asks("external"), asks("installed")
    for grant in GRANTS[:2]:
        answer = other.send(grant, **mine.form(grant))
        assert (answer.lane, answer.json()["error"]) == ("django", "invalid_grant")


def test_an_agents_client_gets_nothing_by_client_credentials(asks, cast):
    ask = asks("external_agent")
    answer = ask.send("client_credentials")
    assert (answer.lane, answer.json()["error"]) == ("django", "unauthorized_client")


def test_a_refresh_token_that_was_replaced_is_left_to_django(asking):
    """T6: a retry gets the same pair again, and reuse ends the family."""
    first = asking.tokens["refresh_token"]
    pair = asking.send("refresh_token").json()
    again = asking.send("refresh_token", refresh_token=first)
    assert (again.lane, again.json()["refresh_token"]) == ("django", pair["refresh_token"])
    advance(2 * lane.settings.REFRESH_RETRY_WINDOW)
    assert asking.send("refresh_token", refresh_token=first).status_code == 400
    assert RefreshToken.objects.get().reason == "reused"


def test_a_code_is_exchanged_once(asking):
    form = asking.form("authorization_code")
    assert asking.send("authorization_code", **form).lane == "fast"
    answer = asking.send("authorization_code", **form)
    assert (answer.lane, answer.json()["error"]) == ("django", "invalid_grant")
    assert RefreshToken.objects.latest("created_at").reason == "code_reused"


@pytest.mark.parametrize("grant", GRANTS)
def test_last_uses_are_recorded_once_a_minute_and_once_an_hour(asking, grant):
    for rows, field in ((ClientSecret.objects.filter(client=asking.side.client), "last_used_at"), (Consent.objects, "last_issued_at")):  # fmt: skip
        rows.update(**{field: None})
        assert asking.send(grant).lane == "fast"
        noted = getattr(rows.get(), field)
        assert noted and asking.send(grant).lane == "fast" and getattr(rows.get(), field) == noted


def test_each_request_is_counted_once(asking, monkeypatch):
    """Django does not count again what the lane counted and then left to it."""
    counted = []
    monkeypatch.setattr(rates, "_begin", lambda marks: counted.extend(marks) or (lambda: None))
    for more, answered_by in (({}, "fast"), ({"scope": "nothing"}, "django")):
        counted.clear()
        assert asking.send("refresh_token", **more).lane == answered_by
        assert [(cost, name) for cost, name, *_whose in counted] == [(1, "token by address"), (1, "token by client")]


def test_a_wrong_secret_uses_up_no_clients_limit(asking, limited, monkeypatch):
    """Client credentials are counted before the one statement that finds the secret, and given back if it does not."""
    monkeypatch.setitem(rates.RATES, "token by client", (1, 3600))
    monkeypatch.setitem(rates.RATES, "token failed by address", (2, 3600))
    good = asking.side.secret
    for status in (401, 401, 429):
        asking.side.secret = generate(CLIENT_SECRET)
        answer = asking.send("client_credentials")
        assert (answer.lane, answer.status_code) == ("django", status)
    asking.side.secret = good
    assert (asking.send("client_credentials").status_code, asking.send("client_credentials").status_code) == (200, 429)
    monkeypatch.setitem(rates.RATES, "token failed by address", (9, 36_000))
    asking.side.secret = generate(CLIENT_SECRET)
    assert asking.send("client_credentials").status_code == 401, "whether it is full is not told"


@pytest.mark.parametrize(
    ("grant", "lacking"),
    [
        ("refresh_token", {"refresh_token": None}),
        ("authorization_code", {"code": None}),
        ("authorization_code", {"code_verifier": None}),
        ("authorization_code", {"code_verifier": "short"}),
        ("client_credentials", {"account": None}),
    ],
)
def test_a_stranger_who_asks_for_nothing_uses_up_no_clients_limit(asking, limited, monkeypatch, grant, lacking):
    """Django refuses such a request before it looks at the secret."""
    monkeypatch.setitem(rates.RATES, "token by client", (1, 3600))
    good = asking.side.secret
    asking.side.secret = generate(CLIENT_SECRET)
    assert [asking.send(grant, **lacking).status_code for _number in range(2)] == [400, 400]
    asking.side.secret = good
    assert asking.send("client_credentials").status_code == 200


def test_a_full_limit_is_refused_by_django(asking, settings, monkeypatch):
    settings.LIMITS_ARE_ON = True
    monkeypatch.setattr(rates.breaker, "call", lambda *_: 7)
    answer = asking.send("refresh_token")
    assert (answer.lane, answer.status_code, answer["Retry-After"]) == ("django", 429, "7")


@pytest.mark.parametrize("grant", GRANTS)
def test_if_the_database_goes_away_at_the_write_the_answer_is_503(asking, grant, monkeypatch):
    """It may have been committed, so that trying again could end the family of a code that was just exchanged."""
    form = {"grant_type": grant, **asking.form(grant)}

    def lost(*_arguments, **_given):
        raise OperationalError("lost")

    for statement in (lane._REFRESH, lane._EXCHANGE, lane._STANDING):
        monkeypatch.setattr(statement, "row", lost)
    with nothing_changed():
        answer = asking.side.token(**form)
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer["Retry-After"]) > 0 and answer["Cache-Control"] == "no-store"


def test_no_value_that_was_sent_is_in_the_sql(asking):
    with CaptureQueriesContext(connection) as queries:
        asking.send("refresh_token")
    assert not any(re.search("amp_|" + VIEW, query["sql"]) for query in queries)


@pytest.mark.parametrize("grant", GRANTS)
def test_nothing_is_issued_over_http_where_django_redirects(asking, settings, grant):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    form = asking.form(grant)
    settings.SECURE_SSL_REDIRECT = True
    assert asking.send(grant, **form, headers={"HTTP_X_FORWARDED_PROTO": "https"}).lane == "fast"
    for headers in ({}, {"HTTP_X_FORWARDED_PROTO": "http"}):
        answer = asking.send(grant, **form, headers=headers)
        assert (answer.lane, answer.status_code) == ("django", 301)
