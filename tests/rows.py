"""What the database holds, for tests that say that nothing changed, or just what did."""

from django.apps import apps
from django.db import connection

# Written by any visit, or beside any refusal, and changing nothing that is anybody's.
UNCOUNTED = {"django_session", "consent_failure", "accounts_sentform"}


def contents():
    """Return {table: (rows, a sum over all that is in them)}, read in one statement."""
    tables = sorted({model._meta.db_table for model in apps.get_models()} - UNCOUNTED)
    sql = " UNION ALL ".join(
        f"SELECT '{table}', count(*), coalesce(sum(hashtext(t::text)), 0) FROM {table} t" for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {table: (rows, total) for table, rows, total in cursor.fetchall()}


def changed(before):
    """Return {table: rows more} of the tables that are not as they were; 0 where rows were changed in place."""
    return {
        table: rows - before[table][0] for table, (rows, total) in contents().items() if before[table] != (rows, total)
    }
