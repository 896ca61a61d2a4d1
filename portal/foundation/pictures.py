import io

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from PIL import Image, ImageOps

SIDE = 128
MAX_BYTES = 1024 * 1024
MAX_SIDE = 2048
# Of a screenshot: as uploaded, and as kept.
MAX_SCREENSHOT_SIDE, SCREENSHOT = 4096, (1280, 960)


def reencode(upload: UploadedFile) -> bytes:
    """Return a square PNG re-encoded from an uploaded picture. Raises ValidationError, saying what is wrong."""
    square = ImageOps.fit(_decode(upload, MAX_SIDE), (SIDE, SIDE))
    made = io.BytesIO()
    square.save(made, "PNG")
    return made.getvalue()


def reencode_screenshot(upload: UploadedFile) -> bytes:
    """Return a WebP re-encoded from an uploaded picture, no larger than SCREENSHOT. Raises ValidationError, saying what is wrong."""
    picture = _decode(upload, MAX_SCREENSHOT_SIDE)
    picture.thumbnail(SCREENSHOT)
    made = io.BytesIO()
    picture.save(made, "WEBP", quality=82)
    return made.getvalue()


def _decode(upload: UploadedFile, most: int) -> Image.Image:
    """Return the pixels alone of an uploaded picture."""
    if (upload.size or 0) > MAX_BYTES:
        raise ValidationError(_("The picture is larger than 1 MB."))
    try:
        picture = Image.open(upload, formats=["PNG", "JPEG", "WEBP"])
        # A limit on each side, because of decoding: a few KB of file can unpack to hundreds of MB of pixels.
        if max(picture.size) > most:
            raise ValidationError(_("The picture is larger than %(most)d × %(most)d pixels.") % {"most": most})
        decoded = ImageOps.exif_transpose(picture).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ValidationError(_("The picture is not a PNG, JPEG or WebP image.")) from None
    # What a file says besides, such as where a photograph was taken.
    decoded.info.clear()
    return decoded
