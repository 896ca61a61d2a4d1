"""Validate redirect URIs for registration, and match requested ones with registered ones (C5)."""

import re
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.foundation.text import ascii_host, describe

LOOPBACK_HOSTS = {"127.0.0.1", "[::1]", "localhost"}
# The authorization response adds these (RFC 6749 section 4.1.2, RFC 9207); an app could not tell two of a name apart.
RESPONSE_PARAMETERS = {"code", "state", "error", "error_description", "error_uri", "iss"}
MAX_LENGTH = 500
MAX_COUNT = 20
_HOST = re.compile(r"^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", re.I)
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(?::([0-9]{1,5}))?(/[^#]*)?")
# RFC 3986 allows none of these in a path or query, so no request could name such a URI.
_NOT_OF_A_URL = re.compile(r"""[^!-~]|["<>\\^`{|}]|%(?![0-9A-Fa-f]{2})""")


def _loopback(uri: str) -> re.Match[str] | None:
    found = _LOOPBACK.fullmatch(uri)
    return found if found and (found[2] is None or 0 < int(found[2]) < 65536) else None


def is_loopback(uri: str) -> bool:
    """Tell whether this is `http` on a loopback host, where the port may vary (RFC 8252 section 7.3)."""
    return bool(_loopback(uri))


def _without_port(uri: str) -> str | None:
    found = _loopback(uri)
    return f"http://{found[1]}{found[3] or ''}" if found else None


def matches(registered: str, requested: str) -> bool:
    """Tell whether `requested` is `registered`, character for character but for a loopback port (RFC 9700 section 2.1)."""
    return registered == requested or (
        is_loopback(registered) and is_loopback(requested) and _without_port(registered) == _without_port(requested)
    )


def host_of(uri: str) -> str:
    """Return the host that a URL leads to, with its port; of loopback the host alone, since its port may vary."""
    found = _loopback(uri)
    return found[1] if found else urlsplit(uri).netloc


_hosted: list[str] = []


def register_hosted(name: str) -> None:
    """Name the page, by its URL name, at which the portal itself receives codes for platform clients."""
    _hosted.append(name)


def hosted() -> list[str]:
    return [settings.BASE_URL + reverse(name) for name in _hosted]


def _check_characters(uri: str) -> None:
    """Raise ValidationError naming the first character that is not allowed in a URL."""
    bracket = re.search(r"[\[\]]", re.sub(r"^[a-z]+://\[[^]]*\]", "", uri))
    wrong = _NOT_OF_A_URL.search(uri) or bracket
    if not wrong:
        return
    host = re.match(r"https?://([^/?#@:]*)", uri)
    if host and (plain := ascii_host(host[1])):
        raise ValidationError(
            _("The host of “%(uri)s” has non-ASCII letters. Write it as %(plain)s.") % {"uri": uri, "plain": plain}
        )
    if wrong[0] == "%":
        raise ValidationError(
            _("“%(uri)s” has a “%%” that is not followed by two hex digits. Write “%%25” instead.") % {"uri": uri}
        )
    raise ValidationError(
        _("“%(uri)s” contains %(character)s, which a URL cannot have. Percent-encode it.")
        % {"uri": uri, "character": describe(wrong[0])}
    )


def validate(uri: str) -> str:
    """Raise ValidationError, saying what to change, unless `uri` may be registered."""
    if len(uri) > MAX_LENGTH:
        raise ValidationError(_("A redirect URL can have at most %(count)d characters.") % {"count": MAX_LENGTH})
    if re.search(r"[,;]$|[,;]https?://", uri):
        raise ValidationError(_("“%(uri)s”: put each redirect URL on its own line, without commas.") % {"uri": uri})
    _check_characters(uri)
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise ValidationError(_("“%(uri)s” is not a URL.") % {"uri": uri}) from None
    if "#" in uri:
        raise ValidationError(_("“%(uri)s” has a fragment. Remove “#” and everything after it.") % {"uri": uri})
    if "@" in parts.netloc:
        raise ValidationError(_("“%(uri)s” contains a user name. Remove it and the “@”.") % {"uri": uri})
    if _LOOPBACK.fullmatch(uri):
        if port == 0:
            raise ValidationError(_("“%(uri)s” has an invalid port.") % {"uri": uri})
    elif parts.scheme != "https":
        raise ValidationError(
            _(
                "“%(uri)s” does not start with https://. Plain http:// is allowed only for 127.0.0.1, [::1] and localhost."
            )
            % {"uri": uri}
        )
    elif not _HOST.match(parts.hostname or "") or port == 0 or parts.netloc.endswith(":"):
        raise ValidationError(_("“%(uri)s” does not have a valid host name.") % {"uri": uri})
    if taken := {name for name, _value in parse_qsl(parts.query, keep_blank_values=True)} & RESPONSE_PARAMETERS:
        raise ValidationError(
            _("The query of “%(uri)s” has “%(name)s”, which the portal adds itself. Use another name.")
            % {"uri": uri, "name": min(taken)}
        )
    path = re.sub("%2e", ".", parts.path, flags=re.I)
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ValidationError(
            _("“%(uri)s” has “.” or “..” in its path. Write the full path without them.") % {"uri": uri}
        )
    return uri
