"""T11: every lock has a race that needs it. Without the lock, an interleaving breaks the race's promise."""

import ast
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

from tests.races.locks import NEEDED, SECOND, STAY
from tests.races.pairs import PAIRS
from tests.races.pauses import at_locks, everywhere, named
from tests.races.test_forced import interleavings, judge

BASE = Path(settings.BASE_DIR)
TABLES = {model.__name__: model._meta.db_table for model in apps.get_models()}


def what_is_locked(call):
    """Return the table that a call locks, `rows` if it is not named, "> …" for a path, or None for any other call."""
    match call:
        case ast.Call(func=ast.Name(id="lock"), args=[ast.Name(id=model), *_]):
            return TABLES[model]
        case ast.Call(func=ast.Name(id="lock_path")):
            return "> consent.path.lock_path"
        case ast.Call(func=ast.Attribute(attr="select_for_update", value=ast.Attribute(value=ast.Name(id=model)))):
            return TABLES.get(model, "rows")
        case ast.Call(func=ast.Attribute(attr="select_for_update")):
            return "rows"
    return None


def locks_in_the_code():
    for app in ("portal", "credentials", "consent", "marketplace"):
        for path in (BASE / app).rglob("*.py"):
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef) and path != BASE / "portal/foundation/database.py":
                    for call in ast.walk(function):
                        if locked := what_is_locked(call):
                            yield f"{named(path)}.{function.name} {locked}"


def test_every_lock_has_a_race_that_needs_it_or_a_reason():
    """A removed lock is noticed here at once, whether or not a random race shows it."""
    assert {*locks_in_the_code()} == {*NEEDED, *SECOND, *STAY}


def fails(stage, actors, name, without, selects=at_locks):
    """Tell whether a race breaks in some interleaving without these locks, which the fast lane does not take."""
    *pair, verdict = PAIRS[name]
    for actor in actors:
        actor.without = frozenset(without)
    try:
        with stage.off_the_lane():
            for world, played in interleavings(stage, actors, pair, selects):
                try:
                    judge(world, played, verdict)
                except Exception:
                    return True
    finally:
        for actor in actors:
            actor.without = frozenset()
    return False


@pytest.mark.soak
@pytest.mark.parametrize("site", NEEDED)
def test_a_race_fails_without_the_lock(stage, actors, site):
    assert fails(stage, actors, NEEDED[site], [site])


@pytest.mark.soak
@pytest.mark.parametrize("site", SECOND)
def test_a_lock_holds_where_those_beside_it_are_gone(stage, actors, site):
    beside, name = SECOND[site]
    assert not fails(stage, actors, name, beside, everywhere)
    assert fails(stage, actors, name, [site, *beside], everywhere)
