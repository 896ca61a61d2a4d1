"""Draw which way imports go, from the imports themselves, into docs/architecture.md: `make docs`."""

import re
from pathlib import Path

from tests.layers import APPS, FILES, imports, module, room

PAGE = Path(__file__).parent / "architecture.md"
BOXES = {
    "portal": "portal: wiring",
    "portal.demo": "portal.demo: servers, sample APIs, apps and vendors",
    "marketplace": "marketplace: what may be asked",
    "consent": "consent: what was granted",
    "credentials": "credentials: who is asking",
    "portal.accounts": "portal.accounts: people, accounts, teams",
    "portal.ledger": "portal.ledger: the record",
    "portal.foundation": "portal.foundation: database, limits, egress, text …",
}


def arrows() -> set[tuple[str, str]]:
    """Return the (from, to) of all imports that lead from one box to another."""
    return {
        (room(module(path)), room(name))
        for path in FILES
        for name in imports(path)
        if name.split(".")[0] in APPS and room(name) != room(module(path))
    }


def picture() -> str:
    """Return the Mermaid source."""
    keys = {name: name.replace(".", "_") for name in BOXES}
    lines = ["flowchart TD", *(f'    {keys[name]}["{title}"]' for name, title in BOXES.items())]
    order = list(BOXES)
    for start, end in sorted(arrows(), key=lambda arrow: [order.index(name) for name in arrow]):
        lines.append(f"    {keys[start]} --> {keys[end]}")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with the picture between its markers."""
    drawn = f"<!-- imports -->\n```mermaid\n{picture()}\n```\n<!-- end -->"
    return re.sub(r"<!-- imports -->.*?<!-- end -->", lambda _: drawn, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
