"""T11, M6: every interleaving of two acts, forced by pausing one at each lock, and what must hold after each."""

from functools import partial

import pytest

from tests.races.acts import kind_of
from tests.races.locks import in_order
from tests.races.pairs import PAIRS, SOAKED, TOKENS, UPGRADING
from tests.races.pauses import at_locks, everywhere, interleave, next_pause
from tests.races.verdicts import hold

EACH = [pytest.param(name, at_locks, marks=pytest.mark.soak if name in SOAKED else (), id=name) for name in PAIRS]
ASKING = [name for name in {**TOKENS, **UPGRADING} if name.startswith(("exchange", "refresh", "client credentials"))]
EACH += [pytest.param(name, everywhere, marks=pytest.mark.soak, id=f"{name}, at each statement") for name in PAIRS]


def judge(world, played, verdict):
    """Assert what always holds, and the race's own promise."""
    kinds = [kind_of(outcome) for outcome in played.outcomes]
    assert all(map(in_order, played.traces))
    hold(world)
    verdict(world, played, kinds)


def interleavings(stage, actors, pair, selects):
    """Run each interleaving of a pair that can end differently, either act pausing; yield (world, what was played)."""
    world = stage.world
    for begun in (0, 1):
        first, second = (partial(pair[position], world) for position in (begun, 1 - begun))
        pause_at = 1
        while pause_at:
            stage.reset()
            played = interleave(actors, first, second, pause_at, selects)
            played.begun = begun
            pause_at = next_pause(played, pause_at, selects)
            # In the order of the pair.
            played.outcomes = played.outcomes[::-1] if begun else played.outcomes
            yield world, played


@pytest.mark.parametrize(("name", "selects"), EACH)
def test_in_every_interleaving(stage, actors, name, selects):
    *pair, verdict = PAIRS[name]
    for world, played in interleavings(stage, actors, pair, selects):
        judge(world, played, verdict)


@pytest.mark.soak
@pytest.mark.parametrize("name", ASKING)
def test_in_every_interleaving_off_the_fast_lane(stage, actors, name):
    """What Django issues, to requests that are unusual."""
    with stage.off_the_lane():
        test_in_every_interleaving(stage, actors, name, at_locks)
