"""PostgreSQL as in production, but for flushing tables between tests, which the guards of portal/guards.py refuse."""

from django.db import transaction
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations

REVIEWERS = "Reviewers"


# What migrations put there, so that no test sees another world for having come after this one.
KEPT = {"django_content_type": "true", "auth_permission": "true", "auth_group": f"name = '{REVIEWERS}'"}


class DatabaseOperations(PostgresOperations):
    def sql_flush(self, style, tables, **options):
        """Leave nothing to Django, which would make content types and permissions again after each flush."""
        self.flushed = sorted(tables)
        return []

    def execute_sql_flush(self, sql_list):
        """Empty the tables that have rows, with their guards off meanwhile, in one transaction."""
        rows = " UNION ALL ".join(
            f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table} WHERE NOT ({KEPT.get(table, 'false')}))"
            for table in self.flushed
        )
        with transaction.atomic(), self.connection.cursor() as cursor:
            # Whoever still writes is waited for.
            cursor.execute(f"LOCK TABLE {', '.join(self.flushed)} IN EXCLUSIVE MODE")
            cursor.execute(rows)
            filled = [table for (table,) in cursor.fetchall()]
            # Foreign keys are let go by replica mode; guards are not.
            cursor.execute("SET LOCAL session_replication_role = replica")
            with guards_off(cursor, filled):
                for table in filled:
                    cursor.execute(f"DELETE FROM {table} WHERE NOT ({KEPT.get(table, 'false')})")


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


class DatabaseWrapper(PostgresWrapper):
    ops_class = DatabaseOperations
