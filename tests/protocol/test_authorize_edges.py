"""The authorization endpoint at its edges (RFC 6749 sections 3.1 and 4.1, RFC 9207, RFC 9700 section 4)."""

import re
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import pytest
from django.conf import settings
from django.test import Client as Browser

from consent.models import AuthorizationCode, Consent
from credentials.models import Kind
from portal.accounts.actions import memberships
from tests import factories
from tests.factories import EDIT, REDIRECT_URI, VIEW
from tests.oauth import AppSide, agree, answer, authorize_url, pkce, shown, sign_in
from tests.protocol.asking import each, nothing_changed
from tests.worlds import shared

pytestmark = pytest.mark.django_db
CHALLENGE = pkce()[1]
HTTPS_URI = "https://app.example/callback?tenant=1"


@shared
def url(external, cast):
    return authorize_url(external.client, CHALLENGE, account=cast.acme.slug)


@shared
def hosted(cast, client):
    """An external app whose redirect URI is no loopback, so that no screen is shown where all is granted."""
    return AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[HTTPS_URI]))


# --- parameters ---


@each("name", ["scope", "prompt", "response_mode", "installation", "approval_prompt"])
def test_a_parameter_without_a_value_is_as_if_it_were_omitted(ada, url, name):
    """RFC 6749 section 3.1"""
    page = ada.get(f"{url}&{name}=")
    assert page.status_code == 200 and page.context["screen"].requested == {VIEW, EDIT}


def test_an_empty_state_is_no_state_and_an_empty_response_type_is_missing(external, ada, cast):
    """RFC 6749 sections 3.1 and 4.1.2.1"""
    got = answer(ada.get(authorize_url(external.client, CHALLENGE, state="", scope="made.up")))
    assert "state" not in got
    got = answer(ada.get(authorize_url(external.client, CHALLENGE, response_type="", account=cast.acme.slug)))
    assert got["error"] == "invalid_request" and got["state"] == "xyz"


def test_an_empty_redirect_uri_is_omitted_and_the_only_registered_one_holds(external, hosted, ada, cast):
    """RFC 6749 section 3.1.2.3"""
    for uri in ("", None):
        asked = authorize_url(hosted.client, CHALLENGE, redirect_uri=uri, account=cast.acme.slug, scope="made.up")
        assert ada.get(asked)["Location"].startswith(HTTPS_URI + "&error=invalid_scope")


def test_an_omitted_redirect_uri_is_told_on_our_page_where_a_client_has_two(ada, cast):
    """RFC 6749 section 3.1.2.3"""
    row, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[HTTPS_URI, REDIRECT_URI])
    for uri in ("", None):
        response = ada.get(authorize_url(row, CHALLENGE, redirect_uri=uri))
        assert response.status_code == 400 and "Location" not in response


@each("name", ["scope", "state", "account", "prompt", "code_challenge", "response_mode"])
def test_a_parameter_is_repeated_also_where_one_is_empty(ada, url, name):
    """RFC 6749 section 3.1"""
    with nothing_changed():
        got = answer(ada.get(f"{url}&{name}=&{name}=x"))
    assert got["error"] == "invalid_request" and name in got["error_description"]


@each("name", ["scope[a]", "scope[]", "SCOPE", "client_id[]", "redirect_uri[0]"])
def test_a_parameter_of_another_name_is_ignored(ada, url, name):
    """RFC 6749 section 3.1: unrecognized parameters are ignored, and what is read into none of them."""
    page = ada.get(f"{url}&{quote(name)}=https://evil.example/")
    assert page.context["screen"].requested == {VIEW, EDIT}


@each("raw", ["%", "%zz", "%f", "%ff%fe", "%ed%a0%80", "\\", "[{", "a;b", "é", "%0d%0aSet-Cookie:x=y", "%2500"])
def test_a_query_that_is_no_query_is_read_once_and_sent_back_safely(ada, url, raw):
    """RFC 6749 section 4.1.2.1 and appendix B: in the state, in a known parameter, in an unknown one."""
    assert ada.get(f"{url}&made_up={raw}").status_code == 200
    for asked in (url.replace("state=xyz", f"state={raw}") + "&scope=made.up", f"{url}&scope={raw}"):
        response = ada.get(asked)
        assert answer(response)["error"] == "invalid_scope"
        assert response["Location"].isascii() and response["Location"].isprintable()
        assert "Set-Cookie" not in response.headers and "x" not in response.cookies


