"""Runs the table of faults, one after another, under one load; used by `make faults` and by its tests."""

import time
from contextlib import contextmanager

from tests.faults import audit, checker
from tests.faults.load import Load
from tests.faults.record import read
from tests.faults.stage import WORKER, Stage

SWEEP = "consent.tasks.sweep"
# So many sweeps may pass until all that a fault left is done.
SWEEPS = 2
# In seconds. Beat sends a sweep every twelve; those that waited together for a worker run together, and are one.
APART, GIVE_UP = 10, 180


@contextmanager
def stage_of(folder, tenants=4, **more):
    stage = Stage(folder, tenants, **more)
    try:
        yield stage
    finally:
        stage.close()


def run(stage, faults, seconds, say=print):
    """Inflict each fault for about `seconds`, wait for two sweeps, and write what they left into the record."""
    stage.start("worker", WORKER, **faults[0].worker)
    load = Load(stage)
    load.fault = faults[0].name
    stage.open()
    load.start()
    try:
        for fault in faults:
            load.fault, begun = fault.name, time.monotonic()
            stage.hold(1)
            fault.inflict(stage, seconds)
            healed, since = time.monotonic(), stage.ask("SELECT now()")[0][0]
            sweeps, left = _await_sweeps(stage, healed, since)
            ended = time.monotonic()
            stage.record.write(kind="fault", fault=fault.name, begun=begun, ended=ended, cuts=fault.cuts)
            stage.record.write(kind="audit", fault=fault.name, sweeps=sweeps, unfinished=left)
            say(f"{fault.name}: {ended - begun:.0f} s")
    finally:
        load.stop()
    stage.record.write(kind="facts", **audit.facts(stage))
    assert not load.failures, load.failures
    return [*read(stage.record.path)]


def _await_sweeps(stage, healed, since):
    """Wait until two sweeps have run and all is done, or a third begins; return how many ran and what is left."""
    while True:
        sweeps = _sweeps(stage, healed)
        left = audit.unfinished(stage, since)
        if (sweeps >= SWEEPS and not any(left.values())) or sweeps > SWEEPS or time.monotonic() - healed > GIVE_UP:
            return sweeps, left
        time.sleep(0.2)


def _sweeps(stage, since):
    """Count the sweeps that began after `since`."""
    sweeps, last = 0, float("-inf")
    for line in sorted(stage.tasks(SWEEP, since), key=lambda line: line["begun"]):
        if line["begun"] > last + APART:
            sweeps, last = sweeps + 1, line["begun"]
    return sweeps


def table(rows):
    """Return the report as lines of text."""
    names = [*checker.CLASSES]
    yield f"{'fault':32} {'seconds':>7} " + " ".join(f"{name:>14}" for name in names) + "  slowest answer"
    for row in rows:
        counts = [row.answers[name] for name in names[:-1]] + [len(row.wrong)]
        seconds, ask = row.slowest
        yield (
            f"{row.name:32} {row.seconds:7.0f} "
            + " ".join(f"{count:14,}" for count in counts)
            + f"  {seconds:.2f} s {ask}"
        )
