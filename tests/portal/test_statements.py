"""Statements are compiled once, and read what the queryset that they were built of would read."""

import pytest
from django.db import connection
from django.db.models import IntegerField

from portal.accounts.models import User
from portal.foundation.statements import Parameter, Statement
from tests.servers import together

pytestmark = pytest.mark.django_db


def _people():
    return User.objects.filter(pk=Parameter("pk", IntegerField()), is_active=True)


def test_a_statement_reads_what_its_parameters_name(cast):
    names = Statement(lambda: _people().values_list("email"))
    assert [names.row(pk=user.pk) for user in (cast.dev, cast.agent)] == [(cast.dev.email,), (cast.agent.email,)]
    assert names.row(pk=0) is None


def test_a_value_cannot_become_sql(cast):
    found = Statement(lambda: User.objects.filter(email=Parameter("email")).values_list("pk"))
    assert found.row(email="x' OR 'x' = 'x") is None


def test_a_statement_is_built_once(cast):
    built = []
    found = Statement(lambda: built.append(1) or _people().values_list("email"))
    for _ in range(3):
        found.row(pk=cast.dev.pk)
    assert built == [1]


@pytest.mark.django_db(transaction=True)
def test_a_migration_under_a_running_process_costs_no_answer(cast):
    """PostgreSQL refuses a plan whose columns changed."""
    names = Statement(lambda: _people().values_list("name"))

    def ask():
        return [names.row(pk=cast.dev.pk), migrate("varchar(90)"), names.row(pk=cast.dev.pk)]

    def migrate(kind):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE accounts_user ALTER name TYPE {kind}")

    try:
        assert together(ask) == [[("Dev",), None, ("Dev",)]]
    finally:
        migrate("varchar(80)")


def test_a_column_that_needs_a_conversion_is_refused():
    from marketplace.models import Connection

    with pytest.raises(TypeError, match="need no conversion"):
        Statement(lambda: Connection.objects.filter(pk=Parameter("pk")).values_list("tokens")).row(pk=1)
