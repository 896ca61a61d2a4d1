"""T11, M6: every interleaving of two acts, forced by a pause of one of them at each lock, and what must hold after each."""

import pytest

from tests.races.acts import kind_of
from tests.races.pairs import PAIRS
from tests.races.pauses import at_locks, everywhere, interleave
from tests.races.verdicts import hold

WHERE = [pytest.param(at_locks, id="locks"), pytest.param(everywhere, id="statements", marks=pytest.mark.soak)]


def judge(world, played, verdict):
    """Assert that an interleaving kept what always holds, and its race's promise; give outcomes in the pair's order."""
    if played.order == (1, 0):
        played.first, played.second = played.second, played.first
    kinds = [kind_of(played.first), kind_of(played.second)]
    hold(world)
    verdict(world, played, kinds)


def interleavings(stage, actors, pair, selects):
    """Run each interleaving of a pair, either act pausing at each of its points; yield (world, what was played)."""
    for order in ((0, 1), (1, 0)):
        pause_at, paused = 0, True
        while paused:
            pause_at += 1
            world = stage.reset()
            first, second = (lambda act=pair[place]: act(world) for place in order)
            played = interleave(actors, first, second, pause_at, selects)
            played.order, paused = order, played.paused
            yield world, played


@pytest.mark.parametrize("selects", WHERE)
@pytest.mark.parametrize("name", PAIRS)
def test_in_every_interleaving(stage, actors, name, selects):
    *pair, verdict = PAIRS[name]
    for world, played in interleavings(stage, actors, pair, selects):
        judge(world, played, verdict)
