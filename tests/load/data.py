"""The databases under var/bench/: each is filled once, and measured on a copy, so that every round starts from the same rows."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from portal.demo import environment

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "var/bench"
RESULT = ROOT / "var/bench.json"
_HERE = Path(__file__).parent
SECONDS, RUNS, TOKENS, LARGE_TOKENS = (
    int(os.environ.get(name, usual))
    for name, usual in (("SECONDS", 10), ("RUNS", 5), ("TOKENS", 200_000), ("LARGE_TOKENS", 5_000_000))
)
# What is filled lives a little longer.
KEPT_SECONDS = 7 * 86400


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def keep(**results: object) -> None:
    """Write what was measured into var/bench.json, beside what is there."""
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps({**kept, **results}, indent=1) + "\n")


def start_database() -> dict[str, str]:
    """Start PostgreSQL and Redis on data kept under var/bench/, and return the settings that decide."""
    os.environ["DEMO"], os.environ["TRUSTED_PROXIES"] = "1", "1"
    FOLDER.mkdir(parents=True, exist_ok=True)
    environment._add(environment._kept_secrets(FOLDER))
    environment.add_servers(FOLDER)
    with _server() as server:
        told = {name: _value(server, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "server_version")}
    if (told["fsync"], told["synchronous_commit"]) != ("on", "on"):
        sys.exit(f"PostgreSQL must write durably: {told}")
    return told


def url_of(database: str) -> str:
    return re.sub(r"/[^/]*$", f"/{database}", os.environ["DATABASE_URL"])


def _server() -> psycopg.Connection:
    return psycopg.connect(url_of("postgres"), autocommit=True)


def _value(server: psycopg.Connection, query: str, *params: object) -> object:
    row = server.execute(query, params).fetchone()
    return row and row[0]


class Database:
    """A database that a program fills, which gets the database's name, the number of tokens and FOLDER."""

    def __init__(self, name: str, program: str, *, tokens: int = TOKENS, migrated: str = "") -> None:
        self.name, self.program, self.tokens, self.migrated = name, program, tokens, migrated
        self.url = url_of(name)
        # By kind, how many of those requests were sent that can be sent once.
        self.sent: dict[str, int] = {}
        # Whether the copy is there, and nothing was written to it yet.
        self.is_fresh = False

    def fill(self) -> None:
        """Fill it, unless that was done within a week by the same code."""
        kept, version = FOLDER / f"{self.name}.version", self._version()
        is_recent = kept.exists() and time.time() - kept.stat().st_mtime < KEPT_SECONDS
        with _server() as server:
            there = _value(server, "SELECT 1 FROM pg_database WHERE datname = %s", f"{self.name}_filled")
            if there and is_recent and kept.read_text() == version:
                return
            say(f"Filling the database {self.name} with {self.tokens:,} tokens")
            begun = time.monotonic()
            for name in (self.name, f"{self.name}_filled"):
                server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            server.execute(f"CREATE DATABASE {self.name}")
        if self.migrated:
            self._run([sys.executable, "-m", "django", "migrate", "-v0"])
        given = [self.name, str(self.tokens), str(FOLDER)]
        if self.program.endswith(".js"):
            self._run(["node", str(_HERE / self.program), *given])
        else:
            self._run([sys.executable, "-m", f"tests.load.{self.program.removesuffix('.py')}", *given])
        with psycopg.connect(self.url, autocommit=True) as database:
            database.execute("VACUUM ANALYZE")
        with _server() as server:
            server.execute(f"ALTER DATABASE {self.name} RENAME TO {self.name}_filled")
        kept.write_text(version)
        say(f"Filled {self.name} in {time.monotonic() - begun:.0f} s")

    def requests(self, what: str) -> Path:
        """Return the file of the requests of a kind, a line each."""
        return FOLDER / f"{self.name}-{what}.txt"

    def restore(self) -> None:
        """Copy what was filled, unless that is there. Whatever is connected to an earlier copy loses its connection."""
        if self.is_fresh:
            return
        self.drop()
        with _server() as server:
            server.execute(f"CREATE DATABASE {self.name} TEMPLATE {self.name}_filled STRATEGY file_copy")
        self.sent.clear()
        self.is_fresh = True

    def drop(self) -> None:
        """Remove the copy, and keep what was filled."""
        self.is_fresh = False
        with _server() as server:
            server.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def _run(self, command: list[str]) -> None:
        more = {"DATABASE_URL": self.url, "DJANGO_SETTINGS_MODULE": self.migrated}
        subprocess.run(command, cwd=ROOT, env={**os.environ, **more}, check=True)

    def _version(self) -> str:
        folder, suffix = (_HERE / self.program).parent, Path(self.program).suffix
        read = folder.glob("*.js") if suffix == ".js" else [_HERE / self.program, _HERE / "filling.py"]
        sources = [*ROOT.glob("*/migrations/*.py"), *ROOT.glob("*/*/migrations/*.py"), *read]
        text = b"".join(path.read_bytes() for path in sorted(sources))
        return f"{self.tokens} {hashlib.sha256(text).hexdigest()}"


def settle() -> None:
    """Have all that was copied written to the disk, which else goes on while something is measured."""
    with _server() as server:
        server.execute("CHECKPOINT")
    os.sync()


def databases() -> dict[str, Database]:
    return {
        "portal": Database("portal", "fill_portal.py", migrated="portal.settings"),
        "agents": Database("agents", "fill_agents.py", tokens=2 * TOKENS, migrated="portal.settings"),
        "ending": Database("ending", "fill_ending.py", tokens=5 * TOKENS, migrated="portal.settings"),
        "toolkit": Database("toolkit", "fill_toolkit.py", migrated="tests.load.toolkit.settings"),
        "node": Database("node", "node/fill.js"),
        "large": Database("large", "fill_portal.py", tokens=LARGE_TOKENS, migrated="portal.settings"),
    }


def need_space(tokens: int) -> None:
    """Exit unless the disk has room for a database with so many tokens, and its copy."""
    with _server() as server:
        data = Path(str(_value(server, "SHOW data_directory")))
    needed, free = tokens * 2500 / 1e9 + 5, shutil.disk_usage(data if data.exists() else FOLDER).free / 1e9
    if free < needed:
        sys.exit(f"{tokens:,} tokens need {needed:.0f} GB of disk; {free:.0f} GB are free.")
