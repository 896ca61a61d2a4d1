"""Measure the token path beside its peers, and write var/bench.json; with `large`, add how it does on more tokens.

SECONDS, RUNS, TOKENS and LARGE_TOKENS shorten it for a try.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from typing import Any

from portal.demo import embedded

from . import ending, npm, rows
from .data import LARGE_TOKENS, RESULT, ROOT, RUNS, SECONDS, TOKENS, databases, need_space, say, start_database
from .measuring import Bench
from .pgbench import PgBench, find_pgbench
from .servers import CONNECTIONS, LANE, PROCESSES, Node, Portal, Server

# The fast lane answers at least this share of programs' requests.
LANE_SHARE = 0.99


def missing() -> set[str]:
    """Name what is missing before anything starts; exit if nothing can be measured without it."""
    if not shutil.which("wrk"):
        sys.exit("Missing: wrk, which loads the servers (on Debian: apt-get install wrk).")
    lacking = set()
    if not npm.is_possible():
        lacking.add("node")
        say("Missing: node and npm (on Debian: apt-get install nodejs npm). node-oidc-provider is left out.")
    if not find_pgbench():
        lacking.add("pgbench")
        say("Missing: pgbench (on Debian: apt-get install postgresql). The upper bounds are left out.")
    return lacking


def servers() -> dict[str, Any]:
    """Return the sides of rows.py by name."""
    filled, portal = databases(), "tests.load.portal_wsgi:application"
    return {
        "portal": Portal("portal", filled["portal"], portal),
        "unlimited": Portal("portal without limits", filled["portal"], portal, {"LIMITS": "off"}),
        "unchecked": Portal("portal without checks", filled["portal"], portal, {"CHECKS": "off"}),
        "agents": Portal("portal with 20,000 agents", filled["agents"], portal, {"LIMITS": "off"}),
        "ending": Portal(
            f"portal with {filled['ending'].tokens:,} tokens of one app", filled["ending"], portal, {"LIMITS": "off"}
        ),
        "large": Portal(f"portal with {LARGE_TOKENS:,} tokens", filled["large"], portal),
        "toolkit": Server("toolkit", filled["toolkit"], "tests.load.toolkit.wsgi:application"),
        "bare": Server("bare", filled["portal"], "tests.load.bare:application"),
        "node": Node("node-oidc-provider", filled["node"], environ={"NODE_ENV": "production"}),
        "pgbench": PgBench("pgbench", filled["portal"]),
    }


def measure(bench: Bench, *, lacking: set[str]) -> None:
    """Measure what `make bench` does."""
    bench.compare([row for row in rows.BENCH if row.beside[0] not in lacking])
    if "pgbench" not in lacking:
        bench.alternate(rows.PGBENCH)
    ending.measure(bench)


def measure_large(bench: Bench) -> None:
    """Measure what `make bench-large` adds."""
    bench.compare(rows.LARGE)
    bench.ratios = {"large_vs_small": min(bench.ratios[row.name] for row in rows.LARGE)}


def fill(bench: Bench, sides: set[str]) -> None:
    for database in dict.fromkeys(server.database for side, server in bench.servers.items() if side in sides):
        database.fill()


def print_table(bench: Bench) -> None:
    """Print the medians of each side."""
    sides = dict.fromkeys((run["what"], run["server"]) for run in bench.runs)
    print(f"\n{'':20} {'':28} {'a second':>9} {'p50 ms':>8} {'p99 ms':>8}")
    for what, server in sides:
        # Of what was measured again, the last runs.
        runs = [run for run in bench.runs if (run["what"], run["server"]) == (what, server)][-RUNS:]
        if "rate" not in runs[0]:
            continue
        rate, p50, p99 = (statistics.median(run[name] for run in runs) for name in ("rate", "p50", "p99"))
        print(f"{what:20} {bench.servers[server].name:28} {rate:9,.0f} {p50:8.1f} {p99:8.1f}")
    print(json.dumps(bench.ratios, indent=1), flush=True)


def main(*, large: bool) -> None:
    lacking = missing()
    settings: dict[str, Any] = start_database()
    bench = Bench(servers())
    sides = {side[0] for row in (rows.LARGE if large else rows.BENCH) for side in (row.side, row.beside)} - lacking
    sides |= set() if large else {"ending"}
    if large:
        need_space(LARGE_TOKENS)
    if "node" in sides:
        npm.install(npm.PEER)
    fill(bench, sides)
    try:
        if large:
            measure_large(bench)
        else:
            measure(bench, lacking=lacking)
    finally:
        bench.stop()
        for side in sides:
            bench.servers[side].database.drop()
    print_table(bench)
    share = LANE["lane"] / max(1, LANE.total())
    told = {
        "tokens": LARGE_TOKENS if large else TOKENS, "seconds": SECONDS, "runs": RUNS,
        "processes": PROCESSES, "connections": CONNECTIONS, "lane_share": round(share, 4),
        "threads": {name: server.threads for name, server in bench.servers.items() if server.threads},
    }  # fmt: skip
    write(settings | told, bench, large=large)
    wrong = rows.missed(bench.ratios)
    if share < LANE_SHARE:
        wrong.append(f"The fast lane answered only {share:.1%}")
    if wrong:
        sys.exit("\n".join(wrong))


def write(settings: dict[str, Any], bench: Bench, *, large: bool) -> None:
    """Write what was measured; with `large`, add it to what `make bench` wrote. What `make bench-pages` wrote stays."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    told: dict[str, Any] = {"machine": machine, "settings": settings, "ratios": {}, "spreads": {}, "runs": []}
    before = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if large and before:
        told |= before
        told["settings"]["large"] = settings
    else:
        told |= {name: before[name] for name in ("pages", "lighthouse") if name in before}
    told["ratios"] |= bench.ratios
    told["spreads"] |= bench.spreads
    told["runs"] = [run for run in told["runs"] if bench.spreads.keys().isdisjoint(run["ratios"])] + bench.runs
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    say(f"Written to {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main(large=sys.argv[1:] == ["large"])
    except embedded.CannotStart as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed")
