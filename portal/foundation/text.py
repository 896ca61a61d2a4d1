"""What a text that people write is taken for, and what a name or an address that others read may be made of."""

import contextlib
import re

import idna
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

# Controls, line ends, and what turns the direction of writing or is not seen: one name could pass for another.
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


def describe(character):
    """Describe a character so that people can find it: how it looks, or its name, and its number."""
    code = f"U+{ord(character):04X}"
    if name := _NAMED.get(character):
        return f"{name} ({code})"
    if not character.isprintable() or character.isspace():
        return code
    return f"“{character}”" if character.isascii() else f"“{character}” ({code})"


def ascii_host(host):
    """Return the ASCII form of a host with other letters in it (RFC 5891), or "" where there is none."""
    if host.isascii():
        return ""
    with contextlib.suppress(idna.IDNAError):
        return idna.encode(host, uts46=True).decode()
    return ""


def validate_readable(value):
    """Raise ValidationError where a name has a character that people cannot see (Unicode technical report 36)."""
    if found := _UNSEEN.search(value):
        raise ValidationError(
            _("Remove the character after “%(before)s”, which cannot be seen: %(character)s.")
            % {"before": value[: found.start()][-20:], "character": describe(found[0])}
        )


def validate_address(value):
    """Raise ValidationError for a mail address that can end the line it stands on, or is read as something else than one.

    Between quotation marks, an address may hold anything (RFC 5322 section 3.4.1): controls, markup, links.
    """
    validate_readable(value)
    if '"' in value:
        raise ValidationError(_("Use an address without quotation marks."))


def lines(text):
    """Return a text with its lines ended as they are kept; a browser sends them ended by CRLF (HTML, multipart form data)."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Textarea(forms.Textarea):
    """Where people write more than a line: what they did not change comes back as it was."""

    def value_from_datadict(self, data, files, name):
        value = super().value_from_datadict(data, files, name)
        return value and lines(value)
