"""The table of faults: what is done to the processes while the load goes on."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psycopg

from tests.clock import eventually
from tests.faults.record import read
from tests.faults.stage import WORKER, children, signal_all
from tests.faults.tasks import PLACES

DIES_IN_EACH = {"DIES_IN_EACH": "1"}


@dataclass
class Fault:
    """A row: `inflict(stage, seconds)` does the harm, keeps it up, and heals what does not heal by itself."""

    name: str
    inflict: Callable
    # Whoever was answering may be killed, so that a connection may end without an answer.
    cuts: bool = False
    # A program without which this cannot be done.
    needs: str = ""
    # The environment of the first worker, where this is the first row.
    worker: dict = field(default_factory=dict)

    @property
    def is_possible(self):
        return not self.needs or shutil.which(self.needs) is not None


def nothing(stage, seconds):
    stage.hold(seconds)


def web_killed(stage, seconds):
    before = children(stage.processes["web"].pid)
    # The oldest child is a helper of Python's.
    victim = max(before)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in (now := children(stage.processes["web"].pid)) and len(now) == len(before))
    stage.hold(seconds)


def workers_killed(stage, seconds):
    """In each place of each task; in a short run, of the one that each uninstallation queues."""
    if stage.commands["worker"][1] != DIES_IN_EACH:
        stage.start("worker", WORKER, **DIES_IN_EACH)
    tasks = PLACES if seconds >= 10 else ["consent.tasks.revoke_tokens"]
    places = {(task, where) for task in tasks for where in PLACES[task]}
    eventually(lambda: places <= {(line["task"], line["where"]) for line in read(stage.record.path, "died")}, 900)
    stage.start("worker", WORKER)
    # Beat went on sending sweeps, far more often than in production, and each queues again what waits.
    eventually(lambda: stage.queued() < 20, 300)


def beat_killed(stage, seconds):
    stage.kill("beat")
    stage.hold(seconds)


def postgres_restarted(stage, seconds, how=signal.SIGINT):
    stage.postgres.send_signal(how)
    stage.postgres.wait(60)
    stage.restart_postgres()
    stage.hold(seconds)


def postgres_killed(stage, seconds):
    postgres_restarted(stage, seconds, signal.SIGKILL)


def postgres_away(stage, seconds):
    stage.postgres.send_signal(signal.SIGINT)
    stage.postgres.wait(60)
    stage.hold(seconds)
    stage.restart_postgres()


def postgres_hangs(stage, seconds):
    _hang(stage, stage.postgres, seconds)


def _hang(stage, process, seconds):
    signal_all(process, signal.SIGSTOP)
    try:
        stage.hold(seconds)
    finally:
        signal_all(process, signal.SIGCONT)


def redis_stopped(stage, seconds):
    stage.valkey.send_signal(signal.SIGTERM)
    stage.valkey.wait(60)
    stage.hold(seconds)
    stage.restart_valkey()


def redis_restarted(stage, seconds):
    stage.valkey.kill()
    stage.valkey.wait(60)
    stage.restart_valkey()
    stage.hold(seconds)


def redis_hangs(stage, seconds):
    _hang(stage, stage.valkey, seconds)


def pool_filled(stage, seconds):
    """Serve with fewer connections than threads, and have whoever gets one wait, since nearly all requests read tokens."""
    stage.serve("tests.faults.small_pool_wsgi:application")
    # Until there are tokens to ask about, and after it until whoever waited is answered.
    stage.hold(5)
    with psycopg.connect(stage.database_url) as database:
        database.execute("LOCK TABLE consent_accesstoken IN ACCESS EXCLUSIVE MODE")
        stage.hold(seconds)
    stage.hold(5)
    stage.serve()


def no_connection_left(stage, seconds):
    """Take all connections that PostgreSQL has, the portal's too."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> ALL(%s)"
    until = time.monotonic() + seconds
    with ExitStack() as taken:
        ours = []
        while time.monotonic() < until:
            with suppress(psycopg.OperationalError):
                while True:
                    ours.append(taken.enter_context(psycopg.connect(stage.database_url, autocommit=True)))
            ours[0].execute(end, [[each.info.backend_pid for each in ours]])


def delivered_twice(stage, seconds):
    stage.start("worker", WORKER, TWICE="1")
    stage.hold(seconds)
    stage.start("worker", WORKER)


def clocks_off(stage, seconds):
    """One worker's clock is five minutes ahead, another's five behind."""
    clocks = {"worker": "+5m", "other worker": "-5m"}
    since = time.monotonic()
    for name, off in clocks.items():
        # What is written into the record is of the true monotonic clock.
        stage.start(name, ["faketime", "--exclude-monotonic", "-f", off, *WORKER, "-n", f"{name.replace(' ', '-')}@%h"])
    stage.hold(seconds)
    # Until both have worked.
    eventually(lambda: len(stage.tasks("consent.tasks.sweep", since)) >= 3)
    stage.end("other worker")
    stage.start("worker", WORKER)


FAULTS = [
    Fault("worker killed in each task", workers_killed, worker=DIES_IN_EACH),
    Fault("none", nothing),
    Fault("web process killed", web_killed, cuts=True),
    Fault("beat killed", beat_killed),
    Fault("PostgreSQL restarted", postgres_restarted),
    Fault("PostgreSQL killed", postgres_killed),
    Fault("PostgreSQL away", postgres_away),
    Fault("PostgreSQL hangs", postgres_hangs),
    Fault("Redis stopped", redis_stopped),
    Fault("Redis restarted", redis_restarted),
    Fault("Redis hangs", redis_hangs),
    Fault("connection pool filled", pool_filled, cuts=True),
    Fault("no connection left", no_connection_left),
    Fault("messages delivered twice", delivered_twice),
    Fault("workers' clocks five minutes off", clocks_off, needs="faketime"),
]
