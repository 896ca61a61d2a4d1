"""Connecting to real vendors: their oddities, and every way that it can go wrong."""

import base64
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.fernet import Fernet

from consent.models import Consent
from credentials.actions import suspend_client
from marketplace.actions import installing
from marketplace.models import Connection
from marketplace.vendors import actions as connecting
from tests import factories
from tests.marketplace.connected import (
    connect,
    connect_directly,
    redirect_of_vendor,
    register,
    row,
    start_connecting,
    url_of,
    works,
)
from tests.people.forms import text
from tests.vendors import CLIENT_ID, SECRET
from tests.worlds import shared

pytestmark = pytest.mark.django_db


# --- requests and answers ---


def test_the_authorization_request_follows_the_package_and_the_standards(multi, ada, calendar):
    """RFC 6749 section 4.1.1, RFC 7636 section 4.3; each integration has its own redirect URI."""
    query = parse_qs(urlsplit(start_connecting(ada, multi, "calendar")).query)
    assert query["redirect_uri"] == [f"http://127.0.0.1:8000/oauth/callback/{multi.app.slug}/calendar"]
    assert (query["response_type"], query["client_id"]) == (["code"], [CLIENT_ID])
    assert (query["scope"], query["room"]) == (["read write"], ["4"])
    assert query["code_challenge_method"] == ["S256"] and len(query["code_challenge"][0]) == 43
    assert len(query["state"][0]) >= 43 and "client_secret" not in query


@pytest.mark.parametrize(
    ("options", "switches"),
    [
        ({}, {"client_auth": "post"}),
        ({"client_authentication": "basic"}, {"client_auth": "basic"}),
        ({"pkce": False}, {"pkce": "refused"}),
        ({}, {"pkce": "required"}),
        ({"customHeaders": {"X-Version": "<%= oauth_iparams.room %>"}}, {"token_headers": {"x-version": "4"}}),
        ({"scope": "read,write"}, {"scope_separator": "comma"}),
        ({"scope": ["read", "write"]}, {}),
        ({}, {"expires_in": "string"}),
        ({}, {"expires_in": "missing"}),
        ({}, {"refresh": "none"}),
        ({}, {"token_body": "form"}),
        ({}, {"scope_returned": False}),
    ],
)
def test_each_vendors_way_is_understood(multi_of, calendar, options, switches):
    multi = multi_of(options={"scope": "read write", **options})
    calendar.switch(**switches)
    assert works(calendar, connect_directly(multi))
    assert (row().expires_at is None) == (switches.get("expires_in") == "missing")
    assert (row().refresh_at is None) == (switches.get("expires_in") == "missing" or switches.get("refresh") == "none")


def test_an_answer_that_names_no_issuer_is_accepted(multi, ada, calendar):
    """RFC 9207, section 2.4: most vendors name none."""
    calendar.switch(iss="none")
    assert "is connected" in connect(ada, multi, "calendar")


def test_the_apps_page_lists_the_receipts_of_its_connections(multi, ada, browse, cast):
    connect(ada, multi, "calendar")
    ada.post(url_of(multi, "calendar", "disconnect/"))
    page = f"/installations/{multi.installation.pk}/"
    for words in ("Connected to a vendor: ", "Disconnected from a vendor: ", "Installation started"):
        assert words in text(ada.get(page)) and words not in text(browse(cast.agent).get(page))


def test_only_one_way_of_authenticating_is_used(multi_of, ada, calendar):
    """RFC 6749 section 2.3: a package with its own Authorization header gets no secret in the body as well."""
    credentials = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
    multi = multi_of(options={"scope": "read", "customHeaders": {"Authorization": f"Basic {credentials}"}})
    assert "is connected" in connect(ada, multi, "calendar")
    [call] = calendar.log("/token")
    assert "client_secret" not in call["form"] and call["headers"]["authorization"].startswith("Basic ")


