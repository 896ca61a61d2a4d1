import io

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from PIL import Image, ImageOps

SIDE = 128
MAX_BYTES = 1024 * 1024
MAX_SIDE = 2048


def reencode(upload: UploadedFile) -> bytes:
    """Return a square PNG re-encoded from an uploaded picture. Raises ValidationError, saying what is wrong."""
    if (upload.size or 0) > MAX_BYTES:
        raise ValidationError(_("The icon is larger than 1 MB."))
    try:
        picture = Image.open(upload, formats=["PNG", "JPEG", "WEBP"])
        # A limit on each side, because of decoding: a few KB of file can unpack to hundreds of MB of pixels.
        if max(picture.size) > MAX_SIDE:
            raise ValidationError(_("The icon is larger than 2048 × 2048 pixels."))
        square = ImageOps.fit(picture.convert("RGBA"), (SIDE, SIDE))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ValidationError(_("The icon is not a PNG, JPEG or WebP image.")) from None
    made = io.BytesIO()
    square.save(made, "PNG")
    return made.getvalue()
