"""The token endpoint: code, refresh, client credentials (RFC 6749 sections 4.1.3, 4.4, 5.2, 6; RFC 7636; T1–T8)."""

import datetime as dt
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.db import transaction

from consent.actions.issuing import rotate
from consent.models import AccessToken, AuthorizationCode, RefreshToken
from credentials import actions as credentials
from credentials.models import Kind, Level
from tests import factories
from tests.clock import advance
from tests.factories import EDIT, REDIRECT_URI, VIEW
from tests.oauth import AppSide, agree, answer, authorize_url, basic, pkce
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def tokens(external, browse, cast):
    return external.tokens_for(browse(cast.admin), account=cast.acme.slug)


def error_of(response, status=400):
    assert response.status_code == status, response.content
    assert response["Cache-Control"] == "no-store"
    return response.json()["error"]


def test_a_token_response_has_everything_that_the_interface_promises(tokens, cast):
    """RFC 6749 section 5.1."""
    assert tokens["token_type"] == "Bearer"
    assert 1790 <= tokens["expires_in"] <= 1800
    assert tokens["scope"] == f"{EDIT} {VIEW}"
    assert tokens["account"] == cast.acme.slug
    assert tokens["access_token"].startswith("amp_at_") and tokens["refresh_token"].startswith("amp_rt_")
    assert "installation" not in tokens and "agent" not in tokens


def test_an_installed_apps_token_names_its_installation_and_an_agents_its_agent(installed_agent, browse, cast):
    """RFC 6749 section 5.1: further parameters."""
    got = installed_agent.tokens_for(browse(cast.agent), installation=str(installed_agent.installation.pk))
    assert got["installation"] == str(installed_agent.installation.pk)
    assert got["agent"] == str(cast.agent.memberships.get(account=cast.acme).pk)


def test_tokens_codes_and_secrets_are_stored_as_hashes_only(tokens, external):
    """RFC 6749 section 10.3; RFC 9700 section 2.2."""
    stored = str(list(AccessToken.objects.values())) + str(list(RefreshToken.objects.values()))
    stored += str(list(AuthorizationCode.objects.values())) + str(list(external.client.secrets.values()))
    for secret in (tokens["access_token"], tokens["refresh_token"], external.secret):
        assert secret not in stored


def test_a_code_works_once_and_its_replay_ends_the_tokens_it_gave(external, browse, cast):
    """RFC 6749 section 4.1.2."""
    code, verifier = external.code_for(browse(cast.admin), account=cast.acme.slug)
    got = external.exchange(code, verifier).json()
    assert external.call(got["access_token"]).status_code == 200
    assert error_of(external.exchange(code, verifier)) == "invalid_grant"
    assert external.call(got["access_token"]).status_code == 401
    assert error_of(external.refresh(got["refresh_token"])) == "invalid_grant"


def test_a_code_replayed_with_another_verifier_ends_nothing(external, browse, cast):
    """RFC 6749 section 4.1.2, RFC 7636 section 4.6."""
    code, verifier = external.code_for(browse(cast.admin), account=cast.acme.slug)
    got = external.exchange(code, verifier).json()
    assert error_of(external.exchange(code, pkce()[0])) == "invalid_grant"
    assert external.call(got["access_token"]).status_code == 200


def test_an_expired_code_is_refused(external, browse, cast):
    """RFC 6749 section 4.1.2."""
    code, verifier = external.code_for(browse(cast.admin), account=cast.acme.slug)
    advance(dt.timedelta(seconds=61))
    assert error_of(external.exchange(code, verifier)) == "invalid_grant"


