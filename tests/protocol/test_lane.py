"""The fast lane answers what Django would, by one statement, and leaves everything else to Django (T2, T9)."""

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from consent.actions import ending
from consent.lane import front as lane
from consent.models import AccessToken, Consent
from credentials import actions as credentials
from credentials.models import ProductSecret
from credentials.registry import import_document
from portal.accounts.actions import accounts
from tests import factories
from tests.laning import off_the_lane
from tests.oauth import basic
from tests.protocol.asking import each
from tests.servers import together

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def product(tokens):
    """The product's HTTP Basic header; its secret was used just now, so that no use of it is recorded."""
    secret = credentials.make_product_secret(factories.product(), by=None)
    ProductSecret.objects.update(last_used_at=Now())
    return basic("freshservice", secret)


@pytest.fixture
def ask(client, tokens, product):
    """Functions that send a check or an introspection of `tokens`, by name."""

    def check(path="/oauth/check/freshservice", method="GET", **changes):
        told = {"HTTP_X_ORIGINAL_METHOD": "GET", "HTTP_X_ORIGINAL_URI": "/api/v2/tickets/1"}
        sent = {**told, "HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}", **changes}
        return client.generic(method, path, **sent)

    def introspect(path="/oauth/introspect", body=None, content_type=FORM, **changes):
        body = f"token={tokens['access_token']}" if body is None else body
        return client.post(path, body.format(token=tokens["access_token"]), content_type, **{**product, **changes})

    return {"check": check, "introspect": introspect}


BOTH = each("kind", ["check", "introspect"])


def same(send):
    """Send a request down the lane and to Django alone; return which lane answered, once both said the same."""
    lane = send()
    with off_the_lane():
        django = send()
    assert (lane.status_code, lane.content) == (django.status_code, django.content)
    assert dict(lane.headers) == dict(django.headers)
    return lane.lane


@BOTH
def test_a_good_request_is_answered_in_the_lane_as_django_would(ask, kind):
    assert same(ask[kind]) == "fast" and ask[kind]().status_code == 200


@BOTH
def test_a_good_request_takes_one_statement(ask, kind):
    """T2: validity is read at each; a product's routes and scopes are kept under their version."""
    ask[kind]()
    with CaptureQueriesContext(connection) as queries:
        assert ask[kind]().lane == "fast"
    assert len(queries) == 1, [query["sql"] for query in queries]


@pytest.mark.parametrize("kind", ["check", "introspect"])
@pytest.mark.parametrize(
    "end",
    [
        lambda cast: Consent.objects.update(revoked_at=Now(), reason="revoked"),
        lambda cast: ending.end_access(Consent.objects.get().access, by=cast.admin, reason="revoked"),
        lambda cast: accounts.suspend_account(cast.acme, reason="Late", by=None),
        lambda cast: AccessToken.objects.update(revoked_at=Now()),
    ],
    ids=["revoked", "access ended", "account suspended", "token given back"],
)
def test_what_ended_is_refused_by_django_at_once(ask, cast, kind, end):
    assert ask[kind]().lane == "fast"
    end(cast)
    answer = ask[kind]()
    assert answer.lane == "django" and (answer.status_code == 401 or answer.json() == {"active": False})


def test_a_call_that_is_not_open_is_left_to_django(ask):
    for changes in (
        {"HTTP_X_ORIGINAL_URI": "/api/v2/closed"},
        {"HTTP_X_ORIGINAL_URI": "/api/v2/tickets/../tickets"},
        {"HTTP_X_ORIGINAL_METHOD": "DELETE"},
        {"HTTP_X_FORWARDED_METHOD": "GET", "HTTP_X_FORWARDED_URI": "/api/v2/tickets"},
        {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"},
        {"HTTP_AUTHORIZATION": ""},
        {"path": "/oauth/check/nobody"},
        {"path": "/oauth/check/no/body"},
    ):
        assert same(lambda changes=changes: ask["check"](**changes)) == "django", changes


@each(
    "changes",
    [
        {"body": "token={token}&token={token}"}, {"body": "token="}, {"body": ""}, {"body": "token={token}&scope=%00"},
        {"body": "token={token}&token_type_hint=%00"}, {"body": "token={token}&token_type_hint=" + "x" * 5000},
        {"body": "token={token}&scope=" + "x" * 5000}, {"body": "token={token}%00"},
        {"body": '{{"token": "{token}"}}', "content_type": "application/json"}, {"HTTP_AUTHORIZATION": "Basic x"},
        {"body": "token={token}&more=" + "x" * 9000}, {"body": "token=é{token}"},
        {**basic("freshservice", "amp_ps_wrong")}, {"path": "/oauth/introspect?token=x"},
    ],
)  # fmt: skip
def test_an_unusual_introspection_is_left_to_django(ask, changes):
    assert same(lambda: ask["introspect"](**changes)) == "django"


@BOTH
def test_what_middleware_refuses_is_left_to_django(ask, kind):
    for changes in ({"HTTP_HOST": "evil.example"}, {"HTTP_HOST": ""}, {"HTTP_COOKIE": 'a="\\000"'}):
        assert same(lambda changes=changes: ask[kind](**changes)) == "django", changes


def test_a_gateway_may_announce_the_body_of_a_large_upload_which_it_never_sends(ask):
    for length in ("0", "5000000"):
        assert same(lambda length=length: ask["check"](CONTENT_LENGTH=length)) == "fast"
    assert same(lambda: ask["check"](CONTENT_LENGTH="5000000", HTTP_AUTHORIZATION="")) == "django"


@BOTH
def test_an_answer_over_https_has_hsts_as_djangos_has(ask, settings, kind):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 31536000
    for scheme in ("https", "https, http", "http", "ftp"):
        assert same(lambda scheme=scheme: ask[kind](HTTP_X_FORWARDED_PROTO=scheme)) == "fast"


def test_an_import_is_seen_by_the_next_check(ask):
    """What is kept of a product's routes is kept under the version that each check reads."""
    assert ask["check"]().lane == "fast"
    document = {**factories.DOCUMENT, "paths": {}}
    import_document(factories.product(), document)
    assert ask["check"]().status_code == 401


def test_the_last_use_of_a_products_secret_is_recorded_once_a_minute(ask):
    ProductSecret.objects.update(last_used_at=None)
    assert ask["introspect"]().lane == "fast"
    used = ProductSecret.objects.get().last_used_at
    assert used and ask["introspect"]().lane == "fast" and ProductSecret.objects.get().last_used_at == used


@pytest.mark.django_db(transaction=True)
def test_no_thread_keeps_a_connection_between_answers(tokens):
    """Servers end idle threads, and the pool never gets back what such a thread had."""

    def answer_and_look():
        headers = {"HTTP_X_ORIGINAL_METHOD": "GET", "HTTP_X_ORIGINAL_URI": "/api/v2/tickets/1"}
        bearer = f"Bearer {tokens['access_token']}"
        sent = RequestFactory().get("/oauth/check/freshservice", HTTP_AUTHORIZATION=bearer, **headers)
        found = lane.in_lane(None)(sent.environ, lambda *_answer: None)
        return found, connection.connection

    assert together(answer_and_look) == [([b""], None)]
