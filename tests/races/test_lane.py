"""T1, T10, T11: what waits for the fast lane's one statement, and what it need not see, since each check reads it."""

import contextlib
import re

import psycopg
import pytest
from django.db import connection

from consent.lane import tokens as lane
from consent.models import Consent
from credentials import actions as credentials
from credentials.models import ClientSecret
from portal.foundation.database import SHARE_QUEUE
from tests.races import acts
from tests.races.acts import kind_of
from tests.races.pairs import AGENT_ASKING, AGENT_ENDING, ASKING, ENDING, PAIRS
from tests.races.pauses import Actor, Played
from tests.races.verdicts import hold
from tests.servers import environment, together

# Any number, of this test alone.
GATE = 20_261_128
# Written to rows that the lane does not lock: what it issues meanwhile is refused at each check.
SEEN_AT_CHECKS = {
    "suspension of the client", "suspension of the account", "a leak", "deactivation", "the agent's removal",
}  # fmt: skip
RACES = [
    *(f"{ask} against {end}" for ask in ASKING for end in (*ENDING, "trim", "a scope added")),
    *(f"{ask} against {end}" for ask in AGENT_ASKING for end in AGENT_ENDING),
    "refresh against a new agreement", "client credentials against a new agreement", "refresh against an upgrade",
    "refresh against giving back",
]  # fmt: skip
# Without these locks, a token is committed after what should have prevented it. The consent's alone is not needed, since
# nothing changes a consent without the lock of its access; but T11 locks every row that is decided on.
NEEDED = {
    "exchange against uninstall": ["consent_access"],
    "client credentials against trim": ["consent_access", "consent_consent"],
}


class Gate:
    """Stops every insert of an access token, with all locks of its statement taken."""

    def __init__(self):
        self.connection = psycopg.connect(environment()["DATABASE_URL"], autocommit=True)
        self.pid = self.connection.info.backend_pid

    def close(self):
        self.connection.execute("SELECT pg_advisory_lock(%s)", [GATE])

    def open(self):
        self.connection.execute("SELECT pg_advisory_unlock_all()")


@pytest.fixture
def gate(stage):
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION races.stop() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$;"
            " CREATE TRIGGER races_stop BEFORE INSERT ON consent_accesstoken"
            " FOR EACH ROW EXECUTE FUNCTION races.stop()"
        )
    gate = Gate()
    yield gate
    gate.connection.close()
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER races_stop ON consent_accesstoken; DROP FUNCTION races.stop()")


def blockers(actor):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_blocking_pids(%s)", [actor.pid])
        return {*cursor.fetchone()[0]}


def stopped(actor):
    """Wait until an actor is done or waits, and return for whom it waits."""
    while not actor.stopped.wait(0.004):
        if found := blockers(actor):
            return found
    return set()


def play(stage, actors, gate, first, second):
    """Begin `second` while the lane's statement of `first` holds its locks; return what came out, and who waited."""
    world, (one, two) = stage.reset(), actors
    gate.close()
    try:
        one.begin(lambda: first(world), selects=lambda *_: False)
        assert stopped(one) == {gate.pid}, one.outcome
        two.begin(lambda: second(world), selects=lambda *_: False)
        waits = one.pid in stopped(two)
    finally:
        gate.open()
    for actor in actors:
        actor.wait()
    outcomes = [actor.outcome for actor in actors]
    return world, Played(outcomes, traces=[actor.trace for actor in actors]), waits


def judge(world, played, verdict):
    kinds = [kind_of(outcome) for outcome in played.outcomes]
    hold(world)
    verdict(world, played, kinds)


@pytest.mark.parametrize("name", RACES)
def test_what_ends_waits_for_the_lane_or_is_seen_at_each_check(stage, actors, gate, name):
    ask, end, verdict = PAIRS[name]
    world, played, waits = play(stage, actors, gate, ask, end)
    assert (played.outcomes[0].status_code, played.outcomes[0].lane) == (200, "fast")
    ending = name.partition(" against ")[2]
    assert waits == (ending not in SEEN_AT_CHECKS | {"a scope added"})
    judge(world, played, verdict)


def test_families_of_one_consent_do_not_wait_for_each_other(stage, actors, gate):
    world, played, waits = play(stage, actors, gate, ASKING["exchange"], ASKING["refresh"])
    assert not waits
    judge(world, played, PAIRS["refresh against a scope added"][2])


@pytest.mark.parametrize("name", ["refresh twice", "exchange twice"])
def test_a_generation_and_a_code_let_one_request_through(stage, actors, gate, name):
    *acts, verdict = PAIRS[name]
    world, played, waits = play(stage, actors, gate, *acts)
    assert waits
    judge(world, played, verdict)


@contextlib.contextmanager
def without(tables):
    """Take the locks of some tables out of the lane's statements."""

    def unlocked(match):
        kept = [name for name in match[1].split(", ") if name not in tables]
        return f"FOR SHARE OF {', '.join(kept)}" if kept else ""

    statements = [lane._REFRESH, lane._EXCHANGE, lane._STANDING]
    before = [statement._around for statement in statements]
    try:
        for statement in statements:
            statement.__dict__.pop("_compiled", None)
            around = re.sub(r"FOR SHARE OF (\w+(?:, \w+)*)", unlocked, statement._around)
            statement._around = around.replace(SHARE_QUEUE, "abs")
        yield
    finally:
        for statement, around in zip(statements, before, strict=True):
            statement.__dict__.pop("_compiled", None)
            statement._around = around