def test_another_clients_code_is_refused_and_stays_good(external, browse, cast, client):
    """RFC 6749 section 4.1.3."""
    code, verifier = external.code_for(browse(cast.admin), account=cast.acme.slug)
    other = AppSide(client, *factories.client(cast.other_dev, kind=Kind.EXTERNAL))
    assert error_of(other.exchange(code, verifier)) == "invalid_grant"
    assert external.exchange(code, verifier).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": pkce()[0]},
        {"redirect_uri": REDIRECT_URI + "/"},
        {"redirect_uri": REDIRECT_URI.replace("9999", "9998")},
        {"code": "amp_ac_nonsense"},
    ],
)
def test_a_code_exchanged_with_anything_else_is_an_invalid_grant(external, browse, cast, changed):
    """RFC 6749 section 4.1.3, RFC 7636 section 4.6."""
    code, verifier = external.code_for(browse(cast.admin), account=cast.acme.slug)
    sent = {"code": code, "code_verifier": verifier, "redirect_uri": REDIRECT_URI, **changed}
    assert error_of(external.token(grant_type="authorization_code", **sent)) == "invalid_grant"
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("missing", ["code", "code_verifier", "grant_type"])
def test_a_missing_parameter_is_an_invalid_request(external, missing):
    """RFC 6749 section 5.2."""
    parameters = {"grant_type": "authorization_code", "code": "x", "code_verifier": pkce()[0]}
    del parameters[missing]
    assert error_of(external.token(**parameters)) == "invalid_request"


@pytest.mark.parametrize(
    "grant_type", ["password", "implicit", "openid", "urn:ietf:params:oauth:grant-type:device_code"]
)
def test_any_other_grant_type_is_unsupported(external, cast, grant_type):
    """RFC 6749 section 5.2; RFC 9700 section 2.4."""
    response = external.token(grant_type=grant_type, username=cast.admin.email, password=factories.PASSWORD)
    assert error_of(response) == "unsupported_grant_type"


def test_only_a_client_that_proves_itself_gets_anything(external, tokens, client):
    """RFC 6749 sections 2.3.1 and 5.2."""
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}

    def post(data, **headers):
        return client.post("/oauth/token", urlencode(data), content_type="application/x-www-form-urlencoded", **headers)

    assert error_of(post(form), 401) == "invalid_client"
    assert error_of(post(form, **basic(external.client.client_id, "amp_cs_wrong")), 401) == "invalid_client"
    assert error_of(post(form, **basic("unknown", external.secret)), 401) == "invalid_client"
    assert post(form, **basic("unknown", external.secret))["WWW-Authenticate"].startswith("Basic")
    both = {**form, "client_id": external.client.client_id, "client_secret": external.secret}
    assert error_of(post(both, **basic(external.client.client_id, external.secret))) == "invalid_request"
    assert post(both).status_code == 200


def test_a_suspended_client_is_refused_at_once_and_restored_by_lifting(external, tokens):
    """RFC 6749 section 5.2."""
    reviewer = factories.reviewer()
    credentials.suspend_client(external.client, reason="Reported", by=reviewer)
    assert external.call(tokens["access_token"]).status_code == 401
    assert error_of(external.refresh(tokens["refresh_token"]), 401) == "invalid_client"
    credentials.lift_client(external.client, reason="Cleared", secret_leaked=False, by=reviewer)
    assert external.call(tokens["access_token"]).status_code == 200
    assert external.refresh(tokens["refresh_token"]).status_code == 200


