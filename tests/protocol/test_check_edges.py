"""The gateway's check and bearer tokens at their edges (RFC 6750 sections 2 and 3; section 6 of the design)."""

import uuid

import pytest

from credentials.models import Endpoint, Product
from tests.factories import DELETE, EDIT, VIEW
from tests.protocol.asking import each, nothing_changed

pytestmark = pytest.mark.django_db

NGINX = ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_ORIGINAL_URI")
TRAEFIK = ("HTTP_X_FORWARDED_METHOD", "HTTP_X_FORWARDED_URI")
GATEWAYS = each("gateway", [NGINX, TRAEFIK])


@pytest.fixture
def check(client, tokens):
    """A function that asks about a call as a gateway does; `tokens` may view and edit tickets, and no more."""

    def ask(names, method="GET", uri="/api/v2/tickets", by="GET", **headers):
        told = {
            **dict(zip(names, (method, uri), strict=True)),
            "HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}",
        }
        return client.generic(by, "/oauth/check/freshservice", **{**told, **headers})

    return ask


def not_open(response):
    assert response.status_code == 401 and "no-store" in response["Cache-Control"]
    body = response.json()
    assert body == {"error": "insufficient_scope", "error_description": "This route is not open to OAuth clients"}
    assert 'error="insufficient_scope"' in response["WWW-Authenticate"]
    assert not [name for name in response.headers if name.startswith("X-Portal")]


# --- which call it is ---


@GATEWAYS
@each(
    "uri",
    [
        "/api/v2/tickets/..%2f", "/api/v2/tickets/..%2fclosed", "/api/v2/tickets/%2e%2e/closed", "/api/v2/tickets/%2E%2E%2Fclosed",
        "/api/v2/tickets/..%5cclosed", "/api/v2/tickets/..\\closed", "/api/v2/tickets/%252e%252e/closed", "/api/v2/tickets%2f7",
        "/api/v2/tickets/..;/closed", "/api/v2/tickets/./7", "/api/v2/tickets/7/.", "/api/v2/tickets/7/..", "/api/v2/./tickets",
        "/api/v2//tickets", "//api/v2/tickets", "///api/v2/tickets", "/api/v2/tickets//", "/api/v2/tickets/7//", "api/v2/tickets",
        "/%61pi/v2/tickets", "/api/v2/ticket%73", "/api/v2/tickets%20", "/api/v2/tickets%", "/api/v2/tickets%zz", "/api/v2/tickets%00",
        "/API/v2/tickets", "/api/v2/Tickets", "/api/v2/tickets#", "/api/v2/tickets#/../closed", "/api/v2/tickets;jsessionid=1",
        "/api/v2/tickets.json", "/api/v2/tickets/é", "/api/v2/tickets/7\t", "/api/v2/tickets,/api/v2/tickets", "*", "",
        "http://localhost/api/v2/tickets", "//evil.example/api/v2/tickets", "/api/v2/tickets/7/closed", "?/api/v2/tickets",
    ],
)  # fmt: skip
def test_a_path_that_two_systems_could_read_differently_is_not_open(check, gateway, uri):
    """RFC 3986 section 6 is what no two of them do alike."""
    not_open(check(gateway, uri=uri))


@GATEWAYS
@each(
    "uri",
    [
        "/api/v2/tickets", "/api/v2/tickets/", "/api/v2/tickets?", "/api/v2/tickets?next=/../closed", "/api/v2/tickets?x=%00%2f..%2f",
        "/api/v2/tickets/?x=1", "/api/v2/tickets?_method=DELETE&x=//", "/api/v2/tickets/7", "/api/v2/tickets/7/", "/api/v2/tickets/7?a?b",
    ],
)  # fmt: skip
def test_a_query_string_or_one_trailing_slash_is_no_other_route(check, gateway, uri):
    """RFC 3986 section 3.4"""
    response = check(gateway, uri=uri)
    assert response.status_code == 200 and response["X-Portal-Scope"] == f"{EDIT} {VIEW}"


@GATEWAYS
def test_the_method_is_the_calls_and_not_that_of_the_subrequest(check, gateway):
    """RFC 9110 section 9: whatever method the gateway asks with; unknown ones are not open."""
    with nothing_changed():
        for by in ("GET", "POST", "HEAD", "DELETE", "OPTIONS"):
            assert check(gateway, "get", by=by).status_code == 200
            assert check(gateway, "DELETE", "/api/v2/tickets/7", by=by).status_code == 401
        assert check(gateway, "DELETE", "/api/v2/tickets/7").json()["scope"] == "freshservice.tickets.delete"
        for method in (
            "OPTIONS",
            "TRACE",
            "CONNECT",
            "PROPFIND",
            "GET,DELETE",
            "GET DELETE",
            "GETX",
            " GET",
            "",
        ):
            not_open(check(gateway, method))


