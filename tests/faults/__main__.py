"""`make faults`: run every fault under load, write var/faults.json, print a table, and exit 1 if any answer was wrong."""

import argparse
import json
import os
import shutil
import sys
import time
import warnings
from pathlib import Path

import django

from portal.demo import embedded, environment

ROOT = Path(__file__).parents[2]
VAR = ROOT / "var"
RESULT, FOLDER = VAR / "faults.json", VAR / f"faults-{os.getpid()}"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def options():
    asked = argparse.ArgumentParser(prog="make faults F=…", description=__doc__)
    asked.add_argument("--only", action="append", metavar="FAULT", help="inflict this one only; may be repeated")
    asked.add_argument(
        "--without", action="append", default=[], metavar="PROGRAM", help="leave out the faults that need it"
    )
    asked.add_argument("--seconds", type=float, default=10, help="how long each fault lasts")
    return asked.parse_args()


def choose(asked, faults):
    """Return the faults to inflict and {name: why} of those left out. Exits where one cannot be inflicted."""
    known = {fault.name for fault in faults}
    if asked.only and not {*asked.only} <= known:
        sys.exit(f"No such fault. There are: {', '.join(known)}")
    chosen = [fault for fault in faults if not asked.only or fault.name in asked.only]
    left_out = {
        fault.name: f"--without {fault.needs}" for fault in chosen if fault.needs and fault.needs in asked.without
    }
    chosen = [fault for fault in chosen if fault.name not in left_out]
    if missing := sorted({fault.needs for fault in chosen if not fault.is_possible}):
        named = " ".join(missing)
        sys.exit(f"Missing: {named}. Install it (on Debian: apt-get install {named}), or pass --without {named}.")
    return chosen, left_out


def main():
    asked = options()
    # The client's side of the load uses helpers that import models; it never asks this process's database.
    os.environ.update(environment._new_secrets() | {"DEMO": "1", "DJANGO_SETTINGS_MODULE": "portal.settings"})
    os.environ.update({"DATABASE_URL": "postgres://none@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"})
    django.setup()
    # Authlib warns of itself whatever the filters say.
    with warnings.catch_warnings(record=True):
        from tests.faults import checker, run
    from tests.faults.table import FAULTS

    chosen, left_out = choose(asked, FAULTS)
    FOLDER.mkdir(parents=True)
    try:
        say("Starting the servers and seeding the database")
        with run.stage_of(FOLDER) as stage:
            try:
                rows = checker.judge(run.run(stage, chosen, asked.seconds, say))
            finally:
                shutil.copy(stage.record.path, VAR / "faults.jsonl")
                for log in FOLDER.glob("*.log"):
                    shutil.copy(log, VAR / f"faults-{log.name}")
    finally:
        embedded._remove(FOLDER)
    wrong = sum(len(row.wrong) for row in rows)
    report = {
        "seconds_of_each": asked.seconds,
        "wrong": wrong,
        "left_out": left_out,
        "faults": [row.report() for row in rows],
    }
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(run.table(rows)))
    for name, why in left_out.items():
        print(f"{name}: left out ({why})")
    say(f"{wrong} wrong. Written to {RESULT.relative_to(ROOT)}; every answer is in var/faults.jsonl")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
