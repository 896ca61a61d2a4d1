"""Alternate the sides of rows, and divide the medians of their rates."""

import itertools
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .data import RUNS, SECONDS, Database, say, settle
from .rows import Row, Side

# A ratio that differs by more from run to run is measured again.
SPREAD = 0.2
WARM_UP_SECONDS = 2


class Measured(Protocol):
    """A server, or what stands for one."""

    name: str
    database: Database
    threads: int

    def start(self, threads: int) -> Any: ...
    def stop(self) -> None: ...
    def load(self, what: str, seconds: int) -> dict[str, float]: ...


class Bench:
    """What is measured, and all that was found out."""

    def __init__(self, servers: Mapping[str, Measured]) -> None:
        self.servers = servers
        # A dictionary for each run: {"ratios", "server", "what", "load", "rate", "p50", "p99"}.
        self.runs: list[dict[str, Any]] = []
        self.ratios: dict[str, float] = {}
        # How far a ratio's runs lie apart, as a share of their median.
        self.spreads: dict[str, float] = {}

    def compare(self, rows: Sequence[Row]) -> None:
        """Measure rows, and once more those whose runs differ too much."""
        for _side, together in itertools.groupby(rows, key=lambda row: row.side):
            group = list(together)
            rates = self.alternate([group[0].side, *(row.beside for row in group)], group)
            if again := [row for row in group if self._differ(row, rates)]:
                say(f"The runs of {' and '.join(row.name for row in again)} differ by more than {SPREAD:.0%}: again")
                rates = self.alternate([again[0].side, *(row.beside for row in again)], again)
                for row in again:
                    self._differ(row, rates)

    def _differ(self, row: Row, rates: dict[Side, list[float]]) -> bool:
        """Note a row's ratio, and tell whether its runs differ too much."""
        ours, theirs = (statistics.median(rates[side]) for side in (row.side, row.beside))
        each = [one / other for one, other in zip(rates[row.side], rates[row.beside], strict=True)]
        spread = (max(each) - min(each)) / statistics.median(each)
        self.ratios[row.name], self.spreads[row.name] = round(ours / theirs, 3), round(spread, 3)
        say(f"{row.name}: {ours / theirs:.2f} ({ours:.0f}/s ÷ {theirs:.0f}/s, spread {spread:.0%})")
        return spread > SPREAD

    def alternate(self, sides: Sequence[Side], rows: Sequence[Row] = ()) -> dict[Side, list[float]]:
        """Load each side in turn, on fresh data, and return the rates of each. `rows` are what it is for."""
        self.start(sides)
        try:
            for server, what in sides:
                self.servers[server].load(what, min(WARM_UP_SECONDS, SECONDS))
            rates: dict[Side, list[float]] = {side: [] for side in sides}
            for side in list(sides) * RUNS:
                server, what = side
                os.sync()
                measured = self.servers[server].load(what, SECONDS)
                of = [row.name for row in rows if side in (row.side, row.beside)]
                self.runs.append({"ratios": of, "server": server, "what": what, "load": os.getloadavg()[0], **measured})
                rates[side].append(measured["rate"])
            return rates
        finally:
            self.stop()

    def start(self, sides: Sequence[Side]) -> None:
        """Start the servers of these sides on their data, with the number of threads that serves each best."""
        # A server is tried with the first kind of request that it gets.
        servers = {self.servers[server]: what for server, what in reversed(sides)}
        for database in {server.database for server in servers}:
            database.restore()
        for server, what in servers.items():
            if not server.threads:
                tune(server, what)
        for database in {server.database for server in servers}:
            # The trials wrote to it.
            database.restore()
        settle()
        for server in servers:
            server.start(server.threads)

    def stop(self) -> None:
        """Stop all servers."""
        for server in self.servers.values():
            server.stop()


def tune(server: Measured, what: str) -> None:
    """Find the number of threads that serves a server best."""
    rates = {}
    for threads in (1, 2, 4, 8):
        server.start(threads)
        server.load(what, 1)
        rates[threads] = server.load(what, 1)["rate"]
    server.stop()
    server.threads = max(rates, key=lambda threads: rates[threads])
    tried = ", ".join(f"{threads}: {rate:.0f}/s" for threads, rate in rates.items())
    say(f"{server.name}: {server.threads} threads a process ({tried})")
