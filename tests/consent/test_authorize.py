"""The authorization endpoint (RFC 6749 sections 3.1 and 4.1, RFC 7636, RFC 9207, RFC 9700; T8, T12, M3)."""

import datetime as dt
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings

from consent.actions import ending
from consent.models import Access, AuthorizationCode, Consent
from credentials import actions as credentials
from credentials.models import Kind
from portal.accounts.actions import memberships, teams
from tests import factories
from tests.clock import advance
from tests.factories import DELETE, EDIT, REDIRECT_URI, VIEW
from tests.oauth import AppSide, agree, answer, authorize_url, pkce, shown
from tests.worlds import shared

pytestmark = pytest.mark.django_db
CHALLENGE = pkce()[1]
HTTPS_URI = "https://app.example/callback"


@shared
def ada(browse, cast):
    return browse(cast.admin)


def nothing_was_issued():
    return not Consent.objects.exists() and not AuthorizationCode.objects.exists()


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        REDIRECT_URI + "/",
        REDIRECT_URI + "?x=1",
        REDIRECT_URI.replace("callback", "Callback"),
        REDIRECT_URI.replace("http://", "http://user@"),
        REDIRECT_URI.replace("127.0.0.1", "127.0.0.1.evil.example"),
        REDIRECT_URI.replace("http:", "https:"),
        "//127.0.0.1:9999/callback",
        "javascript:alert(1)",
    ],
)
def test_a_redirect_uri_that_differs_in_any_part_is_reported_on_our_page_and_never_followed(external, ada, cast, uri):
    """RFC 6749 sections 3.1.2.3 and 4.1.2.1; RFC 9700 section 2.1."""
    response = ada.get(authorize_url(external.client, CHALLENGE, redirect_uri=uri, account=cast.acme.slug))
    assert response.status_code == 400 and "Location" not in response


def test_the_port_of_a_loopback_redirect_uri_may_vary(external, ada, cast):
    """RFC 8252 section 7.3."""
    uri = REDIRECT_URI.replace("9999", "54321")
    response = agree(ada, authorize_url(external.client, CHALLENGE, redirect_uri=uri, account=cast.acme.slug))
    assert response["Location"].startswith(uri + "?code=amp_ac_")


def test_an_unknown_or_suspended_client_is_reported_on_our_page(external, ada):
    """RFC 6749 section 4.1.2.1."""
    from credentials.actions import suspend_client

    url = authorize_url(external.client, CHALLENGE)
    assert ada.get(url.replace(external.client.client_id, "unknown")).status_code == 400
    suspend_client(external.client, reason="x", by=factories.reviewer())
    assert ada.get(url).status_code == 400


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": "freshservice.tickets.delete"}, "invalid_scope"),
        ({"scope": "made.up"}, "invalid_scope"),
        ({"prompt": "none consent"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
    ],
)
def test_every_other_error_goes_back_to_the_app_with_state_and_iss(external, ada, cast, changed, error):
    """RFC 6749 section 4.1.2.1; RFC 9207 section 2."""
    got = answer(ada.get(authorize_url(external.client, CHALLENGE, account=cast.acme.slug, **changed)))
    assert got["error"] == error and got["state"] == "xyz" and got["iss"] == settings.BASE_URL
    assert nothing_was_issued()


@pytest.mark.parametrize("name", ["response_type", "scope", "state", "code_challenge", "prompt", "account"])
def test_a_repeated_parameter_goes_back_to_the_app(external, ada, cast, name):
    """RFC 6749 sections 3.1 and 4.1.2.1"""
    once = authorize_url(external.client, CHALLENGE, account=cast.acme.slug, prompt="consent", scope=VIEW)
    value = parse_qs(urlsplit(once).query)[name][0]
    got = answer(ada.get(f"{once}&{urlencode({name: value})}"))
    assert got["error"] == "invalid_request" and name in got["error_description"] and got["state"] == "xyz"


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_two_clients_or_redirect_uris_in_one_request_are_reported_on_our_page(external, ada, cast, name):
    """RFC 6749 section 3.1."""
    once = authorize_url(external.client, CHALLENGE, account=cast.acme.slug)
    response = ada.get(f"{once}&{urlencode({name: parse_qs(urlsplit(once).query)[name][0]})}")
    assert response.status_code == 400 and "Location" not in response


def test_an_error_description_has_only_characters_that_the_rfc_allows(external, ada, cast):
    """RFC 6749 section 4.1.2.1"""
    url = authorize_url(external.client, CHALLENGE, account=cast.acme.slug, scope='é"\\x')
    assert answer(ada.get(url))["error_description"].endswith(" ???x")


