"""Read table.txt, and judge answers by it."""

from dataclasses import dataclass
from pathlib import Path

from tests.people.world import MINE, PEOPLE, body

# Where people are sent to sign in first, as a person or as staff.
DOORS = {"in": "/accounts/login/?next=", "door": "/admin/login/?next="}


@dataclass
class Line:
    """One line of the table. A cell is a status, with + for those who get what the line is about.

    With ~ it names the app, which the request named.
    """

    address: str
    method: str
    about: str
    cells: dict
    says: str
    does: set

    def __str__(self):
        return f"{self.method}{'/' if self.about else ''}{self.about} {self.address}"

    def problems(self, who, response):
        """Return what is wrong with a person's answer, apart from what it changed."""
        cell, told, location = self.cells[who], body(response), response.get("Location", "")
        door = next((name for name, door in DOORS.items() if location.startswith(door)), "")
        got = door or str(response.status_code)
        if got != cell.rstrip("+~"):
            return [f"{who}: {cell} expected, {got} {location}"]
        # The sign-in page keeps the requested URL.
        told += "" if door else location
        if cell.endswith("+"):
            return [] if self.says in told else [f"{who}: {self.says!r} is not there"]
        if self.says and self.says in told:
            return [f"{who}: {self.says!r} is there"]
        if cell in ("403", "404", *DOORS) and MINE in told:
            return [f"{who}: {MINE} is in what a stranger reads"]
        return []


def read(text=None):
    """Return (addresses, lines) of the table."""
    text = text or (Path(__file__).parent / "table.txt").read_text()
    names, addresses, lines = {}, [], []
    for row in text.splitlines():
        if not row.strip() or row.startswith("#"):
            continue
        if row[0] != " ":
            if " = " in row:
                name, _, values = row.partition(" = ")
                names[f"{{{name}}}"] = values.split()
                continue
            # A URL with the name of a set stands for one with each of its members.
            name = next((name for name in names if name in row), None)
            here = [row.strip().replace(name, each) for each in names[name]] if name else [row.strip()]
            here = ["" if address == "/" else address for address in here]
            addresses += here
            continue
        what, _, does = row.partition(" → ")
        kind, *rest = what.split(maxsplit=len(PEOPLE) + 1)
        cells, says = rest[: len(PEOPLE)], "".join(rest[len(PEOPLE) :]).strip()
        method, _, about = kind.partition("/")
        for address in here:
            told = {who: cell for who, cell in zip(PEOPLE, cells, strict=True) if cell != "."}
            lines.append(Line(address, method, about, told, "" if says == "-" else says, set(does.split())))
    return addresses, lines