@GATEWAYS
def test_head_is_judged_as_get_unless_it_is_published_itself(check, gateway):
    """RFC 9110 section 9.3.2: the same answer without its body, so the same scope."""
    good = check(gateway, "GET").status_code
    assert check(gateway, "HEAD").status_code == check(gateway, "head", "/api/v2/tickets/filter").status_code == good
    not_open(check(gateway, "HEAD", "/api/v2/closed"))
    not_open(check(gateway, "HEAD", "/api/v2/nowhere"))
    item = Endpoint.objects.get(method="GET", path="/api/v2/tickets/{id}")
    own = {"product": item.product, "method": "HEAD", "path": item.path, "pattern": item.pattern}
    Endpoint.objects.update_or_create(**own, defaults={"scopes": [DELETE]})
    Product.objects.update(published=uuid.uuid4())
    assert check(gateway, "HEAD", "/api/v2/tickets/7").json()["scope"] == DELETE
    assert check(gateway, "HEAD", "/api/v2/tickets/filter").status_code == good, "its own route is more specific"
    assert check(gateway, "GET", "/api/v2/tickets/7").status_code == good
    Endpoint.objects.filter(**own).delete()
    Product.objects.update(published=uuid.uuid4())


@GATEWAYS
@each("name", ["X_HTTP_METHOD_OVERRIDE", "X_HTTP_METHOD", "X_METHOD_OVERRIDE"])
def test_a_call_that_asks_to_be_taken_for_another_method_is_not_open(check, gateway, name):
    """The product may follow such a header; what it would do then was not checked."""
    header = f"HTTP_{name}"
    for method in ("DELETE", "delete", "PATCH", ""):
        not_open(check(gateway, **{header: method}))
    assert check(gateway, **{header: "get"}).status_code == 200, "the same method is no override"


def test_two_gateways_that_tell_different_calls_are_not_believed(check):
    """A caller can send the headers that its own gateway does not know, and so does not overwrite."""
    closed = {"method": "DELETE", "uri": "/api/v2/closed"}
    opened = {"method": "GET", "uri": "/api/v2/tickets"}
    for names, forged in ((NGINX, TRAEFIK), (TRAEFIK, NGINX)):
        not_open(check(names, **closed, **dict(zip(forged, opened.values(), strict=True))))
        not_open(check(names, **opened, **dict(zip(forged, closed.values(), strict=True))))
        # Half of what one tells, and half of what the other does, is no call.
        not_open(check(names, **opened, **{forged[0]: "DELETE"}))
        not_open(check(names, **opened, **{forged[1]: "/api/v2/closed"}))
        not_open(check((names[0], forged[1]), **opened))
        assert check(names, **opened, **{forged[0]: "", forged[1]: ""}).status_code == 200
        assert check(names, **opened, **dict(zip(forged, opened.values(), strict=True))).status_code == 200


def test_a_gateway_that_tells_nothing_or_half_of_it_opens_nothing(client, check, tokens):
    """Section 6 of the design: a route that is unpublished."""
    auth = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    not_open(client.get("/oauth/check/freshservice", **auth))
    for name, value in zip(NGINX + TRAEFIK, ("GET", "/api/v2/tickets") * 2, strict=True):
        not_open(client.get("/oauth/check/freshservice", **auth, **{name: value}))
    for other in ("X_REWRITE_URL", "X_ORIGINAL_URL", "X_FORWARDED_PATH"):
        not_open(
            client.get(
                "/oauth/check/freshservice",
                **auth,
                HTTP_X_ORIGINAL_METHOD="GET",
                **{f"HTTP_{other}": "/api/v2/tickets"},
            )
        )
    told = {"HTTP_X_ORIGINAL_METHOD": "GET", "HTTP_X_ORIGINAL_URI": "/api/v2/tickets"}
    not_open(client.get("/oauth/check/unknown", **auth, **told))
    for path in (
        "/oauth/check/",
        "/oauth/check/freshservice/",
        "/oauth/check/fresh%2fservice",
        "/oauth/check/../token",
    ):
        assert client.get(path, **auth, **told).status_code == 404


# --- who calls ---


def call_of(client, **headers):
    return client.get(
        "/oauth/check/freshservice", HTTP_X_ORIGINAL_METHOD="GET", HTTP_X_ORIGINAL_URI="/api/v2/tickets", **headers
    )


