"""Try it: a developer's own portal takes the steps of their client, and neither keeps nor shows a secret."""

import datetime as dt
import json
import re
from html import unescape
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import connection
from django.test import Client as Browser

from consent.actions import trying as acts
from consent.models import AccessToken, Consent, Trial
from consent.trying import calls
from consent.trying.snippets import LOCAL_CALLBACK
from credentials import actions as credentials
from credentials import trying
from credentials.models import Client, ClientSecret, Kind, Level
from portal.accounts.actions import memberships, teams
from portal.accounts.models import Account
from portal.demo.sandbox.models import Ticket
from portal.foundation.encryption import decrypt
from tests import factories
from tests.clock import advance
from tests.factories import EDIT, VIEW, team_of
from tests.oauth import agree, authorize_url, pkce
from tests.people.forms import text
from tests.servers import together
from tests.worlds import shared

pytestmark = pytest.mark.django_db


def here(url):
    """An address of the portal, as the test client takes it."""
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


class Developer:
    """Somebody who tries one client in their browser."""

    def __init__(self, browser, client=None):
        self.browser, self.client, self._page = browser, client, None

    @property
    def page(self):
        """The page that is open, at first the client's."""
        if self._page is None:
            self.opens(self.url)
        return self._page

    @page.setter
    def page(self, page):
        self._page = page

    @property
    def url(self):
        return f"/credentials/{self.client.client_id}/test/"

    def just_try(self, team):
        pressed = self.browser.post("/credentials/new/test/", {"team": team.public_id})
        self.client = Client.objects.get(team=team, is_for_trying=True)
        return pressed

    def comes_back(self, asked, **more):
        """Agree to what is asked, and come back with the code."""
        back = agree(self.browser, here(asked["Location"]), **more)
        return self.opens(here(back["Location"]))

    def opens(self, url):
        self.page = self.browser.get(url, follow=True)
        return self

    def does(self, act, **more):
        """Press a button; return the page that follows."""
        self.page = self.browser.post(self.url, {"act": act, **more}, follow=True)
        return self

    def authorizes(self, act="authorize-test"):
        return self.comes_back(self.browser.post(self.url, {"act": act}))

    @property
    def text(self):
        return text(self.page)

    @property
    def last(self):
        """The last step that the page shows: its title, its state and what it means."""
        return self.page.context["steps"][-1]

    @property
    def state(self):
        key = self.browser.cookies["trial_key"].value
        return acts.load_trial(self.browser.session.session_key, self.client, browser_key=key)


@shared
def tried(cast, browse):
    """A developer who has pressed Just trying and agreed."""
    made = Developer(browse(cast.dev))
    made.comes_back(made.just_try(team_of(cast.dev)))
    # A page cannot be kept for the next test; it is opened again.
    made.page = None
    return made


@shared
def own(cast):
    """External credentials whose secret their developer has."""
    made, secret = factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[trying.callback_uri()])
    made.secret = secret
    return made


# --- just trying ---


def test_one_press_and_one_agreement_lead_to_the_sample_tickets(tried, cast):
    assert "Your call worked: 20 tickets" in tried.text and "Printer on floor 3 is jammed" in tried.text
    made = tried.client
    assert (made.name, made.kind, made.level) == ("Test credentials", Kind.EXTERNAL, Level.ACCOUNT)
    assert made.redirect_uris == trying.callback_uri() and made.scope_names() == {VIEW}
    assert [step["step"] for step in tried.page.context["steps"]] == ["authorize", "token", "call"]
    assert tried.page.context["tokens"]["account"] == team_of(cast.dev).test_account.slug


def test_a_team_gets_one_set_and_a_second_press_opens_it(tried, cast, browse):
    again = tried.browser.post("/credentials/new/test/", {"team": team_of(cast.dev).public_id})
    assert again["Location"] == tried.url
    assert Client.objects.filter(team=team_of(cast.dev)).count() == 1
    assert "Open Try it" in text(browse(cast.dev).get("/credentials/new/"))


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_press_at_once_get_one_set(cast):
    team, mate = team_of(cast.dev), factories.person("Mate", team=False)
    teams.add_teammate(team, mate, role="owner", by=cast.dev)
    made = together(*[lambda by=by: trying.create_test_client(team, by=by) for by in (cast.dev, mate)] * 2)
    assert (
        len({client.pk for client, _secret in made}) == 1 and len([secret for _client, secret in made if secret]) == 1
    )
    assert Client.objects.filter(team=team).count() == 1


