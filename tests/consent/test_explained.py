"""A refusal says why, to whoever holds a token or the client's secret, and to nobody else."""

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


class Held:
    """What an app holds under one consent, and what it is told when it uses it."""

    def __init__(self, cast, browse, side, person):
        self.cast, self.side, self.person = cast, side, person
        self.tokens = side.tokens_for(browse(person), account=cast.acme.slug)
        self.consent = Consent.objects.get()

    def refreshed(self, **more):
        return self.side.refresh(self.tokens["refresh_token"], **more)

    def told(self):
        """The texts that a refresh and a call are refused with, which name nobody and are ASCII."""
        answers = [self.refreshed(), self.side.call(self.tokens["access_token"])]
        assert [answer.status_code for answer in answers] == [400, 401]
        texts = [answer.json()["error_description"] for answer in answers]
        for text in texts:
            assert re.fullmatch(r"[ !#-\[\]-~]+", text), text
            assert not any(person.name in text for person in (self.cast.admin, self.cast.agent, self.cast.dev)), text
        return texts


@shared
def account_level(cast, browse, installed):
    return Held(cast, browse, installed, cast.admin)


@shared
def agent_level(cast, browse, installed_agent):
    return Held(cast, browse, installed_agent, cast.agent)


@shared
def outside(cast, browse, external):
    return Held(cast, browse, external, cast.admin)


def revoke(held, by):
    ending.revoke_consent(held.consent, by=by)


def erased(held):
    """Have the worker do all that is left to do after an ending, and everything be as old as it can get."""
    tasks.expire()
    ending.revoke_tokens(held.consent.access)
    advance(DAY + HALF_AN_HOUR)
    tasks.erase()
    assert not AccessToken.objects.exists()


def explained(held, expected):
    """A refresh and a call are told so at once, and the refresh for good."""
    expected = rf"{expected} on {DATE}"
    for text in held.told():
        assert re.fullmatch(expected, text), text
    erased(held)
    text, unknown = held.told()
    assert re.fullmatch(expected, text) and unknown == "The access token is malformed or unknown"
    advance(dt.timedelta(days=800))
    tasks.expire()
    assert re.fullmatch(expected, held.told()[0])


def test_an_uninstalled_apps_tokens_say_so(account_level):
    installing.uninstall(account_level.side.installation, by=account_level.cast.admin)
    explained(account_level, "The app was uninstalled")
    assert Access.objects.get().erased_at, "also after nothing was left to erase"


def test_a_revoked_consents_tokens_say_that_an_admin_did(account_level):
    revoke(account_level, account_level.cast.admin)
    explained(account_level, "The consent was revoked by an admin")


def test_an_agents_tokens_say_whether_the_agent_revoked_them(agent_level):
    revoke(agent_level, agent_level.cast.agent)
    explained(agent_level, "The consent was revoked by the agent")


def test_an_agents_tokens_say_whether_an_admin_revoked_them(agent_level):
    revoke(agent_level, agent_level.cast.admin)
    explained(agent_level, "The consent was revoked by an admin")


def test_who_revokes_an_app_for_all_agents_is_told_as_an_admin_also_of_their_own(cast, browse, installed_agent):
    held = Held(cast, browse, installed_agent, cast.admin)
    ending.revoke_for_all(held.consent.access, by=cast.admin)
    for text in held.told():
        assert re.fullmatch(f"The consent was revoked by an admin on {DATE}", text)


def test_an_external_apps_tokens_say_that_an_admin_ended_its_access(outside, browse):
    browse(outside.cast.admin).post(f"/authorizations/{outside.consent.access_id}/end/")
    explained(outside, "The access was revoked by an admin")


def test_the_tokens_of_an_agent_who_left_say_so(agent_level):
    memberships.end_membership(agent_level.consent.membership, by=agent_level.cast.admin)
    for text in agent_level.told():
        assert re.fullmatch(f"The agent left the account on {DATE}", text)
    memberships.add_member(agent_level.cast.acme, agent_level.cast.agent, role="agent", by=None)
    assert "The agent left the account on" in agent_level.told()[0]


def test_the_tokens_of_an_agent_who_was_deactivated_say_so(agent_level):
    people.deactivate_person(agent_level.person, by=None)
    assert agent_level.told() == ["The agent is no longer a member of the account"] * 2


def test_a_replaced_consents_tokens_say_so(account_level):
    factories.agree(account_level.side.client, account_level.cast.acme, account_level.person, replace=True)
    explained(account_level, "The consent was replaced by a new agreement")


