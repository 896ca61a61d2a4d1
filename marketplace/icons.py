import io

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from PIL import Image, ImageOps

SIDE = 128
MAX_BYTES = 1024 * 1024
MAX_PIXELS = 4096 * 4096


def reencode(upload):
    """Return a square PNG made anew from an uploaded picture. Raises ValidationError, saying what is wrong."""
    if upload.size > MAX_BYTES:
        raise ValidationError(_("The icon is larger than 1 MB."))
    try:
        picture = Image.open(upload, formats=["PNG", "JPEG", "WEBP"])
        if picture.width * picture.height > MAX_PIXELS:
            raise ValidationError(_("The icon has more than 4096 × 4096 pixels."))
        square = ImageOps.fit(picture.convert("RGBA"), (SIDE, SIDE))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ValidationError(_("The icon is not a PNG, JPEG or WebP picture.")) from None
    made = io.BytesIO()
    square.save(made, "PNG")
    return made.getvalue()
