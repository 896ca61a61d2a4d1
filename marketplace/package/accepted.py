"""Normalise what the platform accepts beyond its own format."""

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, get_args
from urllib.parse import unquote_plus

from django.utils.translation import gettext as _

from . import expressions, formats
from .archive import IPARAMS, MANIFEST, OAUTH, REQUESTS
from .documents import as_dict, step
from .expressions import MalformedExpression


def _as_text(value: Any) -> Any:
    """Return a number or a boolean as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _as_bool(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _as_int(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}", value) else value


def _one_of(values: Any) -> Callable[[Any], Any]:
    """Return a reader of one of several values, in any letter case."""
    known = {value.lower(): value for value in get_args(values)}
    return lambda value: known.get(value.lower(), value) if isinstance(value, str) else value


_FIELD = {
    "display_name": _as_text, "description": _as_text, "type": _one_of(formats.FieldType), "options/*": _as_text,
    "required": _as_bool, "secure": _as_bool,
}  # fmt: skip
_INTEGRATION = {
    "display_name": _as_text, "client_id": _as_text, "client_secret": _as_text, "token_type": _one_of(formats.TokenType),
    "options/customHeaders/*": _as_text, **{f"oauth_iparams/*/{key}": read for key, read in _FIELD.items()},
}  # fmt: skip
# By where a value is; “*” stands for any key.
_READ: dict[str, dict[str, Callable[[Any], Any]]] = {
    MANIFEST: {"platform-version": lambda value: "3.0" if value == 3 else _as_text(value), "engines/*": _as_text},
    # In 2.x the whole file is one integration.
    OAUTH: {**_INTEGRATION, **{f"integrations/*/{key}": read for key, read in _INTEGRATION.items()}},
    REQUESTS: {
        "*/schema/method": _one_of(formats.Method), "*/schema/protocol": _one_of(formats.Protocol), "*/schema/path": _as_text,
        "*/schema/headers/*": _as_text, "*/schema/query/*": _as_text, "*/options/isOAuth": _as_bool,
        "*/options/agents": _as_bool, "*/options/maxAttempts": _as_int, "*/options/retryDelay": _as_int,
    },
    IPARAMS: {f"*/{key}": read for key, read in _FIELD.items()},
}  # fmt: skip


class Accepted:
    """A package's files in the format, the `changes` in words, and `old(file, pointer)`, where a value was in the file."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        self.files = deepcopy(dict(files))
        self.changes: list[str] = []
        # Maps the pointer of a parameter to that of the path it was in.
        self._moved: dict[str, str] = {}
        for file, value in self.files.items():
            for pattern, read in _READ[file].items():
                for inside, key in _matches(value, pattern.split("/")):
                    inside[key] = read(inside[key])
        for name, one in as_dict(self.files.get(REQUESTS)).items():
            self._take_query_apart(name, as_dict(as_dict(one).get("schema")))

    def old(self, file: str, pointer: str) -> str:
        return self._moved.get(pointer, pointer) if file == REQUESTS else pointer

    def _take_query_apart(self, name: str, schema: dict[str, Any]) -> None:
        path, query = schema.get("path"), schema.get("query", {})
        if not isinstance(path, str) or not isinstance(query, dict) or (split := split_query(path)) is None:
            return
        path, found = split
        if found.keys() & query.keys():
            return
        schema["path"], schema["query"] = path, {**query, **found}
        base = step("", name, "schema")
        self._moved |= {step(base, "query", key): f"{base}/path" for key in found}
        self.changes.append(
            _("%(file)s: the query of “%(name)s” was moved from its path to “query”.")
            % {"file": REQUESTS, "name": name}
        )


def _matches(value: Any, pattern: list[str]) -> Iterator[tuple[Any, Any]]:
    """Yield each value that a pattern matches, as its container and its key."""
    key, *rest = pattern
    if isinstance(value, dict):
        keys: list[Any] = [*value] if key == "*" else [key] if key in value else []
    else:
        keys = [*range(len(value))] if key == "*" and isinstance(value, list) else []
    for each in keys:
        if rest:
            yield from _matches(value[each], rest)
        else:
            yield value, each


def split_query(path: str) -> tuple[str, dict[str, str]] | None:
    """Return a path without its query, and the query, or None if it has none or cannot be split."""
    try:
        pieces = expressions.pieces(path)
    except MalformedExpression:
        return None
    # A package has no NUL, so NUL can stand for an expression here.
    inside = iter([source for is_expression, source in pieces if is_expression])
    plain = "".join("\0" if is_expression else source for is_expression, source in pieces)
    before, mark, after = plain.partition("?")
    if not mark or "#" in plain:
        return None
    before = _restored(before, inside)
    query: dict[str, str] = {}
    for pair in filter(None, after.split("&")):
        name, _mark, value = (unquote_plus(part) for part in pair.partition("="))
        if not name or name in query or re.search("\0|<%|{{", name) or re.search("<%|{{", value):
            return None
        query[name] = _restored(value, inside)
    return before, query


def _restored(plain: str, inside: Iterator[str]) -> str:
    return re.sub("\0", lambda _match: next(inside), plain)
