"""The documents for people who work on the portal are true: commands, links, the picture of imports."""

import re
import subprocess

import pytest

from docs import draw_imports
from tests.layers import BASE

PAGES = [*BASE.glob("*.md"), *(BASE / "docs").rglob("*.md")]
MAKEFILE = (BASE / "Makefile").read_text()


def name(path):
    return str(path.relative_to(BASE))


def anchors(text):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_make_that_a_page_names_exists(page):
    targets = re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.M)
    for target in re.findall(r"(?:^    |`)make ([a-z][\w-]*)", page.read_text(), re.M):
        assert target in targets, target


def test_bare_make_lists_every_command_with_what_it_does():
    listed = subprocess.run(["make"], cwd=BASE, capture_output=True, text=True, check=True).stdout
    (targets,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.M)
    assert re.findall(r"^make (\S+) +\S.+$", listed, re.M) == targets.split()


def test_the_picture_of_the_imports_is_current():
    text = draw_imports.PAGE.read_text()
    assert draw_imports.page(text) == text, "run `make docs`"


def test_every_decision_is_listed():
    records = sorted((BASE / "docs/decisions").glob("0*.md"))
    index = (BASE / "docs/decisions/README.md").read_text()
    assert [f"{path.read_text().partition('# ')[2].splitlines()[0]}]({path.name})" for path in records] == re.findall(
        r"^- \[(.+)$", index, re.M
    )
    for path in records:
        assert re.findall(r"^\*\*(\w+)\.\*\*", path.read_text(), re.M) == ["Context", "Decision", "Consequences"], path
