"""Every URL and method by everybody: the answer, its body and what it changes are as in tests/people/table.txt."""

import pytest

from tests.people.table import DOORS, read
from tests.people.world import MINE, PEOPLE, body
from tests.test_architecture import addresses

pytestmark = pytest.mark.django_db
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LISTED, LINES = read()


def test_the_table_has_every_address_and_no_other():
    served = [address for address, _view in addresses()]
    assert sorted(LISTED) == sorted(set(served)), set(served) ^ set(LISTED)


@pytest.mark.parametrize("address", LISTED)
def test_every_address_says_what_everybody_gets(address):
    """Each kind of request has one cell for each of the people."""
    kinds = {(line.method, line.about) for line in LINES if line.address == address}
    assert kinds
    for kind in kinds:
        told = [
            who for line in LINES if (line.address, line.method, line.about) == (address, *kind) for who in line.cells
        ]
        assert sorted(told) == sorted(PEOPLE), kind


def in_turn(line):
    """Return up to two of the people who get the same answer, for each answer. The next line gets others."""
    turn, alike = LINES.index(line), {}
    for who, cell in line.cells.items():
        alike.setdefault(cell, []).append(who)
    return [people[(turn + number) % len(people)] for people in alike.values() for number in range(min(2, len(people)))]


def gets_what_the_table_says(world, line, people):
    problems, together = [], []
    for who in people:
        if line.does and line.cells[who].endswith("+"):
            with world.undone():
                problems += line.problems(who, world.send(who, line.address, line.method, line.about))
                if (changed := world.changes()) != line.does:
                    problems.append(f"{who} changed {sorted(changed)}")
        else:
            together.append(who)
    with world.undone():
        for who in together:
            problems += line.problems(who, world.send(who, line.address, line.method, line.about))
        # Browsers have sessions even before anybody signs in.
        if changed := {change for change in world.changes() if not change.startswith("session")}:
            problems.append(f"one of {', '.join(together)} changed {sorted(changed)}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("line", LINES, ids=str)
def test_people_get_what_the_table_says_and_change_no_more(world, line):
    """Two of those who get the same answer try it, others at the next line; `make soak` has everybody try."""
    gets_what_the_table_says(world, line, in_turn(line))


@pytest.mark.soak
@pytest.mark.parametrize("line", LINES, ids=str)
def test_everybody_gets_what_the_table_says_and_changes_no_more(world, line):
    gets_what_the_table_says(world, line, line.cells)


def others(address):
    """Return the methods that the table lacks for a URL."""
    return [method for method in METHODS if method not in {line.method for line in LINES if line.address == address}]


def refuses_other_methods(world, address, tries):
    """Tell whether other methods are refused. 404 and signing in first are as good as 405: they tell even less."""
    here = [line for line in LINES if line.address == address]
    problems = []
    with world.undone():
        for method, people in tries.items():
            for who in people:
                response = world.send(who, address, method)
                cells = {line.cells[who] for line in here if who in line.cells}
                led = any(response.get("Location", "").startswith(DOORS[cell]) for cell in cells & {*DOORS})
                if not led and response.status_code != 405 and not (response.status_code == 404 and cells == {"404"}):
                    problems.append(f"{method} by {who}: {response.status_code}")
                if MINE in body(response):
                    problems.append(f"{method} by {who}: {MINE} is in what they read")
        if changed := world.changes():
            problems.append(f"changed {sorted(changed)}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("address", LISTED)
def test_other_methods_are_405_and_change_nothing(world, address):
    """Two of the people try each method, others at the next address; `make soak` has everybody try."""
    turn, tries = LISTED.index(address), others(address)
    apart = len(PEOPLE) // 2
    refuses_other_methods(
        world, address, {method: PEOPLE[(turn + number) % apart :: apart] for number, method in enumerate(tries)}
    )


@pytest.mark.soak
@pytest.mark.parametrize("address", LISTED)
def test_other_methods_are_405_to_everybody(world, address):
    refuses_other_methods(world, address, dict.fromkeys(others(address), PEOPLE))


FORMS = [
    line for line in LINES if line.method == "POST" and not line.address.startswith(("oauth/", "sandbox/", "api/"))
]


@pytest.mark.parametrize("line", [line for line in FORMS if line.does], ids=str)
def test_no_form_is_taken_from_another_site(world, line):
    """Without the page's CSRF token, who may do it does nothing."""
    who = next(who for who, cell in line.cells.items() if cell.endswith("+"))
    with world.undone():
        world.browsers[who].handler.enforce_csrf_checks = True
        try:
            response = world.send(who, line.address, line.method, line.about)
        finally:
            world.browsers[who].handler.enforce_csrf_checks = False
        assert response.status_code == 403 and "Submit the form again" in body(response)
        assert not world.changes()
