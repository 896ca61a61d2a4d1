"""Redirect URIs at their edges: what may be registered, and what a request may name (C5, RFC 9700 sections 2.1 and 4.1)."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.uri_validate import is_absolute_uri

from credentials.models import Kind
from credentials.redirect_uris import is_loopback, matches, validate
from tests import factories
from tests.oauth import answer, authorize_url, pkce
from tests.protocol.asking import each
from tests.worlds import shared

HTTPS, HTTP, V6 = "https://app.example/a/cb?x=1", "http://localhost:3000/cb", "http://[::1]/cb"


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example:8080/cb",
        "http://localhost.evil.example:3000/cb",
        "http://localhost./cb",
        "http://localhost%2eevil.example/cb",
        "http://127.0.0.1./cb",
        "http://127.0.0.2/cb",
        "http://0.0.0.0/cb",
        "http://0177.0.0.1/cb",
        "http://2130706433/cb",
        "http://[0:0:0:0:0:0:0:1]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://[::1%25lo]/cb",
        "http://[::1].evil.example/cb",
        "http://[::1/cb",
        "http://::1/cb",
        "http://LOCALHOST/cb",
        "HTTP://localhost/cb",
        "http://localhost:0/cb",
        "http://localhost:65536/cb",
        "http://localhost:/cb",
        "http://localhost:8o/cb",
        "http://localhost:\u0661/cb",
        "http://localhost:+80/cb",
        "http://localhost:80:90/cb",
        "http://user@localhost/cb",
        "http://user:password@localhost/cb",
        "http://localhost:3000@evil.example/cb",
        "http://localhost?x=1",
        "http://localhost/cb#",
        "https://user:password@app.example/cb",
        "https://@app.example/cb",
        "https://app.example:443@evil.example/cb",
        "https://app.example./cb",
        "https://app.example../cb",
        "https://app.example/..",
        "https://app.example/%2e%2e/cb",
        "https://app.example/%2E./cb",
        "https://app.example/.%2e",
        "https://app.example/cb%",
        "https://app.example/cb?x=%zz",
        "https://app.example/[x]",
        "https://app.example/cb?x[]=1",
        "https://app.example/cb\n",
        "https://app.example\t/cb",
        "https://app.example:65536/cb",
        "https://app.example:-1/cb",
        "https:app.example/cb",
        "https:/app.example/cb",
        "https:///app.example/cb",
        "https://[::1]:443/cb",
        " https://app.example/cb",
        "https://app.example/cb https://evil.example/cb",
        "*",
        "",
    ],
)
def test_what_two_systems_could_read_differently_is_not_registered(uri):
    """RFC 9700 section 4.1.3, RFC 8252 section 8.3"""
    with pytest.raises(ValidationError):
        validate(uri)


@pytest.mark.parametrize(
    "uri",
    [HTTPS, HTTP, V6, "http://[::1]:65535/cb?x=1", "https://app.example:65535/", "https://app.example/%2e%2e%2fcb", "http://127.0.0.1"],
)  # fmt: skip
def test_what_every_system_reads_alike_is(uri):
    """RFC 8252 section 7.3, RFC 3986 section 2.1"""
    assert validate(uri) == uri and is_absolute_uri(uri)


PARTS = st.sampled_from(
    ["https://", "http://", "HTTPS://", "app.example", "localhost", "127.0.0.1", "[::1]", ":", ":80", ":0", "/", "//", "?", "#",
     "@", ".", "..", "%2e", "%", "%zz", "[", "]", "\\", " ", "\n", "\x00", "é", "x=1", "&", ";", "~", "code=", "*"]
)  # fmt: skip


@given(st.lists(PARTS | st.text(max_size=3), max_size=8).map("".join))
@settings(max_examples=400, deadline=None, database=None)
def test_whatever_may_be_registered_can_be_asked_for_and_matches_itself_only(uri):
    """RFC 6749 section 3.1.2: an absolute URI without a fragment, https or loopback."""
    try:
        validate(uri)
    except ValidationError:
        return
    assert is_absolute_uri(uri) and matches(uri, uri) and "#" not in uri
    assert uri.lower().startswith("https://") or is_loopback(uri)
    for other in (uri + "x", uri + "/", uri[:-1], uri + "\n", uri.upper() + "X", uri.replace("://", "://x@")):
        assert not matches(uri, other)


NEAR = [
    HTTPS.replace("https", "HTTPS"), HTTPS.replace("app", "App"), HTTPS.replace("/cb", "/./cb"), HTTPS.replace("/cb", "/b/../cb"),
    HTTPS.replace("/cb", "/%2e/cb"), HTTPS.replace("cb", "%63b"), HTTPS.replace("example", "example."), HTTPS + "\n", HTTPS + " ",
    HTTPS.replace(".example", ".example:443"), HTTPS.replace("//", "//user@"), HTTPS.replace("?", "?&"), HTTPS + "&", HTTPS + "&y=2",
    HTTPS.replace("/a", "//a"), HTTPS.replace("/a/", "/a%2f"), HTTPS.replace("x=1", "x=2"), HTTPS.partition("?")[0], HTTPS + "#",
    HTTP.replace("3000", "0"), HTTP.replace("3000", "99999"), HTTP.replace("3000", "\u0663\u0660"), HTTP.replace("3000", ""),
    HTTP.replace("3000", "3000\n"), HTTP.replace("3000", "+3000"), HTTP.replace("3000", "1@evil.example:3000"),
    HTTP.replace("localhost", "127.0.0.1"), HTTP.replace("localhost", "localhost."), HTTP.replace("localhost", "localhost.evil.example"),
    HTTP.replace("http", "https"), HTTP + "/", HTTP + "\n",
    V6.replace("::1", "0:0:0:0:0:0:0:1"), V6.replace("::1", "::1%25lo"), V6.replace("[::1]", "[::1].evil.example"), V6.replace("[::1]", "::1"),
    f"{HTTPS},{HTTP}", f"{HTTPS} {HTTP}",
]  # fmt: skip


@shared
def row(cast):
    return factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[HTTPS, HTTP, V6])[0]


@pytest.mark.django_db
def test_what_is_near_a_registered_redirect_uri_is_told_on_our_page(row, ada):
    """RFC 9700 section 4.1.3, RFC 6749 section 4.1.2.1: no normalising, no redirect, and the URI is shown as text only."""
    challenge = pkce()[1]
    for uri in NEAR:
        response = ada.get(authorize_url(row, challenge, redirect_uri=uri, scope="made.up"))
        assert response.status_code == 400 and "Location" not in response, uri
        assert f'href="{uri}' not in response.content.decode()


@pytest.mark.django_db
@each("uri", [HTTPS, HTTP, V6, HTTP.replace(":3000", ""), HTTP.replace("3000", "65535"), V6.replace("]", "]:8080")])
def test_the_registered_one_or_another_port_of_a_loopback_is_answered_where_it_is(row, ada, uri):
    """RFC 8252 section 7.3"""
    response = ada.get(authorize_url(row, pkce()[1], redirect_uri=uri, scope="made.up"))
    assert answer(response)["error"] == "invalid_scope"
    assert response["Location"].startswith(uri + ("&" if "?" in uri else "?") + "error=")
