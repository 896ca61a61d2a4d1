"""The three ways for products to check a token: in-process, introspection (RFC 7662) and the gateway; and the 401 (RFC 6750, T9)."""

import datetime as dt
from urllib.parse import urlencode

import pytest

from credentials.actions import make_product_secret
from portal.accounts.actions import accounts
from portal.demo.sandbox.models import Ticket
from tests import factories
from tests.clock import advance
from tests.factories import EDIT, VIEW
from tests.oauth import basic
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def tokens(external, browse, cast):
    return external.tokens_for(browse(cast.admin), account=cast.acme.slug)


def check(client, token, method="GET", uri="/api/v2/tickets", **headers):
    names = {"HTTP_X_ORIGINAL_METHOD": method, "HTTP_X_ORIGINAL_URI": uri, **headers}
    return client.get("/oauth/check/freshservice", HTTP_AUTHORIZATION=f"Bearer {token}", **names)


def test_without_a_token_the_answer_is_401_with_no_error(client, cast):
    """RFC 6750 section 3.1."""
    response = client.get("/sandbox/api/v2/tickets")
    assert response.status_code == 401 and response.json().keys() == {"error_description"}
    assert response["WWW-Authenticate"].startswith("Bearer ") and "error" not in response["WWW-Authenticate"]


@pytest.mark.parametrize("value", ["nonsense", "amp_at_abc", "amp_rt_abc", "é", "x" * 3000])
def test_a_malformed_or_unknown_token_is_an_invalid_token(external, value):
    """RFC 6750 section 3.1."""
    response = external.call(value)
    assert response.status_code == 401 and response.json()["error"] == "invalid_token"


def test_an_expired_token_is_called_expired_for_a_day(external, tokens):
    """RFC 6750 section 3.1."""
    advance(dt.timedelta(minutes=30))
    response = external.call(tokens["access_token"])
    assert response.json() == {"error": "invalid_token", "error_description": "The access token has expired"}


def test_a_missing_scope_is_named(external, tokens):
    """RFC 6750 section 3.1, but 401 (T9)."""
    response = external.call(tokens["access_token"], "delete", "/sandbox/api/v2/tickets/1")
    assert response.status_code == 401
    assert (
        response.json()["error"] == "insufficient_scope" and response.json()["scope"] == "freshservice.tickets.delete"
    )
    assert 'scope="freshservice.tickets.delete"' in response["WWW-Authenticate"]


def test_a_token_of_one_account_never_sees_anothers_tickets(external, tokens, cast):
    ours = Ticket.objects.create(account=cast.acme, subject="Ours")
    theirs = Ticket.objects.create(account=cast.globex, subject="Theirs")
    seen = external.call(tokens["access_token"]).json()
    assert [ticket["subject"] for ticket in seen["tickets"]] == ["Ours"]
    path = "/sandbox/api/v2/tickets/"
    assert external.call(tokens["access_token"], path=f"{path}{ours.pk}").status_code == 200
    assert external.call(tokens["access_token"], path=f"{path}{theirs.pk}").status_code == 404
    put = external.call(
        tokens["access_token"], "put", f"{path}{theirs.pk}", data='{"subject": "x"}', content_type="application/json"
    )
    assert put.status_code == 404
    theirs.refresh_from_db()
    assert theirs.subject == "Theirs"


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"status": 99}', '{"subject": ""}', '{"subject": "a\\u0000b"}', '{"subject": null}']
)
def test_a_bad_ticket_is_a_400_that_changes_nothing(external, tokens, cast, body):
    ticket = Ticket.objects.create(account=cast.acme, subject="Ours")
    response = external.call(
        tokens["access_token"],
        "put",
        f"/sandbox/api/v2/tickets/{ticket.pk}",
        data=body,
        content_type="application/json",
    )
    assert response.status_code == 400
    ticket.refresh_from_db()
    assert ticket.subject == "Ours"


@pytest.mark.parametrize("end", ["access", "account", "expired"])
def test_every_kind_of_check_refuses_a_token_after_an_ending(end, external, tokens, client, cast, browse):
    secret = make_product_secret(factories.product(), by=None)

    def introspect():
        return client.post(
            "/oauth/introspect",
            urlencode({"token": tokens["access_token"]}),
            content_type="application/x-www-form-urlencoded",
            **basic("freshservice", secret),
        ).json()

    assert introspect()["active"] and check(client, tokens["access_token"]).status_code == 200
    if end == "access":
        browse(cast.admin).post(f"/authorizations/{external.client.accesses.get().pk}/end/")
    elif end == "account":
        accounts.suspend_account(cast.acme, reason="x", by=None)
    else:
        advance(dt.timedelta(minutes=31))
    assert introspect() == {"active": False}
    assert check(client, tokens["access_token"]).status_code == 401
    assert external.call(tokens["access_token"]).status_code == 401


