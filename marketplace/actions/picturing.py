"""Keep the screenshots of versions."""

import hashlib
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from portal.foundation.text import validate_readable

from ..models import Picture

MAX_SCREENSHOTS, MAX_SCREENSHOT_TEXT = 4, 200


def keep_screenshots(shots: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return screenshots as a version has them, keeping the WebP of those that come with `data`. Raises ValidationError."""
    if len(shots) > MAX_SCREENSHOTS:
        raise ValidationError(_("A version has at most %(count)d screenshots.") % {"count": MAX_SCREENSHOTS})
    for shot in shots:
        if not shot["text"].strip() or len(shot["text"]) > MAX_SCREENSHOT_TEXT:
            raise ValidationError(
                _("Describe each screenshot in at most %(count)d characters.") % {"count": MAX_SCREENSHOT_TEXT}
            )
        validate_readable(shot["text"])
    new = {_key(shot): shot["data"] for shot in shots if "data" in shot}
    # The same picture may be there, of another version.
    Picture.objects.bulk_create([Picture(id=key, webp=data) for key, data in new.items()], ignore_conflicts=True)
    kept = [{"picture": _key(shot), "text": shot["text"]} for shot in shots]
    keys = {shot["picture"] for shot in kept}
    if Picture.objects.filter(pk__in=keys).count() < len(keys):
        raise ValidationError(_("One of these screenshots does not exist. Upload it again."))
    return kept


def _key(shot: dict[str, Any]) -> str:
    return hashlib.sha256(shot["data"]).hexdigest() if "data" in shot else shot["picture"]
