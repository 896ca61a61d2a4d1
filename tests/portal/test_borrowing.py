"""A statement borrows a connection from the pool for itself alone, and gives it back whatever happens."""

import copy

import pytest
from django.db import DataError, OperationalError, connection

from portal.foundation.postgres.base import DatabaseWrapper

pytestmark = pytest.mark.django_db(transaction=True)
PREPARED = b"SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'row_%'"
BACKEND = b"SELECT pg_backend_pid()"


@pytest.fixture
def pooled():
    """A database with a pool of one connection, as servers have it."""
    told = copy.deepcopy(connection.settings_dict)
    told["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 60}
    database = DatabaseWrapper(told, alias="pooled")
    yield database
    database.close()
    database.close_pool()


def test_a_row_is_read_and_the_connection_given_back(pooled):
    for _again in range(3):
        assert pooled.row(b"SELECT $1::text, $2::int", [None, 7]) == (None, 7)
        assert pooled.row(b"SELECT 1 WHERE $1", [False]) is None
    assert pooled.connection is None and pooled.pool.get_stats()["pool_available"] == 1


def test_a_statement_is_planned_once_per_connection(pooled, settings):
    for _again in range(3):
        pooled.row(b"SELECT $1::int", [1])
    assert pooled.row(PREPARED, []) == (2,)
    settings.PREPARED_STATEMENTS = False
    assert pooled.row(b"SELECT $1::int + 1", [1]) == (2,)
    assert pooled.row(PREPARED, []) == (2,)


def test_an_error_is_djangos_and_the_connection_goes_on(pooled):
    for _again in range(2):
        with pytest.raises(DataError, match="division by zero"):
            pooled.row(b"SELECT 1 / $1::int", [0])
    assert pooled.row(b"SELECT $1::int", [1]) == (1,)


def test_a_connection_that_is_lost_is_replaced(pooled):
    (backend,) = pooled.row(BACKEND, [])
    with pytest.raises(OperationalError):
        pooled.row(b"SELECT pg_terminate_backend(pg_backend_pid())", [])
    (other,) = pooled.row(BACKEND, [])
    assert other != backend


def test_a_plan_that_a_migration_made_invalid_costs_no_answer(pooled):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE borrowed AS SELECT 1 AS number")
        try:
            assert pooled.row(b"SELECT * FROM borrowed", []) == (1,)
            cursor.execute("ALTER TABLE borrowed ALTER number TYPE text")
            assert [pooled.row(b"SELECT * FROM borrowed", []) for _again in range(2)] == [("1",), ("1",)]
        finally:
            cursor.execute("DROP TABLE borrowed")


def test_what_it_writes_is_committed_however_the_connection_was_left(pooled):
    """No BEGIN goes before it, as psycopg would send outside autocommit mode."""
    pooled.pool.open()
    left = pooled.pool.getconn()
    left.autocommit = False
    pooled.pool.putconn(left)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE borrowed (number int)")
        try:
            pooled.row(b"INSERT INTO borrowed VALUES ($1) RETURNING 1", [1])
            cursor.execute("SELECT count(*) FROM borrowed")
            assert cursor.fetchone() == (1,)
        finally:
            cursor.execute("DROP TABLE borrowed")


def test_a_connection_in_use_is_not_left_for_another(pooled):
    """What Django's connection wrote in its transaction is read."""
    pooled.set_autocommit(False)
    with pooled.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert pooled.row(BACKEND, []) == cursor.fetchone()
    pooled.rollback()


def test_a_rollback_on_the_connection_costs_no_answer(pooled):
    """It has psycopg remove what is prepared there."""
    asked = b"SELECT $1::int", [1]
    for _again in range(2):
        assert pooled.row(*asked) == (1,)
        pooled.set_autocommit(False)
        pooled.row(BACKEND, [])
        pooled.rollback()
        pooled.close()
        assert pooled.connection is None and [pooled.row(*asked) for _once in range(2)] == [(1,), (1,)]
