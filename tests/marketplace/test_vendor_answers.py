"""Vendors' answers: fewer scopes than requested, errors in any shape, and where to revoke."""

import base64
import json
from urllib.parse import unquote_plus

import pytest

from marketplace import tasks
from marketplace.models import Connection
from marketplace.package import known_vendors
from marketplace.vendors import actions as connecting
from marketplace.vendors.oauth_client import words_of
from tests.marketplace.connected import connect, row, start_connecting, url_of, works
from tests.people.forms import text
from tests.vendors import CLIENT_ID, SECRET

pytestmark = pytest.mark.django_db
ODD_ID, ODD_SECRET = "portal:100%+1 & co", "s%65cret+with: ünicode/=&%"


def checklist(browser, multi):
    return " ".join(text(browser.get(f"/installations/{multi.installation.pk}/")).split())


def disconnect_page(browser, multi, name="calendar"):
    return " ".join(text(browser.get(url_of(multi, name, "disconnect/"))).split())


def test_id_and_secret_are_form_encoded_in_basic(multi_of, ada, calendar):
    """RFC 6749 section 2.3.1: otherwise a colon, plus or percent sign changes the id or secret."""
    multi = multi_of(
        client_id=ODD_ID, client_secret=ODD_SECRET, options={"scope": "read", "client_authentication": "basic"}
    )
    calendar.register(
        f"http://127.0.0.1:8000/oauth/callback/{multi.app.slug}/calendar", client_id=ODD_ID, secret=ODD_SECRET
    )
    calendar.switch(client_auth="basic")
    assert "is connected" in connect(ada, multi, "calendar")
    sent = calendar.log("/token")[-1]["headers"]["authorization"].removeprefix("Basic ")
    pair = base64.b64decode(sent).decode().split(":")
    assert [unquote_plus(part) for part in pair] == [ODD_ID, ODD_SECRET] and works(calendar, row())


# --- fewer scopes than requested ---


def test_scopes_that_a_vendor_did_not_grant_are_named_on_the_checklist(multi_of, ada, calendar):
    multi = multi_of(options={"scope": "read write"})
    calendar.switch(granted=["read"])
    connect(ada, multi, "calendar")
    assert row().missing_scopes == ["write"]
    assert "did not allow everything that the app asked for. Missing: write." in checklist(ada, multi)
    calendar.switch(granted=None)
    connect(ada, multi, "calendar")
    assert row().missing_scopes == [] and "Missing" not in checklist(ada, multi)


@pytest.mark.parametrize("switches", [{"scope_returned": False}, {"scope_separator": "comma"}])
def test_a_vendor_that_grants_everything_or_does_not_say_misses_no_scopes(multi_of, ada, calendar, switches):
    """RFC 6749 section 5.1: without `scope`, everything was granted."""
    comma = switches.get("scope_separator") == "comma"
    multi = multi_of(options={"scope": "read,write" if comma else "read write"})
    calendar.switch(**switches)
    connect(ada, multi, "calendar")
    assert row().missing_scopes == [] and "Missing" not in checklist(ada, multi)


def test_a_connection_without_a_refresh_token_says_when_it_ends(multi, ada, calendar):
    calendar.switch(refresh="none")
    connect(ada, multi, "calendar")
    assert row().ends_by_itself and "gave no refresh token. Connect again then." in checklist(ada, multi)
    calendar.switch(refresh="none", expires_in="missing")
    connect(ada, multi, "calendar")
    assert "no refresh token" not in checklist(ada, multi), "a connection without an end needs no renewal"


def test_a_short_lifetime_is_shown_on_the_checklist(multi, ada, calendar):
    calendar.switch(lifetime=120)
    connect(ada, multi, "calendar")
    assert "gives access for only 120 seconds at a time" in checklist(ada, multi)


@pytest.mark.parametrize(
    ("token_url", "options", "lacking"),
    [
        ("https://oauth2.googleapis.com/token", {"scope": "x"}, ("access_type", "offline")),
        ("https://oauth2.googleapis.com/token", {"access_type": "offline"}, None),
        (
            "https://login.microsoftonline.com/common/oauth2/v2.0/token",
            {"scope": "User.Read"},
            ("scope", "offline_access"),
        ),
        (
            "https://login.microsoftonline.com/common/oauth2/v2.0/token",
            {"scope": ["User.Read", "offline_access"]},
            None,
        ),
        ("https://tenant.eu.auth0.com/oauth/token", {}, ("scope", "offline_access")),
        ("https://github.com/login/oauth/access_token", {}, None),
        ("https://notokta.com/token", {}, None),
        ("https://[/token", {}, None),
        ("", {}, None),
    ],
)
def test_the_check_knows_what_well_known_vendors_require_for_a_refresh_token(token_url, options, lacking):
    assert known_vendors.lacks_refresh_token(token_url, options) == lacking


# --- errors ---


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("invalid_grant", "invalid_grant"),
        ({"code": 401, "message": "Bad credentials", "status": "UNAUTHENTICATED"}, "Bad credentials"),
        ({"errors": [{"detail": "No such app"}]}, "No such app"),
        ([{"message": "First"}, {"message": "Second"}], "First"),
        ({"error": {"error": {"message": "Deep"}}}, "Deep"),
        ({"error": {"error": {"error": {"error": {"message": "Too deep"}}}}}, ""),
        ({}, ""), ([], ""), (None, ""), (True, ""), ({"message": {"a": []}}, ""),
    ],
)  # fmt: skip
def test_an_error_of_any_shape_is_shown_by_its_message(problem, words):
    assert words_of(problem) == words


