"""The gateways of docs/gateways/, as shipped: no call reaches the API but the one that the portal allowed."""

import json
import posixpath
import re
from urllib.parse import unquote

import pytest

from tests.gateways.serving import Gateway
from tests.servers import Http, free_port

# The rows are committed for the module by conftest.py.
pytestmark = pytest.mark.django_db
TICKETS = "/api/v2/tickets"
OWN = ("Client", "Account", "Agent", "Scope")
# Every character of a header's name that CGI, WSGI or PHP may turn into "_" (RFC 9110 section 5.6.2).
SEPARATORS = "-_.!#$%&'*+^`|~"


def bearer(token):
    return ("Authorization", f"Bearer {token}")


def told_by_portal(portal, token, method="GET", uri=TICKETS):
    """Return what the portal itself answers about a call: (status, challenge, body)."""
    headers = {"X-Original-Method": method, "X-Original-URI": uri, "Host": "portal.example.com"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = Http(portal.port).get("/oauth/check/freshservice", **headers)
    return answer.status, answer.headers["WWW-Authenticate"], answer.json() if answer.body else None


def test_a_good_call_arrives_as_it_was_sent_with_who_calls(gateway, api, tokens):
    with api.listening() as calls:
        status, _, _ = gateway.send("PUT", f"{TICKETS}/7?a=1&b=%2F", [bearer(tokens.good)], b'{"status": 2}')
    assert status == 218 and [(call.method, call.path, call.body) for call in calls] == [
        ("PUT", f"{TICKETS}/7?a=1&b=%2F", b'{"status": 2}')
    ]
    seen = calls[0].as_cgi()
    assert seen["X_PORTAL_CLIENT"] == {tokens.client.client_id} and seen["X_PORTAL_ACCOUNT"] == {tokens.account}
    assert seen["X_PORTAL_SCOPE"] == {"freshservice.tickets.edit freshservice.tickets.view"}
    assert seen.get("X_PORTAL_AGENT", {""}) == {""}


@pytest.mark.parametrize("separator", SEPARATORS)
def test_no_spelling_of_the_portals_headers_comes_from_the_caller(gateway, api, tokens, separator):
    """X_Portal_Account and X.Portal.Account reach many APIs as X-Portal-Account."""
    names = [f"X{first}Portal{second}{own}" for own in OWN for first in {separator, "-"} for second in {separator, "-"}]
    forged = [(name, "evil") for name in names] + [(name.lower(), "evil too") for name in names]
    for headers in ([*forged, bearer(tokens.good)], [bearer(tokens.good), *forged]):
        with api.listening() as calls:
            gateway.send("GET", TICKETS, headers)
        for call in calls:
            for own in OWN:
                assert not {"evil", "evil too"} & call.as_cgi().get(f"X_PORTAL_{own.upper()}", set())
    if separator == "-":
        assert calls, "a forged header is replaced, not refused"


@pytest.mark.parametrize("separator", SEPARATORS)
def test_no_header_gives_the_api_another_method_or_path(gateway, api, tokens, separator):
    """What the portal judged is what the API acts on."""
    names = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]
    # The portal allows the call with GET, and refuses it with DELETE; the others are tried where gateways read the name.
    mixed = [["DELETE", "GET"], ["GET", "DELETE"], ["GET,DELETE"]] if separator in "-_." else []
    for values in (["DELETE"], ["GET"], *mixed):
        forged = [(name.replace("-", separator), value) for name in names for value in values]
        with api.listening() as calls:
            gateway.send("GET", TICKETS, [bearer(tokens.good), *forged])
        for call in calls:
            assert not {name.replace("-", "_").upper() for name in names} & call.as_cgi().keys()


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_caller_that_asks_for_another_method_is_refused(gateway, api, tokens, name):
    with api.listening() as calls:
        status, _, body = gateway.send("GET", TICKETS, [bearer(tokens.good), (name, "DELETE")])
    assert status == 401 and json.loads(body)["error"] == "insufficient_scope" and not calls


@pytest.mark.parametrize("separator", "-_.")
def test_no_header_tells_the_portal_about_another_call(gateway, api, tokens, separator):
    story = [
        ("Original-Method", "GET"),
        ("Original-URI", TICKETS),
        ("Forwarded-Method", "GET"),
        ("Forwarded-Uri", TICKETS),
    ]
    story += [("Forwarded-Host", "portal.example.com"), ("Forwarded-Proto", "https"), ("Forwarded-For", "127.0.0.1")]
    forged = [(f"X-{name}".replace("-", separator), value) for name, value in story]
    for headers in ([bearer(tokens.good), *forged], [*forged, bearer(tokens.good)]):
        for method, path in (("DELETE", f"{TICKETS}/7"), ("GET", "/api/v2/closed"), ("POST", TICKETS)):
            with api.listening() as calls:
                status, _, _ = gateway.send(method, path, headers)
            assert status == 401 and not calls


def readings(path):
    """Return what a lenient API may take a path for: decoded up to twice, dots resolved, slashes merged, in lower case."""
    path = path.partition("?")[0].partition("#")[0]
    for decoded in (path, unquote(path), unquote(unquote(path))):
        for separated in (decoded, decoded.replace("\\", "/")):
            plain = "/".join(part.partition(";")[0] for part in separated.split("/"))
            yield "/" + posixpath.normpath("/" + plain).strip("/").lower()


