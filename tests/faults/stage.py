"""The real processes of a run of faults: PostgreSQL, Redis, two web processes, a worker and beat, restarted when they end."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import redis

from portal.demo import embedded, environment
from tests.clock import eventually
from tests.faults.record import Record, read
from tests.servers import Server, free_port

ROOT = Path(__file__).parents[2]
# How long an ended process stays away.
RESTART_SECONDS = 0.5
CELERY = [sys.executable, "-m", "celery", "-A", "tests.faults.celery_app"]
QUEUES = ("default", "revoke", "vendors", "mail")
WORKER = [*CELERY, "worker", "-Q", ",".join(QUEUES), "-c", "2", "-l", "warning"]


class Stage:
    """Processes on a database of their own under `folder`, whose logs are there too."""

    def __init__(self, folder, tenants, application="portal.wsgi:application"):
        self.folder, self.record = folder, Record(folder / "record.jsonl")
        self.port, self.application = free_port(), application
        # {name: (command, more of the environment)}
        self.commands, self.processes = {}, {}
        self._lock, self._is_over = threading.RLock(), threading.Event()
        self.postgres, self.database_url = embedded._start_postgres(folder)
        self.valkey, self.redis_url = embedded._start_valkey(folder)
        self.environment = {
            **os.environ, **environment._new_secrets(), "DEMO": "1", "DJANGO_SETTINGS_MODULE": "portal.settings",
            "DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "PORT": str(self.port), "EMAIL_URL": "dummymail://",
            "CHECKPOINT_FILE": str(folder / "checkpoints.jsonl"), "RECORD": str(self.record.path),
            "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        self._run("django", "migrate", "-v0")
        self.seeded = json.loads(self._run("tests.faults.seed", str(tenants)).stdout)

    def _run(self, *module, check=True):
        done = subprocess.run(
            [sys.executable, "-m", *module], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert not check or not done.returncode, done.stderr
        return done

    # --- processes ---

    def open(self):
        self.serve()
        self.start("beat", [*CELERY, "beat", "-s", str(self.folder / "beat"), "-l", "warning"])
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def start(self, name, command, **more):
        """Start a process, in the place of one of that name."""
        with self._lock:
            if before := self.processes.get(name):
                _kill_group(before)
            self.commands[name] = command, more
            with open(self.folder / f"{name}.log", "ab") as log:
                self.processes[name] = subprocess.Popen(
                    command, cwd=ROOT, env={**self.environment, **more}, preexec_fn=embedded.end_with_parent,
                    start_new_session=True, stdout=log, stderr=log,
                )  # fmt: skip

    def serve(self, application=""):
        """Start the web, and wait until it answers."""
        self.start("web", [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "2", "--blocking-threads", "8", "--respawn-failed-workers", "--no-ws", "--log-level", "warning",
            "--static-path-route", "/healthz", "--static-path-mount", str(ROOT / "portal/health"),
            "--static-path-dir-to-file", "ok", application or self.application,
        ])  # fmt: skip
        eventually(lambda: Server._answers(self))

    def end(self, name):
        """End a process for good, with its children."""
        with self._lock:
            self.commands.pop(name, None)
            if process := self.processes.pop(name, None):
                _kill_group(process)

    def kill(self, name):
        """Kill a process with its children, to be started again."""
        _kill_group(self.processes[name])

    def _watch(self):
        while not self._is_over.wait(RESTART_SECONDS):
            with self._lock:
                for name, (command, more) in list(self.commands.items()):
                    if self.processes[name].poll() is not None:
                        self.start(name, command, **more)

    def close(self):
        self._is_over.set()
        with self._lock:
            for name in list(self.processes):
                self.end(name)
        for server in (self.postgres, self.valkey):
            for pid in (server.pid, *children(server.pid)):
                _signal(pid, signal.SIGCONT)
            server.kill()
            server.wait(60)

    # --- servers ---

    def restart_postgres(self):
        self.postgres, _url = embedded._start_postgres(self.folder, self.database_url)

    def restart_valkey(self):
        self.valkey, _url = embedded._start_valkey(self.folder, self.redis_url)

    # --- what there is to see ---

    def hold(self, seconds):
        """Let a fault last."""
        self._is_over.wait(seconds)

    def ask(self, sql, *values):
        """Return the rows of a query, as soon as there is a connection."""
        rows = []

        def is_answered():
            with suppress(psycopg.OperationalError), psycopg.connect(self.database_url, autocommit=True) as database:
                rows.append(database.execute(sql, values or None).fetchall())
            return rows

        eventually(is_answered)
        return rows[0]

    def tasks(self, name, since):
        """Return the runs of a task that began after `since`."""
        lines = read(self.record.path, "task")
        return [line for line in lines if line["task"] == name and line["begun"] > since]

    def queued(self):
        """Count the messages that wait for a worker."""
        with redis.Redis.from_url(self.redis_url) as broker:
            return sum(broker.llen(queue) for queue in QUEUES)

    def verify_ledger(self):
        done = self._run("django", "verify_ledger", check=False)
        return done.returncode, done.stdout + done.stderr


def children(pid):
    """Return the ids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def signal_all(process, number):
    """Send a signal to a process and its children, which may be in groups of their own."""
    for pid in (process.pid, *children(process.pid)):
        _signal(pid, number)


def _signal(pid, number):
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill_group(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
