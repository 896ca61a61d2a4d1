"""The portal's PostgreSQL backend, but for flushing tables between tests, which the guards of portal/foundation/guards.py refuse."""

import contextlib

from django.db import connection, transaction

from portal.foundation.postgres.base import DatabaseOperations as PortalOperations
from portal.foundation.postgres.base import DatabaseWrapper as PortalWrapper
from tests.backend.creation import DatabaseCreation

# What migrations put there stays, so that no test sees another world for having come after this one.
MADE_BY_MIGRATIONS = {
    "django_content_type": "true",
    "auth_permission": "true",
    "auth_group": "name = 'Reviewers'",
}


def others(table):
    """The condition of a table's rows that no migration made."""
    return f"NOT ({MADE_BY_MIGRATIONS.get(table, 'false')})"


def filled(cursor):
    """The names of the tables that have such rows."""
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    cursor.execute(
        " UNION ALL ".join(
            f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table} WHERE {others(table)})" for table in sorted(tables)
        )
    )
    return [table for (table,) in cursor.fetchall()]


class DatabaseOperations(PortalOperations):
    def sql_flush(self, style, tables, **options):
        """Keep Django from making content types and permissions anew, as it does where it flushed something."""
        self.tables = ", ".join(sorted(tables))
        return []

    def execute_sql_flush(self, sql_list):
        """Empty the tables that have rows, in one transaction."""
        with transaction.atomic(), self.connection.cursor() as cursor:
            # Whoever still writes is waited for.
            cursor.execute(f"LOCK TABLE {self.tables} IN EXCLUSIVE MODE")
            tables = filled(cursor)
            with unguarded(cursor, tables):
                for table in tables:
                    cursor.execute(f"DELETE FROM {table} WHERE {others(table)}")


@contextlib.contextmanager
def unguarded(cursor, tables):
    """Let the block write to these tables what neither guards nor foreign keys would let pass, in a transaction."""
    # Guards are not let go by replica mode.
    cursor.execute("SET LOCAL session_replication_role = replica")
    with guards_off(cursor, tables):
        yield
    cursor.execute("SET LOCAL session_replication_role = DEFAULT")


class guards_off:
    """Switch the guards off for the length of a block, inside a transaction; only a table's owner can."""

    def __init__(self, cursor, tables=None):
        self.cursor, self.tables = cursor, tables

    def __enter__(self):
        # A table with checks still to come cannot be altered.
        self.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled = 'A' AND NOT tgisinternal"
        )
        self.guards = [row for row in self.cursor.fetchall() if self.tables is None or row[0] in self.tables]
        self._all("DISABLE TRIGGER")

    def __exit__(self, *exception):
        if exception[0] is None:
            self._all("ENABLE ALWAYS TRIGGER")
            self.cursor.execute("SET CONSTRAINTS ALL DEFERRED")

    def _all(self, change):
        if self.guards:
            self.cursor.execute("; ".join(f"ALTER TABLE {table} {change} {name}" for table, name in self.guards))


class DatabaseWrapper(PortalWrapper):
    creation_class = DatabaseCreation
    ops_class = DatabaseOperations
