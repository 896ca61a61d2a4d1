"""The servers that are measured, each of two processes, and wrk, which loads them."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from portal.demo import embedded
from tests.servers import free_port

from .data import FOLDER, ROOT, Database

PROCESSES, CONNECTIONS = 2, 16
# An answer that takes longer is an error.
LATEST_SECONDS = 15
# Requests that can be sent once. The others are drawn at random.
ONCE = {"refresh", "code", "one_account", "many_accounts"}
READS = {"check", "introspect", "select", "sandbox"}
# How many requests of programs the fast lane answered, and how many Django.
LANE: Counter[str] = Counter()
LOG = FOLDER / "servers.log"
_HERE = Path(__file__).parent


@dataclass(eq=False)
class Server:
    """A WSGI application, served as the README serves the portal in production."""

    name: str
    database: Database
    module: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    # In each process; chosen by a trial.
    threads: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self, threads: int) -> "Server":
        self.stop()
        self.threads, self.port = threads, free_port()
        more = {"DATABASE_URL": self.database.url, "PORT": str(self.port), **self.environ}
        with LOG.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), cwd=ROOT, env={**os.environ, **more}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=embedded.end_with_parent,
            )  # fmt: skip
        while not self._answers():
            if self.process.poll() is not None:
                sys.exit(f"{self.name} did not start: see {LOG.relative_to(ROOT)}")
            time.sleep(0.1)
        return self

    def _command(self) -> list[str]:
        return [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", str(PROCESSES), "--blocking-threads", str(self.threads), "--no-ws", "--log-level", "warning", self.module,
        ]  # fmt: skip

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
                return True
        except URLError as error:
            # An answer of whatever status.
            return hasattr(error, "code")
        except OSError:
            return False

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def load(self, what: str, seconds: int, *, pause: float = 0) -> dict[str, float]:
        """Send requests of one kind; return {"rate", "p50", "p99"} in requests per second and milliseconds.

        After each answer a connection waits for `pause` milliseconds.

        Exits if any answer has a status other than 2xx or 3xx.
        """
        file, sent = self.database.requests(what), self.database.sent
        first = sent.get(what, 0) + 1 if what in ONCE else 0
        self.database.is_fresh &= what in READS
        done = subprocess.run(
            ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", f"{LATEST_SECONDS}s", "--latency",
             "-s", _HERE / "load.lua",
             f"http://127.0.0.1:{self.port}", "--", file, str(first), str(time.time_ns() % 2**31), f"{pause:.0f}"],
            capture_output=True, text=True,
        )  # fmt: skip
        if wrong := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", done.stdout):
            sys.exit(f"{self.name} {what}: {wrong[0]}: see {LOG.relative_to(ROOT)}")
        if done.returncode or "requests in" not in done.stdout or "all were sent" in done.stderr:
            sys.exit(f"{self.name} {what}: {done.stderr.strip() or done.stdout}. Is TOKENS too low for this machine?")
        if what in ONCE:
            # wrk asks for one request per connection that it does not count.
            sent[what] = first - 1 + int(_found(r"(\d+) requests in", done.stdout)[0]) + 2 * CONNECTIONS
        found = {"rate": float(_found(r"Requests/sec: +([\d.]+)", done.stdout)[0])}
        for name in ("50", "99"):
            number, unit = _found(rf"{name}% +([\d.]+)(us|ms|s)", done.stdout)
            found[f"p{name}"] = float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
        return found


class Portal(Server):
    """The portal, which tells which of programs' requests its fast lane answered."""

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            LANE.update(self._counts())
        super().stop()

    def _counts(self) -> Counter[str]:
        # Each process tells of itself; all are asked sooner or later.
        told: dict[int, Counter[str]] = {}
        for _ask in range(200):
            with urlopen(f"http://127.0.0.1:{self.port}/bench/lane", timeout=10) as answer:
                counts = Counter(json.load(answer))
            told[counts.pop("process")] = counts
            if len(told) == PROCESSES:
                break
        return sum(told.values(), Counter())


class Node(Server):
    """A cluster; its threads are the connections to PostgreSQL that each process keeps."""

    def _command(self) -> list[str]:
        return ["node", "tests/load/node/server.js", str(self.port), str(PROCESSES), str(self.threads)]


def _found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    assert match, text
    return match.groups()
