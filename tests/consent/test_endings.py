"""T2 and T4: an ending writes one row, takes effect when that commits, and is never undone."""

import datetime as dt
from urllib.parse import urlencode

import pytest
from django.db import DatabaseError, connection, transaction
from kombu import pools

from consent.actions import ending
from consent.models import Access, AccessToken, AuthorizationCode, Consent, RefreshToken
from consent.validity import live_consents
from credentials.actions import lift_client, make_product_secret, suspend_client
from credentials.models import Product
from marketplace.actions import installing
from portal.accounts.actions import accounts, memberships, people
from portal.accounts.models import Membership
from portal.celery import app as celery
from portal.foundation import broker
from portal.foundation.limits import breaker
from tests import factories
from tests.clock import advance
from tests.factories import VIEW
from tests.oauth import basic
from tests.worlds import shared

pytestmark = pytest.mark.django_db


class World:
    """An app with a code and tokens for an account or one agent of it, and every way to use them."""

    def __init__(self, cast, browse, client, side, person):
        self.cast, self.client, self.side, self.person = cast, client, side, person
        browser = browse(person)
        self.old = side.tokens_for(browser, account=cast.acme.slug)
        self.tokens = side.refresh(self.old["refresh_token"]).json()
        self.code, self.verifier = side.code_for(browser, account=cast.acme.slug)
        self.product = make_product_secret(Product.objects.get(), by=None)
        self.consent = Consent.objects.get()

    def statuses(self):
        """Return the status that each way of using them gets."""
        token = self.tokens["access_token"]
        statuses = {
            "call": self.side.call(token).status_code,
            "former": self.side.call(self.old["access_token"]).status_code,
            "gateway": self.client.get(
                "/oauth/check/freshservice",
                HTTP_AUTHORIZATION=f"Bearer {token}",
                HTTP_X_ORIGINAL_METHOD="GET",
                HTTP_X_ORIGINAL_URI="/api/v2/tickets",
            ).status_code,
            "introspection": self.client.post(
                "/oauth/introspect",
                urlencode({"token": token}),
                content_type="application/x-www-form-urlencoded",
                **basic("freshservice", self.product),
            ).json()["active"],
            "refresh": self.side.refresh(self.tokens["refresh_token"]).status_code,
            "replay": self.side.refresh(self.old["refresh_token"]).status_code,
            "code": self.side.exchange(self.code, self.verifier).status_code,
        }
        if not self.side.client.is_agent_level:
            statuses["client_credentials"] = self.side.client_credentials(self.cast.acme.slug).status_code
        return statuses


def refusals(world, status=400):
    """Return the status that each way of using the tokens gets once access has ended."""
    statuses = {"call": 401, "former": 401, "gateway": 401, "introspection": False}
    statuses |= dict.fromkeys(("refresh", "replay", "code"), status)
    if not world.side.client.is_agent_level:
        statuses["client_credentials"] = status
    return statuses


@shared
def account_level(cast, browse, client, installed):
    return World(cast, browse, client, installed, cast.admin)


@shared
def agent_level(cast, browse, client, installed_agent):
    return World(cast, browse, client, installed_agent, cast.agent)


ENDINGS = {
    "consent revoked": lambda w: ending.revoke_consent(w.consent, by=w.person),
    "uninstalled": lambda w: installing.uninstall(w.side.installation, by=w.cast.admin),
    "account suspended": lambda w: accounts.suspend_account(w.cast.acme, reason="Unpaid", by=None),
    "consent expired": lambda w: advance(dt.timedelta(days=365)),
}
AGENT_ENDINGS = {
    "revoked by an admin": lambda w: ending.revoke_consent(w.consent, by=w.cast.admin),
    "membership ended": lambda w: memberships.end_membership(w.consent.membership, by=w.cast.admin),
    "person deactivated": lambda w: people.deactivate_person(w.person, by=None),
}


@pytest.mark.parametrize("end", ENDINGS)
def test_an_account_level_ending_ends_everything_at_once(account_level, end):
    ENDINGS[end](account_level)
    assert account_level.statuses() == refusals(account_level)