def test_a_state_of_4000_characters_comes_back_unchanged(external, ada, cast):
    """RFC 6749 section 4.1.2."""
    state = ("aZ0 -._~+/=&%é" * 400)[:4000]
    response = agree(ada, authorize_url(external.client, CHALLENGE, state=state, account=cast.acme.slug))
    assert parse_qs(urlsplit(response["Location"]).query)["state"] == [state]


def test_signing_in_comes_first(external, client):
    response = client.get(authorize_url(external.client, CHALLENGE))
    assert response.status_code == 302 and response["Location"].startswith("/accounts/login/")
    assert answer(client.get(authorize_url(external.client, CHALLENGE, prompt="none")))["error"] == "login_required"


def test_only_an_admin_agrees_for_an_account(external, browse, cast):
    axel = browse(cast.agent)
    url = authorize_url(external.client, CHALLENGE, account=cast.acme.slug)
    page = axel.get(url)
    assert page.status_code == 403 and "Ada" in page.content.decode()
    assert answer(axel.get(url + "&prompt=none"))["error"] == "access_denied"
    assert axel.post(url, {"decision": "agree", "shown": "0" * 64}).status_code == 403
    assert nothing_was_issued()


def test_an_unknown_and_a_foreign_account_get_the_same_page(external, ada, cast):
    pages = [
        ada.get(authorize_url(external.client, CHALLENGE, account=slug))
        for slug in (cast.globex.slug, "nowhere-at-all")
    ]
    assert [page.status_code for page in pages] == [404, 404]
    assert all(cast.admin.email in page.content.decode() for page in pages)
    assert (
        ada.post(authorize_url(external.client, CHALLENGE, account=cast.globex.slug), {"decision": "agree"}).status_code
        == 404
    )
    assert nothing_was_issued()


def test_somebody_with_two_accounts_has_to_choose_one(external, ada, cast):
    url = authorize_url(external.client, CHALLENGE)
    assert ada.get(url).context["screen"].account == cast.acme
    memberships.add_member(cast.globex, cast.admin, role="admin", by=None)
    assert b"Which account" in ada.get(url).content
    assert answer(ada.get(url + "&prompt=none"))["error"] == "account_selection_required"
    assert ada.get(url + f"&account={cast.acme.slug}").context["screen"].account == cast.acme


def test_a_forged_or_stale_screen_changes_nothing(external, ada, cast):
    url = authorize_url(external.client, CHALLENGE, account=cast.acme.slug, scope=VIEW)
    wide = authorize_url(external.client, CHALLENGE, account=cast.acme.slug, scope=f"{VIEW} {EDIT}")
    digest = shown(ada.get(url))
    for posted in ("", "0" * 64, digest[:-1]):
        assert ada.post(url, {"decision": "agree", "shown": posted}).status_code == 409
    # A screen that showed one scope cannot agree to two.
    assert ada.post(wide, {"decision": "agree", "shown": digest}).status_code == 409
    assert nothing_was_issued()


def test_a_form_field_can_neither_widen_the_scope_nor_change_where_the_answer_goes(external, ada, cast):
    """RFC 6749 section 10.12."""
    url = authorize_url(external.client, CHALLENGE, account=cast.acme.slug, scope=VIEW)
    page = ada.get(url)
    forged = {
        "scope": f"{VIEW} {EDIT}",
        "optional": EDIT,
        "redirect_uri": "https://evil.example/",
        "account": cast.globex.slug,
    }
    response = ada.post(url, {"decision": "agree", "shown": shown(page), **forged})
    assert response["Location"].startswith(REDIRECT_URI)
    assert Consent.objects.get().granted == [VIEW]


def test_no_screen_is_shown_when_all_is_granted_except_for_a_loopback_redirect(cast, client, browse):
    side = AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[HTTPS_URI, REDIRECT_URI]))
    ada = browse(cast.admin)
    url = authorize_url(side.client, CHALLENGE, account=cast.acme.slug, redirect_uri=HTTPS_URI)
    agree(ada, url)
    assert "code" in answer(ada.get(url))
    assert "code" in answer(ada.get(url + "&prompt=none"))
    assert ada.get(url + "&prompt=consent").status_code == 200
    assert ada.get(url + "&approval_prompt=auto&prompt=consent").status_code == 200
    loopback = authorize_url(side.client, CHALLENGE, account=cast.acme.slug)
    assert ada.get(loopback).status_code == 200
    assert answer(ada.get(loopback + "&prompt=none"))["error"] == "interaction_required"