def test_it_is_offered_to_those_who_can_agree_and_says_what_cannot_be_undone(cast, browse):
    for path in ("/", "/credentials/new/"):
        page = text(browse(cast.dev).get(path))
        assert "Make your first call" in page and "Credentials cannot be deleted." in page
    mate = factories.person("Mate", team=False)
    teams.add_teammate(team_of(cast.dev), mate, role="member", by=cast.dev)
    assert "credentials/new/test/" not in browse(mate).get("/").content.decode()
    assert browse(mate).post("/credentials/new/test/", {"team": team_of(cast.dev).public_id}).status_code == 404


def test_they_can_be_edited_first(cast, browse):
    page = browse(cast.dev).get("/credentials/new/?trying=1")
    form = page.context["form"]
    assert form["name"].value() == "Test credentials" and form["kind"].value() == Kind.EXTERNAL
    assert form["redirect_uris"].value() == trying.callback_uri() and list(form.chosen) == [VIEW]


# --- step by step ---


def test_each_further_step_is_sent_and_its_answer_explained(tried):
    assert tried.does("refresh").last["good"] and "replaces the old one" in tried.last["says"]
    assert tried.does("replay").last["good"] and "Within 60 seconds" in tried.last["says"]
    assert not tried.does("widen").last["good"] and "never widens" in tried.last["says"]
    assert not tried.does("expire").last["good"] and "now uses its refresh token" in tried.last["says"]
    assert "The access token has expired" in tried.last["answer"]
    tried.does("refresh")
    assert tried.does("call").last["good"]
    advance(dt.timedelta(seconds=61))
    assert "This was reuse" in tried.does("replay").last["says"]
    assert "has ended with its authorization" in tried.does("call").last["says"]
    assert "no longer works" in tried.does("refresh").last["says"]


def test_revoking_ends_the_tokens(tried):
    tried.does("revoke")
    revoke, call = tried.page.context["steps"][-2:]
    assert (revoke["good"], call["good"]) == (True, False) and "given back" not in call["answer"]
    assert "HTTP/1.1 401" in call["answer"]


def test_the_requests_are_those_that_a_client_sends(tried):
    token, call = tried.page.context["steps"][1:3]
    assert token["request"].startswith("POST /oauth/token HTTP/1.1\nHost: ")
    assert (
        "grant_type=authorization_code&code=amp_ac_" in token["request"]
        and "Authorization: Basic •••" in token["request"]
    )
    assert call["request"].startswith("GET /sandbox/api/v2/tickets?per_page=20 HTTP/1.1")
    assert token["answer"].startswith("HTTP/1.1 200 OK") and "Cache-Control: no-store" in token["answer"]


def test_a_call_counts_for_the_one_who_presses(tried, limited, monkeypatch):
    from portal.foundation.limits import rates

    monkeypatch.setitem(rates.RATES, "token by address", (1, 600))
    tried.does("refresh")
    assert "too many requests" in tried.does("refresh").last["says"]


def test_agent_level_and_marketplace_clients_are_tried_too(cast, browse):
    agents, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL, level=Level.AGENT, uris=[trying.callback_uri()])
    assert "20 tickets" in Developer(browse(cast.dev), agents).authorizes().text
    hosted, _secret = factories.client(cast.dev, uris=[trying.callback_uri()])
    dev = Developer(browse(cast.dev), hosted)
    assert "has to be installed on" in dev.opens(dev.url).text
    assert dev.does("install").page.status_code == 422 and "no app with a version yet" in dev.text
    factories.app(cast.dev, hosted)
    assert "20 tickets" in dev.does("install").authorizes().text


def test_a_call_without_the_scope_says_which_is_missing(cast, browse):
    client, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=[EDIT], uris=[trying.callback_uri()])
    dev = Developer(browse(cast.dev), client).authorizes()
    assert "lacks the scope" in dev.last["says"] and VIEW in dev.last["answer"]


def test_its_own_redirect_url_is_added_by_one_press_and_the_others_stay(cast, browse):
    client, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL)
    dev = Developer(browse(cast.dev), client)
    before = client.redirect_uris.split()
    assert "not yet a redirect URL" in dev.opens(dev.url).text
    assert "20 tickets" in dev.does("add-callback").authorizes().text
    dev.does("add-local").does("add-callback")
    client.refresh_from_db()
    assert client.redirect_uris.split() == [*before, trying.callback_uri(), LOCAL_CALLBACK]


def test_a_member_who_cannot_agree_is_told_who_can(cast, browse):
    mate = factories.person("Mate", team=False)
    teams.add_teammate(team_of(cast.dev), mate, role="member", by=cast.dev)
    client, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[trying.callback_uri()])
    page = Developer(browse(mate), client)
    assert "Only an owner of the team can agree" in page.opens(page.url).text


def test_made_up_steps_and_steps_out_of_order_are_refused(tried, own):
    for act in ("", "made-up", "\u2028"):
        assert tried.does(act).page.status_code == 422
    fresh = Developer(tried.browser, own)
    for act in ("exchange", "call", "refresh", "expire", "widen", "replay", "revoke"):
        assert fresh.does(act).page.status_code == 422 and "no code or token left" in fresh.text
    assert tried.does("call", secret="x" * 201).page.status_code == 422