@pytest.mark.parametrize(
    "path",
    [
        "{t}/../closed", "{t}/%2e%2e/closed", "{t}/%2E%2E%2Fclosed", "{t}/..%2fclosed", "{t}/..%5cclosed", "{t}/..\\closed",
        "{t}/%252e%252e/closed", "{t}/..;/closed", "{t};/../closed", "/api/v2/./closed", "/api/v2//closed", "//api/v2/closed",
        "/api//v2/closed", "/api/v2/closed/", "/api/v2/%63losed", "/API/V2/closed", "/api/v2/closed?x={t}", "/api/v2/closed#{t}",
        "/api/v2/closed%3f/{t}", "/api/v2/closed%23{t}", "/api/v2/tickets%2f..%2fclosed", "/x/../api/v2/closed", "{t}/../../v2/closed",
        "http://api.example.com/api/v2/closed", "http://evil.example/api/v2/tickets", "{t}/./../closed", "{t}/.%2e/closed",
        "{t}/%c0%ae%c0%ae/closed", "{t}%00/../closed", "{t}/..%00/closed", "/api/v2/closed;{t}", "{t}\t/../closed", "*",
    ],
)  # fmt: skip
def test_no_way_to_write_a_path_reaches_a_route_that_is_not_open(gateway, api, tokens, path):
    """RFC 3986 section 6: what two systems could read differently is refused."""
    with api.listening() as calls:
        gateway.send("GET", path.format(t=TICKETS), [bearer(tokens.good)])
    for call in calls:
        assert not [reading for reading in readings(call.path) if "closed" in reading], call.path


@pytest.mark.parametrize(
    "method", ["DELETE", "delete", "Delete", "PATCH", "POST", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "GETX"]
)
def test_no_other_method_reaches_the_api_under_a_scope_to_read(gateway, api, tokens, method):
    with api.listening() as calls:
        gateway.send(method, f"{TICKETS}/7", [bearer(tokens.good)])
    assert not calls


@pytest.mark.parametrize("kind", ["expired", "revoked", "narrow", "unknown", "code", None])
def test_a_refusal_arrives_whole(gateway, api, portal, tokens, kind):
    """RFC 6750 section 3: the caller reads what the portal said, in the body and in WWW-Authenticate."""
    token = kind and getattr(tokens, kind)
    expected = told_by_portal(portal, token)
    with api.listening() as calls:
        status, headers, body = gateway.send("GET", TICKETS, [bearer(token)] if token else [])
    assert expected[0] == 401 and not calls
    assert (status, headers["WWW-Authenticate"], json.loads(body)) == expected
    assert headers.get_all("WWW-Authenticate") == [expected[1]]
    assert headers["Content-Type"] == "application/json" and "no-store" in headers["Cache-Control"]


def test_a_closed_route_is_refused_as_the_portal_refuses_it(gateway, api, portal, tokens):
    expected = told_by_portal(portal, tokens.good, uri="/api/v2/closed")
    with api.listening() as calls:
        status, headers, body = gateway.send("GET", "/api/v2/closed", [bearer(tokens.good)])
    assert (status, headers["WWW-Authenticate"], json.loads(body)) == expected and not calls


def test_the_api_serves_its_own_metadata_which_the_challenge_leads_to(gateway, api, portal):
    """RFC 9728 sections 3.1 and 3.3: the resource is the API that was called."""
    with api.listening() as calls:
        status, _, body = gateway.send("GET", "/.well-known/oauth-protected-resource/api/v2")
    assert status == 200 and not calls
    document = json.loads(body)
    assert document["resource"] == "https://api.example.com/api/v2"
    _, challenge, _ = told_by_portal(portal, None)
    address = re.search(r'resource_metadata="https://portal\.example\.com([^"]*)"', challenge)[1]
    assert Http(portal.port).get(address, Host="portal.example.com").json() == document


def test_while_the_portal_is_away_nothing_reaches_the_api(gateway, api, tokens, tmp_path):
    alone = Gateway(gateway.name, portal=free_port(), api=api.port, folder=tmp_path)
    try:
        alone.wait()
        with api.listening() as calls:
            status, _, _ = alone.send("GET", TICKETS, [bearer(tokens.good)])
    finally:
        alone.stop()
    assert 500 <= status < 600 and not calls


def test_a_caller_cannot_have_the_gateway_leave_out_who_calls(gateway, api, tokens):
    """Proxies drop the headers that Connection names (RFC 9110 section 7.6.1). Without an agent, a call is the whole account's."""
    own = [f"X-Portal-{name}" for name in OWN]
    told = ["Authorization", "X-Forwarded-Method", "X-Forwarded-Uri", "X-Original-Method", "X-Original-URI"]
    for names in (own, [name.lower() for name in own], own + told):
        named = ("Connection", ", ".join(["close", *names]))
        with api.listening() as calls:
            gateway.send("GET", TICKETS, [named, bearer(tokens.good)])
            gateway.send("DELETE", f"{TICKETS}/7", [named, bearer(tokens.good)])
        for call in calls:
            assert call.method == "GET"
            assert call.as_cgi().get("X_PORTAL_CLIENT") == {tokens.client.client_id}
            assert call.as_cgi().get("X_PORTAL_ACCOUNT") == {tokens.account}
            assert call.as_cgi().get("X_PORTAL_SCOPE") == {"freshservice.tickets.edit freshservice.tickets.view"}
        assert calls or names[-1] == told[-1]
