"""A refusal gives its reason to holders of a token or the client's secret, and to nobody else."""

import datetime as dt
import re

import pytest

from consent import tasks
from consent.actions import ending, granting
from consent.asking import Terms
from consent.models import Access, AccessToken, Consent, RefreshToken
from credentials.actions import lift_client, rotate_secret, suspend_client
from marketplace.actions import installing
from portal.accounts.actions import accounts, memberships, people
from tests import factories
from tests.clock import advance
from tests.factories import DELETE, EDIT, VIEW
from tests.oauth import AppSide
from tests.worlds import shared

pytestmark = pytest.mark.django_db
DAY, HALF_AN_HOUR = dt.timedelta(days=1), dt.timedelta(minutes=30)
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


class Holder:
    """An app that holds tokens under one consent, and the answers to using them."""

    def __init__(self, cast, browse, side, person):
        self.cast, self.side, self.person = cast, side, person
        self.tokens = side.tokens_for(browse(person), account=cast.acme.slug)
        self.consent = Consent.objects.get()

    def refresh(self, **more):
        return self.side.refresh(self.tokens["refresh_token"], **more)

    def refusal_texts(self):
        """Return the texts that refuse a refresh and a call; they name nobody and are ASCII."""
        answers = [self.refresh(), self.side.call(self.tokens["access_token"])]
        assert [answer.status_code for answer in answers] == [400, 401]
        texts = [answer.json()["error_description"] for answer in answers]
        for text in texts:
            assert re.fullmatch(r"[ !#-\[\]-~]+", text), text
            assert not any(person.name in text for person in (self.cast.admin, self.cast.agent, self.cast.dev)), text
        return texts


@shared
def account_level(cast, browse, installed):
    return Holder(cast, browse, installed, cast.admin)


@shared
def agent_level(cast, browse, installed_agent):
    return Holder(cast, browse, installed_agent, cast.agent)


@shared
def external_app(cast, browse, external):
    return Holder(cast, browse, external, cast.admin)


def revoke(holder, by):
    ending.revoke_consent(holder.consent, by=by)


def finish_erasing(holder):
    """Do the worker's part after an ending, and advance until everything is erased."""
    tasks.expire()
    ending.revoke_tokens(holder.consent.access)
    advance(DAY + HALF_AN_HOUR)
    tasks.erase()
    assert not AccessToken.objects.exists()


def assert_told(holder, expected):
    """Assert that a refresh and a call are told this reason at once, and the refresh forever."""
    expected = rf"{expected} on {DATE}"
    for text in holder.refusal_texts():
        assert re.fullmatch(expected, text), text
    finish_erasing(holder)
    text, unknown = holder.refusal_texts()
    assert re.fullmatch(expected, text) and unknown == "The access token is malformed or unknown"
    advance(dt.timedelta(days=800))
    tasks.expire()
    assert re.fullmatch(expected, holder.refusal_texts()[0])


def test_tokens_of_an_uninstalled_app_are_refused_as_such(account_level):
    installing.uninstall(account_level.side.installation, by=account_level.cast.admin)
    assert_told(account_level, "The app was uninstalled")
    assert Access.objects.get().erased_at, "even when nothing was left to erase"


def test_tokens_of_a_revoked_consent_name_the_admin_as_the_cause(account_level):
    revoke(account_level, account_level.cast.admin)
    assert_told(account_level, "The consent was revoked by an admin")


def test_an_agents_tokens_name_the_agent_as_the_cause(agent_level):
    revoke(agent_level, agent_level.cast.agent)
    assert_told(agent_level, "The consent was revoked by the agent")


def test_an_agents_tokens_name_an_admin_as_the_cause(agent_level):
    revoke(agent_level, agent_level.cast.admin)
    assert_told(agent_level, "The consent was revoked by an admin")


def test_an_admin_who_revokes_for_all_agents_is_named_as_admin_for_their_own_tokens_too(cast, browse, installed_agent):
    holder = Holder(cast, browse, installed_agent, cast.admin)
    ending.revoke_for_all(holder.consent.access, by=cast.admin)
    for text in holder.refusal_texts():
        assert re.fullmatch(f"The consent was revoked by an admin on {DATE}", text)


def test_an_external_apps_tokens_say_that_an_admin_ended_its_access(external_app, browse):
    browse(external_app.cast.admin).post(f"/authorizations/{external_app.consent.access_id}/end/")
    assert_told(external_app, "The access was revoked by an admin")


def test_tokens_of_an_agent_who_left_say_so(agent_level):
    memberships.end_membership(agent_level.consent.membership, by=agent_level.cast.admin)
    for text in agent_level.refusal_texts():
        assert re.fullmatch(f"The agent left the account on {DATE}", text)
    memberships.add_member(agent_level.cast.acme, agent_level.cast.agent, role="agent", by=None)
    assert "The agent left the account on" in agent_level.refusal_texts()[0]


