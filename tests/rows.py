"""The content of the database, for tests that nothing changed, or exactly what did."""

from django.apps import apps
from django.db import connection

# Written on any visit or refusal, and nobody's data.
UNCOUNTED = {"django_session", "consent_failure", "accounts_sentform"}


def contents():
    """Return {table: (rows, a checksum of them)}, read in one statement."""
    tables = sorted({model._meta.db_table for model in apps.get_models()} - UNCOUNTED)
    sql = " UNION ALL ".join(
        f"SELECT '{table}', count(*), coalesce(sum(hashtext(t::text)), 0) FROM {table} t" for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {table: (rows, total) for table, rows, total in cursor.fetchall()}


def changed(before):
    """Return {table: additional rows} of the tables that changed; 0 if rows changed in place."""
    return {
        table: rows - before[table][0] for table, (rows, total) in contents().items() if before[table] != (rows, total)
    }