# --- the secret ---


def test_a_test_secret_takes_one_of_the_two_places_and_shortens_no_other(own, cast, browse):
    dev = Developer(browse(cast.dev), own).authorizes()
    first, made = ClientSecret.objects.filter(client=own).order_by("created_at")
    assert first.expires_at is None and made.is_for_trying
    assert dt.timedelta(minutes=59) < made.expires_at - made.created_at <= dt.timedelta(hours=1)
    assert "An old secret" not in text(dev.browser.get("/")), "nobody has to replace it"
    assert "For testing" in text(dev.browser.get(f"/credentials/{own.client_id}/"))
    advance(dt.timedelta(hours=1, seconds=1))
    assert "a test secret" in dev.opens(dev.url).text.lower()
    assert credentials.active_secrets(own).get() == first


def test_where_both_places_are_taken_it_says_so_and_ends_neither(own, cast, browse):
    credentials.rotate_secret(own, overlap_hours=24, by=cast.dev)
    before = list(ClientSecret.objects.filter(client=own).values_list("pk", "expires_at"))
    dev = Developer(browse(cast.dev), own)
    assert "have two already" in dev.opens(dev.url).text and 'value="authorize-test"' not in dev.page.content.decode()
    assert dev.does("authorize-test").page.status_code == 422 and "have two active secrets already" in dev.text
    assert list(ClientSecret.objects.filter(client=own).values_list("pk", "expires_at")) == before


