"""Seals of pages: proof of what was shown, so that a button can only mean what was read."""

import hashlib
import hmac
import json

from django.conf import settings
from django.utils.translation import gettext as _

from .refusals import Refused


class ScreenIsStale(Refused):
    """What the person read is no longer what their button would do; show the new page."""


def seal(page: str, shown: list) -> str:
    """Return a MAC over what a page of this kind showed, which its button sends back."""
    key = hashlib.sha256(page.encode() + settings.SECRET_KEY.encode()).digest()
    return hmac.new(key, json.dumps(shown, sort_keys=True).encode(), "sha256").hexdigest()


def check_shown(shown: str, digest: str) -> None:
    """Raise ScreenIsStale unless the digest that was shown is that of what would be shown now."""
    # As bytes: of text it takes ASCII alone, and anything may have been posted.
    if not hmac.compare_digest(digest.encode(), shown.encode()):
        raise ScreenIsStale(_("Something changed while you were reading. Read this page again before you continue."))
