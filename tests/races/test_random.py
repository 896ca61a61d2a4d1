"""T11, M6: acts that begin simultaneously on their own connections, apps on two server processes, over and over."""

from functools import partial

import pytest

from tests.races.acts import kind_of
from tests.races.pairs import PAIRS, TOGETHER
from tests.races.pauses import Played
from tests.races.verdicts import hold, issued
from tests.servers import Http, together

# The ones that the rules name always run; all run in the soak.
TWO = [
    "two admins agreeing", "two admins with stale pages", "agreeing against uninstall",
    "an agent agreeing against removal", "install twice", "uninstall twice", "approve against reject", "rotate twice",
]  # fmt: skip
MORE = [
    "two admins agreeing first", "two agents agreeing first", "agreeing against discard",
    "agreeing against the admin's removal", "an agent agreeing against uninstall", "rotate twice without overlap",
]  # fmt: skip
ASKED = [
    "revocation", "suspension of the client", "uninstall", "the agent's removal (agents)", "reuse", "a scope added", "trim",
]  # fmt: skip


def rounds(always, every):
    return [
        *(pytest.param(name, 3, id=name) for name in always),
        *(pytest.param(name, 200, id=f"{name}, 200 times", marks=pytest.mark.soak) for name in every),
    ]


def play(stage, acts, verdict):
    """Play one round: reset the world, run all acts at once, and assert what must hold."""
    world = stage.reset()
    played = Played(together(*(partial(act, world) for act in acts)))
    kinds = [kind_of(outcome) for outcome in played.outcomes]
    hold(world)
    verdict(world, played, kinds)
    return played


@pytest.mark.parametrize(("name", "times"), rounds(TWO, TWO + MORE))
def test_two_at_once(stage, name, times):
    *pair, verdict = PAIRS[name]
    for _round in range(times):
        play(stage, pair, verdict)


@pytest.mark.parametrize(("name", "times"), rounds(ASKED, TOGETHER))
def test_apps_asking_while_it_ends(served, servers, name, times):
    """Code exchange, refresh and client credentials, all against one ending or change of scopes."""
    *acts, verdict, status = TOGETHER[name]
    for number in range(times):
        played = play(served, acts, verdict)
        way = Http(servers[number % 2].port)
        for token in filter(None, map(issued, played.outcomes)):
            assert way.call(token).status == status