def test_tokens_of_a_deactivated_agent_say_so(agent_level):
    people.deactivate_person(agent_level.person, by=None)
    assert agent_level.refusal_texts() == ["The agent is no longer a member of the account"] * 2


def test_tokens_of_a_replaced_consent_say_so(account_level):
    factories.agree(account_level.side.client, account_level.cast.acme, account_level.person, replace=True)
    assert_told(account_level, "The consent was replaced by a new agreement")


def test_a_refresh_token_that_the_app_revoked_says_so(account_level):
    account_level.side.revoke(account_level.tokens["refresh_token"])
    assert_told(account_level, "The refresh token was revoked by the app")


def test_an_access_token_that_the_app_revoked_says_so_and_refreshing_still_works(account_level):
    account_level.side.revoke(account_level.tokens["access_token"])
    text = account_level.side.call(account_level.tokens["access_token"]).json()["error_description"]
    assert re.fullmatch(f"The access token was revoked by the app on {DATE}", text)
    assert account_level.refresh().status_code == 200


def test_a_replayed_refresh_token_says_when_it_ended_the_authorization(account_level):
    new = account_level.refresh().json()
    advance(dt.timedelta(seconds=61))
    assert "used again" in account_level.refresh().json()["error_description"]
    account_level.tokens = new
    assert_told(
        account_level, "A refresh token was used again after it had been replaced, which ended the authorization"
    )


def test_a_replayed_code_says_when_it_ended_the_authorization(cast, browse, installed):
    code, verifier = installed.code_for(browse(cast.admin), account=cast.acme.slug)
    tokens = installed.exchange(code, verifier).json()
    installed.exchange(code, verifier)
    text = installed.refresh(tokens["refresh_token"]).json()["error_description"]
    assert re.fullmatch(f"The authorization code was used again, which ended the authorization on {DATE}", text)


def test_an_expired_agreement_is_named_before_and_after_the_worker_stamps_it(account_level):
    advance(dt.timedelta(days=365))
    expires = Consent.objects.get().expires_at
    expected = f"The consent expired on {expires:%Y-%m-%d %H:%M} UTC"
    assert account_level.refusal_texts() == [expected, f"The access token has expired. {expected}"]
    tasks.expire()
    ending.revoke_tokens(Access.objects.get())
    assert account_level.refusal_texts()[0] == expected
    assert "by an admin" not in account_level.refusal_texts()[0]


def test_a_suspension_is_named_while_it_lasts(account_level):
    cast, side = account_level.cast, account_level.side
    accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    for text in account_level.refusal_texts():
        assert re.fullmatch(f"The account was suspended on {DATE}", text)
    assert "The account was suspended" in side.client_credentials(cast.acme.slug).json()["error_description"]
    accounts.lift_account(cast.acme, reason="Paid", by=None)
    assert account_level.refresh().status_code == 200


def test_tokens_from_before_a_leak_say_so(account_level):
    reviewer = factories.reviewer()
    suspend_client(account_level.side.client, reason="Leak", by=reviewer)
    _row, account_level.side.secret = rotate_secret(
        account_level.side.client, overlap_hours=0, by=account_level.cast.dev
    )
    lift_client(account_level.side.client, reason="Rotated", secret_leaked=True, by=reviewer)
    for text in account_level.refusal_texts():
        assert re.fullmatch(f"A secret of the client leaked, so all its tokens were ended on {DATE}", text)


def test_the_first_ending_is_named_whatever_ended_or_was_suspended_later(account_level):
    revoke(account_level, account_level.cast.admin)
    first = account_level.refusal_texts()
    advance(dt.timedelta(minutes=5))
    installing.uninstall(account_level.side.installation, by=account_level.cast.admin)
    accounts.suspend_account(account_level.cast.acme, reason="Unpaid", by=None)
    ending.revoke_tokens(Access.objects.get())
    for text in account_level.refusal_texts():
        assert text.startswith("The consent was revoked by an admin on"), (text, first)
    refused = account_level.side.call(account_level.tokens["access_token"]).json()
    assert "reauthorize_url" not in refused, "nobody could agree again"


