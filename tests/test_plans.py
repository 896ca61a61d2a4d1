"""PostgreSQL reaches each large table by an index, whatever a request, a page or a task asks it."""

import json
from urllib.parse import urlencode

import psycopg
import pytest
from django.db import connection, transaction
from django.test import Client

from consent import tasks
from consent.models import AccessToken, RefreshToken
from credentials import actions as credentials
from tests import factories
from tests.backend.base import unguarded
from tests.load.fill_pages import World, fill
from tests.load.pages import PAGES
from tests.oauth import AppSide, basic, sign_in
from tests.volume import Copies, multiply

pytestmark = [pytest.mark.django_db, pytest.mark.soak]
# What a statement may read of a table that is large: an index of many rows of one person or account, but no whole table.
ROWS, LARGE, MOST_READ = 100_000, 10_000, 25_000


class Plans:
    """Explains each statement before it runs first, as an execute wrapper of the connection; `wrong` are those that read much."""

    def __init__(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > %s", [LARGE])
            self.large = {name for (name,) in cursor.fetchall()}
        self.seen, self.wrong, self.about = set(), [], ""

    def __call__(self, execute, sql, params, many, context):
        words = sql.split(maxsplit=1)[0].strip("(").upper()
        if sql not in self.seen and words in ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH") and not many:
            self.seen.add(sql)
            reads = words == "SELECT" and " FOR " not in sql and "FROM" in sql and "lock" not in sql
            self._judge(sql, self._explain("ANALYZE, " if reads else "", sql, params), self.about)
        return execute(sql, params, many, context)

    def _explain(self, option, sql, params):
        # The lane's statements have PostgreSQL's own placeholders.
        kind = psycopg.RawCursor if "$1" in sql else psycopg.ClientCursor
        with transaction.atomic(), kind(connection.connection) as cursor:
            cursor.execute(f"EXPLAIN ({option}FORMAT JSON) {sql}", params, prepare=False)
            found = cursor.fetchone()[0]
            return (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]

    def judge_generic(self):
        """Judge the plans that serve for any values of what was prepared; return how many there are."""
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            cursor.execute("SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements")
            prepared = cursor.fetchall()
        for name, sql, count in prepared:
            values = f"({', '.join(['NULL'] * count)})" if count else ""
            self._judge(sql, self._explain("", f"EXECUTE {name}{values}", None), "generic")
        return len(prepared)

    def _judge(self, sql, plan, about):
        for node in nodes(plan):
            if node.get("Relation Name") not in self.large:
                continue
            read = node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)
            read *= node.get("Actual Loops", 1)
            all_is_read = node["Node Type"] == "Seq Scan" and "Actual Rows" not in node
            if all_is_read or read > MOST_READ:
                self.wrong.append(f"{about}: {node['Node Type']} of {node['Relation Name']} ({read}): {sql}")


def nodes(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def multiply_tokens(tokens):
    """Make 100,000 families with a token each, of which every second ended two days ago."""
    family, token = RefreshToken.objects.get(), AccessToken.objects.get()
    copies = Copies("tokens")
    ended = "CASE WHEN mod(n, 2) = 0 THEN {0} - interval '3 days' ELSE {0} END".format
    with connection.cursor() as cursor, unguarded(cursor, None):
        multiply(family, ROWS, id=copies.key("family"))
        checksum = "md5('a' || n) || md5('b' || n)"
        multiply(
            token,
            ROWS,
            id=copies.number,
            token_checksum=checksum,
            family_id=copies.key("family"),
            expires=ended("expires"),
        )


@pytest.fixture
def world():
    made = World()
    side = AppSide(Client(), made.client, made.secret)
    made.browsers = {}
    for user in (made.one, made.many, made.agent, made.dev, made.reviewer):
        made.browsers[user.name] = Client()
        sign_in(made.browsers[user.name], user)
    made.tokens = side.tokens_for(made.browsers["One"], account=made.account.slug)
    made.side = side
    with connection.cursor() as cursor:
        with unguarded(cursor, None):
            fill(made, ROWS)
        multiply_tokens(made.tokens)
        cursor.execute("ANALYZE")
    return made


def traffic(world):
    """Yield what an app and a product send, by name."""
    side, product = world.side, basic("freshservice", credentials.make_product_secret(factories.product(), by=None))
    told = {"HTTP_X_ORIGINAL_METHOD": "GET", "HTTP_X_ORIGINAL_URI": "/api/v2/tickets/1"}
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {world.tokens['access_token']}"}
    form = "application/x-www-form-urlencoded"
    asked = urlencode({"token": world.tokens["access_token"]})
    code = side.code_for(world.browsers["One"], account=world.account.slug)
    yield "check", lambda: side.http.get("/oauth/check/freshservice", **told, **bearer)
    yield "introspect", lambda: side.http.post("/oauth/introspect", asked, form, **product)
    yield "refresh", lambda: side.refresh(world.tokens["refresh_token"])
    yield "client credentials", lambda: side.client_credentials(world.account.slug)
    yield "code", lambda: side.exchange(*code)
    yield "revoke", lambda: side.revoke(world.tokens["access_token"])


def test_each_large_table_is_reached_by_an_index(world):
    sent, plans = [*traffic(world)], Plans()
    assert {"consent_accesstoken", "consent_refreshtoken", "consent_consent", "ledger_entry"} <= plans.large
    with connection.execute_wrapper(plans):
        for name, send in sent:
            plans.about = name
            response = send()
            assert response.status_code == 200 and (name == "revoke" or response.lane == "fast"), (
                name,
                response.content,
            )
        for name, (who, address) in PAGES.items():
            for person in (who, "Many") if who == "One" else (who,):
                plans.about = f"{name} of {person}"
                response = world.browsers[person].get(address.format(account=world.account.slug))
                assert response.status_code == 200, (name, person)
        for task in (tasks.sweep, tasks.expire, tasks.erase, tasks.sweep_ends, tasks.sweep_successors):
            plans.about = task.__name__
            task()
    assert plans.judge_generic() >= 5
    assert not plans.wrong, "\n".join(plans.wrong)
