"""Measure the token path beside its peers, and write var/bench.json. SECONDS, RUNS and TOKENS shorten it for a try."""

import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psycopg

from portal.demo import embedded, environment
from tests.servers import free_port

# Of granian on its number of threads, and of WhiteNoise on a folder that a demo lacks.
os.environ["PYTHONWARNINGS"] = "ignore"

ROOT = Path(__file__).parents[2]
FOLDER, RESULT = ROOT / "var/bench", ROOT / "var/bench.json"
SECONDS, RUNS, TOKENS = (
    int(os.environ.get(name, usual)) for name, usual in (("SECONDS", 10), ("RUNS", 5), ("TOKENS", 200_000))
)
CONNECTIONS = 16
# A ratio whose runs differ by more is measured again.
SPREAD = 0.2
# {ratio: (what, whose, by whom), …}: the requests per second of the first divided by those of the second.
RATIOS = {
    "refresh_vs_toolkit_fast": (("portal", "refresh"), ("toolkit", "refresh")),
    "client_credentials_vs_toolkit_fast": (("portal", "client_credentials"), ("toolkit", "client_credentials")),
    "code_vs_toolkit_fast": (("portal", "code"), ("toolkit", "code")),
    "introspect_vs_toolkit_fast": (("portal", "introspect"), ("toolkit", "introspect")),
    "check_vs_bare_select": (("portal", "check"), ("bare", "select")),
    "limits_on_vs_off": (("portal", "client_credentials"), ("unlimited", "client_credentials")),
}
# Requests that can be sent once. The others are drawn at random.
ONCE = {"refresh", "code"}


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        sys.exit(
            f"Missing: {', '.join(missing)}. Install what has them (on Debian: apt-get install {' '.join(missing)})."
        )


@dataclass
class Server:
    """Two processes of a peer, with as many threads as serve it best."""

    name: str
    module: str
    files: str
    environ: dict = field(default_factory=dict)
    threads: int = 0
    process: subprocess.Popen | None = None

    def start(self, threads):
        self.stop()
        self.threads, self.port = threads, free_port()
        self.process = subprocess.Popen(
            [
                ROOT / ".venv/bin/granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
                "--workers", "2", "--blocking-threads", str(threads), "--no-ws", "--log-level", "warning", self.module,
            ],
            cwd=ROOT, env={**os.environ, "PORT": str(self.port), **self.environ}, start_new_session=True,
        )  # fmt: skip
        while not self._answers():
            if self.process.poll() is not None:
                sys.exit(f"{self.name} did not start")
            time.sleep(0.1)
        return self

    def _answers(self):
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
                return True
        except URLError as error:
            # An answer of whatever status.
            return hasattr(error, "code")
        except OSError:
            return False

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def load(self, what, seconds):
        """Send requests of one kind; return {"rate", "p50", "p99"} in requests per second and milliseconds."""
        file = FOLDER / f"{self.files}-{what}.txt"
        first = _next_line(file) if what in ONCE else 0
        done = subprocess.run(
            ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--latency", "-s", Path(__file__).parent / "load.lua",
             f"http://127.0.0.1:{self.port}", "--", file, str(first), str(time.time_ns() % 2**31)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        if wrong := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", done):
            sys.exit(f"{self.name} {what}: {wrong[0]}")
        if what in ONCE:
            # wrk asks for one request per connection that it does not count.
            (file.with_suffix(".next")).write_text(
                str(first + int(re.search(r"(\d+) requests in", done)[1]) + 2 * CONNECTIONS)
            )
        found = {"rate": float(re.search(r"Requests/sec: +([\d.]+)", done)[1])}
        for name in ("50", "99"):
            number, unit = re.search(rf"{name}% +([\d.]+)(us|ms|s)", done).groups()
            found[f"p{name}"] = float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
        return found


def _next_line(file):
    with contextlib.suppress(FileNotFoundError):
        return int(file.with_suffix(".next").read_text())
    return 1


def start_database():
    """Start PostgreSQL and Redis on data kept under var/bench/, and return PostgreSQL's settings that decide."""
    os.environ["DEMO"], os.environ["TRUSTED_PROXIES"] = "1", "1"
    FOLDER.mkdir(parents=True, exist_ok=True)
    environment._add(environment._kept_secrets(FOLDER))
    environment.add_servers(FOLDER)
    os.environ["TOOLKIT_DATABASE_URL"] = re.sub(r"/[^/]*$", "/toolkit", os.environ["DATABASE_URL"])
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        told = {
            name: database.execute(f"SHOW {name}").fetchone()[0]
            for name in ("fsync", "synchronous_commit", "server_version")
        }
        if not database.execute("SELECT 1 FROM pg_database WHERE datname = 'toolkit'").fetchone():
            database.execute("CREATE DATABASE toolkit")
    if (told["fsync"], told["synchronous_commit"]) != ("on", "on"):
        sys.exit(f"PostgreSQL must write durably: {told}")
    return told


def fill():
    """Make what is sent, unless it is there from before and enough of it is left."""
    for name, settings in (("portal", "portal.settings"), ("toolkit", "tests.load.toolkit.settings")):
        if _lasts(name, {"portal": 2000, "toolkit": 500}[name] * (RUNS + 2) * SECONDS):
            continue
        say(f"Filling the database of {name} with {TOKENS} tokens")
        manage = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
        _empty(os.environ["DATABASE_URL" if name == "portal" else "TOOLKIT_DATABASE_URL"])
        for command in (["django", "migrate", "-v0"], [f"tests.load.fill_{name}", str(TOKENS), str(FOLDER)]):
            subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=manage, check=True)
        for kind in ONCE:
            (FOLDER / f"{name}-{kind}.next").unlink(missing_ok=True)


