"""Redis is killed, restarted and frozen: workers recover by themselves, and nobody waits for it (T3)."""

import signal
import socket
import threading

import pytest
from django.conf import settings
from django.db import transaction
from kombu import Connection

from consent.actions import ending
from consent.models import Access
from portal.celery import app as celery
from portal.demo import embedded
from portal.foundation import broker
from portal.foundation.limits import breaker, rates
from tests.clock import eventually, eventually_swept
from tests.faults.harm import held, somebody_waits, visitor
from tests.servers import Http, Server, start_worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def valkey(tmp_path):
    """A Redis for this test, which `restart` brings back at the same address."""
    process, url = embedded._start_valkey(tmp_path)

    class Valkey:
        def __init__(self):
            self.process, self.url = process, url

        def restart(self, how):
            self.process.send_signal(how)
            self.process.wait(180)
            self.process, _url = embedded._start_valkey(tmp_path, self.url)

    mine = Valkey()
    yield mine
    mine.process.kill()
    mine.process.wait(180)


@pytest.mark.soak
def test_workers_come_back_by_themselves_when_redis_restarts_with_a_task_in_flight(valkey, tmp_path):
    """One of two processes is busy: this is where closing the lost connection used to end the worker."""
    with open(tmp_path / "worker.log", "wb") as log:
        worker = start_worker(pool=("-c", "2"), log=log, REDIS_URL=valkey.url)

    def is_at_work():
        assert worker.poll() is None, (tmp_path / "worker.log").read_text()[-4000:]
        return somebody_waits()

    def begin_a_task():
        with Connection(valkey.url) as there:
            celery.send_task("consent.tasks.erase", connection=there)
        eventually(is_at_work)

    try:
        for number in range(20):
            with held("LOCK TABLE consent_accesstoken IN ACCESS EXCLUSIVE MODE"):
                begin_a_task()
                valkey.restart(signal.SIGTERM if number % 3 == 1 else signal.SIGKILL)
        with held("LOCK TABLE consent_accesstoken IN ACCESS EXCLUSIVE MODE"):
            begin_a_task()
    finally:
        worker.kill()
        worker.wait(180)


@pytest.fixture
def black_hole(monkeypatch):
    """A broker that accepts connections and never answers; yields the accepted ones."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take():
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        monkeypatch.setattr(celery.conf, "broker_write_url", f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        monkeypatch.setattr(broker, "breaker", breaker.Breaker())
        # However slow the machine is.
        monkeypatch.setattr(breaker, "REST_SECONDS", 3600)
        broker._producers.cache_clear()
        yield taken
        broker._producers.cache_clear()
        listener.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def test_a_hanging_redis_costs_one_timeout_however_many_tasks_are_queued(black_hole):
    for _number in range(5):
        with transaction.atomic():
            for number in range(5):
                broker.queue_on_commit("consent.tasks.revoke_tokens", str(number))
    assert len(black_hole) == 1


def test_queueing_waits_milliseconds_and_never_retries():
    with broker._producers().acquire() as producer:
        options = producer.channel.pool.connection_kwargs
    assert options["socket_timeout"] <= 0.5 and options["socket_connect_timeout"] <= 0.5
    assert options["retry"].get_retries() == 0


def test_the_cache_and_the_limits_wait_no_longer():
    options, connection = settings.CACHES["default"]["OPTIONS"], rates._redis().connection
    assert options["socket_timeout"] <= 0.5 and options["socket_connect_timeout"] <= 0.5
    assert connection.socket_timeout <= 0.5 and connection.socket_connect_timeout <= 0.5
    assert options["retry"].get_retries() == connection.retry.get_retries() == 0


@pytest.mark.soak
def test_while_redis_hangs_ending_and_refreshing_go_on_and_the_sweep_does_the_rest(
    used, cast, browse, valkey, tmp_path, request
):
    auth = (used.client.client_id, used.secret)
    with open(tmp_path / "server.log", "wb") as log:
        server = Server(REDIS_URL=valkey.url, log=log).wait()
    try:
        ada = visitor(server, browse(cast.admin))
        page = ada.open(f"/installations/{used.installation.pk}/uninstall/")
        http = Http(server.port, timeout=180)
        valkey.process.send_signal(signal.SIGSTOP)
        refreshed = http.post(
            "/oauth/token", {"grant_type": "refresh_token", "refresh_token": used.tokens["refresh_token"]}, auth
        )
        assert refreshed.status == 200
        assert http.post("/oauth/revoke", {"token": refreshed.json()["access_token"]}, auth).status == 200
        assert "Receipt" in ada.submit(page).text
        assert http.post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": refreshed.json()["refresh_token"]}, auth).status == 400  # fmt: skip
        assert http.call(used.tokens["access_token"]).status == 401
        assert http.get("/readyz").json() == {"database": "ok", "redis": "away"}
    finally:
        valkey.process.send_signal(signal.SIGCONT)
        server.stop()
    assert (tmp_path / "server.log").read_text().count("rate_limits_off") >= 1
    assert [access.pk for access in ending.access_to_revoke()] == [Access.objects.get().pk]
    request.getfixturevalue("worker")
    eventually_swept(lambda: Access.objects.get().revoked_at)