def test_times_are_in_utc_whoever_asks(account_level, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    revoke(account_level, account_level.cast.admin)
    revoked_at = Consent.objects.get().revoked_at
    assert account_level.refusal_texts()[0].endswith(f"on {revoked_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC")


# --- taken back ---


@shared
def wide(cast, browse, installed):
    """A holder of tokens with the required and the optional scope."""
    factories.agree(installed.client, cast.acme, cast.admin, requested={VIEW, EDIT}, chosen={EDIT})
    url = {"account": cast.acme.slug, "scope": f"{VIEW} {EDIT}"}
    holder = Holder.__new__(Holder)
    holder.cast, holder.side, holder.person = cast, installed, cast.admin
    holder.consent = Consent.objects.get()
    holder.tokens = installed.exchange(*_code(installed, browse(cast.admin), **url)).json()
    assert holder.tokens["scope"] == f"{EDIT} {VIEW}"
    return holder


def _code(side, browser, **more):
    from tests.oauth import answer, authorize_url, pkce

    verifier, challenge = pkce()
    url = authorize_url(side.client, challenge, prompt="consent", **more)
    page = browser.get(url)
    sent = {"decision": "agree", "shown": page.context["shown"], "optional": [EDIT]}
    return answer(browser.post(url, sent))["code"], verifier


def put(holder):
    return holder.side.call(holder.tokens["access_token"], "put", "/sandbox/api/v2/tickets/1").json()


def test_a_call_that_lacks_a_taken_back_scope_is_told_when(wide):
    ending.trim_consent(wide.consent, scopes={EDIT}, by=wide.cast.admin)
    refused = put(wide)
    assert re.fullmatch(
        rf"This call needs the scope {EDIT}; {EDIT} was taken back on {DATE}", refused["error_description"]
    )
    assert refused["scope"] == EDIT and refused["reauthorize_url"].endswith(f"/{wide.side.installation.pk}/")
    never = wide.side.call(wide.tokens["access_token"], "delete", "/sandbox/api/v2/tickets/1").json()
    assert never["error_description"] == f"This call needs the scope {DELETE}" and "reauthorize_url" not in never


def test_a_token_older_than_the_latest_agreement_says_so(wide):
    """T10: newly agreed scopes come with a new authorization."""
    ending.trim_consent(wide.consent, scopes={EDIT}, by=wide.cast.admin)
    factories.agree(wide.side.client, wide.cast.acme, wide.cast.admin, ask_again=True, chosen={EDIT})
    expected = (
        f"{EDIT} is agreed to, but this token is older or was asked for without it: authorize again for one that has it"
    )
    refused = put(wide)
    assert refused["error_description"] == f"This call needs the scope {EDIT}; {expected}"
    assert "reauthorize_url" not in refused
    assert expected in wide.refresh(scope=EDIT).json()["error_description"]


def test_a_refresh_for_a_taken_back_scope_is_told_when(wide):
    ending.trim_consent(wide.consent, scopes={EDIT}, by=wide.cast.admin)
    refused = wide.refresh(scope=EDIT).json()
    assert refused["error"] == "invalid_scope"
    assert re.search(rf"{EDIT} was taken back on {DATE}", refused["error_description"])
    standing = wide.side.client_credentials(wide.cast.acme.slug, scope=EDIT).json()
    assert standing["error"] == "invalid_scope"
    assert re.search(rf"{EDIT} was taken back on {DATE}", standing["error_description"])
    assert wide.refresh().json()["scope"] == VIEW


def test_a_refresh_token_whose_scopes_were_all_taken_back_is_told_when_forever(wide):
    ending.trim_consent(wide.consent, scopes={VIEW, EDIT}, by=wide.cast.admin)
    expected = rf"All scopes of the refresh token had been taken back by {DATE}"
    assert re.fullmatch(expected, wide.refresh().json()["error_description"])
    standing = wide.side.client_credentials(wide.cast.acme.slug).json()["error_description"]
    assert re.search(rf"All scopes of the consent had been taken back by {DATE}", standing)
    advance(DAY + HALF_AN_HOUR)
    tasks.erase()
    assert re.fullmatch(expected, wide.refresh().json()["error_description"])
    factories.agree(wide.side.client, wide.cast.acme, wide.cast.admin, ask_again=True, requested={VIEW, EDIT})
    assert re.fullmatch(expected, wide.refresh().json()["error_description"])


def test_a_scope_dropped_by_an_upgrade_is_named_and_nobody_is_asked_again(wide):
    access = Access.objects.get()
    terms = Terms(frozenset({VIEW}), frozenset(), "Insights", "2.0", access.installation_id)
    granting.change_terms(access, terms, by=wide.cast.admin)
    refused = put(wide)
    expected = rf"{EDIT} is asked for no more since the upgrade on {DATE}"
    assert re.fullmatch(rf"This call needs the scope {EDIT}; {expected}", refused["error_description"])
    assert "reauthorize_url" not in refused
    beyond = wide.refresh(scope=EDIT).json()
    assert beyond["error"] == "invalid_scope" and re.search(expected, beyond["error_description"])
    terms = Terms(frozenset({EDIT}), frozenset(), "Insights", "3.0", access.installation_id)
    granting.change_terms(Access.objects.get(), terms, by=wide.cast.admin)
    expected = rf"All scopes of the refresh token had been taken back by {DATE}"
    assert re.fullmatch(expected, wide.refresh().json()["error_description"])


# --- how long an access token is explained ---


@pytest.mark.parametrize("end", ["revoked", "uninstalled", "given back", "replayed"])
@pytest.mark.parametrize("stamped", [True, False])
def test_an_ended_access_token_is_explained_for_a_day_and_then_unknown(account_level, end, stamped):
    """Also if it would have expired in the meantime, and if the worker is late."""
    old, holder = dict(account_level.tokens), account_level
    advance(dt.timedelta(minutes=25))
    if end == "revoked":
        revoke(holder, holder.cast.admin)
    elif end == "uninstalled":
        installing.uninstall(holder.side.installation, by=holder.cast.admin)
    elif end == "given back":
        holder.side.revoke(holder.tokens["refresh_token"])
    else:
        holder.refresh()
        advance(dt.timedelta(minutes=2))
        holder.refresh()
    if stamped:
        ending.revoke_tokens(Access.objects.get())

    def refusal_text():
        tasks.erase()
        return holder.side.call(old["access_token"]).json()["error_description"]

    why = refusal_text()
    assert "expired" not in why and re.search(f" on {DATE}", why)
    advance(dt.timedelta(minutes=6))
    assert refusal_text().startswith("The access token has expired. " + why.partition(" on ")[0])
    advance(DAY - dt.timedelta(minutes=7))
    assert refusal_text().startswith("The access token has expired. ")
    advance(HALF_AN_HOUR)
    assert refusal_text() == "The access token is malformed or unknown"
    assert RefreshToken.objects.get()


def test_an_expired_access_token_is_called_expired_for_a_day(account_level):
    advance(HALF_AN_HOUR)
    expired = "The access token has expired"
    for wait in (dt.timedelta(0), DAY - dt.timedelta(minutes=1)):
        advance(wait)
        tasks.erase()
        refused = account_level.side.call(account_level.tokens["access_token"]).json()
        assert refused == {"error": "invalid_token", "error_description": expired}
    advance(dt.timedelta(minutes=2))
    tasks.erase()
    assert "unknown" in account_level.side.call(account_level.tokens["access_token"]).json()["error_description"]


# --- who gets no reason ---


def test_only_a_suspended_clients_own_secret_gets_the_reason(account_level, client):
    side, refresh = account_level.side, account_level.tokens["refresh_token"]
    unknown = AppSide(client, type("", (), {"client_id": "unknown"}), side.secret).refresh(refresh)
    suspend_client(side.client, reason="Harmful", by=factories.reviewer())
    refused = account_level.refresh()
    assert refused.status_code == 401 and refused.json()["error"] == "invalid_client"
    assert re.fullmatch(f"The client was suspended on {DATE}", refused.json()["error_description"])
    for secret in ("amp_cs_wrong", side.secret[:-1] + ("A" if side.secret[-1] != "A" else "B")):
        wrong = AppSide(client, side.client, secret).refresh(refresh)
        assert (wrong.status_code, wrong.content, wrong["WWW-Authenticate"]) == (
            unknown.status_code,
            unknown.content,
            unknown["WWW-Authenticate"],
        )


@pytest.mark.parametrize("end", ["nothing", "revoked", "uninstalled", "replayed", "taken back"])
def test_another_client_gets_the_same_answer_whatever_happened_to_a_token(account_level, client, end):
    """The answer is the same as for nonsense, byte for byte."""
    holder, (row, secret) = account_level, factories.client(account_level.cast.other_dev, kind="external")
    other = AppSide(client, row, secret)
    if end == "revoked":
        revoke(holder, holder.cast.admin)
    elif end == "uninstalled":
        installing.uninstall(holder.side.installation, by=holder.cast.admin)
    elif end == "replayed":
        holder.refresh()
        advance(dt.timedelta(minutes=2))
        holder.refresh()
    elif end == "taken back":
        ending.trim_consent(holder.consent, scopes={VIEW}, by=holder.cast.admin)
    none, theirs = other.refresh("amp_rt_nonsense"), other.refresh(holder.tokens["refresh_token"])
    assert none.status_code == 400 and none.content == theirs.content
    assert theirs.json()["error_description"] == "The refresh token is unknown, or another client's"
    assert other.client_credentials("nowhere").content == other.client_credentials(holder.cast.acme.slug).content
    assert other.revoke(holder.tokens["refresh_token"]).content == other.revoke("amp_rt_nonsense").content == b""
