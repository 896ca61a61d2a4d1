"""What actions ask of the database: a row lock, the time (T11), and mutual exclusion across processes."""

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model, Q, QuerySet, Subquery
from django.db.models.lookups import IsNull

Row = TypeVar("Row", bound=Model)


# PostgreSQL lets those who share a row's lock pass those who wait to change the row, without end. Where a model `has_queue`,
# both queue for this lock first, which is given in the order of asking.
_QUEUE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
SHARE_QUEUE = "pg_advisory_xact_lock_shared"


def queue_shared(queue: str) -> str:
    """Return SQL that queues for sharing; `queue` is SQL for what `queue_of` returns."""
    return f"{SHARE_QUEUE}(hashtextextended({queue}, 0))"


def queue_of(model: type[Model], pk: object) -> str:
    return f"{model._meta.db_table} {pk}"


def lock(model: type[Row], pk: object) -> Row:
    """Return the row, locked against change but not against rows that refer to it (T11)."""
    if getattr(model, "has_queue", False):
        with connection.cursor() as cursor:
            cursor.execute(_QUEUE, [queue_of(model, pk)])
    return model._default_manager.select_for_update(no_key=True, of=("self",)).get(pk=pk)


def looked_up(rows: QuerySet[Any, Any]) -> Q:
    """Match where there are such rows, as Exists does, but always by a lookup for the row that asks.

    PostgreSQL may answer Exists by reading all rows first, which pays only if many rows ask. Where it expects every second
    row to fit, it reads them in any order until one does; an explicit order of `rows` keeps it to the index of that order.
    """
    rows = rows if rows.query.order_by else rows.order_by()
    # PostgreSQL takes it that most values are not null, and so that most of the rows that ask have some.
    return Q(IsNull(Subquery(rows.values("pk")[:1]), False))


def database_now() -> datetime:
    """Return the database's clock, which decides every time limit. Read it after taking the locks (T11)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]


_OTHERS_WORK = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
            AND (state = 'active' OR state_change > clock_timestamp() - interval '100 milliseconds')
    )
"""


def others_work() -> bool:
    """Tell whether any other connection runs a statement, or has within the last 100 milliseconds.

    Call it outside a transaction, in which PostgreSQL repeats its first answer.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS_WORK)
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
