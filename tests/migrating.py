"""Migrate a test's database back, so that rows can be written as they once were, and forward again."""

import json
import uuid

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def back_to(app, name):
    """Undo migrations until `name` is the newest of its app. The test's transaction is rolled back."""
    _migrate([(app, name)])


def forward():
    """Run all migrations again."""
    _migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def _check_constraints(*_progress):
    """Check deferred constraints, or the next migration could not alter the table: in a test none of them commits."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _migrate(targets):
    _check_constraints()
    MigrationExecutor(connection, progress_callback=_check_constraints).migrate(targets)


def copied(table, pk, **changes):
    """Copy a row by SQL with a new key and `changes`; return the key."""
    key = str(uuid.uuid4())
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(old, %s)).* FROM {table} old WHERE id = %s",
            [json.dumps({**changes, "id": key}), pk],
        )
    return key


def column(table, name, keys):
    """Return the values that rows have in one column, in the order of their keys."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id::text, {name} FROM {table} WHERE id = ANY(%s)", [keys])
        found = dict(cursor.fetchall())
    return [found[key] for key in keys]


def guards_of(table):
    """Return {name: mode} of a table's guards; `A` is always."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table]
        )
        return dict(cursor.fetchall())
