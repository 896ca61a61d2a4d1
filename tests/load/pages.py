"""Measure pages with a million rows beside pages with a thousand, and those of an admin of ten thousand accounts beside
those of an admin of one. Writes `pages` of var/bench.json, and fails where a bound is not met. ROWS shortens it for a try.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import psycopg

from portal.demo import embedded

from .data import ROOT, keep, say, start_database, url_of

# Of WhiteNoise on a folder that a demo lacks.
os.environ["PYTHONWARNINGS"] = "ignore"

FEW, MANY = 1000, int(os.environ.get("ROWS", 1_000_000))
# How often each page is opened in each of two ways that take turns, and how often a ratio is measured before it counts.
RUNS, ATTEMPTS = 25, 3
MOST_RATIO, MOST_BYTES = 1.5, 200_000
# {page: (who opens it, address)}. "One" and "Many" administer one account and thousands.
PAGES = {
    "home": ("One", "/"),
    "home_of_agent": ("Axel", "/"),
    "home_of_developer": ("Dev", "/"),
    "needs": ("One", "/needs/unfinished/"),
    "needs_of_developer": ("Dev", "/needs/refusals/"),
    "marketplace": ("One", "/marketplace/"),
    "marketplace_search": ("One", "/marketplace/?q=sync"),
    "marketplace_search_rare": ("One", "/marketplace/?q=linden+9"),
    "marketplace_by_name": ("One", "/marketplace/?sort=name"),
    "marketplace_in_category": ("One", "/marketplace/?category=reporting&sort=name"),
    "marketplace_search_newest": ("One", "/marketplace/?q=sync&category=reporting&sort=newest"),
    "listing": ("One", "/marketplace/pages-1/"),
    "install": ("One", "/marketplace/pages-1/install/"),
    "installations": ("One", "/installations/?account={account}"),
    "installations_search": ("One", "/installations/?account={account}&q=sync&level=account"),
    "installations_newest": ("One", "/installations/?account={account}&sort=newest"),
    "access": ("Axel", "/authorizations/"),
    "access_search": ("Axel", "/authorizations/?q=sync&state=live&sort=name"),
    "ledger": ("One", "/ledger/"),
    "ledger_of_account": ("One", "/ledger/?chain=account:{account}"),
    "ledger_search": ("One", "/ledger/?q=sync"),
    "ledger_of_app": ("One", "/ledger/?chain=account:{account}&app=sync"),
    "ledger_of_group": ("One", "/ledger/?chain=account:{account}&event=people"),
    "ledger_of_person": ("One", "/ledger/?chain=account:{account}&event=access&who=me"),
    "overview": ("One", "/installations/overview/?account={account}"),
    "overview_of_agents": ("One", "/installations/overview/?account={account}&kind=agent"),
    "credentials": ("Dev", "/credentials/"),
    "credentials_search": ("Dev", "/credentials/?q=sync&kind=external&sort=name"),
    "credentials_by_id": ("Dev", "/credentials/?q=pages-1"),
    "apps": ("Dev", "/apps/"),
    "apps_search": ("Dev", "/apps/?q=sync&credentials=some"),
    "apps_newest": ("Dev", "/apps/?sort=newest"),
    "reviews": ("Rita", "/admin/marketplace/version/"),
}


class Portal:
    """A process that opens pages of one database."""

    def __init__(self, url):
        more = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.ask_pages"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=ROOT, env={**os.environ, **more}, preexec_fn=embedded.end_with_parent,
        )  # fmt: skip

    def open(self, who, address):
        self._process.stdin.write(f"{who} {address}\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        if told["status"] != 200:
            sys.exit(f"{address} answers {told['status']} to {who}")
        return told


def filled(rows):
    """Return the URL of a database with so many rows, which is kept until its tables or its filling change."""
    name = f"pages_{rows}"
    url = url_of(name)
    migrations = sorted(str(path) for path in ROOT.glob("*/**/migrations/0*.py"))
    made_of = (Path(__file__).with_name("fill_pages.py").read_text(), *migrations)
    mark = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
    with psycopg.connect(url_of("postgres"), autocommit=True) as database:
        kept = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        if database.execute(kept, [name]).fetchone() == (mark,):
            return url
        say(f"Filling a database with {rows} rows of everything")
        database.execute(f"DROP DATABASE IF EXISTS {name}")
        database.execute(f"CREATE DATABASE {name}")
        manage = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
        for command in (["django", "migrate", "-v0"], ["tests.load.fill_pages", str(rows)]):
            subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=manage, check=True)
        database.execute(f"COMMENT ON DATABASE {name} IS '{mark}'")
    return url


def compare(name, ways):
    """Open a page in both ways by turns; return what is to be kept of it."""
    for _attempt in range(ATTEMPTS):
        times = ([], [])
        for run in range(RUNS + 3):
            for (portal, who, address), taken in zip(ways, times, strict=True):
                told = portal.open(who, address)
                # The first ones fill caches and plans.
                if run >= 3:
                    taken.append(told)
        seconds = [statistics.median(told["seconds"] for told in taken) for taken in times]
        found = {
            "ratio": round(seconds[0] / seconds[1], 2),
            "milliseconds": [round(1000 * each, 1) for each in seconds],
            "queries": [taken[-1]["queries"] for taken in times],
            "bytes": max(told["bytes"] for taken in times for told in taken),
            "load": os.getloadavg()[0],
        }
        if found["ratio"] <= MOST_RATIO:
            break
    say(
        f"{name}: {found['ratio']} ({' ÷ '.join(map(str, found['milliseconds']))} ms, {found['queries'][0]} queries, {found['bytes']} bytes)"
    )
    return found


def problems(results):
    for name, found in results.items():
        if found["ratio"] > MOST_RATIO:
            yield f"{name}: takes {found['ratio']} times as long"
        if found["queries"][0] > found["queries"][1]:
            yield f"{name}: takes {found['queries']} queries"
        if found["bytes"] > MOST_BYTES:
            yield f"{name}: has {found['bytes']} bytes"


def main():
    start_database()
    few, many = (Portal(filled(rows)) for rows in (FEW, MANY))
    results = {}
    for name, (who, address) in PAGES.items():
        results[name] = compare(name, ((many, who, address), (few, who, address)))
        if who == "One":
            name = f"{name}_of_many_accounts"
            results[name] = compare(name, ((many, "Many", address), (many, "One", address)))
    keep(pages=results)
    if wrong := [*problems(results)]:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    try:
        main()
    except embedded.CannotStart as error:
        sys.exit(str(error))