def test_introspection_tells_a_product_only_its_own_scopes(installed_agent, browse, client, cast):
    """RFC 7662 section 2.2."""
    got = installed_agent.tokens_for(browse(cast.agent), installation=str(installed_agent.installation.pk))
    secret = make_product_secret(factories.product(), by=None)
    answer = client.post(
        "/oauth/introspect",
        urlencode({"token": got["access_token"]}),
        content_type="application/x-www-form-urlencoded",
        **basic("freshservice", secret),
    ).json()
    assert answer["exp"] - answer["iat"] == 1800
    assert {
        name: answer[name] for name in ("active", "scope", "client_id", "account", "installation", "token_type")
    } == {
        "active": True,
        "scope": VIEW,
        "client_id": installed_agent.client.client_id,
        "account": cast.acme.slug,
        "installation": str(installed_agent.installation.pk),
        "token_type": "Bearer",
    }
    assert answer["agent"] == answer["sub"] == got["agent"]


def test_only_a_product_may_introspect(external, tokens, client):
    """RFC 7662 section 2.1."""
    body = urlencode({"token": tokens["access_token"]})
    form = "application/x-www-form-urlencoded"
    for headers in ({}, basic(external.client.client_id, external.secret), basic("freshservice", "amp_ps_wrong")):
        response = client.post("/oauth/introspect", body, content_type=form, **headers)
        assert response.status_code == 401 and response.json()["error"] == "invalid_client"


def test_the_gateway_learns_who_calls(external, tokens, client, cast):
    response = check(client, tokens["access_token"], "get", "/api/v2/tickets/7?include=all")
    assert response.status_code == 200
    assert response["X-Portal-Client"] == external.client.client_id and response["X-Portal-Account"] == cast.acme.slug
    assert response["X-Portal-Agent"] == "" and response["X-Portal-Scope"] == f"{EDIT} {VIEW}"
    traefik = {"HTTP_X_FORWARDED_METHOD": "GET", "HTTP_X_FORWARDED_URI": "/api/v2/tickets"}
    direct = client.get("/oauth/check/freshservice", HTTP_AUTHORIZATION=f"Bearer {tokens['access_token']}", **traefik)
    assert direct.status_code == 200


@pytest.mark.parametrize(
    "uri",
    [
        "/api/v2/unknown", "/api/v2/closed", "/api/v2/tickets/../closed", "/api/v2/tickets/%2e%2e/closed", "//api/v2/tickets",
        "/api/v2//tickets", "/api/v2/tickets/1/2", "/api/v2/tickets;x", "", "http://x/api/v2/tickets", "/api/v2/tickets%00",
    ],
)  # fmt: skip
def test_a_route_that_is_not_open_is_401_without_a_scope(tokens, client, uri):
    response = check(client, tokens["access_token"], uri=uri)
    assert response.status_code == 401
    assert response.json() == {
        "error": "insufficient_scope",
        "error_description": "This route is not open to OAuth clients",
    }


def test_a_revoked_consents_401_links_to_the_page_to_agree_again(cast, client, browse, installed):
    tokens = installed.tokens_for(browse(cast.admin), installation=str(installed.installation.pk))
    consent = installed.installation.access.consents.get()
    browse(cast.admin).post(f"/consents/{consent.pk}/revoke/")
    refused = installed.call(tokens["access_token"]).json()
    assert refused["reauthorize_url"].endswith(f"/installations/{installed.installation.pk}/")


def test_a_check_is_one_statement(external, tokens, django_assert_num_queries):
    from consent.check import check as in_process

    with django_assert_num_queries(1):
        assert in_process(tokens["access_token"], [VIEW]).scopes == {VIEW, EDIT}


def test_the_metadata_matches_what_is_served(client, cast):
    """RFC 8414 section 2, RFC 9728 section 2."""
    metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert metadata["response_types_supported"] == ["code"] and metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["grant_types_supported"] == ["authorization_code", "client_credentials", "refresh_token"]
    for name in ("authorization", "token", "revocation", "introspection"):
        path = metadata[f"{name}_endpoint"].removeprefix(metadata["issuer"])
        assert client.post(path).status_code in (400, 401)
    assert client.get("/.well-known/oauth-protected-resource").json()["authorization_servers"] == [metadata["issuer"]]
