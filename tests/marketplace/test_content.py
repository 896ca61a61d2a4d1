"""Developers' texts and uploads are shown safely."""

import io

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from portal.foundation.markdown import render
from portal.foundation.pictures import reencode, reencode_screenshot


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<b onclick=alert(1)>x</b>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "<javascript:alert(1)>",
        "![x](https://evil.example/track.png)",
        "![x](data:image/svg+xml,<svg onload=alert(1)>)",
        "<iframe src=https://evil.example></iframe>",
        "<style>body{display:none}</style>",
        "<form action=https://evil.example><input>",
        '[x](https://a.example "onmouseover=alert(1)")',
        "[x]: javascript:alert(1)\n[x]",
    ],
)
def test_no_script_handler_or_foreign_image_survives(text):
    html = render(text).lower()
    for bad in ("<script", "<img", "<iframe", "<style", "<form", "<input", "<b ", "<svg"):
        assert bad not in html
    assert 'href="javascript' not in html and 'href="data' not in html and 'href="vbscript' not in html
    assert " on" not in html.replace("&quot;", '"').split(">")[0]


def test_markdown_is_rendered_with_safe_links():
    html = render("# Title\n\n**bold** [site](https://app.example/)\n\n- one\n- two")
    assert "<h3>Title</h3>" in html and "<strong>bold</strong>" in html and "<li>one</li>" in html
    assert 'rel="nofollow noopener noreferrer"' in html and 'href="https://app.example/"' in html


def upload(picture=None, kind="PNG", raw=None, **more):
    data = io.BytesIO()
    if picture is not None:
        picture.save(data, kind, **more)
    return SimpleUploadedFile("icon", data.getvalue() if raw is None else raw)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_icon_is_reencoded_as_a_square_png(kind):
    image = Image.open(io.BytesIO(reencode(upload(Image.new("RGB", (300, 200), "red"), kind))))
    assert (image.format, image.size) == ("PNG", (128, 128))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_screenshot_is_reencoded_as_a_webp_of_its_shape_and_no_larger_than_shown(kind):
    for size, kept in (((2560, 1600), (1280, 800)), ((300, 200), (300, 200)), ((900, 3000), (288, 960))):
        made = Image.open(io.BytesIO(reencode_screenshot(upload(Image.new("RGB", size, "red"), kind))))
        assert (made.format, made.size) == ("WEBP", kept)


@pytest.mark.parametrize("encode", [reencode, reencode_screenshot])
def test_only_the_picture_of_an_upload_is_kept(encode):
    hidden = b"<script>alert(1)</script>"
    exif = Image.Exif()
    exif[0x010E] = hidden.decode()
    for more in ({"kind": "JPEG", "comment": hidden}, {"kind": "PNG", "icc_profile": hidden}, {"exif": exif}):
        source = upload(Image.new("RGB", (10, 10)), **more)
        source.seek(0)
        assert hidden not in encode(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda: upload(raw=b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"), "not a PNG"),
        (lambda: upload(raw=b""), "not a PNG"),
        (lambda: upload(raw=b"\x89PNG\r\n\x1a\n" + b"x" * 100), "not a PNG"),
        (lambda: upload(Image.new("RGB", (9, 9)), "GIF"), "not a PNG"),
        (lambda: upload(Image.new("1", (5000, 4000))), "pixels"),
        (lambda: upload(Image.new("1", (20000, 20000))), "PNG, JPEG or WebP|pixels"),
        (lambda: upload(raw=b"x" * (1024 * 1024 + 1)), "1 MB"),
    ],
)
def test_any_other_picture_is_refused_with_the_reason(source, said):
    for encode in (reencode, reencode_screenshot):
        with pytest.raises(ValidationError, match=said):
            encode(source())


def test_a_truncated_picture_is_refused():
    whole = upload(Image.effect_noise((200, 200), 50)).read()
    with pytest.raises(ValidationError):
        reencode(upload(raw=whole[: len(whole) // 2]))


def test_an_icon_that_unpacks_to_an_endless_line_is_refused():
    """A limit on its area alone would let it pass."""
    file = io.BytesIO()
    Image.new("1", (1, 100_000)).save(file, "PNG")
    with pytest.raises(ValidationError, match="2048"):
        reencode(SimpleUploadedFile("icon.png", file.getvalue()))
    with pytest.raises(ValidationError, match="4096"):
        reencode_screenshot(SimpleUploadedFile("screen.png", file.getvalue()))
