"""The developers' log of a client: what it counts and never counts, who reads it, and that it gets in nobody's way."""

import datetime as dt
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from consent import tasks
from consent.actions import ending, failing
from consent.models import Access, Consent, Failure
from consent.views.failures import FIXES, Why
from credentials.actions import make_product_secret, suspend_client
from marketplace.actions import installing
from portal.accounts.actions import people
from tests import factories
from tests.clock import advance, eventually
from tests.factories import DELETE, VIEW
from tests.oauth import AppSide, basic
from tests.servers import Http
from tests.worlds import shared

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"


@shared
def tokens(installed, browse, cast):
    return installed.tokens_for(browse(cast.admin), account=cast.acme.slug)


@pytest.fixture
def gateway(client, tokens):
    def ask(token=tokens["access_token"], uri="/api/v2/tickets", method="GET"):
        headers = {"HTTP_X_ORIGINAL_METHOD": method, "HTTP_X_ORIGINAL_URI": uri}
        return client.get("/oauth/check/freshservice", HTTP_AUTHORIZATION=f"Bearer {token}", **headers)

    return ask


@pytest.fixture
def introspect(client, cast):
    secret = make_product_secret(factories.product(), by=None)

    def ask(token):
        return client.post(
            "/oauth/introspect", urlencode({"token": token}), content_type=FORM, **basic("freshservice", secret)
        )

    return ask


def logged():
    """Return the rows of the log as (where, error, why, account, scope, times)."""
    rows = Failure.objects.order_by("pk")
    return [
        (row.where, row.error, row.why, row.account and row.account.slug, row.scope, row.times)
        for row in rows.select_related("account")
    ]


def test_refusals_of_an_ended_consent_are_counted_wherever_they_happen(installed, tokens, gateway, introspect, cast):
    installing.uninstall(installed.installation, by=cast.admin)
    assert introspect(tokens["access_token"]).json() == {"active": False}
    texts = {
        installed.refresh(tokens["refresh_token"]).json()["error_description"],
        installed.call(tokens["access_token"]).json()["error_description"],
        gateway().json()["error_description"],
    }
    slug = cast.acme.slug
    assert logged() == [
        ("introspection", "invalid_token", "uninstalled", slug, "", 1),
        ("token", "invalid_grant", "uninstalled", slug, "", 1),
        ("check", "invalid_token", "uninstalled", slug, "", 2),
    ]
    assert {row.text for row in Failure.objects.all()} == texts and len(texts) == 1


def test_refusals_of_one_kind_are_one_row_an_hour(installed, tokens, cast):
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)
    for _number in range(5):
        installed.refresh(tokens["refresh_token"])
    assert [row[-1] for row in logged()] == [5]
    Failure.objects.update(hour=F("hour") - dt.timedelta(hours=1))
    installed.refresh(tokens["refresh_token"])
    assert [row[-1] for row in logged()] == [5, 1]
    row = Failure.objects.first()
    assert row.hour <= row.last_at <= row.hour + dt.timedelta(hours=1)


def test_a_missing_scope_is_named_and_differs_from_one_taken_back(installed, tokens, gateway, cast):
    gateway(method="DELETE", uri="/api/v2/tickets/1")
    gateway(uri="/api/v2/closed")
    ending.trim_consent(Consent.objects.get(), scopes={VIEW}, by=cast.admin)
    gateway()
    slug = cast.acme.slug
    assert logged() == [
        ("check", "insufficient_scope", "scope", slug, DELETE, 1),
        ("check", "insufficient_scope", "not_open", slug, "", 1),
        ("check", "insufficient_scope", "taken_back", slug, VIEW, 1),
    ]


def test_an_expired_access_token_is_logged_without_its_account(installed, tokens, gateway):
    """Every account's tokens expire twice an hour."""
    advance(dt.timedelta(minutes=31))
    assert gateway().status_code == 401
    assert logged() == [("check", "invalid_token", "expired", None, "", 1)]


def test_each_refusal_of_an_authenticated_client_is_logged(installed, tokens, cast, browse):
    slug = cast.acme.slug
    code, verifier = installed.code_for(browse(cast.admin), account=slug)
    installed.exchange(code, verifier)
    installed.exchange(code, verifier)
    installed.exchange("amp_ac_nonsense", verifier)
    installed.client_credentials("nowhere")
    installed.client_credentials(slug, scope=DELETE)
    installed.refresh(tokens["refresh_token"], scope="amp_at_pasted")
    assert logged() == [
        ("token", "invalid_grant", "replayed", slug, "", 1),
        ("token", "invalid_grant", "unknown", None, "", 1),
        ("token", "invalid_grant", "no_consent", None, "", 1),
        ("token", "invalid_scope", "scope", slug, "", 2),
    ]


