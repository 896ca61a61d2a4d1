"""Find the scopes that a call needs: read a route, URL or curl command, and look its operation up in the registry."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.foundation.refusals import Refused

from .models import Endpoint, Product, Scope
from .registry import METHODS, operations_of, published

MAX_PASTED = 20_000
_METHODS = {method.upper() for method in METHODS}
# Options of curl that are followed by a value.
_SHORT_WITH_VALUE = set("AbcCdDeEFhHKmoPQrtTuUwxXyYz")
_LONG_WITH_VALUE = {
    "cacert", "cert", "config", "connect-timeout", "cookie", "cookie-jar", "form-string", "header", "interface", "key",
    "limit-rate", "max-time", "oauth2-bearer", "output", "proxy", "proxy-header", "proxy-user", "range", "referer",
    "resolve", "retry", "retry-delay", "retry-max-time", "url-query", "user", "user-agent", "write-out",
}  # fmt: skip
_SENDS = {"d", "F", "form", "json", "data", "data-ascii", "data-binary", "data-raw", "data-urlencode"}
# A URL, or a path alone; a host without its scheme has a dot before its path.
_ADDRESS = re.compile(r"(?i)https?://\S+|/\S*|[\w-]+(\.[\w-]+)+(:\d+)?/\S*|\$?\{{0,2}\w+\}{0,2}/\S+")
# So many segments before a route are passed over at most, such as those that a gateway adds.
_MOST_DROPPED = 8
# What stands for a value in a route: {id}, <id>, :id, $ID, ${ID}.
_VALUE = re.compile(r"\$?\{[^{}/]*\}|<[^<>/]*>|(?<=/):[A-Za-z]\w*|\$\w+")


class UnreadableCall(Refused):
    field = "pasted"


class Call(NamedTuple):
    """A call as far as it is looked up: nothing else of what was pasted is kept. `method` and `host` may be empty."""

    method: str
    host: str
    path: str


@dataclass(frozen=True)
class Operation:
    product: Product
    endpoint: Endpoint
    scopes: Sequence[Scope]


@dataclass(frozen=True)
class Found:
    """The operations that a call may be for. `nearest` are those with the same ending, where no route is the call's."""

    call: Call
    operations: Sequence[Operation]
    nearest: Sequence[Operation]


def read_call(text: str) -> Call:
    """Read a route (with or without a method), a URL, an HTTP request line or a curl command. Raises UnreadableCall."""
    try:
        words = shlex.split(re.sub(r"[\\^`]\r?\n", " ", text).strip().removeprefix("$ "))
    except ValueError:
        words = re.sub("[\"']", " ", text).split()
    is_curl = bool(words) and re.fullmatch(r"(?i)(.*[/\\])?curl(\.exe)?", words[0]) is not None
    method, address = _read_curl(words[1:]) if is_curl else _read_words(words)
    if not address:
        raise UnreadableCall(
            _("No route or URL was found. Paste a path that begins with “/”, a URL or a curl command.")
        )
    try:
        parts = urlsplit(address if "://" in address else f"//x{address}" if address[0] == "/" else f"//{address}")
    except ValueError:
        raise UnreadableCall(_("The URL cannot be read.")) from None
    host = parts.netloc.rpartition("@")[2].lower() if address[0] != "/" else ""
    return Call(method, host, _VALUE.sub("0", parts.path) or "/")


def _read_words(words: list[str]) -> tuple[str, str]:
    method = words[0].upper() if words and words[0].upper() in _METHODS else ""
    return method, next((word for word in words[bool(method) :] if _ADDRESS.fullmatch(word)), "")


def _read_curl(words: list[str]) -> tuple[str, str]:
    """Return the method and URL of a curl command; what options carry, such as a token, is passed over."""
    method = address = ""
    options, rest = set(), iter(words)
    for word in rest:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            if not equals and (name in _LONG_WITH_VALUE | _SENDS | {"request", "url", "upload-file"}):
                value = next(rest, "")
        elif word.startswith("-") and len(word) > 1:
            flags, name = word[1:], ""
            while flags and not name:
                flag, flags = flags[0], flags[1:]
                name = flag if flag in _SHORT_WITH_VALUE else ""
                options.add(flag)
            value = (flags or next(rest, "")) if name else ""
        else:
            name, value = "url", word
        options.add(name)
        if name in ("X", "request"):
            method = value.upper()
        elif name == "url" and not address and _ADDRESS.fullmatch(value):
            address = value
    return method if method in _METHODS else _implied_method(options), address


def _implied_method(options: set[str]) -> str:
    if options & {"G", "get"}:
        return "GET"
    if options & {"I", "head"}:
        return "HEAD"
    if options & {"T", "upload-file"}:
        return "PUT"
    return "POST" if options & _SENDS else "GET"


def find_operations(call: Call) -> Found:
    """Look a call up as a gateway's check does, at each product whose base address it names, or else at all products."""
    products = list(Product.objects.all())
    named = [each for each in products if call.host and urlsplit(each.base_address).netloc == call.host]
    at = named or products
    if exact := _look_up(at, call.method, call.path):
        return Found(call, exact, [])
    segments = call.path.split("/")
    endings = ("/" + "/".join(segments[start:]) for start in range(2, min(len(segments), _MOST_DROPPED)))
    nearest = next(filter(None, (_look_up(at, call.method, ending) for ending in endings)), [])
    return Found(call, [], nearest or _look_up(at, "", call.path))


def _look_up(products: Iterable[Product], method: str, path: str) -> list[Operation]:
    hits = []
    for product in products:
        known = published(product.slug, product.published)
        found = [known.resolve(each, path) for each in ([method] if method else sorted(known.endpoints))]
        hits += [(product, endpoint) for endpoint in found if endpoint]
    scopes = {scope.name: scope for scope in Scope.objects.filter(name__in={n for _p, e in hits for n in e.scopes})}
    return [Operation(product, endpoint, [scopes[name] for name in endpoint.scopes]) for product, endpoint in hits]


def with_operations(scopes: Iterable[Scope]) -> list[Any]:
    """Give each scope its `operations`, and its `rules`: what people do not expect of it."""
    rows: list[Any] = list(scopes)
    opened = operations_of(scope.name for scope in rows)
    for scope in rows:
        scope.operations = opened[scope.name]
        scope.rules = [*_rules(scope)]
    return rows


def _rules(scope: Any) -> Iterable[str]:
    if scope.deprecated_at:
        yield _("Credentials that have it keep it. It can no longer be added.")
    if scope.risk_level.needs_justification:
        yield _("You have to say why your app needs it. People read your reason before they agree.")
    if scope.risk_level.is_for_verified_teams:
        yield _("An external app of a team that is not verified gets it only on the team’s own test account.")
    operations = scope.operations
    if not operations:
        yield _("No published operation needs it, so it allows nothing yet.")
        return
    writing = sum(not endpoint.is_safe for endpoint in operations)
    if writing in (0, len(operations)):
        yield _("All its operations change data: it does not let an app read.") if writing else _("It only reads.")
    else:
        yield ngettext(
            "%(count)d of its operations changes data.", "%(count)d of its operations change data.", writing
        ) % {"count": writing}
    shared = sum(len(endpoint.scopes) > 1 for endpoint in operations)
    if shared:
        yield ngettext(
            "%(count)d of its operations can be called with another scope instead.",
            "%(count)d of its operations can be called with another scope instead.",
            shared,
        ) % {"count": shared}
