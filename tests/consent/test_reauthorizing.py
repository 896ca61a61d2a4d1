"""A refusal that agreeing again would cure carries `reauthorize_url`, at the API and at the token endpoint alike."""

import datetime as dt

import pytest
from django.conf import settings

from consent import tasks
from consent.actions import ending, granting
from consent.asking import Terms
from consent.models import Access, Consent
from consent.reasons import AccessEnd
from credentials.actions import lift_client, rotate_secret, suspend_client
from marketplace.actions import installing
from portal.accounts.actions import accounts, memberships
from tests import factories
from tests.clock import advance
from tests.factories import EDIT, VIEW
from tests.oauth import AppSide
from tests.worlds import shared

pytestmark = pytest.mark.django_db
YEAR, HALF_AN_HOUR = dt.timedelta(days=365), dt.timedelta(minutes=30)


class Holder:
    """An app that holds tokens under one consent, and the answers to each way of using them."""

    def __init__(self, cast, browse, side, person):
        self.cast, self.side, self.person, self.browser = cast, side, person, browse(person)
        self.tokens = side.tokens_for(self.browser, account=cast.acme.slug)
        self.consent = Consent.objects.get()
        access = self.consent.access
        path = (
            f"/installations/{access.installation_id}/" if access.installation_id else f"/authorizations/{access.pk}/"
        )
        self.page = settings.BASE_URL + path

    def answers(self):
        yield "refresh", self.side.refresh(self.tokens["refresh_token"])
        yield "call", self.side.call(self.tokens["access_token"])
        if not self.side.client.is_agent_level:
            yield "client credentials", self.side.client_credentials(self.cast.acme.slug)

    def urls(self):
        """Return the `reauthorize_url` of each refusal, or None where it has none."""
        urls = {}
        for way, answer in self.answers():
            assert answer.status_code == (401 if way == "call" else 400), (way, answer.content)
            urls[way] = answer.json().get("reauthorize_url")
        return urls

    def curable(self):
        urls = self.urls()
        assert set(urls.values()) == {self.page}, urls
        assert self.browser.get(self.page).status_code == 200
        return True

    def incurable(self):
        urls = self.urls()
        assert set(urls.values()) == {None}, urls
        return True


@shared
def account_level(cast, browse, installed):
    return Holder(cast, browse, installed, cast.admin)


@shared
def agent_level(cast, browse, installed_agent):
    return Holder(cast, browse, installed_agent, cast.agent)


@shared
def external_app(cast, browse, external):
    return Holder(cast, browse, external, cast.admin)


def test_a_revoked_consent_can_be_agreed_to_again(account_level):
    ending.revoke_consent(account_level.consent, by=account_level.cast.admin)
    assert account_level.curable()
    advance(HALF_AN_HOUR)
    assert account_level.curable(), "even after the access token expires"


def test_an_agents_own_consent_can_be_agreed_to_again(agent_level):
    ending.revoke_consent(agent_level.consent, by=agent_level.cast.agent)
    assert agent_level.curable()


def test_an_external_apps_consent_can_be_agreed_to_again(external_app):
    ending.revoke_consent(external_app.consent, by=external_app.cast.admin)
    assert external_app.curable()


def test_an_expired_agreement_can_be_agreed_to_again(account_level):
    advance(YEAR)
    assert account_level.curable()
    tasks.expire()
    assert account_level.curable()


def test_a_taken_back_scope_can_be_allowed_again(external_app):
    ending.trim_consent(external_app.consent, scopes={EDIT}, by=external_app.cast.admin)
    for refused in (
        external_app.side.refresh(external_app.tokens["refresh_token"], scope=EDIT),
        external_app.side.client_credentials(external_app.cast.acme.slug, scope=EDIT),
    ):
        assert refused.status_code == 400 and refused.json()["error"] == "invalid_scope"
        assert refused.json()["reauthorize_url"] == external_app.page
    never = external_app.side.refresh(external_app.tokens["refresh_token"], scope="made.up")
    assert never.json()["error"] == "invalid_scope" and "reauthorize_url" not in never.json()
    ending.trim_consent(Consent.objects.get(), scopes={VIEW}, by=external_app.cast.admin)
    assert external_app.curable(), "no scope is left"


