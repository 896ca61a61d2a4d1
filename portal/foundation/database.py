"""What actions ask of the database: a lock, the time (T11), and to be the only one at something."""

import contextlib
import hashlib
from collections.abc import Iterator

from django.db import connection


def lock(model, pk):
    """Return the row locked against change, but not against rows that refer to it (T11)."""
    return model.objects.select_for_update(no_key=True, of=("self",)).get(pk=pk)


def database_now():
    """Return the database's clock: the time that decides, to be read after the locks (T11)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Let one process at a time do `what` with somebody outside, without a transaction open meanwhile.

    A session's lock: where its holder dies, so does the lock.
    """
    key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [key])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
