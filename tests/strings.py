"""Find dependencies hidden in strings: dotted names, model labels, URL names, URLs and templates, with their rooms."""

import ast
import contextlib
import re
from functools import cache

from django.apps import apps
from django.urls import Resolver404, get_resolver, resolve

from tests.layers import APPS, module, rank, room

_DOTTED = re.compile(rf"(?:{'|'.join(APPS)})(?:[.:]\w+)+")
# Template folders not named after their app. Those of other packages and of the admin have no room.
_FOLDERS = {
    "components": "portal.foundation", "demo": "portal.demo", "ledger": "portal.ledger", "members": "portal.accounts",
    "sandbox": "portal.demo",
}  # fmt: skip


def _room_of_app(label):
    names = (config.name for config in apps.get_app_configs() if config.label == label)
    return next((room(name) for name in names if name.split(".")[0] in APPS), None)


def _room_of_view(view):
    """Return the room of a view, or None for another package's."""
    name = type(view.model_admin).__module__ if hasattr(view, "model_admin") else view.__module__
    return room(name) if name.split(".")[0] in APPS else None


def _patterns(resolver, prefix="/"):
    for pattern in resolver.url_patterns:
        address = prefix + str(pattern.pattern).lstrip("^")
        if hasattr(pattern, "url_patterns"):
            yield from _patterns(pattern, address)
        else:
            yield address, pattern


@cache
def _urls():
    """Return each URL path and each URL name with the rooms that serve it."""
    addresses, names = {}, {}
    for address, pattern in _patterns(get_resolver()):
        served_by = _room_of_view(pattern.callback)
        addresses.setdefault(address, set()).add(served_by)
        names.setdefault(pattern.name, set()).add(served_by)
    return addresses, names


def rooms_of_url(name):
    if admin := re.fullmatch(r"admin:([a-z]+)_\w+", name):
        return {_room_of_app(admin[1])}
    return _urls()[1].get(name, set())


def _rooms_of_address(text):
    rooms = {each for address, rooms in _urls()[0].items() if address.startswith(text) for each in rooms}
    with contextlib.suppress(Resolver404):
        rooms.add(_room_of_view(resolve(text).func))
    return rooms


def rooms_of(text):
    """Return the rooms that a string may name, or none."""
    if _DOTTED.fullmatch(text):
        return {room(text.replace(":", "."))}
    if label := re.fullmatch(r"([a-z]+)\.[A-Za-z]+", text):
        return {_room_of_app(label[1])}
    if re.fullmatch(r"[\w/.-]+/[\w.-]+\.(html|txt)", text):
        folder = text.split("/")[0]
        return {_FOLDERS.get(folder, folder if folder in APPS else None)}
    # What is under /.well-known/ is registered with IANA, and nobody's own.
    if re.match(r"/[a-z]", text):
        return _rooms_of_address(text)
    # A single word counts as a URL name only where one is expected.
    return rooms_of_url(text) if re.search("[-:]", text) else set()


def _texts(path):
    """Yield each string of a file with its line and the rooms that it may name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value, rooms_of(node.value)
        elif isinstance(node, ast.Call) and node.args and getattr(node.func, "id", "") in ("reverse", "redirect"):
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value, rooms_of_url(part.value)


def upward_strings(path):
    """Yield the strings of a file that name something only a higher room has."""
    own = rank(module(path))
    return [
        f"{module(path)}:{line} names {text!r} of {', '.join(sorted(rooms))}"
        for line, text, rooms in _texts(path)
        if rooms and None not in rooms and all(rank(each) < own for each in rooms)
    ]