def test_lifting_after_a_leak_ends_all_earlier_tokens_and_secrets(external, tokens, cast):
    """RFC 9700 section 4.14.2."""
    reviewer = factories.reviewer()
    credentials.suspend_client(external.client, reason="Leak", by=reviewer)
    _, fresh = credentials.rotate_secret(external.client, overlap_hours=24, by=cast.dev)
    credentials.lift_client(external.client, reason="Rotated", secret_leaked=True, by=reviewer)
    assert error_of(external.refresh(tokens["refresh_token"]), 401) == "invalid_client"
    external.secret = fresh
    assert error_of(external.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert external.call(tokens["access_token"]).status_code == 401
    assert external.client_credentials(cast.acme.slug).status_code == 200


def test_refreshing_rotates_and_the_former_access_token_stays_valid(external, tokens):
    """RFC 6749 section 6; RFC 9700 section 4.14.2."""
    new = external.refresh(tokens["refresh_token"]).json()
    assert new["refresh_token"] != tokens["refresh_token"] and new["access_token"] != tokens["access_token"]
    assert external.call(new["access_token"]).status_code == 200
    assert external.call(tokens["access_token"]).status_code == 200
    assert RefreshToken.objects.count() == 1


def test_the_same_refresh_within_a_minute_gets_the_same_pair(external, tokens):
    """RFC 9700 section 4.14.2."""
    first = external.refresh(tokens["refresh_token"]).json()
    advance(dt.timedelta(seconds=30))
    second = external.refresh(tokens["refresh_token"]).json()
    assert (second["access_token"], second["refresh_token"]) == (first["access_token"], first["refresh_token"])
    assert second["expires_in"] <= first["expires_in"] - 29


def test_a_refresh_token_used_again_after_a_minute_ends_its_family(external, tokens, cast):
    """RFC 9700 section 4.14.2."""
    new = external.refresh(tokens["refresh_token"]).json()
    advance(dt.timedelta(seconds=61))
    assert error_of(external.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert external.call(new["access_token"]).status_code == 401
    assert error_of(external.refresh(new["refresh_token"])) == "invalid_grant"


def test_a_refresh_token_two_generations_behind_is_refused_and_ends_nothing_within_a_minute(external, tokens):
    """RFC 9700 section 4.14.2."""
    second = external.refresh(tokens["refresh_token"]).json()
    third = external.refresh(second["refresh_token"]).json()
    assert error_of(external.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert external.refresh(third["refresh_token"]).status_code == 200


def test_a_refresh_token_of_another_client_changes_nothing(external, tokens, cast, client):
    """RFC 6749 section 10.4."""
    other = AppSide(client, *factories.client(cast.other_dev, kind=Kind.EXTERNAL))
    assert error_of(other.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert external.refresh(tokens["refresh_token"]).status_code == 200


def test_a_refresh_narrows_the_access_token_only_and_never_widens(external, tokens):
    """RFC 6749 section 6."""
    narrow = external.refresh(tokens["refresh_token"], scope=VIEW).json()
    assert narrow["scope"] == VIEW
    assert external.refresh(narrow["refresh_token"]).json()["scope"] == f"{EDIT} {VIEW}"
    beyond = external.refresh(narrow["refresh_token"], scope=f"{VIEW} freshservice.tickets.delete")
    assert error_of(beyond) == "invalid_scope"


def test_a_consent_ends_after_365_days_however_often_the_app_refreshed(external, tokens):
    for _ in range(4):
        advance(dt.timedelta(days=91))
        response = external.refresh(tokens["refresh_token"])
        assert response.status_code == 200
        tokens = response.json()
    advance(dt.timedelta(days=2))
    assert error_of(external.refresh(tokens["refresh_token"])) == "invalid_grant"
    refused = external.call(tokens["access_token"]).json()
    assert refused["error"] == "invalid_token"


def test_client_credentials_give_the_consented_scopes_and_no_refresh_token(external, tokens, cast):
    """RFC 6749 section 4.4.3."""
    got = external.client_credentials(cast.acme.slug).json()
    assert got["scope"] == f"{EDIT} {VIEW}" and got["account"] == cast.acme.slug and "refresh_token" not in got
    assert external.call(got["access_token"]).status_code == 200
    assert external.client_credentials(cast.acme.slug, scope=VIEW).json()["scope"] == VIEW
    assert error_of(external.client_credentials(cast.acme.slug, scope="freshservice.tickets.create")) == "invalid_scope"


def test_client_credentials_answer_the_same_for_an_unknown_account_and_one_without_consent(external, tokens, cast):
    """RFC 6749 section 5.2."""
    unknown, foreign = external.client_credentials("nowhere"), external.client_credentials(cast.globex.slug)
    assert error_of(unknown) == error_of(foreign) == "invalid_grant"
    assert unknown.content == foreign.content


def test_client_credentials_without_an_account_are_an_invalid_request(external):
    """RFC 6749 section 5.2."""
    assert error_of(external.token(grant_type="client_credentials")) == "invalid_request"


def test_an_agent_level_client_has_no_client_credentials(cast, client):
    """RFC 6749 section 5.2: unauthorized_client."""
    side = AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL, level=Level.AGENT))
    assert error_of(side.client_credentials(cast.acme.slug)) == "unauthorized_client"


def test_a_client_cannot_smuggle_state_into_the_request(external, cast):
    for name in ("issue", "client", "user", "scopes", "validator_log"):
        response = external.client_credentials(cast.acme.slug, **{name: "x"})
        assert error_of(response) == "invalid_grant"


@pytest.mark.parametrize(
    "body",
    [
        "grant_type=refresh_token&grant_type=refresh_token",
        "grant_type=refresh_token&refresh_token=a%00b",
        "a=" + "x" * 5000,
    ],
)
def test_repeated_nul_and_oversized_parameters_are_invalid_requests(external, client, body):
    """RFC 6749 section 3.2."""
    response = client.post(
        "/oauth/token",
        body,
        content_type="application/x-www-form-urlencoded",
        **basic(external.client.client_id, external.secret),
    )
    assert error_of(response) == "invalid_request"


def test_the_token_endpoint_requires_post_and_a_form(external, client):
    """RFC 6749 section 3.2."""
    assert client.get("/oauth/token").status_code == 405
    response = client.post("/oauth/token", {"grant_type": "refresh_token"}, content_type="application/json")
    assert error_of(response) == "invalid_request"


def test_revoking_a_refresh_token_ends_its_family_and_an_access_token_only_itself(external, tokens):
    """RFC 7009 section 2.1."""
    again = external.refresh(tokens["refresh_token"]).json()
    assert external.revoke(again["access_token"]).status_code == 200
    assert external.call(again["access_token"]).status_code == 401
    assert external.call(tokens["access_token"]).status_code == 200
    assert external.revoke(tokens["refresh_token"]).status_code == 200
    assert external.call(tokens["access_token"]).status_code == 401
    assert error_of(external.refresh(again["refresh_token"])) == "invalid_grant"
    assert external.revoke("unknown").status_code == 200


def test_a_secret_works_during_its_overlap_and_not_after(external, tokens, cast):
    old = external.secret
    _, external.secret = credentials.rotate_secret(external.client, overlap_hours=2, by=cast.dev)
    tokens = external.refresh(tokens["refresh_token"]).json()
    external.secret, new = old, external.secret
    tokens = external.refresh(tokens["refresh_token"]).json()
    advance(dt.timedelta(hours=2, seconds=1))
    assert error_of(external.refresh(tokens["refresh_token"]), 401) == "invalid_client"
    external.secret = new
    assert external.refresh(tokens["refresh_token"]).status_code == 200


def test_cancelling_leaves_no_consent_code_or_token(external, browse, cast):
    """RFC 6749 section 4.1.2.1."""
    url = authorize_url(external.client, pkce()[1], account=cast.acme.slug)
    got = answer(browse(cast.admin).post(url, {"decision": "cancel", "account": cast.acme.slug}))
    assert got["error"] == "access_denied" and got["state"] == "xyz"
    assert not AuthorizationCode.objects.exists() and not external.client.accesses.exists()


def test_each_page_gives_one_code(external, browse, cast):
    browser, url = browse(cast.admin), authorize_url(external.client, pkce()[1], account=cast.acme.slug)
    page = browser.get(url)
    form = {"decision": "agree", "shown": page.context["shown"]}
    assert "code" in answer(browser.post(url, form))
    assert browser.post(url, form).status_code == 409
    assert "code" in answer(agree(browser, url))


def test_printing_an_issue_shows_no_secret(external, tokens):
    """T7: an error tracker stores local variables."""
    with transaction.atomic():
        issue = rotate(external.client, refresh_token=tokens["refresh_token"])
        shown = repr(issue)
    assert issue.access_token not in shown and settings.TOKEN_KEYS[0] not in shown and str(issue.salt) not in shown