def test_an_app_that_gave_a_refresh_token_back_is_told_so(account_level):
    account_level.side.revoke(account_level.tokens["refresh_token"])
    explained(account_level, "The refresh token was revoked by the app")


def test_an_app_that_gave_an_access_token_back_is_told_so_and_refreshes_on(account_level):
    account_level.side.revoke(account_level.tokens["access_token"])
    told = account_level.side.call(account_level.tokens["access_token"]).json()["error_description"]
    assert re.fullmatch(f"The access token was revoked by the app on {DATE}", told)
    assert account_level.refreshed().status_code == 200


def test_a_replayed_refresh_token_is_told_when_it_ended_the_authorization(account_level):
    new = account_level.refreshed().json()
    advance(dt.timedelta(seconds=61))
    assert "used again" in account_level.refreshed().json()["error_description"]
    account_level.tokens = new
    explained(account_level, "A refresh token was used again after it had been replaced, which ended the authorization")


def test_a_replayed_code_is_told_when_it_ended_the_authorization(cast, browse, installed):
    code, verifier = installed.code_for(browse(cast.admin), account=cast.acme.slug)
    tokens = installed.exchange(code, verifier).json()
    installed.exchange(code, verifier)
    told = installed.refresh(tokens["refresh_token"]).json()["error_description"]
    assert re.fullmatch(f"The authorization code was used again, which ended the authorization on {DATE}", told)


def test_an_expired_agreement_is_told_before_and_after_the_worker_stamped_it(account_level):
    advance(dt.timedelta(days=365))
    expires = Consent.objects.get().expires_at
    expected = f"The consent expired on {expires:%Y-%m-%d %H:%M} UTC"
    assert account_level.told() == [expected, f"The access token has expired. {expected}"]
    tasks.expire()
    ending.revoke_tokens(Access.objects.get())
    assert account_level.told()[0] == expected
    assert "by an admin" not in account_level.told()[0]


def test_a_suspension_is_told_while_it_lasts(account_level):
    cast, side = account_level.cast, account_level.side
    accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    for text in account_level.told():
        assert re.fullmatch(f"The account was suspended on {DATE}", text)
    assert "The account was suspended" in side.client_credentials(cast.acme.slug).json()["error_description"]
    accounts.lift_account(cast.acme, reason="Paid", by=None)
    assert account_level.refreshed().status_code == 200


def test_tokens_from_before_a_leak_say_so(account_level):
    reviewer = factories.reviewer()
    suspend_client(account_level.side.client, reason="Leak", by=reviewer)
    _row, account_level.side.secret = rotate_secret(
        account_level.side.client, overlap_hours=0, by=account_level.cast.dev
    )
    lift_client(account_level.side.client, reason="Rotated", secret_leaked=True, by=reviewer)
    for text in account_level.told():
        assert re.fullmatch(f"A secret of the client leaked, so all its tokens were ended on {DATE}", text)


def test_what_ended_first_is_told_whatever_ended_or_was_suspended_later(account_level):
    revoke(account_level, account_level.cast.admin)
    first = account_level.told()
    advance(dt.timedelta(minutes=5))
    installing.uninstall(account_level.side.installation, by=account_level.cast.admin)
    accounts.suspend_account(account_level.cast.acme, reason="Unpaid", by=None)
    ending.revoke_tokens(Access.objects.get())
    for text in account_level.told():
        assert text.startswith("The consent was revoked by an admin on"), (text, first)
    refused = account_level.side.call(account_level.tokens["access_token"]).json()
    assert "reauthorize_url" not in refused, "nobody could agree again there"


