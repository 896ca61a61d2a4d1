"""Every component in every state, in both themes: it is there, readable, large enough to press, and shows its focus."""

import pytest

from portal.demo.components import STATES

from .looking import covers

pytestmark = pytest.mark.django_db(transaction=True)
# In CSS pixels (WCAG 2.2, 2.5.8).
SMALLEST = 24
SIZES = """() => [...document.querySelectorAll("main .btn, main input:not([type=hidden], [type=checkbox], [type=radio]), main select")]
    .map((each) => [each.outerHTML.slice(0, 120), each.getBoundingClientRect().height])"""


@covers("component-list", "switch")
def test_every_component_in_every_state(look, stranger, calm):
    stranger.goto("/dev/components/")
    for name, states in STATES.items():
        assert stranger.locator(f"#component-{name} > div").count() == len(states), name
        assert stranger.locator(f"#component-{name}").is_visible(), name
    for name in ("buttons", "messages", "form", "text", "disclosure", "table", "words"):
        assert stranger.locator(f"#{name}").is_visible(), name
    assert [each for each, height in stranger.evaluate(SIZES) if height < SMALLEST] == []
    look(stranger)
    dev = calm("dev@example.com")
    dev.open("/switch/")
    look(dev.page)
    dev.shoot("switch")
