"""The layers of the project and what each file imports: for tests, and for the picture in docs/architecture.md."""

import ast
from pathlib import Path

BASE = Path(__file__).resolve().parent.parent
APPS = ("portal", "credentials", "consent", "marketplace")
# Left may import right, never the reverse.
LAYERS = ["portal", "marketplace", "consent", "credentials", "foundation"]
FOUNDATION = (
    "portal.accounts", "portal.ledger", "portal.database", "portal.guards", "portal.pages", "portal.admin",
    "portal.broker", "portal.celery", "portal.egress", "portal.embedded", "portal.encryption", "portal.limits", "portal.mail",
    "portal.once", "portal.postgres", "portal.text",
)  # fmt: skip
FILES = [path for app in APPS for path in sorted((BASE / app).rglob("*.py")) if "migrations" not in path.parts]


def module(path):
    return ".".join(path.relative_to(BASE).with_suffix("").parts).removesuffix(".__init__")


def layer(name):
    if name.startswith(FOUNDATION):
        return "foundation"
    return name.split(".")[0]


def imports(path):
    """The project's modules that a file imports, wherever in it."""
    own = module(path).split(".")
    package = own if path.name == "__init__.py" else own[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*start, *(node.module or "").split(".")]).strip(".")
            yield from [name, *(f"{name}.{alias.name}" for alias in node.names)]