def raw_rows():
    """Every row of every table, as the database has it."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        cursor.execute(" UNION ALL ".join(f'SELECT to_jsonb(t)::text FROM "{table}" t' for table in tables))
        return "\n".join(row for (row,) in cursor.fetchall())


def test_a_secret_that_is_entered_once_is_stored_nowhere_and_serves_each_step(own, cast, browse):
    dev = Developer(browse(cast.dev), own).authorizes("authorize")
    assert "Enter the secret of these credentials" in dev.text
    assert dev.does("exchange").page.status_code == 422
    dev.does("exchange", secret=own.secret)
    assert "20 tickets" in dev.text and "no-store" in dev.page["Cache-Control"]
    sealed = re.search(r'name="sealed" value="([^"]+)"', dev.page.content.decode())[1]
    assert dev.does("refresh", sealed=sealed).last["good"]
    assert own.secret not in dev.page.content.decode() + raw_rows() + json.dumps(dev.state)
    assert sealed not in raw_rows()
    assert dev.does("refresh").page.status_code == 422, "it is not asked for twice only by the page that has it"
    # Another session cannot open what one of them sealed.
    other = Developer(browse(cast.dev), own).authorizes("authorize")
    assert other.does("exchange", sealed=sealed).page.status_code == 422
    assert dev.does("refresh", sealed="made-up").page.status_code == 422


def test_a_wrong_secret_gets_the_portals_own_answer(own, cast, browse):
    dev = Developer(browse(cast.dev), own).authorizes("authorize").does("exchange", secret="wr&ng …")
    assert "invalid_client" in dev.last["answer"] and "does not accept this secret" in dev.last["says"]
    assert "wr&ng" not in unescape(dev.page.content.decode()) and "20 tickets" not in dev.text


def test_nothing_secret_is_shown_stored_in_clear_logged_or_in_an_address(tried, caplog):
    caplog.set_level("DEBUG")
    tried.does("refresh").does("widen").does("expire").does("refresh")
    state = tried.state
    secrets = [state["secret"], state["verifier"], *state["tokens"]["old"]]
    secrets += [state["tokens"][name] for name in ("access_token", "refresh_token")]
    assert all(len(each) > 40 for each in secrets)
    shown = unescape(tried.page.content.decode()) + tried.page.request["PATH_INFO"]
    trial = Trial.objects.get()
    for where in (shown, raw_rows(), caplog.text, f"{trial!r} {trial}", repr(tried.page.context["steps"])):
        assert [each[:16] for each in secrets if each in where] == []
    with pytest.raises(InvalidToken):
        decrypt(trial.state)
    session, other = tried.browser.session.session_key, Fernet.generate_key().decode()
    assert acts.load_trial(session, tried.client, browser_key=other) == {}
    request = calls.as_client(tried.client, state["secret"], "/oauth/token", code=state["verifier"])
    assert "Basic" not in repr(request) and state["verifier"] not in repr(request)


# --- the way back ---


def test_only_what_is_tried_on_the_test_account_comes_back_to_the_portals_page(own, cast, browse):
    """An admin elsewhere would read there that nothing came of it, while what they agreed to stands."""
    _verifier, challenge = pkce()
    address = authorize_url(own, challenge, redirect_uri=trying.callback_uri(), account=cast.acme.slug)
    back = browse(cast.admin).get(address)
    assert back.status_code == 302 and "error=access_denied" in back["Location"]
    assert not Consent.objects.filter(access__client=own).exists()


def asked(dev):
    """The address that a developer comes back with, not opened yet."""
    pressed = dev.browser.post(dev.url, {"act": "authorize-test"})
    return here(agree(dev.browser, here(pressed["Location"]))["Location"])


def test_an_answer_serves_once_and_only_the_session_that_asked(own, cast, browse):
    dev = Developer(browse(cast.dev), own)
    url = asked(dev)
    assert "iss=" in url and "code=amp_ac_" in url
    for browser in (Browser(), browse(cast.dev), browse(cast.admin)):
        assert browser.get(url).status_code == 400
    for wrong in (url.replace("state=", "state=x"), re.sub(r"state=[^&]+", "", url), url.replace(own.client_id, "x")):
        assert dev.browser.get(wrong).status_code == 400
    assert "20 tickets" in dev.opens(url).text
    assert (
        dev.page.request["PATH_INFO"] == dev.url
        and "QUERY_STRING" in dev.page.request
        and "code" not in dev.page.request["QUERY_STRING"]
    )
    assert dev.browser.get(url).status_code == 400, "used"


@pytest.mark.parametrize("change", [("iss=", "iss=https%3A%2F%2Fevil.example&was="), ("code=", "was=")])
def test_an_answer_of_another_issuer_or_without_a_code_is_not_exchanged(own, cast, browse, change):
    dev = Developer(browse(cast.dev), own)
    dev.opens(asked(dev).replace(*change))
    assert not dev.last["good"] and not AccessToken.objects.exists()


def test_declining_is_noted(own, cast, browse):
    dev = Developer(browse(cast.dev), own)
    url = here(dev.browser.post(dev.url, {"act": "authorize-test"})["Location"])
    back = dev.browser.post(url, {"decision": "cancel"})
    assert "error=access_denied" in back["Location"]
    assert "did not agree" in dev.opens(here(back["Location"])).last["says"]


def test_another_account_in_the_address_gets_no_further(own, cast, browse):
    other = factories.account("other")
    memberships.add_member(other, cast.dev, role="admin", by=None)
    dev = Developer(browse(cast.dev), own)
    url = here(dev.browser.post(dev.url, {"act": "authorize-test"})["Location"])
    refused = dev.browser.get(re.sub(r"account=[^&]+", f"account={other.slug}", url))
    dev.opens(here(refused["Location"]))
    assert "continues without access" in dev.last["says"] and not dev.page.context["tokens"]
    assert not Consent.objects.filter(access__client=own).exists()


def test_what_a_session_keeps_is_gone_within_the_hour(tried, cast, browse):
    other = Developer(browse(cast.dev), tried.client)
    assert "20 tickets" not in other.opens(other.url).text
    advance(dt.timedelta(hours=1, seconds=1))
    assert "20 tickets" not in tried.opens(tried.url).text and tried.state == {}
    assert acts.erase_trials() == 1 and acts.erase_trials() == 0


def test_an_access_token_is_expired_by_its_team_and_on_its_test_account_alone(external, cast, browse):
    tokens = external.tokens_for(browse(cast.admin), account=cast.acme.slug)
    acts.expire_token(external.client, token=tokens["access_token"], by=cast.dev)
    assert external.call(tokens["access_token"]).status_code == 200
    with pytest.raises(Exception, match="Only members"):
        acts.expire_token(external.client, token=tokens["access_token"], by=cast.other_dev)


# --- the sample tickets ---


def test_a_new_teams_test_account_has_sample_tickets_and_they_can_be_reset(tried, cast):
    account = team_of(cast.dev).test_account
    first = list(Ticket.objects.filter(account=account).values_list("subject", flat=True))
    assert len(first) == 20
    other = Ticket.objects.create(account=cast.acme, subject="Stays")
    Ticket.objects.filter(account=account)[0].delete()
    Ticket.objects.create(account=account, subject="Mine")
    answered = tried.browser.post(f"{tried.url}tickets/", follow=True)
    assert "20 sample tickets again" in text(answered)
    assert list(Ticket.objects.filter(account=account).values_list("subject", flat=True)) == first
    assert Ticket.objects.get(pk=other.pk).subject == "Stays" and Account.objects.get(pk=account.pk)


def test_the_page_takes_a_bounded_number_of_queries(tried, django_assert_max_num_queries):
    with django_assert_max_num_queries(25):
        tried.browser.get(tried.url)
    assert settings.BASE_URL in trying.callback_uri()