@each("name", ["state", "scope", "account", "installation", "prompt", "code_challenge", "response_type"])
def test_nul_in_a_parameter_is_an_invalid_request(client, ada, url, name):
    """RFC 6749 section 4.1.2.1: told to the app, which gets no state back that it cannot have meant."""
    asked = re.sub(rf"&{name}=[^&]*", "", url.replace("?", "?&")) + f"&{name}=a%00b"
    with nothing_changed():
        got = answer(ada.get(asked))
    assert got["error"] == "invalid_request" and got["error_description"] == f"{name} has a NUL character"
    assert got.get("state") == (None if name == "state" else "xyz")
    signed_out = client.get(asked)
    assert signed_out.status_code == 302 and signed_out["Location"].startswith("/accounts/login/?")
    after = parse_qs(urlsplit(signed_out["Location"]).query)["next"][0]
    assert answer(ada.get(after))["error"] == "invalid_request"


@each("name", ["client_id", "redirect_uri"])
def test_nul_where_nobody_can_be_sent_is_told_on_our_page(ada, url, name):
    """RFC 6749 section 4.1.2.1"""
    asked = re.sub(rf"&{name}=[^&]*", "", url.replace("?", "?&")) + f"&{name}=a%00b"
    response = ada.get(asked)
    assert response.status_code == 400 and "Location" not in response
    assert "too much" not in response.content.decode()


def test_unknown_parameters_are_ignored_however_often_they_come(ada, url):
    """RFC 6749 section 3.1; RFC 8707 section 2 repeats `resource`."""
    page = ada.get(f"{url}&resource=https://a.example&resource=https://b.example&made_up=1&made_up=a%00b&nonce=&nonce=")
    assert page.status_code == 200 and page.context["screen"].requested == {VIEW, EDIT}


@each("decision", ["cancel", "agree"])
def test_nul_in_the_form_agrees_to_nothing_and_cancel_works_all_the_same(ada, url, decision):
    """RFC 6749 section 4.1.2.1"""
    form = {"decision": decision, "account": "a\0b", "shown": "\0", "optional": "\0", "\0": "\0"}
    if decision == "cancel":
        # The account is that of the request, whatever the form says.
        assert answer(ada.post(url, form))["error"] == "access_denied"
    else:
        with nothing_changed():
            assert ada.post(url, form).status_code == 409


@each(
    "scope",
    [
        "made.up",
        VIEW.upper(),
        f"{VIEW},{EDIT}",
        f"{VIEW}\t{EDIT}",
        '"',
        f"{VIEW} made.up",
        "*",
        "x" * 5000,
    ],
)
def test_a_scope_that_is_not_written_as_the_grammar_has_it_is_an_invalid_scope(ada, url, scope):
    """RFC 6749 sections 3.3 and 4.1.2.1: case-sensitive tokens, one space between two."""
    with nothing_changed():
        assert answer(ada.get(f"{url}&{urlencode({'scope': scope})}"))["error"] == "invalid_scope"


@each(
    "challenge",
    [CHALLENGE + "\n", CHALLENGE[:-1], CHALLENGE + "A", CHALLENGE[:-1] + "=", CHALLENGE[:-1] + "+", "é" * 43],
)
def test_a_challenge_that_no_verifier_can_fit_is_an_invalid_request(external, ada, cast, challenge):
    """RFC 7636 section 4.2"""
    with nothing_changed():
        got = answer(ada.get(authorize_url(external.client, challenge, account=cast.acme.slug)))
    assert got["error"] == "invalid_request" and "code_challenge" in got["error_description"]


# --- state and iss ---

STATES = {
    "printable": "".join(map(chr, range(0x20, 0x7F))) * 42,
    "spaces": " " * 4000,
    "percent": "%2B%25%" * 600,
    "line ends": "\r\n\t" * 1400,
    "beyond": "é漢😀" * 1400,
}


@each("state", STATES.values())
@each("way", ["error", "cancel", "agree", "no screen"])
def test_4000_characters_of_state_come_back_exactly_with_iss_on_every_way(hosted, ada, cast, state, way):
    """RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207 section 2; one of each, and nothing else but what the app put there."""
    state = state[:4000]
    more = {"redirect_uri": HTTPS_URI, "account": cast.acme.slug, "state": state}
    if way == "agree":
        more["prompt"] = "consent"
    if way == "no screen":
        agree(ada, authorize_url(hosted.client, CHALLENGE, **more, prompt="consent"))
    if way == "error":
        more["scope"] = "made.up"
    url = authorize_url(hosted.client, CHALLENGE, **more)
    if way == "cancel":
        response = ada.post(url, {"decision": "cancel", "account": cast.acme.slug})
    elif way == "agree":
        response = agree(ada, url)
    else:
        response = ada.get(url)
    location = urlsplit(response["Location"])
    assert response["Location"].startswith(HTTPS_URI + "&") and not location.fragment
    got = parse_qsl(location.query, keep_blank_values=True)
    said = {"code"} if way in ("agree", "no screen") else {"error", "error_description"}
    assert {name for name, _ in got} == {"tenant", "state", "iss"} | said and len(got) == 3 + len(said)
    assert dict(got)["state"] == state and dict(got)["iss"] == settings.BASE_URL


