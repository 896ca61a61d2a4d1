"""Invalid authorization and token requests: in the log for the client's team, and on the page for people."""

from html import unescape
from urllib.parse import quote, urlencode

import pytest
from django.test import Client as Browser

from consent.models import Failure
from credentials.actions import suspend_client
from portal.foundation.limits import rates
from tests import factories
from tests.factories import DELETE, EDIT, REDIRECT_URI
from tests.oauth import AppSide, authorize_url, basic, pkce

pytestmark = pytest.mark.django_db
CHALLENGE = pkce()[1]
FORM = "application/x-www-form-urlencoded"


def logged():
    """Return the rows of the log as (where, error, why, parameter, times)."""
    rows = Failure.objects.order_by("pk")
    return [(row.where, row.error, row.why, row.parameter, row.times) for row in rows]


def log_of(side, browser):
    return unescape(browser.get(f"/credentials/{side.client.client_id}/log/").content.decode())


REFUSALS = {
    "redirect_uri is not one of": ({"redirect_uri": "https://elsewhere.example/cb"}, "invalid_request", "redirect_uri"),
    "code_challenge is missing": ({"code_challenge": None}, "invalid_request", "code_challenge"),
    "code_challenge_method must be S256": ({"code_challenge_method": "plain"}, "invalid_request", "code_challenge_method"),
    "response_mode must be query": ({"response_mode": "form_post"}, "invalid_request", "response_mode"),
    "response_type must be code": ({"response_type": "token"}, "unsupported_response_type", "response_type"),
    "response_type is missing": ({"response_type": None}, "invalid_request", "response_type"),
    "prompt must be one of": ({"prompt": "always"}, "invalid_request", "prompt"),
    f"not the client's: {DELETE}": ({"scope": f"{EDIT} {DELETE}"}, "invalid_scope", "scope"),
    "No product publishes this scope": ({"scope": "made.up"}, "invalid_scope", "scope"),
    "belongs to no such account": ({"account": "nowhere"}, "account_selection_required", "account"),
}  # fmt: skip


def test_each_refused_authorization_request_is_logged_with_its_reason(external, cast, browse):
    ada = browse(cast.admin)
    for more, error, parameter in REFUSALS.values():
        Failure.objects.all().delete()
        for _time in range(2):
            assert ada.get(authorize_url(external.client, CHALLENGE, **more)).status_code in (302, 400, 404)
        why = {"scope": "scope", "account": "no_consent"}.get(parameter, "request")
        assert logged() == [("authorize", error, why, parameter, 2)]


def test_the_team_reads_each_reason_in_the_log(external, cast, browse):
    ada, dev = browse(cast.admin), browse(cast.dev)
    for reason, (more, _error, parameter) in REFUSALS.items():
        ada.get(authorize_url(external.client, CHALLENGE, **more))
        page = log_of(external, dev)
        assert reason in page and "Authorization request" in page and f"<code>{parameter}</code>" in page
    assert {row[3] for row in logged()} == {parameter for _more, _error, parameter in REFUSALS.values()}


def test_an_app_not_installed_and_a_person_who_may_not_agree_are_logged(external, installed, cast, browse):
    browse(cast.globex_admin).get(authorize_url(installed.client, CHALLENGE))
    browse(cast.agent).get(authorize_url(external.client, CHALLENGE))
    assert logged() == [
        ("authorize", "access_denied", "no_consent", "installation", 1),
        ("authorize", "access_denied", "no_consent", "", 1),
    ]


def test_cancelling_and_prompt_none_are_not_logged(external, cast, browse):
    ada = browse(cast.admin)
    url = authorize_url(external.client, CHALLENGE, account=cast.acme.slug)
    ada.post(url, {"decision": "cancel"})
    ada.get(url + "&prompt=none")
    Browser().get(url + "&prompt=none")
    assert logged() == []


def test_nothing_that_a_stranger_sends_is_stored(external, cast, browse):
    ada = browse(cast.admin)
    for name in (
        "redirect_uri",
        "scope",
        "state",
        "response_type",
        "response_mode",
        "prompt",
        "account",
        "code_challenge",
    ):
        ada.get(authorize_url(external.client, CHALLENGE, **{name: "amp_at_pasted"}))
        ada.get(authorize_url(external.client, CHALLENGE) + f"&{name}=amp_at_pasted")
    for body in (
        "amp_at_pasted=1&amp_at_pasted=2",
        "grant_type=amp_at_pasted",
        "scope=%00amp_at_pasted",
        "code-amp_at_pasted=%00",
    ):
        post(external, body)
    assert len(logged()) > 5 and "pasted" not in str(list(Failure.objects.values()))


def test_an_unknown_clients_requests_are_not_logged_and_show_no_uri(external, cast, browse):
    unknown = type("", (), {"client_id": "unknown"})
    page = browse(cast.admin).get(authorize_url(unknown, CHALLENGE, redirect_uri="https://elsewhere.example/cb"))
    assert page.status_code == 400 and "elsewhere.example" not in page.content.decode()
    post(AppSide(external.http, unknown, "x"), "")
    assert logged() == []


