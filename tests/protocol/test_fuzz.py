"""Whatever a stranger sends: never a 5xx, nothing given, nothing changed (RFC 6749 sections 3 and 5.2, RFC 9700 section 4)."""

from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.models import AuthorizationCode
from tests.factories import EDIT, REDIRECT_URI, VIEW
from tests.oauth import basic, pkce
from tests.protocol.asking import FORM, refused
from tests.rows import changed, contents

pytestmark = pytest.mark.django_db

RUNS = [pytest.param(40, id="40"), pytest.param(4000, id="4000", marks=pytest.mark.soak)]
PARAMETERS = [
    "grant_type", "code", "code_verifier", "redirect_uri", "refresh_token", "account", "scope", "client_id", "client_secret", "token",
    "token_type_hint", "response_type", "state", "code_challenge", "code_challenge_method", "installation", "prompt", "response_mode",
    "resource", "request", "request_uri", "claims", "nonce", "max_age", "id_token_hint", "access_token", "user", "scopes", "client",
    "scope[a]", "", "approval_prompt", "login_hint", "decision", "shown", "optional",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Text as WSGI hands headers on.
HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)


@pytest.fixture
def world(external, other, tokens, ada, cast, product_secret, send):
    """What really exists, so that near misses are met; `other` asks, whom none of it was given to."""
    code, verifier = external.code_for(ada, account=cast.acme.slug, prompt="consent")
    send("introspect", "token=x", **basic("freshservice", product_secret))  # notes that the secret was used
    real = [
        *tokens.values(), code, verifier, pkce()[1], external.client.client_id, other.client.client_id, external.secret[:-1], VIEW,
        f"{VIEW} {EDIT}", REDIRECT_URI, "https://evil.example/", cast.acme.slug, cast.globex.slug, "authorization_code", "refresh_token",
        "client_credentials", "password", "code", "token", "S256", "plain", "none", "consent", "query", "agree", "freshservice", "", "\0",
        "x" * 5000, "é", "%", "[]", "{}", "0", "-1", "amp_at_", "amp_rt_" + "A" * 80,
    ]  # fmt: skip
    value = st.sampled_from([str(each) for each in real]) | TEXT
    pairs = st.lists(st.tuples(st.sampled_from(PARAMETERS) | TEXT, value), max_size=8)
    encoded = pairs.map(urlencode) | pairs.map(
        lambda pairs: "&".join(f"{name}={quote(text, safe='&=%;+')}" for name, text in pairs)
    )
    asking = basic(other.client.client_id, other.secret)["HTTP_AUTHORIZATION"]
    product = basic("freshservice", product_secret)["HTTP_AUTHORIZATION"]
    bearer = f"Bearer {tokens['access_token']}"
    header = st.sampled_from([asking, product, bearer, f"{asking},{bearer}", "Basic Og==", "Basic", ""]) | HEADER
    return SimpleNamespace(
        value=value,
        encoded=encoded,
        body=encoded.map(str.encode) | st.binary(max_size=60),
        header=header,
        content_type=st.sampled_from(
            [FORM] * 6 + [f"{FORM}; charset=utf-16", "application/json", "multipart/form-data", ""]
        ),
        asking=asking,
        product=product,
        bearer=bearer,
    )