def test_several_scopes_are_requested_as_one_list(multi_of, ada):
    scopes = [f"https://vendor.example/auth/scope.{number:03}" for number in range(100)]
    multi = multi_of(options={"scope": scopes}, oauth_iparams={})
    query = parse_qs(urlsplit(start_connecting(ada, multi, "calendar")).query)
    assert query["scope"] == [" ".join(scopes)]


# --- what goes wrong ---


@shared
def half_connected(installed_planner, cast, vendors):
    """The account agreed and the admin connected the boards; the calendar is left."""
    factories.agree(installed_planner.client, cast.acme, cast.admin)
    register(vendors, installed_planner.app.slug)
    connect_directly(installed_planner, "boards")
    return installed_planner


@pytest.mark.parametrize(
    ("decision", "switches", "said"),
    [
        ("deny", {}, "was not connected, because you canceled there."),
        ("error", {}, "Not connected"),
        ("allow", {"iss": "wrong"}, "did not come from Example Calendar"),
        ("allow", {"token_fault": {"status": 503}}, "503"),
        ("allow", {"token_fault": {"status": 200, "body": "<html>"}}, "no access token"),
        ("allow", {"token_fault": {"status": 200, "body": "[]"}}, "no access token"),
        ("allow", {"token_fault": {"status": 0}}, "ended the connection"),
        ("allow", {"token_fault": {"status": 200, "body": "[" * 100000}}, "no access token"),
        (
            "allow",
            {"token_fault": {"status": 200, "body": '{"access_token": ["a"], "scope": [1, {}]}'}},
            "no access token",
        ),
        ("allow", {"token_fault": {"status": 200, "body": '{"access_token": "a\\u0000b"}'}}, "no access token"),
        (
            "allow",
            {"token_fault": {"status": 200, "body": '{"error": {"a": [1]}, "error_description": 7}'}},
            "Not connected",
        ),
        (
            "allow",
            {"token_fault": {"status": 400, "body": "x", "headers": {"Content-Type": "text/plain; charset=base64"}}},
            "400",
        ),
        ("allow", {"token_fault": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}}, "no access token"),
        ("allow", {"client_auth": "basic"}, "invalid_client"),
        ("allow", {"client_auth": "basic", "error_body": "html"}, "401"),
        ("allow", {"client_auth": "basic", "error_body": "empty"}, "401"),
        ("allow", {"client_auth": "basic", "error_status": 200}, "invalid_client"),
    ],
)
def test_a_vendors_failure_is_explained_and_affects_nothing_else(
    half_connected, multi, ada, vendors, calendar, decision, switches, said
):
    calendar.switch(**switches)
    shown = connect(ada, multi, "calendar", decision)
    assert said in shown and "Example Calendar Not connected" in shown and "calendar:" not in shown
    assert Consent.objects.get().revoked_at is None and row("boards").is_connected
    # The settings are still there, and connecting works once the vendor recovers.
    assert row().values == {"room": "4"}
    calendar.reset()
    register(vendors, multi.app.slug)
    assert works(calendar, connect_directly(multi))


def test_a_cancelled_renewal_leaves_the_connection_as_it_was(multi, ada, calendar):
    connect(ada, multi, "calendar")
    before = (row().tokens, row().values)
    connect(ada, multi, "calendar", "deny", **{"value-room": "5"})
    assert (row().tokens, row().values) == before
    connect(ada, multi, "calendar", **{"value-room": "5"})
    assert row().values == {"room": "5"} and row().tokens != before[0]


def test_an_answer_is_accepted_once_from_the_right_person_for_the_right_integration(multi, ada, browse, cast, calendar):
    """RFC 9700 sections 4.4 and 4.7: state is bound to the session and the integration, and works once."""
    back = redirect_of_vendor(start_connecting(ada, multi, "calendar"))
    strangers = [browse(cast.agent), browse(cast.globex_admin), browse(cast.admin)]
    for browser in strangers:
        assert browser.get(back).status_code == 400
    assert browse(cast.dev).get(back).status_code == 400
    # At the other integration's URL it is refused, and used up.
    assert ada.get(back.replace("/calendar?", "/boards?")).status_code == 400
    assert ada.get(back).status_code == 400
    assert not calendar.log("/token")
    back = redirect_of_vendor(start_connecting(ada, multi, "calendar"))
    assert ada.get(back).status_code == 302
    assert ada.get(back).status_code == 400
    assert len(calendar.log("/token")) == 1


