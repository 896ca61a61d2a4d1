import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from portal.demo import embedded, vendors

STOP_SECONDS = 15
# A process that ends more often than this within this many seconds is not restarted.
MOST_ENDS, ENDS_WITHIN = 5, 60


class Command(BaseCommand):
    help = (
        "Run the demo: web server, Celery worker and beat, on the servers that manage.py started. "
        "Restarts whatever ends by itself; Ctrl-C stops it all."
    )

    is_interrupted = False

    def handle(self, **options: Any) -> None:
        owner = embedded.owner(settings.VAR)
        if owner not in (None, os.getpid()):
            raise CommandError(
                f"Process {owner} runs this checkout's servers already. Stop it first, or use its portal."
            )
        names = vendors.VENDORS if settings.EGRESS_ALLOW_LOOPBACK else ()
        for port in (settings.PORT, *map(vendors.port, names)):
            self._check_free(port)
        # A shell that starts this in the background leaves SIGINT ignored.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        os.environ["PORT"] = str(settings.PORT)
        call_command("migrate", verbosity=0)
        call_command("seed_demo", json=True, stdout=(seeded := io.StringIO()))
        # The children are forked from here, which threads of a connection pool do not survive.
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]
        python = [sys.executable, "-W", "ignore:You're running the worker with superuser privileges", "-m"]
        commands = {
            "web": [
                *python, "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(settings.PORT),
                "--workers", "2", "--blocking-threads", "4", "--respawn-failed-workers", "--no-ws", "--log-level", "warning",
                # Answered without a thread, so also while all of them wait for the database.
                "--static-path-route", settings.HEALTH_PATH, "--static-path-mount", str(settings.BASE_DIR / "portal/health"),
                "--static-path-dir-to-file", "ok",
                # A worker does not hear that it is to stop while it starts.
                "--workers-kill-timeout", "3", ":".join(settings.WSGI_APPLICATION.rsplit(".", 1)),
            ],
            "worker": [*python, "celery", "-q", "-A", "portal", "worker", "-Q", "default,revoke,vendors,mail", "-c", "2", "-l", "warning"],
            "beat": [*python, "celery", "-q", "-A", "portal", "beat", "-s", str(settings.VAR / "celerybeat"), "-l", "warning"],
            **{f"vendor {name}": vendors.command(name) for name in names},
        }  # fmt: skip
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        try:
            # The web first: it is what a person waits for.
            for name, command in commands.items():
                self._start(name, command)
                if name == "web":
                    self._wait_until_served(self.children[name])
            self._print(json.loads(seeded.getvalue()))
            self._watch(commands)
        except KeyboardInterrupt:
            self.stdout.write("\nStopping.")
        finally:
            self._stop()

    def _interrupt(self, *_signal: Any) -> None:
        # Where this is raised in a callback of the garbage collector, Python drops it.
        self.is_interrupted = True
        raise KeyboardInterrupt

    def _start(self, name: str, command: Any) -> None:
        self.children[name] = subprocess.Popen(
            command, cwd=settings.BASE_DIR, preexec_fn=embedded.end_with_parent, start_new_session=True
        )

    def _watch(self, commands: Any) -> None:
        """Restart what dies, until something dies over and over. Raises CommandError."""
        ends: defaultdict[str, list[float]] = defaultdict(list)
        while True:
            if self.is_interrupted:
                raise KeyboardInterrupt
            time.sleep(0.3)
            try:
                ended = embedded.restart_dead()
            except embedded.CannotStart as error:
                raise CommandError(f"{error} Stopped the rest.") from error
            for name, child in self.children.items():
                if child.poll() is not None:
                    ended.append(name)
                    self._kill_group(child)
            for name in ended:
                now = time.monotonic()
                ends[name] = [end for end in ends[name] if now - end < ENDS_WITHIN] + [now]
                if len(ends[name]) > MOST_ENDS:
                    raise CommandError(f"{name} ended {len(ends[name])} times within a minute. Stopped the rest.")
                if name in commands:
                    self._start(name, commands[name])
                self.stderr.write(f"{name} ended by itself. Restarted it.")

    def _check_free(self, port: int) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise CommandError(f"Port {port} is taken. Choose others: make run PORT=8001") from None

    def _wait_until_served(self, web: Any) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and web.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", settings.PORT), timeout=1):
                return
            time.sleep(0.05)

    def _stop(self) -> None:
        for child in self.children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            self._kill_group(child)

    def _kill_group(self, child: Any) -> None:
        """Kill what an ended process left behind: its own children would keep the port and the tasks."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    def _print(self, demo: Any) -> None:
        self.stdout.write(
            f"\nThe portal is at {settings.BASE_URL}/ (mail at {settings.BASE_URL}/dev/mail/)\n\nSign in as:"
        )
        for person in demo["people"]:
            self.stdout.write(f"  {person['email']:28} {person['password']:22} {', '.join(person['roles'])}")
        fresh = [client for client in demo["clients"] if client["client_secret"]]
        for client in fresh:
            self.stdout.write(
                f"\n{client['name']}: {client['client_id']}\n  secret, shown this once: {client['client_secret']}"
            )
        self.stdout.write("\nCtrl-C stops it.")
        # Where the output goes to a file, it would wait there.
        self.stdout.flush()
