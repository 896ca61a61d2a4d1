"""A version's screenshots: uploaded with a draft, frozen with the version, shown to whoever may see it."""

import io

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.test import Client as Browser
from PIL import Image

from marketplace.actions import installing, publishing
from marketplace.models import Picture, Version
from tests import factories
from tests.browsing import squeeze
from tests.marketplace.test_developer_pages import version_form

pytestmark = pytest.mark.django_db


def html(response):
    return squeeze(response.content.decode())


def upload(colour="red", size=(1600, 1200)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return SimpleUploadedFile("screen.png", data.getvalue(), "image/png")


def urls(version):
    base = f"/apps/{version.app.slug}/versions/{version.pk}/"
    return f"{base}edit/", f"/marketplace/{version.app.slug}/screenshots/{version.pk}"


@pytest.fixture
def with_two(cast, browse, draft):
    """A draft with two screenshots."""
    sent = version_form(shot_0=upload(), text_0="The board", shot_1=upload("blue"), text_1="A chart")
    assert browse(cast.dev).post(urls(draft)[0], sent).status_code == 302
    draft.refresh_from_db()
    return draft


def texts(version):
    return [shot["text"] for shot in Version.objects.get(pk=version.pk).screenshots]


def test_screenshots_are_uploaded_with_the_draft_and_shown_on_the_listing(cast, browse, with_two):
    picture = browse(cast.dev).get(f"{urls(with_two)[1]}/1/")
    assert picture["Content-Type"] == "image/webp" and picture["X-Content-Type-Options"] == "nosniff"
    assert Image.open(io.BytesIO(picture.content)).size == (1280, 960)
    factories.publish(with_two, cast.dev)
    page = html(Browser().get(f"/marketplace/{with_two.app.slug}/"))
    assert page.count('loading="lazy"') == 2 and 'alt="The board"' in page and 'alt="A chart"' in page
    assert Browser().get(f"{urls(with_two)[1]}/2/").status_code == 200


def test_a_screenshot_is_replaced_described_anew_or_removed(cast, browse, with_two):
    dev, edit = browse(cast.dev), urls(with_two)[0]
    first, second = (shot["picture"] for shot in with_two.screenshots)
    kept = {"text_0": "The board", "text_1": "Two charts"}
    dev.post(edit, version_form(**kept))
    with_two.refresh_from_db()
    assert with_two.screenshots == [
        {"picture": first, "text": "The board"}, {"picture": second, "text": "Two charts"},
    ]  # fmt: skip
    dev.post(edit, version_form(**kept, remove_0="on"))
    with_two.refresh_from_db()
    assert with_two.screenshots == [{"picture": second, "text": "Two charts"}]
    dev.post(edit, version_form(text_0="Green", shot_0=upload("green")))
    with_two.refresh_from_db()
    assert texts(with_two) == ["Green"] and with_two.screenshots[0]["picture"] not in (first, second)


def test_a_new_version_starts_with_the_screenshots_of_the_last_one(cast, browse, with_two):
    dev, new = browse(cast.dev), f"/apps/{with_two.app.slug}/versions/new/"
    assert 'value="The board"' in html(dev.get(new))
    sent = version_form(number="1.1", text_0="The board", text_1="A chart")
    assert dev.post(new, sent).status_code == 302
    assert with_two.app.versions.get(number="1.1").screenshots == with_two.screenshots
    assert Picture.objects.count() == 2


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"shot_0": SimpleUploadedFile("x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "text_0": "x"}, "not a PNG"),
        ({"shot_0": SimpleUploadedFile("x.png", b""), "text_0": "x"}, "empty"),
        ({"shot_0": SimpleUploadedFile("x.png", b"x" * (1024 * 1024 + 1)), "text_0": "x"}, "larger than 1 MB"),
        ({"shot_1": upload(), "text_1": " "}, "Describe what the screenshot shows"),
        ({"text_2": "Nothing"}, "Choose the screenshot that this describes."),
        ({"shot_3": upload(), "text_3": "x" * 201}, "at most 200 characters"),
        ({"shot_3": upload(), "text_3": "\u202eab"}, "invisible character"),
        ({"shot_0": upload(), "text_0": "a\0b"}, "Null characters"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_field_and_changes_nothing(cast, browse, draft, sent, said):
    for each in sent.values():
        if hasattr(each, "seek"):
            each.seek(0)
    page = browse(cast.dev).post(urls(draft)[0], version_form(name="Other", **sent))
    assert page.status_code == 422 and said in html(page) and "invalid-feedback" in html(page)
    draft.refresh_from_db()
    assert draft.name == "Insights" and draft.screenshots == [] and not Picture.objects.exists()


def test_the_action_bounds_what_a_version_shows(cast, draft):
    shot = {"data": b"webp", "text": "A chart"}
    unknown = {"picture": "0" * 64, "text": "A chart"}
    for shots in ([shot] * 5, *([{**shot, "text": text}] for text in ("", "x" * 201, "\u202e")), [unknown]):
        with pytest.raises(ValidationError):
            publishing.change_version(draft, by=cast.dev, screenshots=shots)
    assert texts(draft) == [] and not Picture.objects.exists()


def test_screenshots_and_category_are_frozen_with_their_version(cast, with_two):
    """M2, also in the database; a test copy is frozen with the same."""
    snapshot = installing.install_draft(with_two, by=cast.dev).version
    assert snapshot.screenshots == with_two.screenshots and snapshot.category == with_two.category
    publishing.submit_version(with_two, by=cast.dev)
    for change in ({"screenshots": []}, {"category": "hr"}):
        with pytest.raises(publishing.Frozen):
            publishing.change_version(with_two, by=cast.dev, **change)
        for version in (with_two, snapshot):
            with pytest.raises(IntegrityError, match="frozen"), transaction.atomic():
                Version.objects.filter(pk=version.pk).update(**change)
    with pytest.raises(IntegrityError, match="refused"), transaction.atomic():
        Picture.objects.update(webp=b"other")
    with pytest.raises(IntegrityError, match="refused"), transaction.atomic():
        Picture.objects.all()._raw_delete(Picture.objects.db)


def test_pictures_are_seen_by_those_only_who_see_the_version(cast, browse, with_two):
    shot = f"{urls(with_two)[1]}/1/"

    def seen(url):
        people = {
            "out": Browser(),
            "dev": browse(cast.dev),
            "admin": browse(cast.admin),
            "globex": browse(cast.globex_admin),
            "odev": browse(cast.other_dev),
        }
        return {name for name, browser in people.items() if browser.get(url).status_code == 200}

    assert seen(shot) == {"dev"}
    publishing.publish_custom(with_two, accounts={cast.acme.slug}, by=cast.dev)
    assert seen(shot) == {"dev", "admin"}
    fields = {**factories.version_fields("1.1"), "screenshots": with_two.screenshots, "icon": b"icon"}
    draft = publishing.create_version(with_two.app, by=cast.dev, **fields)
    assert seen(f"{urls(draft)[1]}/1/") == {"dev"}
    assert seen(f"/marketplace/{draft.app.slug}/icon/{draft.pk}/") == {"dev"}
    dev = browse(cast.dev)
    other = f"/marketplace/other/screenshots/{with_two.pk}/1/"
    for url in (f"{urls(with_two)[1]}/0/", f"{urls(with_two)[1]}/3/", f"{urls(with_two)[1]}0/1/", other):
        assert dev.get(url).status_code == 404, url
    assert dev.post(shot).status_code == 405


def test_a_reviewer_sees_screenshots_and_what_changed_about_them(cast, browse, with_two):
    first = factories.publish(with_two, cast.dev)
    fields = {**factories.version_fields("1.1", category="hr"), "screenshots": first.screenshots[:1]}
    version = publishing.submit_version(publishing.create_version(first.app, by=cast.dev, **fields), by=cast.dev)
    rita = browse(factories.reviewer())
    page = html(rita.get(f"/admin/marketplace/version/{version.pk}/change/"))
    before = page[page.index("Screenshots before") :]
    assert 'alt="The board"' in page and 'alt="A chart"' in before and 'alt="A chart"' not in page[: -len(before)]
    [compared] = rita.get(f"/admin/marketplace/version/{version.pk}/change/").context["comparisons"]
    assert dict(compared.texts)["category"] == [("gone", "Other"), ("new", "People and HR")]
    assert rita.get(f"{urls(version)[1]}/1/").status_code == 200