def test_an_answer_is_refused_when_its_encryption_key_is_gone(multi, ada, settings):
    back = redirect_of_vendor(start_connecting(ada, multi, "calendar"))
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert ada.get(back).status_code == 400


@pytest.mark.parametrize("expires_in", ['"soon"', "-1", "true", "[]", "1e400", "99999999999", '"3600.5"'])
def test_a_connection_is_made_whatever_the_vendor_says_about_its_end(multi, calendar, expires_in):
    body = (
        f'{{"access_token": "a", "refresh_token": {{}}, "expires_in": {expires_in}, "expires_at": "x", "scope": [1]}}'
    )
    calendar.switch(token_fault={"status": 200, "body": body})
    assert connect_directly(multi).is_connected
    assert (row().expires_at is not None) == (expires_in == '"3600.5"') and row().tokens["refresh_token"] is None


def test_an_answer_to_a_signed_out_person_is_put_in_no_url(multi, ada, client):
    back = redirect_of_vendor(start_connecting(ada, multi, "calendar"))
    answer = client.get(back)
    assert answer.status_code == 400 and "Location" not in answer


def test_an_answer_for_an_installation_that_has_ended_leaves_no_tokens(multi, ada, cast, calendar):
    """The code is not redeemed; tokens of a code being redeemed meanwhile are revoked."""
    back = redirect_of_vendor(start_connecting(ada, multi, "calendar"))
    installing.uninstall(multi.installation, by=cast.admin)
    ada.get(back)
    assert not calendar.log("/token") and not Connection.objects.exclude(tokens=None).exists()


def test_a_suspended_app_can_be_disconnected_but_not_connected(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    back = redirect_of_vendor(start_connecting(ada, multi, "calendar"))
    suspend_client(multi.client, reason="Harmful", by=factories.reviewer())
    calendar.clear_log()
    assert "suspended" in text(ada.get(back, follow=True))
    assert "suspended" in text(ada.post(url_of(multi, "calendar"), {"value-room": "5"}, follow=True))
    assert not calendar.log("/token") and not Connection.objects.live().exists()
    connecting.disconnect(row(), by=cast.admin)


def test_an_issuer_can_contain_a_setting(multi_of, ada, calendar):
    """RFC 9207, section 2.4"""
    issuer = f"{calendar.url[:-1]}<%= oauth_iparams.room %>"
    multi = multi_of(options={"scope": "read", "issuer": issuer})
    last = int(calendar.url[-1])
    for room, said in ((9 - last, "did not come from Example Calendar"), (last, "is connected")):
        assert said in connect(ada, multi, "calendar", **{"value-room": str(room)})


@pytest.mark.parametrize("iss", ["http://[", "//", "https://[::1", "https://a]b"])
def test_an_issuer_that_is_not_a_url_is_not_the_vendors(multi, ada, calendar, iss):
    """RFC 9207, section 2.4"""
    calendar.switch(iss="none")
    back = redirect_of_vendor(start_connecting(ada, multi, "calendar"))
    assert "did not come from Example Calendar" in text(ada.get(f"{back}&{urlencode({'iss': iss})}", follow=True))
    assert not calendar.log("/token")


def test_a_vendors_error_that_repeats_a_code_or_secret_is_masked(multi, ada, calendar):
    there = start_connecting(ada, multi, "calendar")
    back = redirect_of_vendor(there)
    code = parse_qs(urlsplit(back).query)["code"][0]
    body = f'{{"error": "invalid_client", "error_description": "No client has {SECRET} for {code}"}}'
    calendar.switch(token_fault={"status": 401, "body": body})
    shown = text(ada.get(back, follow=True))
    assert "No client has" in shown and SECRET not in shown and code not in shown
