"""`make run` starts and stops the whole demo."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
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

    def copy_data_of(self, other):
        """Copy the data of another, stopped checkout, since creating it again takes time."""
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

    def output(self):
        return self.log.read_text()

    def wait(self):
        eventually(lambda: "Ctrl-C stops it" in self.output() or self.process.poll() is not None)
        assert self.process.poll() is None, self.output()
        return self

    def children(self):
        """Return this checkout's processes as {id: command}, recognised by their folder or arguments."""
        folders, processes = (str(self.folder), str(embedded._data_elsewhere(self.folder / "var"))), {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    command = file.read().decode(errors="replace").replace("\0", " ")
                if any(folder in command or folder in os.readlink(f"/proc/{pid}/cwd") for folder in folders):
                    processes[int(pid)] = command
            except OSError:
                continue
        return processes

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
    """A checkout in which the demo runs for the first time, until the last test of that start stops it."""
    portal = Portal(tmp_path_factory.mktemp("checkout")).start()
    try:
        yield portal.wait()
    finally:
        portal.stop()
        portal.remove()


def test_run_prints_its_url_and_sign_ins(portal):
    assert f"http://127.0.0.1:{portal.port}/" in portal.output() and "/dev/mail/" in portal.output()
    assert re.search(r"admin@acme.example +\S+ +admin", portal.output())
    assert portal.output().count("secret, shown this once") == 7
    kinds = " ".join(portal.children().values())
    assert "granian" in kinds and "worker" in kinds and "beat" in kinds


def test_a_taken_port_is_reported(portal, tmp_path):
    other = Portal(tmp_path)
    # Unreachable servers: the port is checked before they are used.
    nowhere = {"DATABASE_URL": "postgres://none@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    other.start(port=portal.port, **nowhere)
    assert other.process.wait(180) == 1 and "is taken" in other.output()


# Parts of the command lines of the processes it starts.
STARTED = {
    "web": "granian --interface",
    "worker": "portal worker ",
    "beat": "portal beat ",
    "vendor calendar": "Example Calendar",
    "vendor boards": "Example Boards",
    "PostgreSQL": "postgres -D",
    "Redis": "valkey-server",
}


def ready(portal):
    with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{portal.port}/readyz", timeout=60) as page:
        return page.read() == b'{"database": "ok", "redis": "ok"}'


@pytest.mark.soak
def test_any_killed_process_is_restarted_and_the_portal_recovers(portal):
    def processes(name):
        return {pid for pid, command in portal.children().items() if STARTED[name] in command}

    for name in STARTED:
        eventually(lambda name=name: processes(name))
        victim = min(processes(name))
        os.kill(victim, signal.SIGKILL)
        # The web server's workers stop with it.
        eventually(lambda name=name, victim=victim: min(processes(name), default=victim) != victim)
        eventually(lambda name=name: f"{name} ended by itself. Restarted it." in portal.output())
        eventually(lambda: ready(portal))
    web = processes("web")
    os.kill(max(web), signal.SIGKILL)
    eventually(lambda: max(web) not in processes("web") and len(processes("web")) == len(web))
    eventually(lambda: ready(portal))
    assert portal.output().count("ended by itself") == len(STARTED), "the web server itself replaced its worker"


@pytest.mark.soak
def test_a_process_that_keeps_ending_is_named_and_stops_the_rest(portal):
    victims = set()

    def kill():
        alive = {pid for pid, command in portal.children().items() if STARTED["vendor boards"] in command} - victims
        victims.update(alive)
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        return portal.process.poll() is not None

    eventually(kill)
    assert portal.process.wait(180) == 1
    assert "vendor boards ended 6 times within a minute" in portal.output()
    eventually(lambda: not portal.children())


class Servers:
    """The servers of a checkout, started by their own command."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "servers"], cwd=folder, env={"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines = [self.process.stdout.readline() for _url in range(2)]
        self.urls = dict(line.strip().split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def restarted(portal, tmp_path_factory):
    """Three checkouts with the data of the first start, which has ended.

    The first runs again; the second runs only its servers, which the third uses.
    """
    portal.stop()
    others = [Portal(tmp_path_factory.mktemp("checkout")).copy_data_of(portal) for _other in range(2)]
    servers = Servers(others[0].folder)
    try:
        portal.start()
        others[1].start(**servers.urls)
        portal.wait()
        yield SimpleNamespace(portal=portal, servers=servers, servers_folder=others[0].folder, other=others[1].wait())
    finally:
        for each in (portal, others[1]):
            each.stop()
        servers.process.kill()
        servers.process.wait(180)
        for each in others:
            each.remove()


def test_a_second_start_keeps_the_data(restarted):
    assert ready(restarted.portal) and "shown this once" not in restarted.portal.output(), "nothing was created again"


def test_checkouts_run_side_by_side(restarted):
    assert ready(restarted.portal) and ready(restarted.other)


def test_a_checkout_cannot_run_twice(restarted):
    twice = subprocess.run(
        [sys.executable, "manage.py", "run"], cwd=restarted.portal.folder, capture_output=True, text=True, timeout=180,
        env={"PATH": os.environ["PATH"], "DEMO": "1", "PORT": str(free_port(beside=(1000, 2000)))},
    )  # fmt: skip
    assert twice.returncode == 1 and "runs this checkout's servers already" in twice.stderr


def test_servers_given_in_the_environment_are_used_instead(restarted):
    commands = " ".join(restarted.other.children().values())
    assert "granian" in commands and "postgres -D" not in commands and "valkey" not in commands


def test_a_command_starts_only_the_servers_and_prints_their_urls(restarted):
    servers, again = restarted.servers, Servers(restarted.servers_folder)
    assert again.urls == servers.urls and again.process.wait(180) == 0
    with psycopg.connect(servers.urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM accounts_user").fetchone()[0] > 0, "the data of `make run`"


def test_ctrl_c_or_a_sigterm_leaves_nothing_behind(restarted):
    """The servers that a portal did not start outlive it, until their own command ends."""
    assert restarted.portal.stop() == restarted.other.stop(signal.SIGTERM) == 0
    assert "Stopping." in restarted.portal.output()
    servers = restarted.servers
    psycopg.connect(servers.urls["DATABASE_URL"]).close()
    servers.process.send_signal(signal.SIGINT)
    assert servers.process.wait(180) == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(servers.urls["DATABASE_URL"])
