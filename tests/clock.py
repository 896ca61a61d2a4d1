"""Time in tests: move the clock, stop it, and wait for other processes."""

import contextlib
import time

from django.db import connection, transaction

from portal.celery import app as celery
from tests.backend.base import guards_off


def advance(length):
    """Make every time in the database, except the ledger's, `length` older."""
    with transaction.atomic(), connection.cursor() as cursor, guards_off(cursor):
        cursor.execute(
            """
            SELECT table_name, array_agg(quote_ident(column_name)) FROM information_schema.columns
            WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
              AND split_part(table_name, '_', 1) IN ('accounts', 'credentials', 'consent', 'marketplace')
            GROUP BY table_name
            """
        )
        for table, columns in cursor.fetchall():
            changes = ", ".join(f"{column} = {column} - %s" for column in columns)
            cursor.execute(f"UPDATE {table} SET {changes}", [length] * len(columns))


@contextlib.contextmanager
def stopped():
    """Stop the database's clock for this connection until the block ends; yield a function that sets it.

    A schema that precedes the system's hides its functions that tell the time, which decide every time limit.
    """
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA stopped_clock")
        for name, kind in (("statement_timestamp", "STABLE"), ("clock_timestamp", "VOLATILE")):
            cursor.execute(
                f"CREATE FUNCTION stopped_clock.{name}() RETURNS timestamptz LANGUAGE sql {kind} AS $$ SELECT "
                f"coalesce(nullif(current_setting('tests.clock', true), '')::timestamptz, pg_catalog.{name}()) $$"
            )
        cursor.execute('SET search_path = stopped_clock, pg_catalog, "$user", public')
        try:
            yield lambda time: cursor.execute("SELECT set_config('tests.clock', %s, false)", [time.isoformat()])
        finally:
            if not connection.needs_rollback:
                cursor.execute("RESET tests.clock; SET search_path TO DEFAULT; DROP SCHEMA stopped_clock CASCADE")


def eventually(condition, seconds=180):
    """Wait until `condition()` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def eventually_swept(condition, sweep="consent.tasks.sweep", every=5):
    """Wait for what a sweep brings about, and start one `every` so many seconds, as beat does.

    A slow machine can lose what a sweep queues, since nobody waits long for Redis. The next sweep makes it good.
    """
    next_sweep = 0

    def is_so():
        nonlocal next_sweep
        if time.monotonic() >= next_sweep:
            celery.send_task(sweep)
            next_sweep = time.monotonic() + every
        return condition()

    eventually(is_so)