@pytest.mark.parametrize("end", [*ENDINGS, *AGENT_ENDINGS])
def test_an_agent_level_ending_ends_everything_at_once(agent_level, end):
    {**ENDINGS, **AGENT_ENDINGS}[end](agent_level)
    assert agent_level.statuses() == refusals(agent_level)


def test_until_something_ends_every_request_succeeds(account_level):
    asked = account_level.statuses()
    assert asked["call"] == asked["former"] == asked["refresh"] == asked["code"] == asked["client_credentials"] == 200
    assert asked["gateway"] == 200 and asked["introspection"] is True


def test_a_suspended_client_is_refused_everywhere_and_its_reuse_ends_no_family(account_level):
    """C1"""
    rita = factories.reviewer()
    client = suspend_client(account_level.side.client, reason="Harmful", by=rita)
    advance(dt.timedelta(seconds=61))
    assert account_level.statuses() == refusals(account_level, status=401)
    lift_client(client, reason="Fixed", secret_leaked=False, by=rita)
    assert account_level.side.refresh(account_level.tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("end", ["consent revoked", "uninstalled", "account suspended"])
def test_an_ending_writes_one_row_for_any_number_of_tokens(account_level, browse, end):
    """T2: tokens are not updated; validity is derived."""
    for _number in range(3):
        account_level.side.tokens_for(browse(account_level.person), account=account_level.cast.acme.slug)
    tables = (AccessToken, RefreshToken, AuthorizationCode)
    before = [list(model.objects.order_by("pk").values()) for model in tables]
    ENDINGS[end](account_level)
    assert [list(model.objects.order_by("pk").values()) for model in tables] == before


def test_ending_a_family_ends_its_access_tokens_and_no_others(account_level, browse):
    world = account_level
    other = world.side.tokens_for(browse(world.person), account=world.cast.acme.slug)
    assert world.side.revoke(world.tokens["refresh_token"]).status_code == 200
    assert world.side.call(world.tokens["access_token"]).status_code == 401
    assert world.side.call(world.old["access_token"]).status_code == 401
    assert world.side.call(other["access_token"]).status_code == 200


def test_ending_an_agents_access_leaves_other_agents_alone(agent_level, browse):
    other = agent_level.side.tokens_for(browse(agent_level.cast.agent2), account=agent_level.cast.acme.slug)
    ending.revoke_consent(agent_level.consent, by=agent_level.person)
    assert agent_level.statuses() == refusals(agent_level)
    assert agent_level.side.call(other["access_token"]).status_code == 200


# --- T4: what ended is never revived ---


def test_reinstalling_revives_nothing(account_level, browse):
    world = account_level
    installing.uninstall(world.side.installation, by=world.cast.admin)
    installing.install(world.side.version.app, world.cast.acme, by=world.cast.admin)
    fresh = world.side.tokens_for(browse(world.cast.admin), account=world.cast.acme.slug)
    assert world.statuses() == {**refusals(world), "client_credentials": 200}
    assert world.side.call(fresh["access_token"]).status_code == 200
    assert Access.objects.count() == Consent.objects.count() == 2


def test_reauthorizing_revives_nothing(account_level, browse):
    world = account_level
    ending.revoke_consent(world.consent, by=world.cast.admin)
    world.side.tokens_for(browse(world.cast.admin), account=world.cast.acme.slug)
    assert world.statuses() == {**refusals(world), "client_credentials": 200}
    assert Access.objects.count() == 1 and Consent.objects.count() == 2


def test_rejoining_as_a_member_revives_nothing(agent_level):
    cast = agent_level.cast
    memberships.end_membership(agent_level.consent.membership, by=cast.admin)
    memberships.add_member(cast.acme, cast.agent, role="agent", by=cast.admin)
    assert agent_level.statuses() == refusals(agent_level)
    assert Membership.objects.filter(user=cast.agent, account=cast.acme).count() == 2


@pytest.mark.parametrize(
    ("model", "column"),
    [(Access, "ended_at"), (Consent, "revoked_at"), (RefreshToken, "ended_at"), (Membership, "ended_at")],
)
def test_the_database_refuses_to_undo_an_ending(agent_level, model, column):
    world = agent_level
    world.side.revoke(world.tokens["refresh_token"])
    ending.revoke_consent(world.consent, by=world.person)
    installing.uninstall(world.side.installation, by=world.cast.admin)
    memberships.end_membership(world.consent.membership, by=world.cast.admin)
    ended = model.objects.exclude(**{column: None})
    assert ended.exists()
    for value in (None, "2030-01-01T00:00Z"):
        with pytest.raises(DatabaseError), transaction.atomic():
            ended.update(**{column: value})


@pytest.mark.parametrize("table", ["consent_access", "consent_consent", "consent_refreshtoken"])
def test_accesses_consents_and_families_are_never_removed(account_level, table):
    """T3"""
    for sql in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)