@pytest.mark.parametrize("name", NEEDED)
def test_without_a_lock_an_end_is_overtaken(stage, actors, gate, name):
    """The database's own judges notice, and Django answers."""
    ask, end, _verdict = PAIRS[name]
    with without(NEEDED[name]):
        _world, played, waits = play(stage, actors, gate, ask, end)
    assert not waits and played.outcomes[0].lane == "django"


def test_the_lane_locks_in_the_order_of_the_rules(stage, actors, gate):
    """T11: access, then consent, then the family."""
    world, one = stage.reset(), actors[0]
    consent = world.consents["agent"]
    rows = [
        ("consent_access", "id", consent.access_id),
        ("consent_consent", "id", consent.pk),
        ("consent_refreshtoken", "consent_id", consent.pk),
    ]
    for number, (table, column, key) in enumerate(rows):
        stage.reset()
        with psycopg.connect(environment()["DATABASE_URL"]) as holder:
            holder.execute(f"SELECT 1 FROM {table} WHERE {column} = %s FOR NO KEY UPDATE", [key])
            one.begin(lambda: AGENT_ASKING["refresh by an agent's app"](world), selects=lambda *_: False)
            assert stopped(one) == {holder.info.backend_pid}
            free = [row for row in rows if row[0] != table and _is_free(*row)]
            holder.rollback()
        one.wait()
        assert free == rows[number + 1 :], f"waiting for {table}, it holds what comes before"
        assert (one.outcome.status_code, one.outcome.lane) == (200, "fast")


def _is_free(table, column, key):
    with psycopg.connect(environment()["DATABASE_URL"]) as other:
        try:
            other.execute(f"SELECT 1 FROM {table} WHERE {column} = %s FOR NO KEY UPDATE NOWAIT", [key])
        except psycopg.errors.LockNotAvailable:
            return False
        return True


def test_last_uses_are_recorded_after_the_commit(stage):
    world = stage.reset()
    consent = world.consents["account"]
    secret = ClientSecret.objects.get(client=world.sides["account"].client)
    for ask in ASKING.values():
        Consent.objects.update(last_issued_at=None)
        ClientSecret.objects.update(last_used_at=None)
        assert ask(world).lane == "fast"
        for row in (consent, secret):
            row.refresh_from_db()
        assert consent.last_issued_at and secret.last_used_at


def test_an_end_passes_those_who_ask_after_it(stage, actors, gate):
    """However many requests of an app overlap, its uninstall waits for those only that began before it."""
    world, (one, two) = stage.reset(), actors
    end = ENDING["uninstall"]
    third = Actor()
    gate.close()
    try:
        one.begin(lambda: ASKING["refresh"](world), selects=lambda *_: False)
        assert stopped(one) == {gate.pid}
        two.begin(lambda: end(world), selects=lambda *_: False)
        assert stopped(two) == {one.pid}
        third.begin(lambda: ASKING["client credentials"](world), selects=lambda *_: False)
        assert two.pid in stopped(third)
    finally:
        gate.open()
    for actor in (one, two, third):
        actor.wait()
    assert (one.outcome.status_code, third.outcome.status_code) == (200, 400)
    third.leave()


def test_a_code_that_expires_during_a_wait_is_not_exchanged(stage, actors):
    """T11: the time is read under the lock."""
    world, one = stage.reset(), actors[0]
    consent = world.consents["account"]
    with psycopg.connect(environment()["DATABASE_URL"]) as holder:
        holder.execute("SELECT 1 FROM consent_consent WHERE id = %s FOR NO KEY UPDATE", [consent.pk])
        soon = "UPDATE consent_authorizationcode SET expires = clock_timestamp() + interval '1 second' WHERE consent_id = %s"
        with psycopg.connect(environment()["DATABASE_URL"], autocommit=True) as other:
            other.execute(soon, [consent.pk])
        one.begin(lambda: ASKING["exchange"](world), selects=lambda *_: False)
        assert stopped(one) == {holder.info.backend_pid}
        holder.execute("SELECT pg_sleep(1.1)")
        holder.rollback()
    one.wait()
    assert (one.outcome.lane, one.outcome.json()["error_description"][:35]) == (
        "django",
        "The authorization code has expired",
    )


def test_a_leak_told_between_both_statements_ends_what_they_issue(stage, monkeypatch):
    """C1: a secret is good only while its client is not suspended, and a leak is told when that is lifted."""
    world = stage.reset()
    side = world.sides["account"]
    credentials.suspend_client(side.client, reason="Leak", by=world.reviewers[0])
    counted = lane._counted

    def lift_meanwhile(*given):
        together(lambda: credentials.lift_client(side.client, reason="New", secret_leaked=True, by=world.reviewers[0]))
        return counted(*given)

    monkeypatch.setattr(lane, "_counted", lift_meanwhile)
    answer = acts.client_credentials(world)
    assert (answer.lane, answer.status_code) == ("django", 401)
