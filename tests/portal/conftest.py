"""Embedded servers, as a process of its own starts them."""

import json
import subprocess
import sys

import pytest
from django.conf import settings

from portal import embedded

SCRIPT = """
import json, sys
from portal import embedded
urls = embedded.services(sys.argv[1], want_postgres=True, want_redis=True)
print(json.dumps(urls), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start_servers(tmp_path):
    """A function that starts the embedded servers in a process of their own; it returns the process and their URLs."""
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
        process.wait(20)
    for base in bases:
        embedded._remove(base)