def test_a_client_credentials_request_of_an_agent_level_client_is_logged(installed_agent, cast):
    installed_agent.client_credentials(cast.acme.slug)
    assert logged() == [("token", "unauthorized_client", "request", None, "", 1)]


def test_nothing_that_was_sent_is_stored(installed, tokens, gateway, introspect, cast, browse):
    """No token, code, secret or verifier is stored, wherever an app put it."""
    code, verifier = installed.code_for(browse(cast.admin), account=cast.acme.slug)
    secrets = [tokens["access_token"], tokens["refresh_token"], code, verifier, installed.secret]
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)
    for secret in secrets:
        installed.exchange(secret, verifier)
        installed.refresh(secret, scope=secret)
        installed.client_credentials(secret, scope=secret)
        installed.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope=secret, more=secret)
        gateway(secret, uri=f"/{secret}")
        introspect(secret)
        AppSide(installed.http, installed.client, secret + "x").refresh(secret)
    stored = str(list(Failure.objects.values()))
    assert len(logged()) > 3 and not any(secret in stored for secret in [*secrets, "amp_"])


# --- who is not counted ---


def test_requests_without_the_clients_secret_share_one_row_an_hour(installed, tokens, client):
    for secret in ("amp_cs_wrong", "x", ""):
        side = AppSide(client, installed.client, secret)
        side.refresh(tokens["refresh_token"])
        side.client_credentials("somewhere")
    assert logged() == [("token", "invalid_client", "secret", None, "", 6)]
    assert Failure.objects.get().text == ""


def test_a_suspended_clients_requests_with_its_secret_are_logged(installed, tokens):
    suspend_client(installed.client, reason="Harmful", by=factories.reviewer())
    installed.refresh(tokens["refresh_token"])
    assert logged() == [("token", "invalid_client", "suspended", None, "", 1)]
    assert Failure.objects.get().text.startswith("The client was suspended on ")


def test_unknown_tokens_and_unknown_clients_are_not_logged(installed, tokens, gateway, introspect, client):
    for value in ("amp_at_nonsense", "nonsense", tokens["refresh_token"], tokens["access_token"][:-1] + "!"):
        assert gateway(value).status_code == 401
        assert introspect(value).json() == {"active": False}
    AppSide(client, type("", (), {"client_id": "unknown"}), installed.secret).refresh(tokens["refresh_token"])
    assert gateway("").status_code == 401
    assert logged() == []


def test_another_clients_token_is_logged_as_unknown_for_its_sender_only(installed, tokens, cast, client, introspect):
    row, secret = factories.client(cast.other_dev, kind="external")
    other = AppSide(client, row, secret)
    other.refresh(tokens["refresh_token"])
    other.client_credentials(cast.acme.slug)
    assert logged() == [
        ("token", "invalid_grant", "unknown", None, "", 1),
        ("token", "invalid_grant", "no_consent", None, "", 1),
    ]
    assert not Failure.objects.filter(client=installed.client).exists()
    assert "another client's" in Failure.objects.first().text or "no live consent" in Failure.objects.first().text


def test_successful_requests_are_not_logged_and_cost_no_more_queries(installed, tokens, gateway, introspect):
    gateway()
    with CaptureQueriesContext(connection) as queries:
        assert gateway().status_code == 200
    assert not any("consent_failure" in query["sql"] or "ledger" in query["sql"] for query in queries)
    with CaptureQueriesContext(connection) as queries:
        assert introspect(tokens["access_token"]).json()["active"]
        assert installed.refresh(tokens["refresh_token"]).status_code == 200
        assert installed.call(tokens["access_token"]).status_code == 200
    assert not any("consent_failure" in query["sql"] or "ledger" in query["sql"] for query in queries)
    assert logged() == []


# --- the log gets in nobody's way ---


def test_answers_are_the_same_when_the_log_cannot_be_written(installed, tokens, gateway, introspect, cast, caplog):
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)

    def answers():
        responses = [installed.refresh(tokens["refresh_token"]), gateway(), introspect(tokens["access_token"])]
        return [(answer.status_code, answer.content) for answer in responses]

    before = answers()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE consent_failure RENAME TO elsewhere")
        assert answers() == before
        transaction.set_rollback(True)
    assert caplog.text.count("failure_not_noted") == 3


def test_logging_leaves_the_lock_timeout_of_the_transaction_around_it(installed):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        before = cursor.fetchone()
        installed.client_credentials("nowhere")
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == before and len(logged()) == 1


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_a_locked_row_of_the_log(installed, tokens, cast, servers):
    """Another process refuses the same request while this one's transaction locks the row that counts it."""
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    http, auth = Http(servers[0].port), (installed.client.client_id, installed.secret)
    refused = http.post("/oauth/token", form, auth)
    # On a slow machine, the first may not have waited for its own row either.
    eventually(lambda: Failure.objects.exists() or not http.post("/oauth/token", form, auth))
    with transaction.atomic():
        counted = Failure.objects.select_for_update().get().times
        assert http.post("/oauth/token", form, auth).body == refused.body
    assert Failure.objects.get().times == counted
    eventually(lambda: http.post("/oauth/token", form, auth) and Failure.objects.get().times > counted)


