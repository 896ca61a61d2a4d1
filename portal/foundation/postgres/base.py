"""Django's PostgreSQL backend, with prepared statements, and a pool that fails at once while the server refuses."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.conf import settings
from django.db import NotSupportedError
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations
from django.db.backends.utils import CursorWrapper
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult
from psycopg_pool import ConnectionPool, PoolTimeout

# In seconds: one step of waiting for a connection, and how long what the server said of one is believed: that it refuses
# connections, or that this one works.
STEP = 0.05
REST = 1
# SQLSTATEs with which a prepared statement fails before it does anything: `invalid_sql_statement_name`, since psycopg
# deallocates all of a connection's on rollback, and `feature_not_supported`, once a migration changed a column.
_PLAN_IS_LOST = {b"26000", b"0A000"}
_numbers = itertools.count()


class Refused(psycopg.OperationalError):
    """The server took no connection just now."""


class Pool(ConnectionPool):
    """A pool that waits up to `timeout` for a slow server, but not at all for one that refuses.

    psycopg_pool does not tell waiting threads that a connection was refused, and retries ever more rarely: each
    request would hold a thread for the whole timeout, and go on failing for minutes after the server is back.
    """

    def __init__(self, **options: Any) -> None:
        self._refused_at = float("-inf")
        super().__init__(reconnect_timeout=0, reconnect_failed=_note_refusal, **options)

    def note_refusal(self) -> None:
        self._refused_at = time.monotonic()

    def getconn(self, timeout: float | None = None) -> psycopg.Connection[Any]:
        begun = time.monotonic()
        while True:
            if self._refused_at > time.monotonic() - REST and not self.get_stats()["pool_available"]:
                raise Refused("PostgreSQL refuses connections")
            try:
                return super().getconn(STEP)
            except PoolTimeout:
                if time.monotonic() - begun > (self.timeout if timeout is None else timeout):
                    self.note_refusal()
                    raise


def _check(connection: psycopg.Connection[Any]) -> None:
    """Ask the server whether a connection still works, unless it was asked just now. Raises psycopg.OperationalError."""
    now = time.monotonic()
    if now - getattr(connection, "checked_at", float("-inf")) > REST:
        ConnectionPool.check_connection(connection)
        connection.checked_at = now  # type: ignore[attr-defined]


def _first_row(connection: psycopg.Connection[Any], sql: bytes, params: list[Any], *, prepare: bool) -> Any:
    """Return the first row, or None, of a statement in a transaction of its own. Raises psycopg.Error.

    psycopg's cursors take twice the time around the same calls.
    """
    transformer = Transformer(connection)
    values = transformer.dump_sequence(params, [PyFormat.AUTO] * len(params))
    types, formats = transformer.types, transformer.formats
    if prepare:
        names = connection.__dict__.setdefault("prepared", {})
        if (sql, types) not in names:
            names[sql, types] = _prepare(connection, sql, types)
        result = connection.pgconn.exec_prepared(names[sql, types], values, formats)  # type: ignore[arg-type]  # psycopg's type lacks None, which is null
        if result.error_field(DiagnosticField.SQLSTATE) in _PLAN_IS_LOST:
            del names[sql, types]
            prepare = False
    if not prepare:
        result = connection.pgconn.exec_params(sql, values, types, formats)
    if result.status != ExecStatus.TUPLES_OK:
        raise _error(connection, result)
    transformer.set_pgresult(result)
    return transformer.load_row(0, tuple) if result.ntuples else None


def _error(connection: psycopg.Connection[Any], result: PGresult) -> psycopg.Error:
    if connection.pgconn.status == ConnStatus.BAD:
        # The server said nothing that would name a class.
        return psycopg.OperationalError(result.get_error_message())
    return psycopg.errors.error_from_result(result)


def _prepare(connection: psycopg.Connection[Any], sql: bytes, types: tuple[int, ...] | None) -> bytes:
    """Prepare a statement under a name that no other has, and return the name."""
    name = b"row_%d" % next(_numbers)
    result = connection.pgconn.prepare(name, sql, types)
    if result.status != ExecStatus.COMMAND_OK:
        raise _error(connection, result)
    return name


def _note_refusal(pool: ConnectionPool[Any]) -> None:
    if isinstance(pool, Pool):
        pool.note_refusal()


class DatabaseOperations(PostgresOperations):
    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """Return what a debug log shows: of a prepared statement its text, without the values."""
        return super().last_executed_query(cursor, sql, params) or sql


class DatabaseWrapper(PostgresWrapper):
    ops_class = DatabaseOperations
    # Of Django's class, which its type stubs lack.
    _connection_pools: dict[str, Pool]
    _configure_connection: Callable[[psycopg.Connection[Any]], None]
    _prepare_cursor: Callable[[psycopg.RawCursor[Any]], CursorWrapper]

    def row(self, sql: bytes, params: list[Any]) -> Any:
        """Return the first row, or None, of a statement with placeholders $1, $2 and so on. Raises django.db.Error.

        PostgreSQL plans it once per connection.
        """
        prepare = settings.PREPARED_STATEMENTS
        is_djangos = self.connection or self.in_atomic_block or self.queries_logged or self.execute_wrappers
        if is_djangos or not (pool := self.pool):
            return self._row_of_cursor(sql.decode(), params, prepare=prepare)
        # Borrow a connection for this statement alone: Django's set-up takes as long as the statement.
        with self.wrap_database_errors:
            if pool.closed:
                pool.open()
            connection = pool.getconn()
            try:
                return _first_row(connection, sql, params, prepare=prepare)
            finally:
                pool.putconn(connection)

    def _row_of_cursor(self, sql: str, params: list[Any], *, prepare: bool) -> Any:
        """Return the first row by a cursor of Django's connection, in its transaction."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        # It binds values on the server; Django's cursors bind them on the client.
        with self.wrap_database_errors:
            cursor = self._prepare_cursor(psycopg.RawCursor(self.connection))
        self.connection.prepare_threshold = 0 if prepare else None
        try:
            cursor.execute(sql, params)
            return cursor.fetchone()
        except NotSupportedError:
            # A migration changed a column, so the plan is invalid.
            if self.in_atomic_block or not prepare:
                raise
            self.connection.close()
        finally:
            self.connection.prepare_threshold = None
        self.close()
        return self._row_of_cursor(sql, params, prepare=False)

    @property
    def pool(self) -> Pool | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            pool = Pool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                check=_check,
                **options,
            )
            # If two threads get here at once, one wins; neither pool is open yet.
            self._connection_pools.setdefault(self.alias, pool)
        return self._connection_pools[self.alias]