def test_times_are_utc_whoever_asks(account_level, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    revoke(account_level, account_level.cast.admin)
    revoked_at = Consent.objects.get().revoked_at
    assert account_level.told()[0].endswith(f"on {revoked_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC")


# --- taken back ---


@shared
def both(cast, browse, installed):
    """Tokens with the required scope and the optional one."""
    factories.agree(installed.client, cast.acme, cast.admin, requested={VIEW, EDIT}, chosen={EDIT})
    url = {"account": cast.acme.slug, "scope": f"{VIEW} {EDIT}"}
    held = Held.__new__(Held)
    held.cast, held.side, held.person = cast, installed, cast.admin
    held.consent = Consent.objects.get()
    held.tokens = installed.exchange(*_code(installed, browse(cast.admin), **url)).json()
    assert held.tokens["scope"] == f"{EDIT} {VIEW}"
    return held


def _code(side, browser, **more):
    from tests.oauth import answer, authorize_url, pkce

    verifier, challenge = pkce()
    url = authorize_url(side.client, challenge, prompt="consent", **more)
    page = browser.get(url)
    sent = {"decision": "agree", "shown": page.context["shown"], "optional": [EDIT]}
    return answer(browser.post(url, sent))["code"], verifier


def put(held):
    return held.side.call(held.tokens["access_token"], "put", "/sandbox/api/v2/tickets/1").json()


def test_a_call_that_lacks_a_scope_which_was_taken_back_says_when(both):
    ending.trim_consent(both.consent, scopes={EDIT}, by=both.cast.admin)
    refused = put(both)
    assert re.fullmatch(
        rf"This call needs the scope {EDIT}; {EDIT} was taken back on {DATE}", refused["error_description"]
    )
    assert refused["scope"] == EDIT and refused["reauthorize_url"].endswith(f"/{both.side.installation.pk}/")
    never = both.side.call(both.tokens["access_token"], "delete", "/sandbox/api/v2/tickets/1").json()
    assert never["error_description"] == f"This call needs the scope {DELETE}" and "reauthorize_url" not in never


def test_a_token_older_than_what_was_agreed_to_since_says_so(both):
    """T10: what is new comes with a new authorization."""
    ending.trim_consent(both.consent, scopes={EDIT}, by=both.cast.admin)
    factories.agree(both.side.client, both.cast.acme, both.cast.admin, ask_again=True, chosen={EDIT})
    told = (
        f"{EDIT} is agreed to, but this token is older or was asked for without it: authorize again for one that has it"
    )
    refused = put(both)
    assert refused["error_description"] == f"This call needs the scope {EDIT}; {told}"
    assert "reauthorize_url" not in refused
    assert told in both.refreshed(scope=EDIT).json()["error_description"]


def test_a_refresh_for_a_scope_which_was_taken_back_says_when(both):
    ending.trim_consent(both.consent, scopes={EDIT}, by=both.cast.admin)
    refused = both.refreshed(scope=EDIT).json()
    assert refused["error"] == "invalid_scope"
    assert re.search(rf"{EDIT} was taken back on {DATE}", refused["error_description"])
    standing = both.side.client_credentials(both.cast.acme.slug, scope=EDIT).json()
    assert standing["error"] == "invalid_scope"
    assert re.search(rf"{EDIT} was taken back on {DATE}", standing["error_description"])
    assert both.refreshed().json()["scope"] == VIEW


def test_a_refresh_token_whose_scopes_were_all_taken_back_says_when_for_good(both):
    ending.trim_consent(both.consent, scopes={VIEW, EDIT}, by=both.cast.admin)
    expected = rf"All scopes of the refresh token had been taken back by {DATE}"
    assert re.fullmatch(expected, both.refreshed().json()["error_description"])
    standing = both.side.client_credentials(both.cast.acme.slug).json()["error_description"]
    assert re.search(rf"All scopes of the consent had been taken back by {DATE}", standing)
    advance(DAY + HALF_AN_HOUR)
    tasks.erase()
    assert re.fullmatch(expected, both.refreshed().json()["error_description"])
    factories.agree(both.side.client, both.cast.acme, both.cast.admin, ask_again=True, requested={VIEW, EDIT})
    assert re.fullmatch(expected, both.refreshed().json()["error_description"])


def test_what_an_upgrade_asks_for_no_more_is_told_so_and_nobody_is_asked_again(both):
    access = Access.objects.get()
    terms = Terms(frozenset({VIEW}), frozenset(), "Insights", "2.0", access.installation_id)
    granting.change_terms(access, terms, by=both.cast.admin)
    refused = put(both)
    expected = rf"{EDIT} is asked for no more since the upgrade on {DATE}"
    assert re.fullmatch(rf"This call needs the scope {EDIT}; {expected}", refused["error_description"])
    assert "reauthorize_url" not in refused
    beyond = both.refreshed(scope=EDIT).json()
    assert beyond["error"] == "invalid_scope" and re.search(expected, beyond["error_description"])
    terms = Terms(frozenset({EDIT}), frozenset(), "Insights", "3.0", access.installation_id)
    granting.change_terms(Access.objects.get(), terms, by=both.cast.admin)
    expected = rf"All scopes of the refresh token had been taken back by {DATE}"
    assert re.fullmatch(expected, both.refreshed().json()["error_description"])


# --- how long an access token is explained ---


@pytest.mark.parametrize("end", ["revoked", "uninstalled", "given back", "replayed"])
@pytest.mark.parametrize("stamped", [True, False])
def test_an_access_token_is_explained_for_a_day_after_its_end_and_then_unknown(account_level, end, stamped):
    """Also when it would have expired meanwhile, and when the worker came late."""
    old, held = dict(account_level.tokens), account_level
    advance(dt.timedelta(minutes=25))
    if end == "revoked":
        revoke(held, held.cast.admin)
    elif end == "uninstalled":
        installing.uninstall(held.side.installation, by=held.cast.admin)
    elif end == "given back":
        held.side.revoke(held.tokens["refresh_token"])
    else:
        held.refreshed()
        advance(dt.timedelta(minutes=2))
        held.refreshed()
    if stamped:
        ending.revoke_tokens(Access.objects.get())

    def told():
        tasks.erase()
        return held.side.call(old["access_token"]).json()["error_description"]

    why = told()
    assert "expired" not in why and re.search(f" on {DATE}", why)
    advance(dt.timedelta(minutes=6))
    assert told().startswith("The access token has expired. " + why.partition(" on ")[0])
    advance(DAY - dt.timedelta(minutes=7))
    assert told().startswith("The access token has expired. ")
    advance(HALF_AN_HOUR)
    assert told() == "The access token is malformed or unknown"
    assert RefreshToken.objects.get()


def test_an_access_token_that_only_reached_its_end_is_told_so_for_a_day(account_level):
    advance(HALF_AN_HOUR)
    told = "The access token has expired"
    for wait in (dt.timedelta(0), DAY - dt.timedelta(minutes=1)):
        advance(wait)
        tasks.erase()
        refused = account_level.side.call(account_level.tokens["access_token"]).json()
        assert refused == {"error": "invalid_token", "error_description": told}
    advance(dt.timedelta(minutes=2))
    tasks.erase()
    assert "unknown" in account_level.side.call(account_level.tokens["access_token"]).json()["error_description"]


# --- who is told nothing ---


def test_a_suspended_client_is_told_so_by_its_own_secret_and_by_nothing_else(account_level, client):
    side, refresh = account_level.side, account_level.tokens["refresh_token"]
    unknown = AppSide(client, type("", (), {"client_id": "unknown"}), side.secret).refresh(refresh)
    suspend_client(side.client, reason="Harmful", by=factories.reviewer())
    told = account_level.refreshed()
    assert told.status_code == 401 and told.json()["error"] == "invalid_client"
    assert re.fullmatch(f"The client was suspended on {DATE}", told.json()["error_description"])
    for secret in ("amp_cs_wrong", side.secret[:-1] + ("A" if side.secret[-1] != "A" else "B")):
        wrong = AppSide(client, side.client, secret).refresh(refresh)
        assert (wrong.status_code, wrong.content, wrong["WWW-Authenticate"]) == (
            unknown.status_code,
            unknown.content,
            unknown["WWW-Authenticate"],
        )


@pytest.mark.parametrize("end", ["nothing", "revoked", "uninstalled", "replayed", "taken back"])
def test_another_client_is_told_the_same_of_a_token_whatever_became_of_it(account_level, client, end):
    """As of a token that is none, byte for byte."""
    held, (row, secret) = account_level, factories.client(account_level.cast.other_dev, kind="external")
    other = AppSide(client, row, secret)
    if end == "revoked":
        revoke(held, held.cast.admin)
    elif end == "uninstalled":
        installing.uninstall(held.side.installation, by=held.cast.admin)
    elif end == "replayed":
        held.refreshed()
        advance(dt.timedelta(minutes=2))
        held.refreshed()
    elif end == "taken back":
        ending.trim_consent(held.consent, scopes={VIEW}, by=held.cast.admin)
    none, theirs = other.refresh("amp_rt_nonsense"), other.refresh(held.tokens["refresh_token"])
    assert none.status_code == 400 and none.content == theirs.content
    assert theirs.json()["error_description"] == "The refresh token is unknown, or another client's"
    assert other.client_credentials("nowhere").content == other.client_credentials(held.cast.acme.slug).content
    assert other.revoke(held.tokens["refresh_token"]).content == other.revoke("amp_rt_nonsense").content == b""
