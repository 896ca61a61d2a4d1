"""Celery workers forked from one process that has loaded the portal, since loading it takes longer than most tests.

They are processes of their own that can be killed, with the portal's settings; they connect to nothing before the fork.
"""

import multiprocessing
import os
import threading
from unittest import mock

QUEUES = "default,revoke,vendors"
# Set in the process from which workers are forked.
_LOADED_HERE = "WORKERS_ARE_FORKED_HERE"
_context = multiprocessing.get_context("forkserver")
# The servers' addresses that the process from which workers are forked has read.
_read = {}


def _end_with_tests():
    """End as soon as the process of the tests does, however it ends."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _work():
    from portal.celery import app

    threading.Thread(target=_end_with_tests, daemon=True).start()
    silence = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)
    app.worker_main(["worker", "-Q", QUEUES, "-P", "solo", "-l", "warning"])


class ForkedWorker:
    """A running worker, with the methods of subprocess.Popen that tests use."""

    def __init__(self, environment):
        _context.set_forkserver_preload([__name__])
        # Only the first worker's environment is read.
        servers = {name: environment[name] for name in ("DATABASE_URL", "REDIS_URL")}
        assert (_read or servers) == servers, "a worker with servers of its own cannot be forked"
        _read.update(servers)
        with mock.patch.dict(os.environ, environment | {_LOADED_HERE: "1"}, clear=True):
            self._process = _context.Process(target=_work, daemon=True)
            self._process.start()
        self.pid, self.terminate, self.kill = self._process.pid, self._process.terminate, self._process.kill

    def send_signal(self, number):
        os.kill(self.pid, number)

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout):
        self._process.join(timeout)
        assert self.poll() is not None, "the worker goes on"
        return self.poll()


if os.environ.get(_LOADED_HERE):
    import django

    django.setup()
    import portal.celery

    portal.celery.app.loader.import_default_modules()
