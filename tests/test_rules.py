"""docs/rules.md defines every rule that is cited, code and tests cite every rule it defines, and all its names exist."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from credentials.actions import MAX_OVERLAP_HOURS
from tests.races.locks import _ORDER

BASE = Path(settings.BASE_DIR)
PAGE = (BASE / "docs/rules.md").read_text()
# {number: what the page says of it}
RULES = dict(re.findall(r"^### ([CTME]\d+): (.*?)(?=^##)", PAGE, re.M | re.S))
# A percent-encoded byte and a colour look alike.
CITED = re.compile(r"(?<![\w%#-])[CTME][1-9]\d?(?![\w%])")
COMMENTS = r"\{#.*?#\}|\{% comment.*?endcomment %\}"


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=BASE, capture_output=True, text=True, check=True)
    return [BASE / name for name in listed.stdout.split() if (BASE / name).exists()]


def citations(*patterns):
    """Return {number: a file that cites it}; of templates only the comments count."""
    found = {}
    for path in tracked(*patterns):
        text = path.read_text()
        if path.suffix == ".html":
            text = " ".join(re.findall(COMMENTS, text, re.S))
        found |= dict.fromkeys(CITED.findall(text), path)
    return found


def row(number, name):
    """Return what a rule's list names in backticks after "Enforced", "Database" or "Tests"."""
    found = re.search(rf"^- {name}: (.*)$", RULES[number], re.M)
    return re.findall(r"`([^`]+)`", found[1]) if found else []


def test_every_rule_that_is_cited_is_defined():
    cited = citations("*.py", "*.html", "README.md", "docs/*.md", "*.md", "Makefile")
    assert {number: path for number, path in cited.items() if number not in RULES} == {}


def test_code_and_tests_cite_every_rule_that_is_defined():
    code = citations("portal/*.py", "credentials/*.py", "consent/*.py", "marketplace/*.py", "templates/*.html")
    tests = citations("tests/*.py")
    assert [number for number in RULES if number not in code or number not in tests] == []
    assert len(RULES) >= 27


@pytest.mark.parametrize("number", RULES)
def test_the_places_and_tests_of_a_rule_exist(number):
    assert row(number, "Enforced") and row(number, "Tests"), "say where it is enforced, and which test holds it"
    for name in [*row(number, "Enforced"), *row(number, "Tests")]:
        path, _, member = name.partition("::")
        if path.endswith(".py"):
            text = (BASE / path).read_text()
            defined = {getattr(node, "name", None) for node in ast.parse(text).body}
            assert not member or member in defined, name


@pytest.mark.django_db
def test_the_database_has_every_constraint_and_trigger_that_the_rules_name():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgenabled = 'A' UNION SELECT conname FROM pg_constraint"
            " UNION SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique"
        )
        there = {name for (name,) in cursor.fetchall()}
    named = {name for number in RULES for name in row(number, "Database")}
    assert named - there == set() and len(named) > 30


def test_the_lock_order_is_the_one_that_the_races_hold():
    order = PAGE[PAGE.index("## Lock order") :]
    assert re.findall(r"^\d+\. `(\w+)`", order, re.M) == _ORDER


def test_the_numbers_of_the_rules_are_those_of_the_settings():
    minutes, days = settings.ACCESS_TOKEN_LIFETIME.seconds // 60, settings.CONSENT_LIFETIME.days
    assert f"lives {minutes} minutes" in RULES["T5"] and f"ends {days} days" in RULES["T5"]
    assert RULES["T6"].count(f"{settings.REFRESH_RETRY_WINDOW.seconds} seconds") == 2
    assert f"0 to {MAX_OVERLAP_HOURS} hours" in RULES["C3"]
    assert settings.ERASE_AFTER.days == 1 and "a day later erase" in RULES["T3"]
