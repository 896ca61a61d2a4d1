"""Which hosts, URLs and header names a template may use (the part of E3 that needs no network)."""

import re
from functools import cache

from django.utils.translation import gettext as _
from publicsuffixlist import PublicSuffixList

from portal.foundation.text import ascii_host, describe

from .expressions import Encode, Node, Template, Text

# Read when it is first asked: no process need wait at its start for a list of 10,000 names.
_suffixes = cache(PublicSuffixList)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}(?::|$))({_LABEL}(?:\.{_LABEL})*)(?::(\d{{1,5}}))?")
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
# Headers that the portal or the connection sets.
_HEADERS_OF_OURS = {
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "expect",
    "proxy-authorization", "proxy-connection", "cookie", "forwarded", "x-forwarded-for", "x-forwarded-host",
}  # fmt: skip


class Misplaced(ValueError):
    """What is wrong with a host, URL or header, and how to mend it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def is_loopback(host: str) -> bool:
    return bool(_LOOPBACK.fullmatch(host))


def split_url(template: Template) -> tuple[str, Template]:
    """Return the scheme and the host of a URL. Raises Misplaced."""
    first = template.parts[0] if template.parts else None
    scheme = _URL.match(first.text) if isinstance(first, Text) else None
    if not scheme or not isinstance(first, Text):
        raise Misplaced(
            _("This is not a URL that starts with “https://”."),
            _("Write the full URL, such as https://api.vendor.com/token."),
        )
    host: list[Node] = []
    for part in (Text(first.text[scheme.end() :]), *template.parts[1:]):
        if isinstance(part, Text) and (end := re.search(r"[/?#]", part.text)):
            host.append(Text(part.text[: end.start()]))
            break
        host.append(part)
    return scheme["scheme"].lower(), Template(tuple(part for part in host if part != Text("")))


def check_host(host: Template, *, fixed: bool, loopback: bool) -> None:
    """Raise Misplaced unless this can be a host; if `fixed`, only the developer may choose it."""
    if host.is_literal:
        check_literal(host.fill({}), loopback)
        return
    texts = "".join(part.text for part in host.parts if isinstance(part, Text))
    if wrong := re.search(r"[^A-Za-z0-9.:-]", texts):
        raise Misplaced(
            _("The host has a character that is not allowed in host names: %(character)s.")
            % {"character": describe(wrong[0])},
            _("Write a host name without a scheme, path or user."),
        )
    if any(isinstance(part, Encode) for part in host.parts):
        raise Misplaced(_("The result of “encode(…)” cannot be part of a host."), _("Use the value itself."))
    if not fixed:
        return
    first, *rest = host.parts
    tail = rest[0].text if len(rest) == 1 and isinstance(rest[0], Text) else ""
    domain = tail[1:].partition(":")[0]
    if isinstance(first, Text) or not tail.startswith(".") or not _suffixes().privatesuffix(domain.lower()):
        raise Misplaced(
            _("This would let the caller choose who receives what the template sends.")
            if host.is_called
            else _(
                "This would let a field that is filled in during installation choose who receives a secret or a token."
            ),
            _("Write the full host, or fill in only one label of your vendor’s domain: <%= … %>.vendor.com."),
        )
    check_literal(f"label{tail}", loopback)


def check_literal(host: str, loopback: bool) -> None:
    """Raise Misplaced unless this is a public host name."""
    if loopback and is_loopback(host):
        return
    found = _HOST.fullmatch(host)
    if not found and (plain := ascii_host(host)):
        raise Misplaced(
            _("“%(host)s” is not an ASCII host name.") % {"host": host[:100]},
            _("Write “%(plain)s”.") % {"plain": plain},
        )
    if not found or (found[2] and not 0 < int(found[2]) < 65536):
        wrong = re.search(r"[^A-Za-z0-9.:-]", host)
        raise Misplaced(
            _("“%(host)s” is not a valid host name: it contains %(character)s.")
            % {"host": host[:100], "character": describe(wrong[0])}
            if wrong
            else _("“%(host)s” is not a valid host name.") % {"host": host[:100]},
            _("Write a host name without a scheme, path or user."),
        )
    if found[2] and int(found[2]) != 443:
        raise Misplaced(_("The portal calls only port 443."), _("Leave out the port."))
    last = found[1].rpartition(".")[2]
    # A resolver reads a number as an IP address.
    if re.fullmatch(r"\d+|0[xX][0-9A-Fa-f]*", last):
        raise Misplaced(
            _("“%(host)s” is an IP address, not a host name.") % {"host": host[:100]}, _("Use the vendor’s host name.")
        )
    if "." not in found[1] or not _suffixes().privatesuffix(found[1].lower()):
        raise Misplaced(
            _("“%(host)s” is not a public host name.") % {"host": host[:100]}, _("Use the vendor’s full host name.")
        )


def check_header(name: str) -> None:
    """Raise Misplaced unless a package may set this header."""
    if not _HEADER.fullmatch(name):
        wrong = re.search(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]", name)
        raise Misplaced(
            _("“%(name)s” is not a valid header name: it contains %(character)s.")
            % {"name": name[:100], "character": describe(wrong[0])}
            if wrong
            else _("A header name must have 1 to 100 characters."),
            _("Use letters, digits and hyphens."),
        )
    if name.lower() in _HEADERS_OF_OURS:
        raise Misplaced(_("A package cannot set the header “%(name)s”.") % {"name": name}, _("Remove it."))


def not_in_a_header(text: str) -> str:
    """Describe the first character of a text that a header cannot have, or return "" (RFC 9110, section 5.5)."""
    wrong = re.search(r"[^\t\x20-\x7e\x80-\xff]", text)
    return describe(wrong[0]) if wrong else ""


def check_path(path: Template) -> None:
    """Raise Misplaced unless all systems read this path in the same way."""
    first = path.parts[0] if path.parts else None
    if not isinstance(first, Text) or not first.text.startswith("/"):
        raise Misplaced(_("A path must start with “/”."), _("Add “/” at the start."))
    filled = "".join(part.text if isinstance(part, Text) else "x" for part in path.parts)
    # Texts in expressions too: they come out unchanged.
    if wrong := re.search(r"[^!-~]|[\\?#]", "".join([filled, *path.texts()])):
        raise Misplaced(
            _("The path has a character that is not allowed in paths: %(character)s.")
            % {"character": describe(wrong[0])},
            _(
                "The portal reads a query in the path only if each parameter has a different name. Otherwise, put it under “query”."
            )
            if wrong[0] == "?"
            else _("Remove it. Anything after “#” is never sent.")
            if wrong[0] == "#"
            else _("Percent-encode it."),
        )
    segments = re.sub("%2e", ".", filled, flags=re.IGNORECASE).split("/")
    if "." in segments or ".." in segments or "" in segments[1:-1]:
        raise Misplaced(
            _("The path has a “.” or “..” segment, or nothing between two “/”."), _("Write the full path without them.")
        )


def check_setting(value: str) -> None:
    """Raise Misplaced unless an admin's value can be used in a path unescaped, “/” included."""
    if wrong := re.search(r"[?#\\\0-\x1f\x7f]", value):
        raise Misplaced(_("it contains %(character)s.") % {"character": describe(wrong[0])}, _("Leave it out."))
    # A server that decodes twice would read these as what they encode.
    if wrong := re.search(r"%(?:25)*(?:2e|2f|5c|3f|23|[01][0-9a-f]|7f)", value, re.IGNORECASE):
        raise Misplaced(_("it contains “%(code)s”.") % {"code": wrong[0][:20]}, _("Write the character itself."))
    segments = value.split("/")
    if "." in segments or ".." in segments:
        raise Misplaced(_("one of its segments is “.” or “..”."), _("Write the full path without them."))
    if "" in segments:
        raise Misplaced(_("it starts or ends with “/”, or has two in a row."), _("Remove the extra slashes."))