def fuzz(runs, act, **strategies):
    """Run `act` on drawn arguments; after each, the database is as it was."""
    before = contents()

    @settings(max_examples=runs, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(**strategies)
    def run(**drawn):
        act(**drawn)
        assert changed(before) == {}

    run()


def refused_if_not(response, *fine):
    """One of RFC 6749's refusals, or one of the answers that are fine."""
    if response.status_code in fine:
        return
    if response.status_code == 413:
        assert response.json()["error"] == "invalid_request"
        return
    error = response.json()["error"]
    assert error in ("invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "unsupported_grant_type")
    refused(response, error, 401 if error == "invalid_client" else 400)


@pytest.mark.parametrize("runs", RUNS)
def test_the_token_endpoint_gives_nothing(world, send, runs):
    """RFC 6749 section 5.2"""

    def act(body, header, content_type):
        refused_if_not(send("token", body, content_type, HTTP_AUTHORIZATION=header))

    fuzz(runs * 2, act, body=world.body, header=world.header | st.just(world.asking), content_type=world.content_type)


@pytest.mark.parametrize("runs", RUNS)
def test_the_revocation_endpoint_ends_nothing(world, send, runs):
    """RFC 7009 section 2.2"""

    def act(body, header, content_type):
        refused_if_not(send("revoke", body, content_type, HTTP_AUTHORIZATION=header), 200)

    fuzz(runs, act, body=world.body, header=world.header | st.just(world.asking), content_type=world.content_type)


@pytest.mark.parametrize("runs", RUNS)
def test_the_introspection_endpoint_tells_products_only(world, send, runs):
    """RFC 7662 section 2.2"""

    def act(body, header, content_type):
        response = send("introspect", body, content_type, HTTP_AUTHORIZATION=header)
        refused_if_not(response, 200)
        if response.status_code == 200:
            assert header == world.product and isinstance(response.json()["active"], bool)

    fuzz(runs, act, body=world.body, header=world.header | st.just(world.product), content_type=world.content_type)


@pytest.mark.parametrize("runs", RUNS)
def test_the_authorization_endpoint_sends_nobody_elsewhere_and_gives_no_code(world, ada, client, external, cast, runs):
    """RFC 6749 section 4.1.2.1, RFC 9700 section 4.11.2: neither who is signed in nor who is not, by GET or by a form."""
    base = {
        "response_type": "code", "client_id": external.client.client_id, "redirect_uri": REDIRECT_URI, "state": "xyz",
        "code_challenge": pkce()[1], "code_challenge_method": "S256", "account": cast.acme.slug,
    }  # fmt: skip
    ours = ("/accounts/login/?", "/accounts/reauthenticate/?")

    def act(left_out, query, body, is_post, is_signed_in):
        kept = urlencode({name: value for name, value in base.items() if name not in left_out})
        method = "POST" if is_post else "GET"
        browser = ada if is_signed_in else client
        response = browser.generic(method, f"/oauth/authorize?{kept}&{query}", body, content_type=FORM)
        assert response.status_code in (200, 302, 303, 400, 403, 404, 409, 413), response.status_code
        assert "no-store" in response["Cache-Control"]
        if "Location" in response:
            assert response["Location"].startswith((REDIRECT_URI + "?error=", *ours))
            assert response["Location"].isascii() and response["Location"].isprintable()

    fuzz(
        runs * 2, act, left_out=st.sets(st.sampled_from(sorted(base)), max_size=2), query=world.encoded, body=world.body,
        is_post=st.booleans(), is_signed_in=st.booleans(),
    )  # fmt: skip
    assert AuthorizationCode.objects.filter(used_at=None).count() == 1, "the one that was there"


@pytest.mark.parametrize("runs", RUNS)
def test_the_check_opens_what_is_published_only(world, client, runs):
    """RFC 6750 section 3, section 6 of the design"""
    piece = st.sampled_from(
        ["/api/v2/tickets", "/", "..", ".", "%2f", "%2e", "7", "closed", "filter", "?", "#", ";", "\\", "//"]
    )
    uri = st.lists(piece | HEADER, max_size=5).map("".join)
    method = st.sampled_from(["GET", "get", "HEAD", "PUT", "DELETE", "POST", "GET,PUT", ""]) | HEADER
    plain = {"/api/v2/tickets", "/api/v2/tickets/filter"}

    def act(uri, method, header, more):
        told = {"HTTP_X_ORIGINAL_METHOD": method, "HTTP_X_ORIGINAL_URI": uri, "HTTP_AUTHORIZATION": header, **more}
        response = client.get("/oauth/check/freshservice", **told)
        assert response.status_code in (200, 401)
        if response.status_code == 200:
            path = uri.partition("?")[0].rstrip("/")
            assert header == world.bearer and method.upper() in ("GET", "HEAD", "PUT")
            assert path in plain or (path.startswith("/api/v2/tickets/") and path.count("/") == 4)

    forged = st.sampled_from(["HTTP_X_FORWARDED_METHOD", "HTTP_X_FORWARDED_URI", "HTTP_X_HTTP_METHOD_OVERRIDE"])
    more = st.just({}) | st.dictionaries(forged, uri | method, max_size=2)
    fuzz(runs * 2, act, uri=uri, method=method, header=world.header | st.just(world.bearer), more=more)