def test_only_a_new_scope_is_shown_as_new(external, ada, cast):
    agree(ada, authorize_url(external.client, CHALLENGE, account=cast.acme.slug, scope=VIEW))
    page = ada.get(authorize_url(external.client, CHALLENGE, account=cast.acme.slug))
    screen = page.context["screen"]
    assert [row.scope.name for row in screen.already] == [VIEW]
    assert [row.scope.name for row in screen.new_required] == [EDIT]


def test_a_scope_added_to_the_client_widens_no_consent_and_no_token(external, ada, cast):
    from credentials.actions import add_scopes

    tokens = external.tokens_for(ada, account=cast.acme.slug)
    add_scopes(external.client, scopes={DELETE: "why"}, by=cast.dev)
    assert Consent.objects.get().granted == [EDIT, VIEW]
    assert external.refresh(tokens["refresh_token"]).json()["scope"] == f"{EDIT} {VIEW}"


def test_an_unverified_teams_client_gets_high_risk_scopes_on_its_test_account_only(cast, client, browse):
    side = AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=[VIEW, DELETE]))
    url = authorize_url(side.client, CHALLENGE, account=cast.acme.slug, scope=f"{VIEW} {DELETE}")
    assert answer(browse(cast.admin).get(url))["error"] == "invalid_scope"
    left = browse(cast.admin).get(authorize_url(side.client, CHALLENGE, account=cast.acme.slug)).context["screen"]
    assert left.requested == {VIEW}
    test = factories.team_of(cast.dev).test_account
    page = browse(cast.dev).get(authorize_url(side.client, CHALLENGE, account=test.slug))
    assert page.context["screen"].requested == {VIEW, DELETE}
    teams.verify_team(factories.team_of(cast.dev), by=None)
    assert browse(cast.admin).get(url).status_code == 200


def test_a_platform_client_gets_consent_only_under_an_installation(cast, client, browse, installed):
    ada = browse(cast.admin)
    gus = browse(cast.globex_admin)
    url = authorize_url(installed.client, CHALLENGE, account=cast.globex.slug)
    assert gus.get(url).status_code == 403
    assert answer(gus.get(url + "&prompt=none"))["error"] == "access_denied"
    page = ada.get(authorize_url(installed.client, CHALLENGE, installation=str(installed.installation.pk), scope=VIEW))
    assert [row.scope.name for row in page.context["screen"].new_required] == [VIEW]
    foreign = authorize_url(installed.client, CHALLENGE, installation=str(installed.installation.pk))
    assert gus.get(foreign).status_code == 404
    assert ada.get(authorize_url(installed.client, CHALLENGE, installation="not-an-id")).status_code == 404


def test_optional_scopes_are_switches_and_only_prompt_consent_asks_again_for_those_left_off(installed, browse, cast):
    ada = browse(cast.admin)
    url = authorize_url(installed.client, CHALLENGE, installation=str(installed.installation.pk))
    assert "code" in answer(agree(ada, url))
    consent = Consent.objects.get()
    assert (consent.granted, consent.left_off) == ([VIEW], [EDIT])
    assert ada.get(url).context["screen"].new_optional == []
    again = url + "&prompt=consent"
    page = ada.get(again)
    assert [row.scope.name for row in page.context["screen"].new_optional] == [EDIT]
    ada.post(again, {"decision": "agree", "shown": shown(page), "optional": EDIT})
    consent.refresh_from_db()
    assert (consent.granted, consent.left_off, Consent.objects.count()) == ([EDIT, VIEW], [], 1)


def test_agreeing_again_restarts_the_365_days_and_refreshing_does_not(external, ada, cast):
    tokens = external.tokens_for(ada, account=cast.acme.slug)
    first = Consent.objects.get().expires_at
    external.refresh(tokens["refresh_token"])
    assert Consent.objects.get().expires_at == first
    advance(dt.timedelta(days=10))
    agree(ada, authorize_url(external.client, CHALLENGE, account=cast.acme.slug, prompt="consent"))
    assert Consent.objects.get().expires_at - first > dt.timedelta(days=-1)


