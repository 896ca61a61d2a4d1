"""Real server processes on the test database, and a plain HTTP client for them."""

import base64
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPMessage
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection

from portal.demo import embedded
from tests.clock import eventually


def free_port(*, beside=()):
    """Return a free port, with the ports at the distances `beside` free too, below the range of clients' ports."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for number in (port, *(port + far for far in beside)):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port


def environment(**more):
    """Return the environment for a process on this test's database and Redis."""
    own = {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DATABASE_URL": os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
    }
    return {**os.environ, **own, **more}


def start_worker(level="warning", log=subprocess.DEVNULL, pool=("-P", "solo"), **more):
    """A Celery worker."""
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "portal", "worker", "-Q", "default,revoke,vendors,mail", *pool, "-l", level],
        env=environment(**more), cwd=settings.BASE_DIR, preexec_fn=embedded.end_with_parent, stdout=log, stderr=log,
    )  # fmt: skip


class Server:
    """One granian process group: a supervisor and its worker."""

    def __init__(self, application="portal.wsgi:application", *flags, threads=8, log=subprocess.DEVNULL, **more):
        self.port = free_port()
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
                "--workers", "1", "--blocking-threads", str(threads), "--no-ws", "--log-level", "warning",
                "--static-path-route", "/healthz", "--static-path-mount", str(settings.BASE_DIR / "portal/health"),
                "--static-path-dir-to-file", "ok",
                *flags, application,
            ],
            env=environment(PORT=str(self.port), **more), cwd=settings.BASE_DIR, preexec_fn=embedded.end_with_parent,
            start_new_session=True, stdout=log, stderr=log,
        )  # fmt: skip

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def wait(self):
        eventually(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, "the server ended by itself"
        return self

    def _answers(self):
        with contextlib.suppress(OSError, HTTPException):
            return Http(self.port, timeout=15).get("/readyz").status == 200

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait(180)


@dataclass
class Answer:
    status: int
    headers: HTTPMessage = field(repr=False)
    body: bytes

    def json(self):
        return json.loads(self.body)


class Http:
    """One connection to a server, kept alive; not to be shared by threads."""

    def __init__(self, port, timeout=180):
        self.connection = HTTPConnection("127.0.0.1", port, timeout=timeout)

    def request(self, method, path, body=None, **headers):
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def post(self, path, form, auth=None):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if auth:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        return self.request("POST", path, urlencode(form), **headers)

    def call(self, access_token, path="/sandbox/api/v2/tickets"):
        return self.get(path, Authorization=f"Bearer {access_token}")


def together(*acts):
    """Run functions simultaneously, each in a thread with its own connection; return what each returned or raised."""
    start, results = threading.Barrier(len(acts)), [None] * len(acts)

    def run(number, act):
        try:
            start.wait(180)
            results[number] = act()
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive(), "a thread hangs"
    return results