def test_a_code_whose_consent_was_revoked_says_where_to_agree_again(cast, browse, external):
    code, verifier = external.code_for(browse(cast.admin), account=cast.acme.slug)
    consent = Consent.objects.get()
    ending.revoke_consent(consent, by=cast.admin)
    refused = external.exchange(code, verifier)
    assert refused.status_code == 400
    assert refused.json()["reauthorize_url"] == f"{settings.BASE_URL}/authorizations/{consent.access_id}/"


def test_an_expired_access_token_sends_nobody_anywhere(account_level):
    advance(HALF_AN_HOUR)
    refused = account_level.side.call(account_level.tokens["access_token"])
    assert refused.status_code == 401 and "reauthorize_url" not in refused.json()


def test_nobody_can_agree_again_to_an_uninstalled_app(account_level):
    ending.revoke_consent(account_level.consent, by=account_level.cast.admin)
    installing.uninstall(account_level.side.installation, by=account_level.cast.admin)
    assert account_level.incurable()


def test_nobody_can_agree_again_after_an_admin_ended_the_access(external_app):
    ending.end_access(external_app.consent.access, by=external_app.cast.admin, reason=AccessEnd.REVOKED)
    assert external_app.incurable()


def test_nobody_can_agree_again_for_an_agent_who_left(agent_level):
    ending.revoke_consent(agent_level.consent, by=agent_level.cast.agent)
    memberships.end_membership(agent_level.consent.membership, by=agent_level.cast.admin)
    assert agent_level.incurable()


def test_nobody_is_asked_to_agree_again_during_a_suspension(account_level):
    ending.revoke_consent(account_level.consent, by=account_level.cast.admin)
    accounts.suspend_account(account_level.cast.acme, reason="Unpaid", by=None)
    assert account_level.incurable()
    accounts.lift_account(account_level.cast.acme, reason="Paid", by=None)
    assert account_level.curable()
    suspend_client(account_level.side.client, reason="Leak", by=factories.reviewer())
    refused = account_level.side.refresh(account_level.tokens["refresh_token"])
    assert refused.status_code == 401 and "reauthorize_url" not in refused.json()


def test_after_a_leak_nobody_has_to_agree_again(account_level):
    holder, reviewer = account_level, factories.reviewer()
    suspend_client(holder.side.client, reason="Leak", by=reviewer)
    _row, holder.side.secret = rotate_secret(holder.side.client, overlap_hours=0, by=holder.cast.dev)
    lift_client(holder.side.client, reason="Rotated", secret_leaked=True, by=reviewer)
    assert "reauthorize_url" not in holder.side.refresh(holder.tokens["refresh_token"]).json()
    assert holder.side.client_credentials(holder.cast.acme.slug).status_code == 200


def test_no_person_is_asked_about_what_the_app_used_up_or_revoked_or_an_upgrade_dropped(account_level):
    holder = account_level
    new = holder.side.refresh(holder.tokens["refresh_token"]).json()
    advance(dt.timedelta(seconds=61))
    assert "reauthorize_url" not in holder.side.refresh(holder.tokens["refresh_token"]).json(), "reused"
    assert "reauthorize_url" not in holder.side.refresh(new["refresh_token"]).json()
    holder.tokens = holder.side.tokens_for(holder.browser, account=holder.cast.acme.slug)
    holder.side.revoke(holder.tokens["refresh_token"])
    assert "reauthorize_url" not in holder.side.refresh(holder.tokens["refresh_token"]).json()
    holder.tokens = holder.side.tokens_for(holder.browser, account=holder.cast.acme.slug)
    terms = Terms(frozenset({EDIT}), frozenset(), "Insights", "2.0", holder.consent.access.installation_id)
    granting.change_terms(Access.objects.get(), terms, by=holder.cast.admin)
    assert "reauthorize_url" not in holder.side.refresh(holder.tokens["refresh_token"]).json()


def test_other_clients_and_unknown_tokens_get_no_page(account_level, other_app):
    ending.revoke_consent(account_level.consent, by=account_level.cast.admin)
    assert "reauthorize_url" not in other_app.refresh(account_level.tokens["refresh_token"]).json()
    assert "reauthorize_url" not in other_app.client_credentials(account_level.cast.acme.slug).json()
    for value in ("x", "amp_at_x", ""):
        assert "reauthorize_url" not in account_level.side.call(value).json()


@shared
def other_app(cast, client):
    return AppSide(client, *factories.client(cast.other_dev, kind="external"))
