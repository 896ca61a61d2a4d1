"""The two things that every action asks of the database: a lock, and the time (T11)."""

from django.db import connection


def lock(model, pk):
    """Return the row locked against change, but not against rows that refer to it (T11)."""
    return model.objects.select_for_update(no_key=True, of=("self",)).get(pk=pk)


def database_now():
    """Return the database's clock: the time that decides, to be read after the locks (T11)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]
