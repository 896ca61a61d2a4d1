"""Each action four times: it works, the wrong person, the wrong state, twice. A test lists the actions."""

import inspect

import pytest
from django.db import transaction

from consent.actions import ending, granting, issuing, succeeding
from credentials import actions as credentials
from credentials import trying
from marketplace.actions import installing, packaging, picturing, publishing, upgrading
from marketplace.vendors import actions, secrets
from portal.accounts.actions import accounts, inviting, memberships, people, profiles, teams
from tests.acts import ACTIONS, ALWAYS, NOTHING_MORE, World
from tests.rows import changed, contents
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def actors(cast):
    return World(cast)


@pytest.fixture
def world(actors, vendors):
    actors.vendors = vendors
    return actors


def ready(world, name):
    act = ACTIONS[name]
    for need in act.needs.split():
        getattr(world, need)
    return act


def do(act, world, who):
    return act.call(world, world.people[who])


def test_each_action_is_listed_here():
    """Whatever somebody does goes through a function that takes `by`."""
    modules = (
        accounts,
        memberships,
        teams,
        profiles,
        inviting,
        people,
        credentials,
        trying,
        publishing,
        packaging,
        picturing,
        secrets,
        installing,
        upgrading,
        actions,
        granting,
        ending,
        issuing,
        succeeding,
    )
    found = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith(("_", "put_", "record_"))
        and "by" in inspect.signature(function).parameters
    }  # fmt: skip
    # Their caller has decided, or asks only.
    parts = {"give_role", "remove_member", "end_consent", "end_connections", "change_terms", "insert_secret", "step_to"}
    assert found - parts == ACTIONS.keys()
    for name, act in ACTIONS.items():
        assert act.wrong or act.spoil == ALWAYS, f"{name} has a wrong state, or a reason why there is none"
        assert act.others or act.refused is None, f"{name} has wrong persons, or nobody is one"


@pytest.mark.parametrize("name", ACTIONS)
def test_it_works_and_is_recorded(world, name):
    act = ready(world, name)
    before = contents()
    do(act, world, act.by)
    after = changed(before)
    assert after, "something changed"
    # A code, a draft and a form on its way are counted or kept elsewhere.
    assert after.get("ledger_entry", 0) >= 1 or name in (
        "issue_code",
        "change_version",
        "take_package",
        "fill_package",
        "prepare_connection",
    )


@pytest.mark.parametrize("name", [name for name, act in ACTIONS.items() if act.others])
def test_the_wrong_person_is_refused_and_changes_nothing(world, name):
    act = ready(world, name)
    for who in act.others.split():
        before = contents()
        with pytest.raises(act.refused):
            do(act, world, who)
        assert changed(before) == {}, who


@pytest.mark.parametrize("name", [name for name, act in ACTIONS.items() if act.wrong])
def test_the_wrong_state_is_refused_and_changes_nothing(world, name):
    act = ready(world, name)
    act.spoil(world)
    before = contents()
    with pytest.raises(act.wrong), transaction.atomic():
        do(act, world, act.by)
    assert changed(before) == {}


@pytest.mark.parametrize("name", ACTIONS)
def test_twice(world, name):
    act = ready(world, name)
    do(act, world, act.by)
    before = contents()
    if isinstance(act.again, str):
        do(act, world, act.by)
        after = changed(before)
        assert (after == {}) == (act.again == NOTHING_MORE), after
    else:
        with pytest.raises(act.again), transaction.atomic():
            do(act, world, act.by)
        assert changed(before) == {}
