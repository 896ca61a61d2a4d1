"""How templates are written; `make lint` checks their layout."""

import pytest

from tests.layers import BASE

TEMPLATES = sorted((BASE / "templates").rglob("*.html"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(BASE / "templates")))
def test_no_line_of_a_template_is_longer_than_120_characters(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert len(line) <= 120, f"{path}:{number}"
