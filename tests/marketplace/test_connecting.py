"""Connecting to real vendors: each oddity of theirs, every way that it can go wrong, and what is left when it ends."""

import base64
import datetime as dt
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from cryptography.fernet import Fernet
from django.core import mail
from django.db.models.functions import Now

from consent.models import Consent
from credentials.actions import suspend_client
from marketplace import actions as marketplace
from marketplace import tasks
from marketplace.connections import VendorError
from marketplace.models import Connection
from portal.accounts import actions as accounts
from portal.database import database_now
from portal.ledger.models import Entry
from tests import factories
from tests.marketplace.connected import register, sent_back
from tests.marketplace.test_packaging import text
from tests.vendors import CLIENT_ID, SECRET

pytestmark = pytest.mark.django_db


def url_of(multi, name, step=""):
    return f"/installations/{multi.installation.pk}/connections/{name}/{step}"


def set_out(browser, multi, name, **values):
    """Press Connect; returns the vendor's address that the person is sent to."""
    given = {"calendar": {"value-room": "4"}, "boards": {}}[name] | values
    answer = browser.post(url_of(multi, name), given)
    assert answer.status_code == 302, text(answer)
    return answer["Location"]


def connect(browser, multi, name, decision="allow", **values):
    back = browser.get(sent_back(set_out(browser, multi, name, **values), decision), follow=True)
    return text(back)


def row(name="calendar", **more):
    return Connection.objects.get(integration=name, ended_at=None, **more)


@pytest.fixture
def calendar(vendors):
    return vendors[0]


def works(vendor, connection):
    """Whether the vendor takes the access token that is kept."""
    bearer = {"Authorization": f"Bearer {connection.tokens['access_token']}"}
    return httpx.get(f"{vendor.url}/api/me", headers=bearer, trust_env=False).status_code == 200


# --- the sheet ---


def test_one_sheet_shows_all_that_is_done_and_left(multi, ada, cast):
    """Settings, consent, the account's vendor, then each agent's own: left in the middle, and resumed."""
    page = f"/installations/{multi.installation.pk}/"
    shown = text(ada.get(page))
    assert "Settings of the app To fill in" in shown and "Not agreed to" in shown
    assert "Example Calendar Not connected For the whole account" in shown and "For yourself only" in shown
    assert "Not finished" in shown
    assert ada.post(f"{page}settings/", {"value-owner": "acme"}).status_code == 302
    factories.agree(multi.client, cast.acme, cast.admin)
    assert "Settings of the app Filled in" in text(ada.get(page)) and "Not finished" in text(ada.get(page))
    assert "Example Calendar is connected" in connect(ada, multi, "calendar")
    shown = text(ada.get(page))
    assert "Example Calendar Connected" in shown and "Not finished" not in shown and "Ready" in shown
    # The list says the same.
    assert "Not finished" not in text(ada.get("/installations/"))


def test_agents_see_the_accounts_and_connect_their_own(multi, browse, cast):
    axel, ana = browse(cast.agent), browse(cast.agent2)
    shown = text(axel.get(f"/installations/{multi.installation.pk}/"))
    assert "An admin of the account connects it" in shown
    for method in (axel.get, axel.post):
        assert method(url_of(multi, "calendar")).status_code == 404
    assert "Example Boards is connected" in connect(axel, multi, "boards")
    assert row("boards").membership.user == cast.agent
    assert "Not connected For yourself" in text(ana.get(f"/installations/{multi.installation.pk}/"))
    connect(ana, multi, "boards")
    assert Connection.objects.filter(integration="boards", ended_at=None).count() == 2


def test_what_is_asked_is_checked_and_told_by_field(multi, ada):
    for value, said in (("", "Fill this in"), ("a\nb", "cannot be used"), ("x" * 2001, "At most 2000")):
        answer = ada.post(url_of(multi, "calendar"), {"value-room": value})
        assert answer.status_code == 422 and said in text(answer), value
    assert not Connection.objects.exists()