# --- T1 ---


@pytest.mark.parametrize("model", [AuthorizationCode, RefreshToken, AccessToken])
def test_the_database_refuses_a_token_beyond_its_consent(account_level, model):
    """T1: consent ⊇ code, family, access token."""
    assert model.objects.exists() and not model.objects.filter(consent=None).exists()
    with pytest.raises(DatabaseError), transaction.atomic():
        model.objects.update(scope=f"{VIEW} {factories.DELETE}")


def test_the_database_refuses_a_consent_beyond_its_terms_and_its_client(account_level):
    for granted in ([factories.DELETE], [factories.CREATE]):
        with pytest.raises(DatabaseError), transaction.atomic():
            Consent.objects.update(granted=granted)


def test_the_rule_for_sets_and_the_rule_for_one_consent_agree(account_level, cast):
    """`live_consents` and `why_consent_ended` state the same rule."""
    assert list(live_consents()) == [account_level.consent]
    accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    assert not live_consents().exists()


# --- without Redis and without a worker ---


def use_broker(url):
    """Send this process's Celery messages to another broker, over new connections."""
    celery.conf.broker_url = celery.conf.broker_write_url = url
    celery._pool = celery.amqp._producer_pool = None
    pools.reset()
    broker._producers.cache_clear()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["consent revoked", "uninstalled"])
def test_an_ending_needs_neither_redis_nor_a_worker(account_level, end, tmp_path, caplog, monkeypatch):
    """T2, T3: Redis is really stopped and no worker runs. The sweep finds what is left to do."""
    from portal.demo import embedded

    process, url = embedded._start_valkey(tmp_path)
    monkeypatch.setattr(broker, "breaker", breaker.Breaker())
    usual = celery.conf.broker_url
    use_broker(url)
    try:
        celery.connection_for_write().ensure_connection(max_retries=1)
        process.kill()
        process.wait(180)
        ENDINGS[end](account_level)
        assert "rate_limits_off" in caplog.text, "the broker was reached"
        assert account_level.statuses() == refusals(account_level)
    finally:
        use_broker(usual)
    assert ending.access_to_revoke().count() == 1
    ending.revoke_tokens(account_level.consent.access)
    assert not ending.access_to_revoke().exists()


def test_a_receipt_counts_only_what_was_still_valid(cast, installed_agent, browse):
    """The tokens of an agent who left, and those ended by a leaked secret, do not count."""
    reviewer = factories.reviewer()
    for person in (cast.agent, cast.agent2):
        installed_agent.tokens_for(browse(person), account=cast.acme.slug)
    access = installed_agent.installation.access
    assert ending.what_ends(access) == {"consents": 2, "agents": 2, "refresh_tokens": 2, "access_tokens": 2}
    memberships.end_membership(cast.agent.memberships.get(), by=None)
    assert ending.what_ends(access) == {"consents": 1, "agents": 1, "refresh_tokens": 1, "access_tokens": 1}
    suspend_client(installed_agent.client, reason="Leaked", by=reviewer)
    # A suspended token is not an ended one.
    assert ending.what_ends(access)["access_tokens"] == 1
    lift_client(installed_agent.client, reason="Leaked", secret_leaked=True, by=reviewer)
    access = Access.objects.get(pk=access.pk)
    assert ending.what_ends(access) == {"consents": 1, "agents": 1, "refresh_tokens": 0, "access_tokens": 0}