@pytest.mark.parametrize("status", [200, 400, 401])
def test_an_error_object_is_shown_as_text(multi, ada, calendar, status):
    body = json.dumps({"error": {"code": 401, "message": "The key was revoked", "status": "UNAUTHENTICATED"}})
    calendar.switch(token_fault={"status": status, "body": body, "times": 1})
    page = connect(ada, multi, "calendar")
    assert "UNAUTHENTICATED The key was revoked" in page and "{" not in page.partition("Not connected")[2][:120]
    calendar.switch(token_fault={"status": 422, "body": '{"message": "Try another app"}', "times": 1})
    assert "The vendor responded with status 422: Try another app" in connect(ada, multi, "calendar")


# --- where to revoke ---


@pytest.mark.parametrize("issuer_path", ["", "/realms/acme"])
@pytest.mark.parametrize("how", ["iss", "option"])
def test_tokens_are_revoked_at_a_vendor_whose_issuer_has_a_path(multi_of, ada, calendar, issuer_path, how):
    """RFC 8414 section 3.1 inserts the well-known path; the issuer comes from the package or the answer (RFC 9207)."""
    issuer = {"issuer": f"{calendar.url}{issuer_path}"} if how == "option" else {}
    multi = multi_of(options={"scope": "read", **issuer})
    calendar.switch(issuer_path=issuer_path, iss="correct" if how == "iss" else "none")
    connect(ada, multi, "calendar")
    connection = row()
    assert connection.revocation_url == f"{calendar.url}/revoke"
    assert "The portal notifies Example Calendar so that access ends there too." in disconnect_page(ada, multi)
    ada.post(url_of(multi, "calendar", "disconnect/"))
    tasks.revoke_connection(str(connection.pk))
    assert not calendar.tokens()


def test_metadata_of_another_issuer_is_ignored(multi_of, ada, calendar):
    """RFC 8414 section 3.3."""
    multi = multi_of(options={"scope": "read", "issuer": f"{calendar.url}/realms/acme"})
    # The vendor publishes metadata of another issuer.
    calendar.switch(iss="none", issuer_path="/realms/other")
    connect(ada, multi, "calendar")
    assert row().revocation_url == ""


def test_the_page_says_if_a_vendor_cannot_be_told(multi, ada, calendar):
    calendar.switch(revocation="absent")
    connect(ada, multi, "calendar")
    page = disconnect_page(ada, multi)
    assert "Example Calendar offers no way" in page and "The portal notifies" not in page


def test_a_connection_made_before_the_look_up_promises_nothing(multi, ada, calendar):
    connect(ada, multi, "calendar")
    Connection.objects.update(revocation_url=None)
    connection = row()
    assert "The portal notifies Example Calendar if Example Calendar offers a way to do so." in disconnect_page(
        ada, multi
    )
    ada.post(url_of(multi, "calendar", "disconnect/"))
    tasks.revoke_connection(str(connection.pk))
    assert not calendar.tokens(), "the endpoint is looked up when needed"


# --- whose the app's credentials are ---


CREDENTIALS = {
    "client_id": "<%= oauth_iparams.id %>",
    "client_secret": "<%= oauth_iparams.secret %>",
    "oauth_iparams": {
        "id": {"display_name": "Client ID", "required": True},
        "secret": {"display_name": "Client secret", "required": True, "secure": True},
        "board": {"display_name": "Board", "required": True},
    },
    "options": {"scope": "read", "board": "<%= oauth_iparams.board %>"},
}


def test_an_agent_is_not_asked_for_the_apps_credentials_at_a_vendor(multi_of, cast, browse, ada, vendors):
    multi = multi_of(boards=CREDENTIALS)
    axel, page = browse(cast.agent), url_of(multi, "boards")
    form = text(axel.get(page))
    assert "Board" in form and "Client secret" not in form and "Client ID" not in form
    assert "An admin must fill in the app’s settings first." in checklist(axel, multi)
    assert "An admin must fill in the app’s settings first." in text(axel.post(page, {"value-board": "7"}, follow=True))
    settings = f"/installations/{multi.installation.pk}/settings/"
    assert axel.get(settings).status_code == 404 and "Example Boards: Client secret" in text(ada.get(settings))
    values = {"value-owner": "x", "value-boards.id": CLIENT_ID, "value-boards.secret": SECRET}
    assert ada.post(settings, values).status_code == 302
    assert SECRET not in text(ada.get(settings))
    assert "is connected" in connect(axel, multi, "boards", **{"value-board": "7"})
    connection = row("boards")
    assert connection.values == {"board": "7"} and works(vendors[1], connection)
    # Values that an agent sends for them are ignored.
    start_connecting(axel, multi, "boards", **{"value-board": "7", "value-secret": "stolen"})
    connecting.refresh_connection(connection)


def test_request_templates_cannot_use_the_apps_credentials_at_a_vendor(multi_of, ada):
    multi = multi_of(boards=CREDENTIALS)
    contents = connecting.Contents.of(multi.version)
    assert set(contents.iparams) == {"owner"} and set(contents.fields) == {"owner", "boards.id", "boards.secret"}