def test_nothing_that_is_kept_is_shown_or_logged(multi, ada, cast, caplog):
    """Tokens, and whatever the developer gave the portal to keep."""
    with caplog.at_level("DEBUG"):
        connect(ada, multi, "calendar")
    tokens = row().tokens
    secrets = [tokens["access_token"], tokens["refresh_token"], SECRET]
    pages = [f"/installations/{multi.installation.pk}/", url_of(multi, "calendar"), "/ledger/"]
    found = "".join(ada.get(page).content.decode() for page in pages) + caplog.text + repr(row())
    found += str(list(Entry.objects.values_list("details", flat=True)))
    assert not [secret for secret in secrets if secret in found]
    raw = Connection.objects.raw("SELECT id, tokens AS kept, values AS filled FROM marketplace_connection")[0]
    assert not [secret for secret in secrets if secret in raw.kept] and raw.filled != "4"


# --- what is sent, and what comes back ---


def test_the_authorization_request_is_as_the_package_and_the_standards_say(multi, ada, calendar):
    """RFC 6749 section 4.1.1, RFC 7636 section 4.3; the redirect URI is this integration's own."""
    query = parse_qs(urlsplit(set_out(ada, multi, "calendar")).query)
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
        ({}, {"iss": "none"}),
        ({}, {"expires_in": "string"}),
        ({}, {"expires_in": "missing"}),
        ({}, {"refresh": "none"}),
        ({}, {"token_body": "form"}),
        ({}, {"scope_returned": False}),
    ],
)
def test_each_way_of_a_vendor_is_understood(multi_of, ada, calendar, options, switches):
    multi = multi_of(options={"scope": "read write", **options})
    calendar.switch(**switches)
    assert "is connected" in connect(ada, multi, "calendar")
    assert works(calendar, row())
    assert (row().expires_at is None) == (switches.get("expires_in") == "missing")
    assert (row().refresh_at is None) == (switches.get("expires_in") == "missing" or switches.get("refresh") == "none")


