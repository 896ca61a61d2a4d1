"""How templates are written; `make lint` checks their layout."""

import re

import pytest

from credentials.models import Risk
from tests.layers import BASE

TEMPLATES = sorted((BASE / "templates").rglob("*.html"))
MAILS = sorted((BASE / "templates").rglob("*.txt"))


@pytest.mark.parametrize("path", [*TEMPLATES, *MAILS], ids=lambda path: str(path.relative_to(BASE / "templates")))
def test_no_line_of_a_template_is_longer_than_120_characters(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert len(line) <= 120, f"{path}:{number}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(BASE / "templates")))
def test_a_state_becomes_a_badge_in_its_own_component_and_nowhere_else(path):
    text = path.read_text()
    where = str(path.relative_to(BASE / "templates"))
    if where not in ("components/badge.html", "allauth/elements/badge.html"):
        assert not re.search(r'class="[^"]*(\bbadge\b|\btone-)', text), "include a component instead"
    if path.parent.name != "components":
        assert "components/badge.html" not in text, "include the component of the state, or add one"


def test_each_level_of_risk_has_a_colour_in_the_stylesheet():
    styles = (BASE / "static/css/portal.css").read_text()
    for level in Risk:
        assert f".tone-{level.tone} {{" in styles, level
