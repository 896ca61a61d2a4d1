"""`make run`: one command that starts all of the demo, and stops all of it."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
from django.conf import settings

from portal.demo import embedded
from tests.clock import eventually
from tests.servers import free_port


class Portal:
    """A checkout, and `make run` in it."""

    def __init__(self, folder):
        self.folder, self.log = folder, folder / "run.log"
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True
        )  # fmt: skip
        for name in listed.stdout.splitlines():
            if name.startswith("tests/") or not Path(settings.BASE_DIR, name).exists():
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(settings.BASE_DIR, name), folder / name)

    def take_over(self, other):
        """Have the data of another checkout, whose portal is stopped: making them anew takes its time."""
        folders = [portal.folder / "var" for portal in (other, self)]
        for source, copy in (folders, [*map(embedded._data_elsewhere, folders)]):
            if source.exists():
                subprocess.run(["cp", "-a", source, copy], check=True)
        return self

    def start(self, **more):
        self.port = more.pop("port", None) or free_port(beside=(1000, 2000))
        environment = {"PATH": os.environ["PATH"], "DEMO": "1", "PORT": str(self.port), **more}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "run"], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        return self

    def told(self):
        return self.log.read_text()

    def wait(self):
        eventually(lambda: "Ctrl-C stops it" in self.told() or self.process.poll() is not None)
        assert self.process.poll() is None, self.told()
        return self

    def children(self):
        """The process ids of this checkout, by the folder that they run in or that they were given."""
        folders, found = (str(self.folder), str(embedded._data_elsewhere(self.folder / "var"))), {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_text().replace("\0", " ")
                if any(folder in command or folder in str((entry / "cwd").readlink()) for folder in folders):
                    found[int(entry.name)] = command
            except OSError:
                continue
        return found

    def stop(self, how=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(180)
        eventually(lambda: not self.children())
        return status

    def remove(self):
        embedded._remove(self.folder / "var")


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    """A checkout in which the demo ran once."""
    portal = Portal(tmp_path_factory.mktemp("checkout")).start()
    try:
        portal.wait()
        portal.first = portal.told()
        assert portal.stop() == 0 and "Stopping." in portal.told()
        yield portal
    finally:
        portal.stop()
        portal.remove()


@pytest.fixture
def other(portal, tmp_path):
    """Another checkout."""
    other = Portal(tmp_path).take_over(portal)
    yield other
    other.remove()


def test_it_prints_the_address_and_the_sign_ins_and_ctrl_c_leaves_nothing_behind(portal):
    assert f"http://127.0.0.1:{portal.port}/" in portal.first and "/dev/mail/" in portal.first
    assert re.search(r"admin@acme.example +\S+ +admin", portal.first)
    assert portal.first.count("secret, shown this once") == 7


@pytest.fixture(scope="module")
def running(portal):
    """The same checkout's second start, for the tests that follow, of which the last brings it down."""
    yield portal.start().wait()
    portal.stop()


def test_a_second_start_keeps_the_data(running):
    portal = running
    assert urlopen(f"http://127.0.0.1:{portal.port}/readyz").read() == b'{"database": "ok", "redis": "ok"}'
    assert "shown this once" not in portal.told(), "nothing had to be made again"
    kinds = " ".join(portal.children().values())
    assert "granian" in kinds and "worker" in kinds and "beat" in kinds


# What stands on the command line of what it starts.
STARTED = {
    "web": "granian --interface",
    "worker": "portal worker ",
    "beat": "portal beat ",
    "vendor calendar": "Example Calendar",
    "vendor boards": "Example Boards",
    "PostgreSQL": "postgres -D",
    "Redis": "valkey-server",
}


def test_whatever_is_killed_comes_back_and_the_portal_with_it(running):
    portal = running

    def processes(name):
        return {pid for pid, command in portal.children().items() if STARTED[name] in command}

    def answers():
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{portal.port}/readyz", timeout=60) as page:
            return page.read() == b'{"database": "ok", "redis": "ok"}'

    for name in STARTED:
        eventually(lambda name=name: processes(name))
        victim = min(processes(name))
        os.kill(victim, signal.SIGKILL)
        # A web server has workers beside it, which go with it.
        eventually(lambda name=name, victim=victim: min(processes(name), default=victim) != victim)
        eventually(lambda name=name: f"{name} ended by itself. Restarted it." in portal.told())
        eventually(answers)
    web = processes("web")
    os.kill(max(web), signal.SIGKILL)
    eventually(lambda: max(web) not in processes("web") and len(processes("web")) == len(web))
    eventually(answers)
    assert portal.told().count("ended by itself") == len(STARTED), "the web server itself replaced its worker"


def test_when_one_of_them_ends_over_and_over_it_says_which_and_stops_the_rest(running):
    portal, victims = running, set()

    def kill():
        found = {pid for pid, command in portal.children().items() if STARTED["vendor boards"] in command} - victims
        victims.update(found)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return portal.process.poll() is not None

    eventually(kill)
    assert portal.process.wait(180) == 1
    assert "vendor boards ended 6 times within a minute" in portal.told()
    eventually(lambda: not portal.children())


def test_two_checkouts_run_side_by_side_and_a_taken_port_is_told(portal, other):
    try:
        portal.start()
        other.start()
        portal.wait()
        other.wait()
        assert {urlopen(f"http://127.0.0.1:{each.port}/readyz").status for each in (portal, other)} == {200}
        twice = subprocess.run(
            [sys.executable, "manage.py", "run"], cwd=other.folder, capture_output=True, text=True, timeout=180,
            env={"PATH": os.environ["PATH"], "DEMO": "1", "PORT": str(portal.port)},
        )  # fmt: skip
        assert twice.returncode == 1 and "runs this checkout's servers already" in twice.stderr
    finally:
        assert other.stop(signal.SIGTERM) == portal.stop() == 0


def test_a_taken_port_is_told(portal):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        portal.start(port=taken.getsockname()[1])
        assert portal.process.wait(180) == 1
    assert "is taken" in portal.told()


def test_a_command_starts_the_servers_alone_and_prints_their_addresses(portal):
    def start():
        return subprocess.Popen(
            [sys.executable, "manage.py", "servers"], cwd=portal.folder, env={"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    first = start()
    lines = [first.stdout.readline() for _url in range(2)]
    urls = dict(line.strip().split("=", 1) for line in lines)
    with psycopg.connect(urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM accounts_user").fetchone()[0] > 0, "the data of `make run`"
    second = start()
    assert second.communicate()[0].splitlines(keepends=True) == lines
    first.send_signal(signal.SIGINT)
    assert first.wait(180) == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(urls["DATABASE_URL"])


def test_the_servers_of_the_environment_are_used_instead(portal, other, start_servers):
    _process, urls = start_servers(other.folder / "var")
    portal.start(**urls).wait()
    commands = " ".join(portal.children().values())
    assert "postgres -D" not in commands and "valkey" not in commands
    assert portal.stop() == 0
