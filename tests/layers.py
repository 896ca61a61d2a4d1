"""The layers of the project, and what each file imports, for tests and for the picture in docs/architecture.md."""

import ast
from pathlib import Path

BASE = Path(__file__).resolve().parent.parent
APPS = ("portal", "credentials", "consent", "marketplace")
# Left may import right, never the reverse.
LAYERS = [
    "portal", "portal.demo", "marketplace", "consent", "credentials", "portal.accounts", "portal.ledger", "portal.foundation"
]  # fmt: skip
FILES = [path for app in APPS for path in sorted((BASE / app).rglob("*.py")) if "migrations" not in path.parts]


def module(path):
    return ".".join(path.relative_to(BASE).with_suffix("").parts).removesuffix(".__init__")


def room(name):
    """Return the room that a module is in: the longest one that its name begins with."""
    return max((each for each in LAYERS if f"{name}.".startswith(f"{each}.")), key=len)


def rank(name):
    return LAYERS.index(room(name))


def imports(path):
    """Yield the project's modules that a file imports, anywhere in it."""
    own = module(path).split(".")
    package = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*start, *(node.module or "").split(".")]).strip(".")
            yield from [name, *(f"{name}.{alias.name}" for alias in node.names)]
