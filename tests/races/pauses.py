"""Forced interleavings: an actor with its own connection pauses at a chosen statement while another acts."""

import queue
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import connection

_LOCK = re.compile(r' FOR (NO KEY )?UPDATE( OF "\w+")?')
_TABLE = re.compile(r'(?:FROM|INTO|UPDATE) "(\w+)"')
_BASE = Path(settings.BASE_DIR)
_PROJECT = tuple(str(_BASE / app) for app in ("portal", "credentials", "consent", "marketplace"))
_DATABASE = str(_BASE / "portal/foundation/database.py")
# In seconds. A lock that takes minutes is not coming.
_PATIENCE = 180


@dataclass(frozen=True)
class Statement:
    # A "lane" is a whole transaction of the fast lane, its locks and its commit (tests/races/test_lane.py).
    kind: str
    table: str = ""
    # The function that requested a lock, and its caller.
    function: str = ""
    caller: str = ""
    # The row, as far as the statement shows it.
    row: tuple = ()

    @property
    def site(self):
        return f"{self.function} {self.table}"


def named(path):
    """Return the tests' name for a module of actions: consent.ending, credentials, portal.accounts."""
    return ".".join(path.relative_to(_BASE).with_suffix("").parts).replace(".actions", "")


def _functions():
    """Return the two innermost functions of the project on the stack, apart from lock()."""
    frame, found = sys._getframe(2), []
    while frame and len(found) < 2:
        name = frame.f_code.co_filename
        if name.startswith(_PROJECT) and name != _DATABASE and not frame.f_code.co_name.startswith("<"):
            found.append(f"{named(Path(name))}.{frame.f_code.co_name}")
        frame = frame.f_back
    return [*found, "", ""][:2]


class Actor:
    """A thread that keeps its connection. Locks requested at the sites `without` are not taken."""

    def __init__(self):
        self.without, self.acts, self.pause_at = frozenset(), queue.Queue(), None
        self.stopped, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()
        assert self.stopped.wait(_PATIENCE)

    def _live(self):
        connection.ensure_connection()
        self.pid = connection.connection.info.backend_pid
        commit = connection.commit

        def pausing_commit():
            self._pass(Statement("commit"))
            commit()

        connection.commit = pausing_commit
        with connection.execute_wrapper(self._execute):
            self.stopped.set()
            while act := self.acts.get():
                try:
                    self.outcome = act()
                except Exception as error:
                    self.outcome = error
                self.done = True
                self.stopped.set()
        connection.close()

    def _execute(self, execute, sql, params, many, context):
        statement = self._read(sql, params)
        self._pass(statement)
        if {statement.site, f"{statement.caller} > {statement.function}"} & self.without:
            sql = {"lock": _LOCK.sub("", sql), "queue": "SELECT %s"}.get(statement.kind, sql)
        return execute(sql, params, many, context)

    def _read(self, sql, params):
        if " queue AS MATERIALIZED " in sql:
            return Statement("lane")
        if sql.startswith("SELECT pg_advisory_xact_lock("):
            # Of the lock that follows.
            return Statement("queue", str(params[0]).partition(" ")[0], *_functions())
        table = _TABLE.search(sql)
        table = table[1] if table else ""
        # What skips locked rows waits for nobody.
        if _LOCK.search(sql) and "SKIP LOCKED" not in sql:
            return Statement("lock", table, *_functions(), tuple(map(str, params or ())))
        return Statement("insert" if sql.startswith("INSERT") else "other", table)

    def _pass(self, statement):
        """Note a statement about to run, and pause before it if requested."""
        if self.selects(self.trace, statement):
            self.points.append(statement)
            if len(self.points) == self.pause_at:
                self.stopped.set()
                assert self.go.wait(_PATIENCE), "nobody let it go on"
        self.trace.append(statement)

    def begin(self, act, *, selects, pause_at=None):
        self.selects, self.pause_at = selects, pause_at
        self.trace, self.points, self.done, self.outcome = [], [], False, None
        self.stopped.clear()
        self.go.clear()
        self.acts.put(act)

    def wait(self):
        assert self.stopped.wait(_PATIENCE), "an actor hangs"

    def resume(self):
        self.stopped.clear()
        self.go.set()
        self.wait()

    def leave(self):
        self.acts.put(None)
        self.thread.join(_PATIENCE)


def at_locks(trace, statement):
    """Pause before each lock that is not held yet, before the commit, and before a transaction of the fast lane."""
    return statement.kind in ("commit", "lane") or (statement.kind == "lock" and statement not in trace)


def everywhere(trace, statement):
    return True


@dataclass
class Played:
    """The result of a race: outcomes, and the course of a forced interleaving."""

    outcomes: list
    # Whether the first act paused at all, and whether the other finished during the pause.
    paused: bool = False
    overtaken: bool = False
    traces: list[list[Statement]] = field(default_factory=list)
    # Where the first act could pause.
    points: list[Statement] = field(default_factory=list)
    # Which act of the pair began.
    begun: int = 0


def _waits_for(waiting, holding):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s = ANY(pg_blocking_pids(%s))", [holding.pid, waiting.pid])
        return cursor.fetchone()[0]


def interleave(actors, first, second, pause_at, selects=at_locks):
    """Run `first` up to its pause, `second` until it is done or waits for `first`, then both to their ends."""
    one, two = actors
    one.begin(first, selects=selects, pause_at=pause_at)
    one.wait()
    paused = not one.done
    two.begin(second, selects=selects)
    while not two.stopped.wait(0.004) and not _waits_for(two, one):
        pass
    overtaken = paused and two.done
    if paused:
        one.resume()
    two.wait()
    return Played([one.outcome, two.outcome], paused, overtaken, [one.trace, two.trace], one.points)


def next_pause(played, pause_at, selects):
    """Return the next pause that can end differently, or None.

    An act that waits saw nothing of the other, which keeps its locks until it commits. So wherever else the other pauses before
    that commit, it is waited for at the same statement; if it still had to lock what the waiting act holds, both would deadlock.
    """
    if selects is everywhere or played.overtaken:
        return pause_at + 1 if played.paused else None
    commits = (
        number
        for number, point in enumerate(played.points, 1)
        if point.kind in ("commit", "lane") and number >= pause_at
    )
    following = next(commits, len(played.points)) + 1
    return following if following <= len(played.points) else None