def test_only_agreeing_restarts_the_365_days(cast, client, browse):
    """T5: tokens, codes without a screen, pages only read or cancelled, and added or taken-back scopes do not."""
    side = AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[HTTPS_URI]))
    ada, (verifier, challenge) = browse(cast.admin), pkce()
    url = authorize_url(side.client, challenge, account=cast.acme.slug, redirect_uri=HTTPS_URI)
    code = answer(agree(ada, url))["code"]
    advance(dt.timedelta(days=100))
    before = Consent.objects.get().expires_at
    for asked in (url, url + "&prompt=none"):
        code = answer(ada.get(asked))["code"]
    tokens = side.exchange(code, verifier, redirect_uri=HTTPS_URI).json()
    assert side.refresh(tokens["refresh_token"]).status_code == 200
    assert side.client_credentials(cast.acme.slug).status_code == 200
    assert ada.get(url + "&prompt=consent").status_code == 200
    assert answer(ada.post(url, {"decision": "cancel"}))["error"] == "access_denied"
    assert ada.post(url, {"decision": "agree", "shown": "0" * 64}).status_code == 409
    ada.get(f"/authorizations/{Access.objects.get().pk}/reauthorize/")
    credentials.add_scopes(side.client, scopes={DELETE: "Why"}, by=cast.dev)
    ending.trim_consent(Consent.objects.get(), scopes={EDIT}, by=cast.admin)
    assert Consent.objects.get().expires_at == before
    agree(ada, url + "&prompt=consent")
    assert Consent.objects.get().expires_at - before > dt.timedelta(days=99)


def test_an_agent_consents_for_themself_only(external_agent, browse, cast):
    got = external_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    other = external_agent.tokens_for(browse(cast.agent2), account=cast.acme.slug)
    assert got["agent"] != other["agent"]
    consent = Consent.objects.get(membership__user=cast.agent)
    browse(cast.agent2).post(f"/consents/{consent.pk}/revoke/")
    assert external_agent.call(got["access_token"]).status_code == 200
    browse(cast.agent).post(f"/consents/{consent.pk}/revoke/")
    assert external_agent.call(got["access_token"]).status_code == 401
    assert external_agent.call(other["access_token"]).status_code == 200


def test_reauthorizing_replaces_the_consent_and_cancelling_keeps_it(installed, browse, cast):
    ada = browse(cast.admin)
    tokens = installed.tokens_for(ada, installation=str(installed.installation.pk))
    url = f"/authorizations/{installed.installation.access_id}/reauthorize/"
    page = ada.get(url)
    assert installed.call(tokens["access_token"]).status_code == 200
    old = Consent.objects.get()
    assert ada.post(url, {"decision": "agree", "shown": shown(page)}).status_code == 302
    old.refresh_from_db()
    assert old.revoked_at and Consent.objects.filter(revoked_at=None).count() == 1
    assert installed.call(tokens["access_token"]).status_code == 401
    assert ada.post(url, {"decision": "agree", "shown": shown(page)}).status_code == 409


def test_an_admin_revokes_an_external_app_and_a_stranger_cannot(external, ada, browse, cast):
    tokens = external.tokens_for(ada, account=cast.acme.slug)
    access = Access.objects.get()
    for person in (cast.agent, cast.globex_admin, cast.dev):
        assert browse(person).post(f"/authorizations/{access.pk}/end/").status_code == 404
    assert external.call(tokens["access_token"]).status_code == 200
    assert ada.post(f"/authorizations/{access.pk}/end/").status_code == 302
    refused = external.call(tokens["access_token"])
    assert refused.status_code == 401 and "reauthorize_url" not in refused.json()
    assert ada.post(f"/authorizations/{access.pk}/end/").status_code == 302
    # What ended is never revived: agreeing anew opens another access (T4).
    external.tokens_for(ada, account=cast.acme.slug)
    assert Access.objects.count() == 2


def test_a_removed_agents_consent_is_void_at_once_and_is_not_revived_when_they_return(external_agent, browse, cast):
    tokens = external_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    memberships.end_membership(cast.agent.memberships.get(account=cast.acme), by=None)
    assert external_agent.call(tokens["access_token"]).status_code == 401
    memberships.add_member(cast.acme, cast.agent, role="agent", by=None)
    assert external_agent.call(tokens["access_token"]).status_code == 401
    assert external_agent.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_trimming_takes_a_scope_from_every_token_at_once_and_agreeing_again_returns_it_to_none(external, ada, cast):
    tokens = external.tokens_for(ada, account=cast.acme.slug)
    consent = ending.trim_consent(Consent.objects.get(), scopes={EDIT}, by=cast.admin)
    assert (consent.granted, consent.trimmed) == ([VIEW], [EDIT])
    call = external.call(
        tokens["access_token"], "put", "/sandbox/api/v2/tickets/1", data="{}", content_type="application/json"
    )
    assert call.status_code == 401 and call.json()["scope"] == EDIT and "reauthorize_url" in call.json()
    agree(ada, authorize_url(external.client, CHALLENGE, account=cast.acme.slug, prompt="consent"))
    assert external.refresh(tokens["refresh_token"]).json()["scope"] == VIEW
