"""The page of components shows all of them (portal/demo/components.py)."""

from pathlib import Path

from portal.demo.components import STATES

TEMPLATES = Path(__file__).parents[1] / "templates" / "components"
STYLESHEET = Path(__file__).parents[1] / "static" / "css" / "portal.css"
# Parts of every page, which the page of components is in itself, and what needs a form or a request of its own.
PARTS = {
    "account_links", "account_search", "help_link", "htmx", "nav_items", "nav_person", "scope_choice", "scope_picker",
}  # fmt: skip


def test_every_component_is_shown():
    assert {path.stem for path in TEMPLATES.glob("*.html")} == STATES.keys() | PARTS


def test_the_stylesheet_stays_small():
    assert len(STYLESHEET.read_bytes()) < 30_000
