"""PostgreSQL as in production, but for flushing tables between tests, which the guards of portal/guards.py refuse."""

from django.db import transaction
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations

REVIEWERS = "Reviewers"


class DatabaseOperations(PostgresOperations):
    def execute_sql_flush(self, sql_list):
        """Flush with the guards off, and switch them on again, ALWAYS, in the same transaction."""
        with transaction.atomic(), self.connection.cursor() as cursor, guards_off(cursor):
            for sql in sql_list:
                cursor.execute(sql)
            # What a migration put there, so that no test sees another world for having come after this one.
            cursor.execute("INSERT INTO auth_group (name) VALUES (%s) ON CONFLICT DO NOTHING", [REVIEWERS])


class guards_off:
    """Switch the guards off for the length of a block, inside a transaction; only a table's owner can."""

    def __init__(self, cursor):
        self.cursor = cursor

    def __enter__(self):
        # A table with checks still to come cannot be altered.
        self.cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled = 'A' AND NOT tgisinternal"
        )
        self.guards = self.cursor.fetchall()
        for table, name in self.guards:
            self.cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")

    def __exit__(self, *exception):
        if exception[0] is None:
            for table, name in self.guards:
                self.cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
            self.cursor.execute("SET CONSTRAINTS ALL DEFERRED")


class DatabaseWrapper(PostgresWrapper):
    ops_class = DatabaseOperations
