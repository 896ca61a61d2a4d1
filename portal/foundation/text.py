"""Normalise and validate text that people enter."""

import contextlib
import re
from typing import Any

import idna
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

# Controls, line ends, direction marks and invisible characters: with them, one name could pass for another.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


_NAMED = {
    "\0": gettext_lazy("NUL"),
    "\t": gettext_lazy("a tab"),
    "\n": gettext_lazy("a line break"),
    "\r": gettext_lazy("a line break"),
    " ": gettext_lazy("a space"),
}


def describe(character: str) -> str:
    """Describe a character so that people can find it: its glyph or name, and its code point."""
    code = f"U+{ord(character):04X}"
    if name := _NAMED.get(character):
        return f"{name} ({code})"
    if not character.isprintable() or character.isspace():
        return code
    return f"“{character}”" if character.isascii() else f"“{character}” ({code})"


def ascii_host(host: str) -> str:
    """Return the ASCII form of an internationalised host name (RFC 5891), or "" if it has none."""
    if host.isascii():
        return ""
    with contextlib.suppress(idna.IDNAError):
        return idna.encode(host, uts46=True).decode()
    return ""


def validate_readable(value: str) -> None:
    """Raise ValidationError if a name has an invisible character (Unicode technical report 36)."""
    if found := _UNSEEN.search(value):
        raise ValidationError(
            _("Remove the invisible character after “%(before)s”: %(character)s.")
            % {"before": value[: found.start()][-20:], "character": describe(found[0])}
        )


def validate_address(value: str) -> None:
    """Raise ValidationError for a mail address that could break a line or be read as something else.

    Between quotation marks an address may contain anything (RFC 5322 section 3.4.1): controls, markup, links.
    """
    validate_readable(value)
    if '"' in value:
        raise ValidationError(_("Use an address without quotation marks."))


def lines(text: str) -> str:
    """Return a text with its line ends as LF; browsers send CRLF (HTML, multipart form data)."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Textarea(forms.Textarea):
    """A text area whose unchanged text comes back exactly as it was."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> str | None:
        value = super().value_from_datadict(data, files, name)
        return value and lines(value)