@each("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_read_in_any_case(client, external, tokens, scheme):
    """RFC 9110 section 11.1"""
    header = {"HTTP_AUTHORIZATION": f"{scheme} {tokens['access_token']}"}
    assert call_of(client, **header).status_code == 200
    assert client.get("/sandbox/api/v2/tickets", **header).status_code == 200


@each(
    ("value", "error"),
    [
        ("", None), ("Bearer", None), ("Bearer ", None), ("{token}", None), ("Basic {token}", None), ("Token {token}", None),
        ("Bearer{token}", None), ("Bearer:{token}", None), ("Bearer\t{token}", None), ("DPoP {token}", None),
        ("Bearer {token} {token}", "invalid_token"), ("Bearer {token},Bearer {token}", "invalid_token"),
        ("Bearer {token}, Basic eDp5", "invalid_token"), ('Bearer "{token}"', "invalid_token"), ("Bearer token={token}", "invalid_token"),
        ("Bearer Bearer {token}", "invalid_token"), ("Bearer {token}=", "invalid_token"), ("Bearer {upper}", "invalid_token"),
        ("Bearer \u00e9", "invalid_token"), ("Bearer \x00", "invalid_token"), ("Bearer " + "A" * 100_000, "invalid_token"),
        ("Bearer amp_at_" + "A" * 100_000, "invalid_token"), ("Bearer {refresh}", "invalid_token"),
    ],
)  # fmt: skip
def test_any_other_header_is_no_token_or_an_unknown_one(client, tokens, value, error):
    """RFC 6750 sections 2.1 and 3.1: malformed, doubled, huge; without a token the answer names no error."""
    token = tokens["access_token"]
    header = {"HTTP_AUTHORIZATION": value.format(token=token, upper=token.upper(), refresh=tokens["refresh_token"])}
    with nothing_changed():
        for response in (call_of(client, **header), client.get("/sandbox/api/v2/tickets", **header)):
            assert response.status_code == 401 and response.json().get("error") == error
            challenge = response["WWW-Authenticate"]
            assert challenge.startswith('Bearer realm="') and ("error=" in challenge) is bool(error)
            assert challenge.isascii() and challenge.isprintable()


def test_a_token_in_the_address_in_a_form_or_elsewhere_is_none(client, tokens):
    """RFC 6750 sections 2.2 and 2.3, RFC 9700 section 4.3.2: not supported, for addresses are kept and handed on."""
    token = tokens["access_token"]
    told = {"HTTP_X_ORIGINAL_METHOD": "GET", "HTTP_X_ORIGINAL_URI": f"/api/v2/tickets?access_token={token}"}
    form = {"data": f"access_token={token}", "content_type": "application/x-www-form-urlencoded"}
    client.cookies["access_token"] = token
    for response in (
        client.get("/oauth/check/freshservice", {"access_token": token}, **told),
        client.post("/oauth/check/freshservice", **form, **told),
        client.get("/sandbox/api/v2/tickets", {"access_token": token}),
        client.post("/sandbox/api/v2/tickets", **form),
        call_of(client, HTTP_PROXY_AUTHORIZATION=f"Bearer {token}"),
        call_of(client, HTTP_X_AUTHORIZATION=f"Bearer {token}", HTTP_X_FORWARDED_AUTHORIZATION=f"Bearer {token}"),
        call_of(client, HTTP_X_ACCESS_TOKEN=token),
    ):
        assert response.status_code == 401 and response.json().keys() == {"error_description"}


def test_a_good_header_is_enough_whatever_else_is_sent(client, external, tokens):
    """RFC 6750 section 2: what this server does not support is no second way."""
    told = {"HTTP_X_ORIGINAL_METHOD": "GET", "HTTP_X_ORIGINAL_URI": "/api/v2/tickets?access_token=x"}
    header = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}", "HTTP_PROXY_AUTHORIZATION": "Bearer x"}
    assert client.get("/oauth/check/freshservice?access_token=x", **told, **header).status_code == 200


def test_what_the_caller_says_of_itself_is_not_what_the_gateway_is_told(check, external, cast):
    """Section 6 of the design: the answer's headers are the portal's own."""
    forged = {
        "HTTP_X_PORTAL_CLIENT": "evil",
        "HTTP_X_PORTAL_ACCOUNT": "globex",
        "HTTP_X_PORTAL_SCOPE": "all",
        "HTTP_X_PORTAL_AGENT": "1",
    }
    response = check(NGINX, **forged)
    told = [response[f"X-Portal-{name}"] for name in ("Client", "Account", "Agent", "Scope")]
    assert told == [external.client.client_id, cast.acme.slug, "", f"{EDIT} {VIEW}"]
