"""A version's screenshots: uploaded with a draft, frozen with the version, shown to whoever may see it."""

import io
import threading
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test import Client as Browser
from PIL import Image

from marketplace import tasks
from marketplace.actions import installing, picturing, publishing
from marketplace.models import Picture, Version
from portal.ledger.models import Entry
from tests import factories
from tests.browsing import squeeze
from tests.clock import advance
from tests.marketplace.test_developer_pages import version_form
from tests.servers import together

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
    for role in ("origin", "replica"):
        for sql, why in (
            ("UPDATE marketplace_picture SET webp = 'other'", "never changes"),
            ("UPDATE marketplace_picture SET webp = NULL", "never changes"),
            ("DELETE FROM marketplace_picture", "DELETE of marketplace_picture is refused"),
            ("TRUNCATE marketplace_picture", "TRUNCATE of marketplace_picture is refused"),
            ("UPDATE marketplace_version SET icon = 'other'", "frozen"),
        ):
            with pytest.raises(IntegrityError, match=why), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL session_replication_role = {role}")
                cursor.execute(sql)


# --- erasing ---


def pictures():
    return {picture.pk: bytes(picture.webp or b"") for picture in Picture.objects.all()}


def shot(data, text="What it shows"):
    return {"data": data, "text": text}


def test_pictures_that_no_version_has_are_erased_a_day_later_and_no_others(cast, draft, monkeypatch):
    """T3: in batches; what a frozen version has is looked at once, and never erased."""
    monkeypatch.setattr(picturing, "BATCH", 2)
    change = partial(publishing.change_version, draft, by=cast.dev)
    for number in range(5):
        change(screenshots=[shot(b"kept"), shot(b"%d" % number)])
    snapshot = installing.install_draft(draft, by=cast.dev).version
    change(screenshots=[shot(b"drafted")])
    tasks.clear_pictures()
    assert len(pictures()) == 7, "one may be on its way into a draft"
    advance(picturing.KEPT_FOR)
    tasks.clear_pictures()
    assert {*pictures().values()} == {b"kept", b"4", b"drafted"}
    assert {*Picture.objects.filter(kept_at=None).values_list("pk", flat=True)} == {
        each["picture"] for each in snapshot.screenshots
    }
    change(screenshots=[])
    advance(picturing.KEPT_FOR)
    tasks.clear_pictures()
    assert {*pictures().values()} == {b"kept", b"4"}
    assert picturing.erase_pictures() == 0


def test_the_versions_that_have_a_picture_are_found_by_an_index(cast, draft):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {picturing._USED}", [["0" * 64]])
        plan = str(cursor.fetchall())
    assert "version_with_picture" in plan and "Seq Scan" not in plan


@pytest.mark.django_db(transaction=True)
def test_a_picture_that_somebody_takes_again_just_then_is_not_erased(cast, draft):
    """T11: pictures are known by their content, so a draft can take one that waits to be erased."""
    change = partial(publishing.change_version, draft, by=cast.dev)
    change(screenshots=[shot(b"again")])
    old = Version.objects.get(pk=draft.pk).screenshots
    change(screenshots=[])
    advance(picturing.KEPT_FOR)
    saved, looked = threading.Event(), threading.Event()

    def save():
        with transaction.atomic():
            change(screenshots=[shot(b"again")])
            saved.set()
            assert looked.wait(60)

    def erase():
        assert saved.wait(60)
        found = picturing.erase_pictures()
        looked.set()
        return found

    assert together(save, erase) == [None, 0]
    assert {*pictures().values()} == {b"again"} and picturing.erase_pictures() == 0
    change(screenshots=[])
    advance(picturing.KEPT_FOR)
    picturing.erase_pictures()
    with pytest.raises(ValidationError, match="Upload it again"):
        change(screenshots=old)
    change(screenshots=[shot(b"again")])
    assert {*pictures().values()} == {b"again"}


# --- taking down ---


def window(version):
    return f"/admin/marketplace/version/{version.pk}/press/take-down/"