def test_state_goes_through_signing_in_and_choosing_an_account(external, cast, client):
    """RFC 6749 section 4.1.2: whatever pages come between."""
    memberships.add_member(cast.globex, cast.admin, role="admin", by=None)
    state = "a b+c%2B/é;=&#"
    response = client.get(authorize_url(external.client, CHALLENGE, state=state))
    after = parse_qs(urlsplit(response["Location"]).query)["next"][0]
    sign_in(client, cast.admin)
    choices = client.get(after).context["choices"]
    chosen = next(choice["url"] for choice in choices if choice["account"] == cast.acme)
    assert answer(agree(client, chosen))["state"] == state


# --- prompt ---


def test_prompt_none_never_shows_a_page(external, hosted, browse, cast, client):
    """OpenID Connect Core section 3.1.2.1, RFC 6749 section 4.1.2.1: each case is told to the app, at once."""

    def ask(browser, side=hosted, **more):
        more = {"prompt": "none", "account": cast.acme.slug, "redirect_uri": HTTPS_URI, **more}
        return answer(browser.get(authorize_url(side.client, CHALLENGE, **more)))

    ada, axel = browse(cast.admin), browse(cast.agent)
    with nothing_changed():
        assert ask(client)["error"] == "login_required"
        assert ask(client, scope="made.up")["error"] == "invalid_scope"
        assert ask(ada)["error"] == "consent_required"
        assert ask(ada, account="nowhere")["error"] == "account_selection_required"
        assert ask(ada, installation="nowhere")["error"] == "account_selection_required"
        assert ask(axel)["error"] == "access_denied"
        for prompt in ("none login", "none none x", "login none", "NONE", "none,consent"):
            assert ask(ada, prompt=prompt)["error"] == "invalid_request"
    agree(ada, authorize_url(hosted.client, CHALLENGE, account=cast.acme.slug, redirect_uri=HTTPS_URI, scope=VIEW))
    assert "code" in ask(ada, scope=VIEW)
    assert ask(ada)["error"] == "consent_required"
    agree(ada, authorize_url(external.client, CHALLENGE, account=cast.acme.slug))
    # Anybody can listen on a loopback port, so a person has to see it (RFC 8252 section 8.6).
    assert ask(ada, external, redirect_uri=REDIRECT_URI)["error"] == "interaction_required"


def test_prompt_consent_shows_what_was_agreed_to_and_renews_the_same_consent(hosted, ada, cast):
    """OpenID Connect Core section 3.1.2.1"""
    url = authorize_url(hosted.client, CHALLENGE, account=cast.acme.slug, redirect_uri=HTTPS_URI)
    agree(ada, url)
    first = Consent.objects.get()
    page = ada.get(url + "&prompt=consent")
    assert page.status_code == 200 and not page.context["screen"].new_required
    assert "code" in answer(ada.post(url + "&prompt=consent", {"decision": "agree", "shown": shown(page)}))
    again = Consent.objects.get()
    assert again.pk == first.pk and again.expires_at > first.expires_at


def test_prompt_login_asks_who_it_is_once(hosted, ada, cast):
    """OpenID Connect Core section 3.1.2.1"""
    url = authorize_url(
        hosted.client, CHALLENGE, account=cast.acme.slug, redirect_uri=HTTPS_URI, prompt="login consent"
    )
    response = ada.get(url)
    assert response.status_code == 302 and response["Location"].startswith("/accounts/reauthenticate/?")
    after = parse_qs(urlsplit(response["Location"]).query)["next"][0]
    assert parse_qs(urlsplit(after).query)["prompt"] == ["consent"] and ada.get(after).status_code == 200


# --- what the answer is, and where it goes ---


