"""What actions ask of the database: a row lock, the time (T11), and mutual exclusion across processes."""

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

from django.db import connection
from django.db.models import Model

Row = TypeVar("Row", bound=Model)


def lock(model: type[Row], pk: object) -> Row:
    """Return the row, locked against change but not against rows that refer to it (T11)."""
    return model._default_manager.select_for_update(no_key=True, of=("self",)).get(pk=pk)


def database_now() -> datetime:
    """Return the database's clock, which decides every time limit. Read it after taking the locks (T11)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Let one process at a time do `what`, without holding a transaction open.

    The lock belongs to the database session: it goes when its holder dies.
    """
    key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [key])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