def test_staff_take_a_screenshot_down_and_it_does_not_come_back(cast, browse, with_two):
    """M2: the version stays as it was reviewed otherwise, and the team reads why."""
    published, rita, dev = factories.publish(with_two, cast.dev), browse(factories.reviewer()), browse(cast.dev)
    first, second = (each["picture"] for each in published.screenshots)
    assert "A chart" in html(rita.get(window(published))) and "cannot be undone" in html(rita.get(window(published)))
    for sent, said in (({"picture": first}, "required"), ({"picture": "0" * 64, "reason": "x"}, "valid choice")):
        page = rita.post(window(published), sent)
        assert page.status_code == 422 and said in html(page)
    assert rita.post(window(published), {"picture": first, "reason": "It shows a person"}).status_code == 302
    assert pictures()[first] == b"" and pictures()[second]
    listing = html(Browser().get(f"/marketplace/{published.app.slug}/"))
    assert 'alt="The board"' not in listing and 'alt="A chart"' in listing and f"{urls(published)[1]}/2/" in listing
    assert Browser().get(f"{urls(published)[1]}/1/").status_code == 404
    assert Version.objects.get(pk=published.pk).screenshots == published.screenshots
    entries = Entry.objects.filter(event="version.picture_taken_down", details__picture=first)
    assert {entry.chain_id for entry in entries} == {published.app.team.chain_name, "portal"}
    page = html(dev.get(urls(published)[0].replace("edit/", "")))
    assert "took screenshot 1 down" in page and "Reason: It shows a person" in page
    assert "The board" not in html(rita.get(window(published)))
    # The next version starts without it, and nobody uploads it again.
    new = f"/apps/{published.app.slug}/versions/new/"
    assert "It is left out when you save." in html(dev.get(new))
    page = dev.post(new, version_form(number="1.1", text_0="The board", shot_0=upload(), text_1="A chart"))
    assert page.status_code == 422 and "took screenshot 1 down" in html(page)
    assert dev.post(new, version_form(number="1.1", text_0="The board", text_1="A chart")).status_code == 302
    assert [each["picture"] for each in published.app.versions.get(number="1.1").screenshots] == [second]
    with pytest.raises(IntegrityError, match="DELETE of marketplace_picture"), transaction.atomic():
        Picture.objects.filter(pk=first).delete()


def test_staff_take_an_icon_down_from_all_versions_of_an_app(cast, browse):
    client = factories.client(cast.dev)[0]
    first = factories.publish(factories.app(cast.dev, client, icon=b"theirs"), cast.dev)
    fields = factories.version_fields("1.1", icon=b"theirs")
    second = publishing.submit_version(publishing.create_version(first.app, by=cast.dev, **fields), by=cast.dev)
    other = publishing.create_version(first.app, by=cast.dev, **factories.version_fields("1.2", icon=b"own"))
    rival = factories.publish(
        factories.app(cast.other_dev, factories.client(cast.other_dev)[0], icon=b"theirs"), cast.other_dev
    )
    rita, key = factories.reviewer(), picturing.key_of(first.app, b"theirs")
    with pytest.raises(IntegrityError, match="frozen"), transaction.atomic():
        Version.objects.filter(pk=first.pk).update(icon=None)
    page = browse(rita).post(window(second), {"picture": key, "reason": "Not theirs"}, follow=True)
    assert "Done. The page shows the new state." in html(page) and "Approve" in html(page)
    icons = [Version.objects.get(pk=version.pk).icon for version in (first, second, other)]
    assert icons[:2] == [None, None] and bytes(icons[2]) == b"own"
    publishing.create_version(rival.app, by=cast.other_dev, **factories.version_fields("1.1", icon=b"theirs"))
    assert bytes(Version.objects.get(pk=rival.pk).icon) == b"theirs", "of another app, it stays"
    with pytest.raises(ValidationError, match="took this icon down"):
        publishing.change_version(other, by=cast.dev, icon=b"theirs")
    with pytest.raises(IntegrityError, match="frozen"), transaction.atomic():
        Version.objects.filter(pk=first.pk).update(icon=b"theirs")


def test_a_version_with_a_picture_that_was_taken_down_is_submitted_or_copied_without(cast, with_two):
    rita = factories.reviewer()
    review = publishing.submit_version(with_two, by=cast.dev)
    first, second = (each["picture"] for each in with_two.screenshots)
    draft = publishing.create_version(
        review.app, by=cast.dev, **factories.version_fields("1.1", screenshots=review.screenshots)
    )
    picturing.take_down_picture(review, picture=first, reason="Why", by=rita)
    with pytest.raises(ValidationError, match="took screenshot 1 down"):
        publishing.submit_version(draft, by=cast.dev)
    copy = publishing.copy_version(publishing.take_back_version(review, by=cast.dev), by=cast.dev)
    assert [each["picture"] for each in copy.screenshots] == [second]


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
