"""Fill in request templates: which value goes where, and which must not."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from django.conf import settings
from django.utils.translation import gettext as _

from portal.foundation.refusals import Refused
from portal.foundation.text import describe

from ..package import expressions, formats, hosts
from ..package.contents import Contents
from ..package.documents import MAX_NAME
from ..package.hosts import Misplaced
from ..package.written import looks_secret

MAX_BODY = 6 * 1024 * 1024
MAX_CONTEXT = 100
# Of a header, the path or a parameter; no server accepts more.
MAX_FILLED = 16 * 1024
MASK = "••••••"
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class BadInput(Refused):
    """What the caller sent cannot be put into the template."""


@dataclass
class Request:
    """A filled-in template. `secrets` are the values that must not be shown."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    secrets: set[str] = field(default_factory=set, repr=False)

    def mask(self, text: str) -> str:
        # The longest first, so that nothing is left of a secret that contains another.
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text


def texts_of(context: Mapping[str, Any]) -> dict[str, str]:
    """Return a caller's context by the names that templates use: {"context.ticket.id": "7"}. Raises BadInput."""
    found: dict[str, str] = {}
    too_much = BadInput(
        _("The context has more than %(most)d values, or a name or value that is too long.") % {"most": MAX_CONTEXT}
    )
    left = MAX_CONTEXT

    def walk(prefix: str, value: Any, depth: int) -> None:
        nonlocal left
        if isinstance(value, Mapping) and depth < 5:
            for key, inner in value.items():
                # Empty ones count too, since each still makes a name.
                left -= 1
                if left < 0 or len(key) > MAX_NAME:
                    raise too_much
                walk(f"{prefix}.{key}", inner, depth + 1)
        elif isinstance(value, bool):
            found[prefix] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            found[prefix] = str(value)
        elif value is not None:
            raise BadInput(_("“%(name)s” must be a string, a number, true or false.") % {"name": prefix[:100]})
        text = found.get(prefix, "")
        if len(text) > formats.MAX_VALUE:
            raise too_much
        if wrong := re.search("[\0\ud800-\udfff]", text):
            raise BadInput(
                _("“%(name)s” has a character that cannot be sent: %(character)s.")
                % {"name": prefix[:100], "character": describe(wrong[0])}
            )

    if not isinstance(context, Mapping):
        raise BadInput(_("“context” must be an object of names and values."))
    walk("context", context, 0)
    return found


def fill(
    contents: Contents, template: formats.RequestTemplate, fields: Mapping[str, str], context: Mapping[str, str],
    token: str, body: Any,
) -> Request:  # fmt: skip
    """Put values into a template. No value can add a parameter, header or host, and a caller's cannot add a path segment.

    Raises BadInput.
    """
    schema = template.request
    given = {f"iparam.{name}": fields.get(name, "") for name in contents.iparams}
    values = {**context, **given, "access_token": token}
    url = f"{schema.protocol}://{_host(schema.host, values)}{_path(schema.path, values)}"
    if query := {name: _filled(text, values) for name, text in schema.query.items()}:
        url += "?" + urlencode(query)
    headers = {name.title(): _header(name, text, values) for name, text in schema.headers.items()}
    sent, kind = _body(schema.method, body)
    if kind:
        headers.setdefault("Content-Type", kind)
    hidden = {fields[name] for name, one in contents.iparams.items() if one.secure and name in fields}
    secrets = {text for text in (token, *hidden) if len(text) > 5}
    secret_names = {"access_token", *(f"iparam.{name}" for name, one in contents.iparams.items() if one.secure)}
    for name, text in schema.headers.items():
        parsed = expressions.parse(text)
        if secret_names & {each.name for each in parsed.names()} or looks_secret(name, parsed):
            # The form that is sent, which may be an encoding of the secret.
            secrets |= {part for part in headers[name.title()].split() if len(part) > 8}
    written = [name for name, text in schema.query.items() if looks_secret(name, expressions.parse(text))]
    secrets |= {text for name in written for text in (query[name], quote_plus(query[name])) if len(text) > 5}
    return Request(schema.method, url, headers, sent, secrets)


def _filled(text: str, values: Mapping[str, str], escape: expressions.Escape | None = None) -> str:
    """Fill in a text. A missing value is never taken for an empty one: that would be another call."""
    try:
        template = expressions.parse(text)
        filled = template.fill(values, escape) if escape else template.fill(values)
    except expressions.NoValue as name:
        raise BadInput(_("“%(name)s” has no value, but the template needs one.") % {"name": name}) from None
    if len(filled) > MAX_FILLED:
        raise BadInput(_("A value filled into the template is longer than %(most)d KB.") % {"most": MAX_FILLED // 1024})
    return filled


def _host(text: str, values: Mapping[str, str]) -> str:
    template = expressions.parse(text)
    is_admins = template.is_of_values and not template.is_called

    def label(value: str, _name: str) -> str:
        if not is_admins and not _LABEL.fullmatch(value):
            raise BadInput(_("“%(value)s” cannot be part of a host name.") % {"value": value[:50]})
        return value

    host = _filled(text, values, label)
    try:
        hosts.check_literal(host, loopback=settings.EGRESS_ALLOW_LOOPBACK)
    except Misplaced as error:
        raise BadInput(str(error)) from None
    return host


def _path(text: str, values: Mapping[str, str]) -> str:
    # An empty value would make it another path, such as that of the whole collection.
    values = {name: value for name, value in values.items() if value}
    path = _filled(text, values, _segment)
    if {".", "..", ""} & {*path.split("/")[1:-1]} or path.rpartition("/")[2] in (".", ".."):
        raise BadInput(_("A value for the path is empty, “.” or “..”."))
    return path


def _segment(value: str, name: str) -> str:
    """Escape a value for a path. An admin's setting may be several segments; a caller's value is one."""
    if not name.startswith("iparam."):
        return quote(value, safe="")
    try:
        hosts.check_setting(value)
    except Misplaced as error:
        raise BadInput(
            _("The setting “%(name)s” cannot be used in a path: %(why)s") % {"name": name, "why": error}
        ) from None
    return quote(value, safe="/")


def _header(name: str, text: str, values: Mapping[str, str]) -> str:
    value = _filled(text, values).strip()
    if wrong := hosts.not_in_a_header(value):
        raise BadInput(
            _("The value for the header “%(name)s” has a character that is not allowed in headers: %(character)s.")
            % {"name": name, "character": wrong}
        )
    return value


def _body(method: str, body: Any) -> tuple[bytes, str]:
    if body is None or body == "":
        return b"", ""
    if method in ("GET", "HEAD"):
        raise BadInput(_("A %(method)s request cannot have a body.") % {"method": method})
    try:
        text, kind = (
            (body, "text/plain; charset=utf-8") if isinstance(body, str) else (json.dumps(body), "application/json")
        )
    except RecursionError:
        raise BadInput(_("The body is nested too deeply.")) from None
    # A lone surrogate is valid JSON but not valid text.
    sent = text.encode(errors="replace")
    if len(sent) > MAX_BODY:
        raise BadInput(_("The body is larger than %(most)d MB.") % {"most": MAX_BODY // 2**20})
    return sent, kind