def test_only_get_head_and_post_are_answered(ada, hosted, cast):
    """RFC 6749 section 3.1: also where all is granted and GET would give a code."""
    url = authorize_url(hosted.client, CHALLENGE, account=cast.acme.slug, redirect_uri=HTTPS_URI)
    agree(ada, url)
    with nothing_changed():
        for method in ("OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
            response = ada.generic(method, url, HTTP_X_HTTP_METHOD_OVERRIDE="GET")
            assert response.status_code == 405 and "Location" not in response


def test_head_is_judged_as_get_and_never_agrees(ada, hosted, cast):
    """RFC 9110 section 9.3.2: the consent page without its body, however much like a form what was sent is."""
    url = authorize_url(hosted.client, CHALLENGE, account=cast.acme.slug, redirect_uri=HTTPS_URI)
    with nothing_changed():
        response = ada.generic("HEAD", f"{url}&decision=agree", "decision=agree", "application/x-www-form-urlencoded")
        assert response.status_code == 200 and response.content == b"" and "Location" not in response
    agree(ada, url)
    assert answer(ada.head(url)).keys() == answer(ada.get(url)).keys()


@each(
    "changed",
    [
        {"scope": "made.up"},
        {"response_type": "token"},
        {"code_challenge": None},
        {"prompt": "made_up"},
        {"state": ["a", "b"]},
    ],
)
def test_nobody_is_sent_to_an_app_before_they_signed_in(external, client, ada, changed):
    """RFC 9700 section 4.11.2: a wrong request must not make of the portal's address a way to any registered one."""
    base = authorize_url(external.client, CHALLENGE, **dict.fromkeys(changed))
    url = f"{base}&{urlencode({k: v for k, v in changed.items() if v}, doseq=True)}"
    response = client.get(url)
    assert response.status_code == 302 and response["Location"].startswith("/accounts/login/?next=")
    after = parse_qs(urlsplit(response["Location"]).query)["next"][0]
    assert "error" in answer(ada.get(after)), "once signed in, the app is told"


def test_a_form_of_another_site_agrees_to_nothing(external, cast, url):
    """RFC 9700 section 4.7: both decisions need the token of our own page."""
    browser = Browser(enforce_csrf_checks=True)
    sign_in(browser, cast.admin)
    digest = shown(browser.get(url))
    with nothing_changed():
        for decision in ("agree", "cancel"):
            response = browser.post(url, {"decision": decision, "shown": digest, "account": cast.acme.slug})
            assert response.status_code == 403 and "Location" not in response


def test_after_a_form_the_browser_goes_on_with_get_and_without_the_form(ada, url, cast):
    """RFC 9700 section 4.12: 303, so that what was posted to us is not posted to the app."""
    assert ada.post(url, {"decision": "cancel", "account": cast.acme.slug}).status_code == 303
    assert agree(ada, url).status_code == 303


def test_no_page_is_kept_framed_or_named_to_others(ada, hosted, cast, client):
    """RFC 9700 sections 4.2.4 (referrer), 4.3 (history) and 4.16 (clickjacking), RFC 6749 section 10.13"""
    url = authorize_url(hosted.client, CHALLENGE, account=cast.acme.slug, redirect_uri=HTTPS_URI)
    asked = [
        ada.get(url),
        ada.get(url + "&scope=made.up"),
        ada.get(url.replace("app.example", "evil.example")),
        agree(ada, url),
    ]
    for response in [*asked, client.get(url), ada.get(url)]:
        assert "no-store" in response["Cache-Control"]
        assert response["Referrer-Policy"] == "same-origin" and response["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in response["Content-Security-Policy"]


@each("uri", [REDIRECT_URI + "#", REDIRECT_URI + "#x=1", REDIRECT_URI + "%23"])
def test_a_redirect_uri_with_a_fragment_is_told_on_our_page(external, ada, uri):
    """RFC 6749 section 3.1.2, RFC 9700 section 4.1: nothing of an answer goes into a fragment."""
    response = ada.get(authorize_url(external.client, CHALLENGE, redirect_uri=uri))
    assert response.status_code == 400 and "Location" not in response


def test_only_the_query_carries_an_answer(external, ada, cast):
    """RFC 9700 section 2.1.2 and 4.3.1: no token, no fragment and no form post, whatever is asked for."""
    for more in ({"response_type": "code id_token"}, {"response_type": "none"}, {"response_mode": "form_post"}):
        response = ada.get(authorize_url(external.client, CHALLENGE, account=cast.acme.slug, **more))
        assert "error" in answer(response) and "#" not in response["Location"]
    assert not AuthorizationCode.objects.exists()


def test_two_apps_answers_tell_one_issuer_that_is_the_metadatas(external, ada, cast, client, url):
    """RFC 9207 section 2.4, RFC 9700 section 4.4.2: against mix-up, compared character by character."""
    issuer = client.get("/.well-known/oauth-authorization-server").json()["issuer"]
    assert answer(ada.get(url + "&scope=made.up"))["iss"] == answer(agree(ada, url))["iss"] == issuer


def test_an_answer_can_hold_no_second_issuer_code_or_state(external, ada, cast):
    """RFC 9207 section 2.4: what the request names so is not sent back."""
    more = {"iss": "https://evil.example", "code": "x", "error": "x", "error_uri": "https://evil.example"}
    response = agree(ada, authorize_url(external.client, CHALLENGE, account=cast.acme.slug, **more))
    got = parse_qs(urlsplit(response["Location"]).query)
    assert got.keys() == {"code", "state", "iss"}
    assert got["iss"] == [settings.BASE_URL] and got["code"][0].startswith("amp_ac_")
