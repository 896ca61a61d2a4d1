"""What a test of faults does to processes, and how it sees that the database waits."""

import contextlib
import signal
import threading
from http.client import HTTPException

import httpx
import psycopg
import redis
from django.conf import settings
from django.db import connection

from tests.browsing import Browser
from tests.clock import eventually
from tests.servers import environment, start_worker


@contextlib.contextmanager
def held(sql):
    """Hold, over a connection of its own, the locks that a statement takes."""
    with psycopg.connect(environment()["DATABASE_URL"]) as holder:
        holder.execute(sql)
        yield
        holder.rollback()


def waiting():
    """How many connections wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


def somebody_waits():
    return waiting() > 0


def kill_a_worker_inside(act, stop, is_stopped=somebody_waits):
    """Have a worker stop at `stop` inside the task that `act` queues, kill it there, and forget every message."""
    worker = start_worker()
    try:
        with stop:
            act()
            eventually(is_stopped)
            worker.send_signal(signal.SIGKILL)
            worker.wait(180)
        eventually(lambda: not is_stopped())
        redis.Redis.from_url(settings.REDIS_URL).flushdb()
    finally:
        worker.kill()


def visitor(server, browser):
    """Somebody signed in, at another server: the session is in the database."""
    person = Browser(server.url)
    person.cookies.set("sessionid", browser.cookies["sessionid"].value)
    return person


@contextlib.contextmanager
def cut_off(act):
    """Run `act` in a thread, whose server must end before it answers."""
    outcome = []

    def run():
        try:
            outcome.append(act())
        except (OSError, HTTPException, httpx.HTTPError) as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(180)
    assert isinstance(outcome[0], Exception), f"there was an answer: {outcome}"
