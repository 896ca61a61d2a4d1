"""Embedded servers started by another process, and limits that are switched on."""

import json
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.cache import cache

from portal.demo import embedded
from portal.foundation.limits import rates

SCRIPT = """
import json, sys
from portal.demo import embedded
urls = embedded.services(sys.argv[1], want_postgres=True, want_redis=True)
print(json.dumps(urls), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start_servers(tmp_path):
    """A function that starts the embedded servers from another process; it returns the process and their URLs."""
    started, bases = [], set()

    def start(base=tmp_path / "var"):
        bases.add(base)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(base)],
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        line = process.stdout.readline()
        assert line, "the servers did not start"
        return process, json.loads(line)

    yield start
    for process in started:
        process.stdin.close()
        process.wait(180)
    for base in bases:
        embedded._remove(base)


@pytest.fixture
def rate(settings, monkeypatch):
    """A function that changes a limit; limits are switched on, with nothing counted yet."""
    settings.LIMITS_ARE_ON = True
    settings.ACCOUNT_RATE_LIMITS = {"login": "", "login_failed": "5/5m/key"}
    cache.clear()
    yield lambda name, *numbers: monkeypatch.setitem(rates.RATES, name, numbers)
    cache.clear()
