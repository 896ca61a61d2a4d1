"""Measure how fast an uninstall ends all access, and what erasing takes and costs the requests meanwhile."""

import http.client
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

import httpx

from .data import FOLDER, ROOT, RUNS, SECONDS, Database, say
from .measuring import Bench
from .servers import CONNECTIONS, LOG, Server

# One, so that checks and the uninstall do not wait for a processor.
CHECKERS = 1
# While erasing goes on, refreshes are sent for so long at half of what the portal can do.
STEADY_SECONDS = 3 * SECONDS


def measure(bench: Bench) -> None:
    server = bench.servers["ending"]
    assert isinstance(server, Server)
    bench.ratios["uninstall_1m_seconds"] = uninstall(bench, server)
    bench.ratios["erase_vs_delete"] = erase(bench, server.database)
    bench.ratios["p99_during_erase_vs_quiet"] = erase_under_load(bench, server)


def uninstall(bench: Bench, server: Server) -> float:
    """Return the seconds from sending the POST until the start of the last check that was accepted: the worst of three."""
    worst = 0.0
    for _run in range(3):
        server.database.restore()
        server.start(8)
        try:
            seconds = _uninstall(server)
        finally:
            server.stop()
        bench.runs.append(
            {"ratios": ["uninstall_1m_seconds"], "server": "ending", "what": "uninstall", "seconds": seconds}
        )
        worst = max(worst, seconds)
    say(f"uninstall_1m_seconds: {worst:.3f}")
    return round(worst, 3)


def _uninstall(server: Server) -> float:
    admin = json.loads((FOLDER / f"{server.database.name}-admin.json").read_text())
    server.database.is_fresh = False
    address = f"http://127.0.0.1:{server.port}{admin['path']}"
    with httpx.Client(cookies={"sessionid": admin["sessionid"]}, timeout=60) as browser, Checks(server) as checks:
        form = dict(re.findall(r'name="(csrfmiddlewaretoken|once)" value="([^"]+)"', browser.get(address).text))
        checks.accepted.clear()
        _wait_for(lambda: len(checks.accepted) > 200)
        sent = time.monotonic()
        done = browser.post(address, data=form, headers={"Referer": address})
        if done.status_code != 302:
            sys.exit(f"Uninstalling was answered with {done.status_code}")
        refused = checks.refused
        _wait_for(lambda: checks.refused > refused + 1000)
    return max(0.0, max(checks.accepted) - sent)


def _wait_for(happened: Any) -> None:
    begun = time.monotonic()
    while not happened():
        if time.monotonic() - begun > 60:
            sys.exit(f"The checks did not go on: see {LOG.relative_to(ROOT)}")
        time.sleep(0.01)


class Checks:
    """Checks of tokens drawn in turn, sent as fast as they are answered, until the block ends."""

    def __init__(self, server: Server) -> None:
        # When each accepted check was begun.
        self.accepted: list[float] = []
        self.refused, self.ended = 0, threading.Event()
        lines = server.database.requests("check").read_text().splitlines()
        self.threads = [
            threading.Thread(target=self._send, args=(server.port, lines[number::CHECKERS]))
            for number in range(CHECKERS)
        ]

    def _send(self, port: int, lines: list[str]) -> None:
        to_portal = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for line in itertools.cycle(lines):
            authorization, method, path, _form = line.split("\t")
            headers = {
                "Authorization": authorization,
                "X-Original-Method": "GET",
                "X-Original-URI": "/api/v2/tickets/1",
            }
            begun = time.monotonic()
            to_portal.request(method, path, headers=headers)
            answer = to_portal.getresponse()
            answer.read()
            if answer.status == 200:
                self.accepted.append(begun)
            elif answer.status == 401:
                self.refused += 1
            else:
                sys.exit(f"A check was answered with {answer.status}")
            if self.ended.is_set():
                return

    def __enter__(self) -> "Checks":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def erase(bench: Bench, database: Database) -> float:
    """Return the rows a second that Celery's task erases, divided by those of one DELETE: the worse of expired and revoked."""
    ratios = []
    for how in ("expired", "revoked"):
        rates: dict[str, list[float]] = {"plain": [], "erase": []}
        for way in list(rates) * min(RUNS, 3):
            database.restore()
            told = json.loads(_erasing(database, way, how).communicate()[0].splitlines()[-1])
            rates[way].append(told["rows"] / told["seconds"])
            bench.runs.append({"ratios": ["erase_vs_delete"], "server": "ending", "what": f"{way} {how}", **told})
        plain, erased = (statistics.median(rates[way]) for way in ("plain", "erase"))
        say(f"erase_vs_delete, {how}: {erased / plain:.2f} ({erased:,.0f}/s ÷ {plain:,.0f}/s)")
        ratios.append(erased / plain)
    return round(min(ratios), 3)


def _erasing(database: Database, way: str, how: str) -> subprocess.Popen[str]:
    database.is_fresh = False
    more = {"DATABASE_URL": database.url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    command = [sys.executable, "-m", "tests.load.erasing", way, how]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True)


def erase_under_load(bench: Bench, server: Server) -> float:
    """Return the p99 of refreshes at half of the portal's best rate while tokens are erased, divided by that without."""
    found: dict[str, list[float]] = {"quiet": [], "erasing": []}
    most = 0.0
    # Erasing stops at a row that a refresh has locked, until the next run of its task; then it is measured again.
    for _run in range(2 * min(RUNS, 3)):
        if len(found["erasing"]) == min(RUNS, 3):
            break
        server.database.restore()
        server.start(8)
        try:
            server.load("refresh", min(3, SECONDS))
            most = most or server.load("refresh", SECONDS)["rate"]
            pause = 1000 * CONNECTIONS / (most / 2)
            quiet = _steady(bench, server, "quiet", pause)
            erasing = _erasing(server.database, "erase", "expired")
            assert erasing.stdout
            erasing.stdout.readline()
            during = _steady(bench, server, "erasing", pause)
            if erasing.poll() is None:
                found["quiet"].append(quiet)
                found["erasing"].append(during)
            else:
                say(f"Erasing ended before the requests ({erasing.stdout.read().strip()}): again")
            erasing.kill()
            erasing.communicate()
        finally:
            server.stop()
    if not found["erasing"]:
        sys.exit("Erasing always ended before the requests. Is TOKENS too low for this machine?")
    quiet, during = (statistics.median(found[when]) for when in found)
    say(f"p99_during_erase_vs_quiet: {during / quiet:.2f} ({during:.1f} ms ÷ {quiet:.1f} ms, half of {most:.0f}/s)")
    return round(during / quiet, 3)


def _steady(bench: Bench, server: Server, when: str, pause: float) -> float:
    measured = server.load("refresh", STEADY_SECONDS, pause=pause)
    what = {"ratios": ["p99_during_erase_vs_quiet"], "server": "ending", "what": f"refresh, {when}"}
    bench.runs.append({**what, "load": os.getloadavg()[0], **measured})
    return measured["p99"]
