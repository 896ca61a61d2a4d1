"""Draw which way imports go, from the imports themselves, into docs/architecture.md: `make docs`."""

import re
from pathlib import Path

from tests.layers import APPS, FILES, imports, layer, module

PAGE = Path(__file__).parent / "architecture.md"
# Parts of `portal` that have a box of their own: what it is called.
PARTS = {
    "portal.accounts": "portal.accounts: people, accounts, teams",
    "portal.ledger": "portal.ledger: the record",
    "portal.sandbox": "portal.sandbox: demo APIs and apps",
    "portal.example_vendor": "portal.example_vendor: a vendor for tests and the demo",
}
BOXES = {
    "portal": "portal: wiring",
    **{name: PARTS[name] for name in ("portal.sandbox", "portal.example_vendor")},
    "marketplace": "marketplace: what may be asked",
    "consent": "consent: what was granted",
    "credentials": "credentials: who is asking",
    **{name: PARTS[name] for name in ("portal.accounts", "portal.ledger")},
    "foundation": "foundation: database, limits, egress, text …",
}


def box(name):
    return next((part for part in PARTS if f"{name}.".startswith(f"{part}.")), layer(name))


def arrows():
    """Return the (from, to) of all imports that lead from one box to another."""
    return {
        (box(module(path)), box(name))
        for path in FILES
        for name in imports(path)
        if name.split(".")[0] in APPS and box(name) != box(module(path))
    }


def picture():
    """Return the Mermaid source."""
    keys = {name: name.replace(".", "_") for name in BOXES}
    lines = ["flowchart TD", *(f'    {keys[name]}["{title}"]' for name, title in BOXES.items())]
    order = list(BOXES)
    for start, end in sorted(arrows(), key=lambda arrow: [order.index(name) for name in arrow]):
        lines.append(f"    {keys[start]} --> {keys[end]}")
    return "\n".join(lines)


def page(text):
    """Return the page with the picture between its markers."""
    drawn = f"<!-- imports -->\n```mermaid\n{picture()}\n```\n<!-- end -->"
    return re.sub(r"<!-- imports -->.*?<!-- end -->", lambda _: drawn, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