def test_one_way_of_authenticating_is_used_and_not_two(multi_of, ada, calendar):
    """RFC 6749, section 2.3: a package that brings its own header for it is not given a secret in the body besides."""
    own = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
    multi = multi_of(options={"scope": "read", "customHeaders": {"Authorization": f"Basic {own}"}})
    assert "is connected" in connect(ada, multi, "calendar")
    [call] = calendar.log("/token")
    assert "client_secret" not in call["form"] and call["headers"]["authorization"].startswith("Basic ")


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("decision", "switches", "said"),
    [
        ("deny", {}, "you cancelled there"),
        ("error", {}, "Not connected"),
        ("allow", {"iss": "wrong"}, "was not Example Calendar’s"),
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
def test_a_vendors_failure_leaves_the_rest_and_says_what_happened(
    multi, ada, cast, vendors, calendar, decision, switches, said
):
    factories.agree(multi.client, cast.acme, cast.admin)
    connect(ada, multi, "boards")
    calendar.switch(**switches)
    shown = connect(ada, multi, "calendar", decision)
    assert said in shown and "Example Calendar Not connected" in shown
    assert Consent.objects.get().revoked_at is None and row("boards").is_connected
    # What was filled in is still there, and once the vendor is well it works.
    assert row().values == {"room": "4"}
    calendar.reset()
    register(vendors, multi.app.slug)
    assert "is connected" in connect(ada, multi, "calendar")


def test_a_cancelled_renewal_leaves_the_connection_as_it_was(multi, ada, calendar):
    connect(ada, multi, "calendar")
    before = (row().tokens, row().values)
    connect(ada, multi, "calendar", "deny", **{"value-room": "5"})
    assert (row().tokens, row().values) == before
    connect(ada, multi, "calendar", **{"value-room": "5"})
    assert row().values == {"room": "5"} and row().tokens != before[0]


def test_an_answer_is_taken_once_by_whom_it_was_meant_for_and_where(multi, ada, browse, cast, calendar):
    """RFC 9700 section 4.4 and 4.7: state is bound to the session, to the integration, and used up."""
    back = sent_back(set_out(ada, multi, "calendar"))
    strangers = [browse(cast.agent), browse(cast.globex_admin), browse(cast.admin)]
    for browser in strangers:
        assert browser.get(back).status_code == 400
    assert browse(cast.dev).get(back).status_code == 400
    # At the other integration's address it is refused, and used up by that.
    assert ada.get(back.replace("/calendar?", "/boards?")).status_code == 400
    assert ada.get(back).status_code == 400
    assert not calendar.log("/token")
    back = sent_back(set_out(ada, multi, "calendar"))
    assert ada.get(back).status_code == 302
    assert ada.get(back).status_code == 400
    assert len(calendar.log("/token")) == 1


def test_an_answer_whose_key_is_gone_is_refused_like_any_other(multi, ada, settings):
    back = sent_back(set_out(ada, multi, "calendar"))
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert ada.get(back).status_code == 400


@pytest.mark.parametrize("expires_in", ['"soon"', "-1", "true", "[]", "1e400", "99999999999", '"3600.5"'])
def test_whatever_a_vendor_says_of_the_end_it_is_connected(multi, ada, calendar, expires_in):
    body = (
        f'{{"access_token": "a", "refresh_token": {{}}, "expires_in": {expires_in}, "expires_at": "x", "scope": [1]}}'
    )
    calendar.switch(token_fault={"status": 200, "body": body})
    assert "is connected" in connect(ada, multi, "calendar")
    assert (row().expires_at is not None) == (expires_in == '"3600.5"') and row().tokens["refresh_token"] is None


def test_signed_out_an_answer_is_not_kept_in_any_address(multi, ada, client):
    back = sent_back(set_out(ada, multi, "calendar"))
    answer = client.get(back)
    assert answer.status_code == 400 and "Location" not in answer


def test_an_installation_that_ended_meanwhile_keeps_nothing_that_works(multi, ada, cast, calendar):
    """The code is not even redeemed; where it ended while it was, the tokens are revoked."""
    back = sent_back(set_out(ada, multi, "calendar"))
    marketplace.uninstall(multi.installation, by=cast.admin)
    ada.get(back)
    assert not calendar.log("/token") and not Connection.objects.exclude(tokens=None).exists()


def test_a_suspended_app_is_connected_to_nothing_more_and_can_be_disconnected(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    back = sent_back(set_out(ada, multi, "calendar"))
    suspend_client(multi.client, reason="Harmful", by=factories.reviewer())
    calendar.clear_log()
    assert "suspended" in text(ada.get(back, follow=True))
    assert "suspended" in text(ada.post(url_of(multi, "calendar"), {"value-room": "5"}, follow=True))
    assert not calendar.log("/token") and not Connection.objects.live().exists()
    marketplace.disconnect(row(), by=cast.admin)


# --- refreshing ---


def due(**more):
    Connection.objects.filter(pk=row().pk).update(refresh_at=Now(), **more)
    return row()


@pytest.mark.parametrize("refresh", ["rotated", "kept", "unreturned"])
def test_tokens_are_refreshed_ahead_of_their_end(multi, ada, calendar, refresh):
    calendar.switch(refresh=refresh)
    connect(ada, multi, "calendar")
    first = row()
    left = first.expires_at - first.refresh_at
    assert dt.timedelta(seconds=299) < left < dt.timedelta(seconds=301)
    for _round in range(2):
        marketplace.refresh_connection(due())
    now = row()
    assert now.tokens["access_token"] != first.tokens["access_token"] and now.generation == 3
    assert works(calendar, now)
    # Not due, not again.
    marketplace.refresh_connection(now)
    assert row().generation == 3


def test_a_refresh_that_is_refused_for_good_is_told_once_to_who_can_help(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    calendar.switch(refresh_refused=True)
    with pytest.raises(VendorError):
        marketplace.refresh_connection(due())
    assert row().broken_at and row().refresh_at is None and "invalid_grant" in row().problem
    for _twice in range(2):
        tasks.tell_of_broken_connection(str(row().pk))
    assert [message.to for message in mail.outbox] == [[cast.admin.email]]
    assert url_of(multi, "calendar") in mail.outbox[0].body and "Example Calendar" in mail.outbox[0].body
    shown = text(ada.get(f"/installations/{multi.installation.pk}/"))
    assert "Connect again" in shown and "invalid_grant" in shown
    assert "Connect again" in text(ada.get("/installations/"))
    calendar.switch(refresh_refused=False)
    connect(ada, multi, "calendar")
    assert row().is_connected and not row().problem and row().told_at is None
    assert Entry.objects.filter(event="connection.broken").count() == 1


def test_an_agent_is_told_of_their_own(multi, browse, cast, vendors):
    axel = browse(cast.agent)
    connect(axel, multi, "boards")
    vendors[1].switch(refresh_refused=True)
    Connection.objects.update(refresh_at=Now())
    tasks.refresh_connection(str(row("boards").pk))
    tasks.tell_of_broken_connection(str(row("boards").pk))
    assert [message.to for message in mail.outbox] == [[cast.agent.email]]


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 0}, {"status": 400, "body": "no"}])
def test_a_refresh_that_fails_for_now_is_tried_again_later(multi, ada, calendar, fault):
    connect(ada, multi, "calendar")
    calendar.switch(token_fault={**fault, "times": 2})
    for number, wait in ((1, 30), (2, 60)):
        with pytest.raises(VendorError):
            marketplace.refresh_connection(due())
        now = row()
        assert now.is_connected and now.refresh_failures == number
        assert wait - 2 < (now.refresh_at - database_now()).total_seconds() <= wait
    marketplace.refresh_connection(due())
    assert row().refresh_failures == 0 and row().generation == 2


