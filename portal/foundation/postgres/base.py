"""Django's PostgreSQL backend, with a pool that fails at once while the server refuses connections."""

import time

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from psycopg_pool import ConnectionPool, PoolTimeout

# In seconds: one step of waiting for a connection, and how long after a refusal no other connection is tried.
STEP = 0.05
REST = 1


class Refused(psycopg.OperationalError):
    """The server took no connection just now."""


class Pool(ConnectionPool):
    """A pool that waits up to `timeout` for a slow server, but not at all for one that refuses.

    psycopg_pool tells nobody who waits that a connection was refused, and tries again ever more rarely, so that each
    request would hold a thread for the whole timeout, and for minutes after the server is back.
    """

    def __init__(self, **options):
        self._refused_at = float("-inf")
        super().__init__(reconnect_timeout=0, reconnect_failed=Pool._note_refusal, **options)

    def _note_refusal(self):
        self._refused_at = time.monotonic()

    def getconn(self, timeout=None):
        begun = time.monotonic()
        while True:
            if self._refused_at > time.monotonic() - REST and not self.get_stats()["pool_available"]:
                raise Refused("PostgreSQL refuses connections")
            try:
                return super().getconn(STEP)
            except PoolTimeout:
                if time.monotonic() - begun > (self.timeout if timeout is None else timeout):
                    self._note_refusal()
                    raise


class DatabaseWrapper(PostgresWrapper):
    @property
    def pool(self):
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            pool = Pool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                check=Pool.check_connection,
                **options,
            )
            # If two threads get here at once, one wins; neither pool is open yet.
            self._connection_pools.setdefault(self.alias, pool)
        return self._connection_pools[self.alias]