def test_a_suspended_clients_requests_are_logged_and_its_name_is_not_shown(external, cast, browse):
    suspend_client(external.client, reason="Harmful", by=factories.reviewer())
    page = browse(cast.admin).get(
        authorize_url(external.client, CHALLENGE, redirect_uri="https://elsewhere.example/cb")
    )
    assert page.status_code == 400 and external.client.name not in page.content.decode()
    assert logged() == [("authorize", "invalid_request", "suspended", "", 1)]


# --- the page for people ---


def test_the_page_names_the_app_and_the_uri_and_shows_the_team_the_registered_ones(external, cast, browse):
    sent = "https://elsewhere.example/<script>alert(1)</script>?" + "x" * 5000
    url = authorize_url(external.client, CHALLENGE, redirect_uri=sent)
    for person, is_team in ((Browser(), False), (browse(cast.admin), False), (browse(cast.dev), True)):
        response = person.get(url)
        text = response.content.decode().partition("<main")[2]
        assert response.status_code == 400 and f"{external.client.name} sent you here" in text
        assert "https://elsewhere.example/&lt;script&gt;" in text and "<script>alert" not in text
        assert "x" * 200 in text and "x" * 301 not in text
        assert (REDIRECT_URI in text) == is_team
        assert (f"/credentials/{external.client.client_id}/log/" in text) == is_team


def test_the_page_says_what_is_wrong_with_the_uri(external, cast, browse):
    url, ada = authorize_url(external.client, CHALLENGE, redirect_uri="https://a.example/"), browse(cast.admin)
    for query, reason in {
        "": "redirect_uri is not one of",
        "&redirect_uri=https://b.example/": "redirect_uri is repeated",
    }.items():
        assert reason in ada.get(url + query).content.decode()
        assert reason in Failure.objects.get().text


def test_a_developer_who_signs_in_from_the_page_returns_to_it(external, cast):
    browser, url = Browser(), authorize_url(external.client, CHALLENGE, redirect_uri="https://a.example/")
    assert f"/accounts/login/?next={quote(url)}" in unescape(browser.get(url).content.decode())


# --- token requests ---


def post(side, body, **more):
    auth = basic(side.client.client_id, side.secret)
    return side.http.post("/oauth/token", body, **{"content_type": FORM, **auth, **more})


BODIES = {
    "redirect_uri=x": ("invalid_request", "grant_type", "grant_type is missing"),
    "grant_type=password": ("unsupported_grant_type", "grant_type", "grant_type must be one of"),
    "grant_type=authorization_code": ("invalid_request", "code", "code is missing"),
    "grant_type=authorization_code&code=x": ("invalid_request", "code_verifier", "code_verifier is missing"),
    "grant_type=authorization_code&code=x&code_verifier=y": ("invalid_request", "code_verifier", "43 to 128"),
    "grant_type=refresh_token": ("invalid_request", "refresh_token", "refresh_token is missing"),
    "grant_type=client_credentials": ("invalid_request", "account", "account is missing"),
    "grant_type=refresh_token&refresh_token=x&client_secret=y": ("invalid_request", "client_secret", "Use one way"),
    "grant_type=refresh_token&refresh_token=x&client_id=y": ("invalid_request", "client_id", "Two different clients"),
    "grant_type=refresh_token&grant_type=x": ("invalid_request", "grant_type", "grant_type is repeated"),
}


def test_each_token_request_with_wrong_parameters_is_logged(external, cast, browse):
    dev = browse(cast.dev)
    for body, (error, parameter, reason) in BODIES.items():
        Failure.objects.all().delete()
        for _time in range(2):
            assert post(external, body).status_code == 400
        assert logged() == [("token", error, "request", parameter, 2)]
        page = log_of(external, dev)
        assert reason in page and f"<code>{parameter}</code>" in page


def test_a_token_request_in_json_is_logged_for_the_client_in_its_header(external):
    assert post(external, "{}", content_type="application/json").status_code == 400
    assert logged() == [("token", "invalid_request", "request", "", 1)]
    assert Failure.objects.get().text == "The body must be application/x-www-form-urlencoded"


def test_a_token_request_that_names_its_client_in_the_body_is_logged(external, client):
    client.post("/oauth/token", urlencode({"client_id": external.client.client_id}), content_type=FORM)
    assert logged() == [("token", "invalid_request", "request", "grant_type", 1)]


def test_a_stranger_cannot_flood_a_log(external, client, limited, monkeypatch):
    """Beyond the limit on failures the answer stays the same, but is no longer counted."""
    monkeypatch.setitem(rates.RATES, "token failed by address and client", (3, 3600))
    body = urlencode({"client_id": external.client.client_id})
    for _time in range(10):
        assert client.post("/oauth/token", body, content_type=FORM).status_code == 400
    assert logged() == [("token", "invalid_request", "request", "grant_type", 3)]