# --- ending ---


def test_disconnecting_ends_it_at_once_and_tells_the_vendor(multi, ada, calendar):
    connect(ada, multi, "calendar")
    kept = row()
    assert "Disconnect" in text(ada.get(url_of(multi, "calendar", "disconnect/")))
    assert ada.post(url_of(multi, "calendar", "disconnect/")).status_code == 302
    assert not Connection.objects.live().exists()
    with pytest.raises(marketplace.NotConnected):
        marketplace.refresh_connection(kept)
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.erased_at and kept.tokens is None and kept.values == {}
    assert not calendar.tokens()
    assert ada.post(url_of(multi, "calendar", "disconnect/")).status_code == 404
    assert "Not connected" in text(ada.get(f"/installations/{multi.installation.pk}/"))


@pytest.mark.parametrize("how", ["uninstall", "agent removed", "agent deactivated"])
def test_whatever_ends_it_the_vendor_is_told_and_the_tokens_are_erased(multi, browse, cast, vendors, how):
    axel = browse(cast.agent)
    connect(axel, multi, "boards")
    if how == "uninstall":
        marketplace.uninstall(multi.installation, by=cast.admin)
    elif how == "agent removed":
        accounts.end_membership(cast.agent.memberships.get(account=cast.acme), by=None)
    else:
        accounts.deactivate_person(cast.agent, by=None)
    assert not Connection.objects.live().exists()
    [over] = Connection.objects.over()
    tasks.revoke_connection(str(over.pk))
    over.refresh_from_db()
    assert over.erased_at and over.tokens is None and not vendors[1].tokens()


@pytest.mark.parametrize("revocation", ["absent", "refused"])
def test_a_vendor_that_cannot_be_told_changes_nothing_here(multi, ada, cast, calendar, revocation):
    calendar.switch(revocation=revocation)
    connect(ada, multi, "calendar")
    kept = row()
    marketplace.disconnect(kept, by=cast.admin)
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.erased_at and kept.tokens is None


