"""PostgreSQL away: requests fail at once while it refuses connections, and health checks wait for nobody."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from psycopg_pool import PoolTimeout

from portal.demo import embedded
from portal.foundation.postgres import base
from portal.foundation.postgres.base import Pool, Refused
from tests.clock import eventually
from tests.faults.harm import held, waiting
from tests.servers import Http, Server, environment, free_port, together


@pytest.fixture
def pool():
    """A function that makes a pool for an address."""
    pools = []

    def make(url, **options):
        pools.append(Pool(conninfo=url, min_size=1, max_size=16, check=Pool.check_connection, open=True, **options))
        return pools[-1]

    yield make
    for made in pools:
        made.close(timeout=0)


def test_nobody_waits_for_a_server_that_refuses(pool):
    """However long the pool would wait."""
    refused = pool(f"postgres://none@127.0.0.1:{free_port()}/none", timeout=3600)
    errors = together(*[refused.getconn] * 20)
    assert {type(error) for error in errors} == {Refused}


def test_however_many_ask_a_server_that_refuses_is_tried_once_in_a_while(pool, monkeypatch):
    monkeypatch.setattr(base, "REST", 3600)
    refused = pool(f"postgres://none@127.0.0.1:{free_port()}/none", timeout=3600)
    for _number in range(100):
        with pytest.raises(Refused):
            refused.getconn()
    assert refused.get_stats()["connections_errors"] < 10


def test_a_server_that_is_slow_is_waited_for(pool):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = pool(f"postgres://none@127.0.0.1:{silent.getsockname()[1]}/none", timeout=1)
        with pytest.raises(PoolTimeout):
            slow.getconn()


def test_once_the_server_is_back_so_is_the_pool_whatever_became_of_its_connections(pool, tmp_path):
    postgres, url = embedded._start_postgres(tmp_path)
    try:
        mine = pool(url, timeout=3600)
        used = [mine.getconn() for _number in range(5)]
        processes = [Path(f"/proc/{connection.info.backend_pid}") for connection in used]
        for connection in used:
            mine.putconn(connection)
        postgres.kill()
        postgres.wait(180)
        # Each process of a killed server ends by itself, once it notices.
        eventually(lambda: not any(process.exists() for process in processes))
        assert {type(error) for error in together(*[mine.getconn] * 20)} == {Refused}
        postgres, _url = embedded._start_postgres(tmp_path, url)
        answers = []

        def answers_again():
            try:
                with mine.connection() as connection:
                    answers.append(connection.execute("SELECT 1").fetchone())
            except psycopg.OperationalError:
                return False
            return True

        eventually(answers_again)
        assert answers == [(1,)]
    finally:
        postgres.kill()
        postgres.wait(180)
        embedded._remove(tmp_path)


@pytest.fixture
def served(transactional_db):
    """The README's web server, with two processes of one thread each; the process and its port."""
    readme = Path(settings.BASE_DIR, "README.md").read_text().replace("\\\n", " ")
    command = re.search(r"^ +(granian .*)$", readme, re.M)[1].split()
    port = free_port()
    for flag, value in {"--port": port, "--workers": 2, "--blocking-threads": 1}.items():
        command[command.index(flag) + 1] = str(value)
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=settings.BASE_DIR, env=environment(PORT=str(port)),
        preexec_fn=embedded.end_with_parent, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process.port = port
    try:
        eventually(lambda: Server._answers(process))
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(180)


def children(process):
    return {*Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}


def test_the_health_check_answers_while_every_thread_waits_for_the_database(served):
    def ask():
        return Http(served.port, timeout=180).get("/", Cookie=f"sessionid={'x' * 32}").status

    def one_more_waits():
        threads.append(threading.Thread(target=ask, daemon=True))
        threads[-1].start()
        return waiting() == 2

    threads = []
    with held("LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE"):
        # Which of the two processes takes a connection is chance.
        eventually(one_more_waits)
        for _number in range(10):
            answer = Http(served.port, timeout=180).get("/healthz")
            assert (answer.status, answer.body) == (200, b"ok\n")
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(120)


def test_a_killed_web_worker_is_replaced(served):
    before = children(served)
    victim = max(before, key=int)
    os.kill(int(victim), signal.SIGKILL)
    eventually(lambda: len(children(served)) == len(before) and victim not in children(served))
    eventually(lambda: Server._answers(served))
    assert served.poll() is None