def test_the_log_is_kept_for_30_days(installed, tokens, cast, monkeypatch):
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)
    installed.refresh(tokens["refresh_token"])
    installed.client_credentials("nowhere")
    monkeypatch.setattr(failing, "ERASE_BATCH", 1)
    advance(dt.timedelta(days=29))
    tasks.erase()
    assert len(logged()) == 2
    advance(dt.timedelta(days=1, hours=1))
    tasks.erase()
    assert logged() == [] and Access.objects.exists()


# --- the log's page ---


@shared
def log_url(installed):
    return f"/credentials/{installed.client.client_id}/log/"


def test_the_team_reads_the_reason_and_the_fix(installed, tokens, cast, browse, log_url):
    dev = browse(cast.dev)
    assert "Nothing was refused" in dev.get(log_url).content.decode()
    assert log_url in dev.get(f"/credentials/{installed.client.client_id}/").content.decode()
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)
    refusal = installed.refresh(tokens["refresh_token"]).json()["error_description"]
    installed.client_credentials("nowhere")
    page = dev.get(log_url)
    text = page.content.decode()
    assert [row.why for row in page.context["page_obj"]] == ["no_consent", "revoked"], "newest first"
    for shown in (refusal, cast.acme.slug, "invalid_grant", str(FIXES["revoked"]), "Token endpoint", "Revoked"):
        assert shown in text, shown
    for person in (cast.admin, cast.agent):
        assert person.name not in text and person.email not in text
    assert cast.acme.name not in text.replace(cast.acme.slug, "")


def test_others_get_404(installed, cast, browse, log_url, client):
    for person in (cast.other_dev, cast.admin, cast.agent, factories.reviewer()):
        assert browse(person).get(log_url).status_code == 404
    assert client.get(log_url)["Location"].startswith("/accounts/login/")
    dev = browse(cast.dev)
    assert dev.post(log_url).status_code == dev.delete(log_url).status_code == 405
    assert dev.get("/credentials/unknown/log/").status_code == 404
    people.deactivate_person(cast.dev, by=None)
    assert dev.get(log_url)["Location"].startswith("/accounts/login/")


def test_the_log_is_filtered_by_reason_and_account(installed, tokens, cast, browse, log_url):
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)
    installed.refresh(tokens["refresh_token"])
    installed.client_credentials("nowhere")
    dev = browse(cast.dev)

    def reasons(**query):
        return [row.why for row in dev.get(log_url, query).context["page_obj"]]

    assert reasons(why="revoked") == reasons(account=cast.acme.slug) == ["revoked"]
    assert reasons(why="no_consent") == ["no_consent"] and reasons(why="no_consent", account=cast.acme.slug) == []
    for nothing in (cast.globex.slug, "nowhere", "é" * 5000):
        assert reasons(account=nothing) == []
    assert len(reasons(why="made up")) == len(reasons(page="x")) == 2
    assert "No matches" in dev.get(log_url, {"account": "nowhere"}).content.decode()


def test_a_clients_log_shows_nothing_of_another_client(installed, tokens, cast, browse, log_url, client):
    row, secret = factories.client(cast.dev, kind="external")
    AppSide(client, row, secret).client_credentials("nowhere")
    assert not browse(cast.dev).get(log_url).context["page_obj"].object_list
    assert browse(cast.dev).get(f"/credentials/{row.client_id}/log/").context["page_obj"].paginator.count == 1


def test_the_log_takes_as_many_queries_for_10000_rows_as_for_1(installed, tokens, cast, browse, log_url):
    installed.client_credentials("nowhere")
    dev = browse(cast.dev)
    dev.get(log_url)
    with CaptureQueriesContext(connection) as few:
        dev.get(log_url)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO consent_failure
            (client_id, account_id, hour, "where", why, scope, parameter, error, text, times, last_at)
            SELECT client_id, %s, hour - number * interval '1 minute', "where", why, scope, parameter, error, text, times,
            last_at FROM consent_failure, generate_series(1, 10000) number
            """,
            [cast.acme.pk],
        )
    with CaptureQueriesContext(connection) as many:
        page = dev.get(log_url, {"page": 200})
    assert (page.context["page_obj"].number, len(page.context["page_obj"])) == (200, 25) and len(many) == len(few)


def test_every_reason_has_a_fix():
    assert FIXES.keys() == {*Why}