def test_a_vendor_that_is_away_is_told_later_and_in_the_end_the_tokens_go_all_the_same(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    kept = row()
    marketplace.disconnect(kept, by=cast.admin)
    calendar.switch(revoke_fault={"status": 503})
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.tokens and kept.revoke_attempts == 1
    # Not before its time.
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.revoke_attempts == 1
    for _try in range(7):
        Connection.objects.update(revoke_at=Now())
        tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.erased_at and kept.tokens is None


def test_uninstalling_counts_the_connections_in_its_receipt(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    assert "1 connection to a vendor" in text(ada.get(f"/installations/{multi.installation.pk}/uninstall/"))
    receipt = marketplace.uninstall(multi.installation, by=cast.admin)
    assert receipt.details["connections"] == 1


# --- without anything of the company's own ---


def test_an_app_that_only_has_vendors_is_installed_used_and_uninstalled(vendor_only, ada, cast, calendar):
    page = f"/installations/{vendor_only.installation.pk}/"
    assert vendor_only.installation.access is None
    for path in ("/installations/", page, f"/marketplace/{vendor_only.app.slug}/"):
        assert ada.get(path).status_code == 200
    assert "Not finished" in text(ada.get(page))
    assert ada.get(f"{page}connect/")["Location"] == page
    connect(ada, vendor_only, "calendar")
    assert "Ready" in text(ada.get(page)) and "Ready" in text(ada.get("/installations/"))
    ended = ada.post(f"{page}uninstall/")
    assert "1" in text(ada.get(ended["Location"])) and Connection.objects.over().count() == 1
    assert "Receipt" in text(ada.get(page))


@pytest.mark.parametrize("iss", ["http://[", "//", "https://[::1", "https://a]b"])
def test_an_issuer_that_is_no_url_is_not_the_vendors(multi, ada, calendar, iss):
    """RFC 9207, section 2.4"""
    calendar.switch(iss="none")
    back = sent_back(set_out(ada, multi, "calendar"))
    assert "was not Example Calendar’s" in text(ada.get(f"{back}&{urlencode({'iss': iss})}", follow=True))
    assert not calendar.log("/token")


def test_many_scopes_are_asked_for_as_one_list(multi_of, ada):
    scopes = [f"https://vendor.example/auth/scope.{number:03}" for number in range(100)]
    multi = multi_of(options={"scope": scopes}, oauth_iparams={})
    query = parse_qs(urlsplit(set_out(ada, multi, "calendar")).query)
    assert query["scope"] == [" ".join(scopes)]


def test_what_a_vendor_says_of_a_token_has_no_token_in_it(multi, ada, cast, calendar):
    """Some repeat what they refuse: “Invalid refresh token: …”."""
    body = '{{"error": "invalid_grant", "error_description": "{} Invalid token: {}"}}'
    connect(ada, multi, "calendar")
    for padding in ("", "x" * 250):
        Connection.objects.update(refresh_at=Now(), broken_at=None)
        kept = row().tokens["refresh_token"]
        calendar.switch(token_fault={"status": 400, "body": body.format(padding[:190], kept)})
        with pytest.raises(VendorError) as refused:
            marketplace.refresh_connection(row())
        assert kept[:8] not in row().problem + str(refused.value)
        assert "invalid_grant" in row().problem


def test_a_code_and_a_client_secret_are_not_repeated_either(multi, ada, calendar):
    there = set_out(ada, multi, "calendar")
    back = sent_back(there)
    code = parse_qs(urlsplit(back).query)["code"][0]
    body = f'{{"error": "invalid_client", "error_description": "No client has {SECRET} for {code}"}}'
    calendar.switch(token_fault={"status": 401, "body": body})
    shown = text(ada.get(back, follow=True))
    assert "No client has" in shown and SECRET not in shown and code not in shown


def test_uninstalling_erases_what_was_filled_in(multi, ada, cast):
    ada.post(f"/installations/{multi.installation.pk}/settings/", {"value-owner": "acme"})
    marketplace.uninstall(multi.installation, by=cast.admin)
    multi.installation.refresh_from_db()
    assert multi.installation.values == {}