def _lasts(name, requests):
    """Tell whether enough is left to send, and lives for hours still: it does for a day."""
    for kind in ONCE:
        file = FOLDER / f"{name}-{kind}.txt"
        if not file.exists() or time.time() - file.stat().st_mtime > 20 * 3600:
            return False
        with file.open() as lines:
            if sum(1 for _line in lines) < _next_line(file) + requests:
                return False
    return True


def _empty(url):
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("DROP SCHEMA public CASCADE")
        database.execute("CREATE SCHEMA public")


def tune(server, what):
    """Start a server with the number of threads that serves it best."""
    rates = {}
    for threads in (1, 2, 8):
        server.start(threads).load(what, 1)
        rates[threads] = server.load(what, 2)["rate"]
    best = max(rates, key=rates.get)
    say(
        f"{server.name}: {best} threads a process ({', '.join(f'{count}: {rate:.0f}/s' for count, rate in rates.items())})"
    )
    server.start(best)
    server.load(what, 2)


def compare(name, servers, runs):
    """Alternate both sides, and return the ratio of their medians; again if the runs differ too much."""
    sides = RATIOS[name]
    for attempt in range(2):
        rates = ([], [])
        for _run in range(RUNS):
            for (server, what), found in zip(sides, rates, strict=True):
                measured = servers[server].load(what, SECONDS)
                runs.append({"ratio": name, "server": server, "what": what, "load": os.getloadavg()[0], **measured})
                found.append(measured["rate"])
        medians = [statistics.median(each) for each in rates]
        spread = max((max(each) - min(each)) / median for each, median in zip(rates, medians, strict=True))
        ratio = medians[0] / medians[1]
        say(f"{name}: {ratio:.2f} ({medians[0]:.0f}/s ÷ {medians[1]:.0f}/s, spread {spread:.0%})")
        if spread <= SPREAD or attempt:
            return round(ratio, 3)
        say("The runs differ too much; measuring again")
    raise AssertionError


def share_of_lane(server):
    counts = {"lane": 0, "django": 0}
    # Both processes answer sooner or later; each tells of itself.
    seen = {}
    for _ask in range(40):
        with urlopen(f"http://127.0.0.1:{server.port}/bench/lane", timeout=10) as answer:
            told = json.load(answer)
            seen[told["lane"]] = told
    for told in seen.values():
        counts = {key: counts[key] + told[key] for key in counts}
    return counts["lane"] / max(1, sum(counts.values()))


def main():
    need("wrk")
    settings = start_database()
    fill()
    lane = "tests.load.portal_wsgi:application"
    servers = {
        "portal": Server("portal", lane, "portal"),
        "unlimited": Server("portal without limits", lane, "portal", {"LIMITS": "off"}),
        "toolkit": Server("toolkit", "tests.load.toolkit.wsgi:application", "toolkit"),
        "bare": Server("bare", "tests.load.bare:application", "portal"),
    }
    runs, ratios = [], {}
    try:
        for name, what in (
            ("portal", "refresh"),
            ("unlimited", "client_credentials"),
            ("toolkit", "refresh"),
            ("bare", "select"),
        ):
            tune(servers[name], what)
        for name in RATIOS:
            ratios[name] = compare(name, servers, runs)
        share = share_of_lane(servers["portal"])
    finally:
        for server in servers.values():
            server.stop()
    if share < 0.99:
        sys.exit(f"The fast lane answered only {share:.1%}")
    settings |= {
        "tokens": TOKENS, "seconds": SECONDS, "runs": RUNS, "processes": 2, "connections": CONNECTIONS, "lane_share": round(share, 4),
        "threads": {name: server.threads for name, server in servers.items()},
    }  # fmt: skip
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    RESULT.write_text(
        json.dumps({"machine": machine, "settings": settings, "ratios": ratios, "runs": runs}, indent=1) + "\n"
    )
    say(f"Written to {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main()
    except embedded.CannotStart as error:
        sys.exit(str(error))
