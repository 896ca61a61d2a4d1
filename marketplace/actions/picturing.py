"""Keep the screenshots of versions, erase those that no version has, and take pictures down."""

import hashlib
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from credentials.actions import check_reason
from portal.accounts.models import User
from portal.accounts.rights import require_reviewer
from portal.foundation.refusals import Refused
from portal.foundation.text import validate_readable
from portal.ledger.actions import PORTAL, record

from ..events import Event
from ..models import App, Picture, Version

MAX_SCREENSHOTS, MAX_SCREENSHOT_TEXT = 4, 200
# A picture that no version has is kept so long: the draft that takes it may not be saved yet.
KEPT_FOR, BATCH = timedelta(days=1), 200


class NotThere(Refused):
    field = "picture"


# --- keeping ---


def keep_screenshots(app: App, shots: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return screenshots as a version of an app has them, keeping the WebP of those with `data`. Raises ValidationError."""
    if len(shots) > MAX_SCREENSHOTS:
        raise ValidationError(_("A version has at most %(count)d screenshots.") % {"count": MAX_SCREENSHOTS})
    for shot in shots:
        if not shot["text"].strip() or len(shot["text"]) > MAX_SCREENSHOT_TEXT:
            raise ValidationError(
                _("Describe each screenshot in at most %(count)d characters.") % {"count": MAX_SCREENSHOT_TEXT}
            )
        validate_readable(shot["text"])
    new = {key_of(app, shot["data"]): shot["data"] for shot in shots if "data" in shot}
    kept = [
        {"picture": key_of(app, shot["data"]) if "data" in shot else shot["picture"], "text": shot["text"]}
        for shot in shots
    ]
    # The same picture may be there, of another version of the app. Either way its row is locked until the version is saved, so that
    # nobody erases or takes it down meanwhile.
    Picture.objects.bulk_create(
        [Picture(id=key, webp=new[key]) for key in sorted(new)],
        update_conflicts=True, unique_fields=["id"], update_fields=["kept_at"],
    )  # fmt: skip
    rows = Picture.objects.select_for_update(no_key=True).filter(pk__in=[shot["picture"] for shot in kept])
    there = dict(rows.order_by("pk").values_list("pk", "taken_down_at"))
    for number, shot in enumerate(kept, 1):
        if shot["picture"] not in there:
            raise ValidationError(_("Screenshot %(number)d is no longer there. Upload it again.") % {"number": number})
        if there[shot["picture"]]:
            raise ValidationError(
                _("The portal team took screenshot %(number)d down. Edit the version and save it without.")
                % {"number": number}
            )
    Picture.objects.filter(pk__in=there.keys() - new.keys()).update(kept_at=Now())
    return kept


def key_of(app: App, data: bytes | memoryview) -> str:
    """Return the key of a picture of an app. Two apps never share one, so that taking one down concerns one app alone."""
    return hashlib.sha256(b"%d:%b" % (app.pk, bytes(data))).hexdigest()


def check_icon(app: App, icon: bytes | memoryview | None) -> None:
    """Raise ValidationError if the portal team took an icon down."""
    if icon and Picture.objects.filter(pk=key_of(app, icon)).exclude(taken_down_at=None).exists():
        raise ValidationError(_("The portal team took this icon down. Choose another one."))


def still_there(version: Version) -> list[dict[str, str]]:
    """Return the screenshots of a version that were not taken down."""
    return [{"picture": shot["picture"], "text": shot["text"]} for shot in version.shots if not shot["is_gone"]]


# --- erasing ---

# Of pictures that a version has: whether a frozen one has it, and so for good (M2).
_USED = """
SELECT picture.id, bool_or(version.status <> 'draft')
FROM unnest(%s::text[]) picture(id)
JOIN marketplace_version version ON version.screenshots @> jsonb_build_array(jsonb_build_object('picture', picture.id))
GROUP BY picture.id
"""


@transaction.atomic
def erase_pictures() -> int:
    """Look at a batch of pictures kept a day ago, erase those that no version has, and return how many were looked at."""
    due = Picture.objects.filter(kept_at__lte=Now() - KEPT_FOR).select_for_update(skip_locked=True)
    keys = list(due.order_by("kept_at").values_list("pk", flat=True)[:BATCH])
    with connection.cursor() as cursor:
        # Read after locking: whoever takes one of them from now on waits.
        cursor.execute(_USED, [keys])
        used = dict(cursor.fetchall())
    Picture.objects.filter(pk__in=[key for key, for_good in used.items() if for_good]).update(kept_at=None)
    Picture.objects.filter(pk__in=[key for key, for_good in used.items() if not for_good]).update(kept_at=Now())
    Picture.objects.filter(pk__in={*keys} - used.keys()).delete()
    return len(keys)


# --- taking down ---


@transaction.atomic
def take_down_picture(version: Version, *, picture: str, reason: str, by: User) -> Version:
    """Blank a screenshot or the icon of a version, by its key, wherever else the app has it, and refuse it from now on.

    Nothing else of a frozen version changes (M2). Raises NotAReviewer, ReasonMissing, NotThere.
    """
    require_reviewer(by)
    check_reason(reason)
    # All versions of the app, in one order: several may have the same icon.
    rows = version.app.versions.select_for_update(no_key=True).order_by("pk")
    version = next(row for row in rows.only("app", "number", "name", "icon", "screenshots") if row.pk == version.pk)
    if version.icon and picture == key_of(version.app, version.icon):
        Picture.objects.bulk_create([Picture(id=picture, taken_down_at=Now(), kept_at=None)], ignore_conflicts=True)
        version.app.versions.filter(icon=version.icon).update(icon=None)
        what = "icon"
    else:
        shown = [shot["picture"] for shot in version.screenshots if shot["picture"] == picture]
        there = Picture.objects.filter(pk__in=shown, taken_down_at=None)
        if not there.update(webp=None, taken_down_at=Now(), kept_at=None):
            raise NotThere(_("This version no longer has this picture."))
        what = "screenshot"
    for chain_name in (version.app.team.chain_name, PORTAL):
        record(
            chain_name,
            Event.VERSION_PICTURE_TAKEN_DOWN,
            by=by,
            subject=f"version:{version.pk}",
            name=str(version),
            app=version.app.slug,
            what=what,
            picture=picture,
            reason=reason.strip(),
        )
    return Version.objects.get(pk=version.pk)
