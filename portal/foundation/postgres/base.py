"""Django's PostgreSQL backend, with prepared statements, and a pool that fails at once while the server refuses."""

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
from psycopg_pool import ConnectionPool, PoolTimeout

# In seconds: one step of waiting for a connection, and how long what the server said of one is believed: that it refuses
# connections, or that this one works.
STEP = 0.05
REST = 1


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


def _first(connection: psycopg.Connection[Any], cursor: Any, sql: Any, params: list[Any], threshold: int | None) -> Any:
    """Return the first row; prepare the statement if `threshold` is 0. Django's cursors bind values on the client."""
    connection.prepare_threshold = threshold
    try:
        cursor.execute(sql, params)
        return cursor.fetchone()
    finally:
        connection.prepare_threshold = None


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
        """Return the first row of a statement with numbered places, or None. PostgreSQL plans it once a connection."""
        try:
            return self._row(sql, params, threshold=0 if settings.PREPARED_STATEMENTS else None)
        except NotSupportedError:
            # A migration changed a column, so that the plan of this connection is of no more use.
            if self.in_atomic_block:
                raise
            if self.connection:
                self.connection.close()
            self.close()
            return self._row(sql, params, threshold=None)

    def _row(self, sql: bytes, params: list[Any], *, threshold: int | None) -> Any:
        pool = None if self.connection or self.queries_logged or self.execute_wrappers else self.pool
        if not pool:
            self.close_if_health_check_failed()
            self.ensure_connection()
            with self.wrap_database_errors:
                cursor = self._prepare_cursor(psycopg.RawCursor(self.connection))
            return _first(self.connection, cursor, sql.decode(), params, threshold)
        # A connection is lent for this statement alone: to set up Django's takes as long as the statement.
        with self.wrap_database_errors:
            if pool.closed:
                pool.open()
            connection = pool.getconn()
            try:
                return _first(connection, psycopg.RawCursor(connection), sql, params, threshold)
            except psycopg.NotSupportedError:
                connection.close()
                raise
            finally:
                pool.putconn(connection)

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
