"""Checking an app package through the API: who may, how it is sent, and how often."""

import json

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as Browser

from portal.foundation.limits import rates
from tests import factories
from tests.factories import VIEW
from tests.marketplace.packages import as_zip, good
from tests.oauth import basic
from tests.worlds import shared

pytestmark = pytest.mark.django_db
CHECK = "/api/v1/packages/check"


@shared
def draft(cast):
    return factories.app(cast.dev, factories.client(cast.dev)[0], required_scopes=[VIEW])


def upload(name="app.zip", data=b""):
    return SimpleUploadedFile(name, data, "application/zip")


def test_credentials_without_an_app_can_check_a_package_with_a_vendor(cast, client):
    row, secret = factories.client(cast.dev)
    answer = client.post(CHECK, as_zip(good(row)), content_type="application/zip", **basic(row.client_id, secret))
    assert (answer.status_code, answer.json()["valid"], answer.json()["problems"]) == (200, True, [])


def test_a_package_is_sent_as_the_body_or_as_a_file_in_a_form(cast, client, draft):
    row, secret = factories.client(cast.dev)
    who, data = basic(row.client_id, secret), as_zip(good(row))
    for name in ("package", "file"):
        answer = client.post(CHECK, {name: upload(data=data)}, **who)
        assert (answer.status_code, answer.json()["valid"]) == (200, True)
    # The default of tools that post bytes without a content type.
    kind = "application/x-www-form-urlencoded"
    assert client.post(CHECK, data, content_type=kind, **who).json()["valid"]
    # The CSRF token may be a field of the form.
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(cast.dev)
    browser.get("/settings/")
    token = browser.cookies["csrftoken"].value
    form = {"csrfmiddlewaretoken": token, "package": upload(data=as_zip(good(draft.app.client)))}
    assert browser.post(f"{CHECK}?app={draft.app.slug}", form).json()["valid"]
    assert browser.post(f"{CHECK}?app={draft.app.slug}", {"package": upload(data=data)}).status_code == 403


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ({}, None),
        ({"package": "a text"}, None),
        ({"one": upload("1.zip", b"x"), "two": upload("2.zip", b"x")}, None),
        (b"--x\r\n", "multipart/form-data"),
        (b"no form", "multipart/form-data; boundary=x"),
        (b"no form", "multipart/form-data; boundary=" + "x" * 300),
    ],
)
def test_a_form_without_one_file_is_refused_in_json(cast, client, form, kind):
    row, secret = factories.client(cast.dev)
    more = {"content_type": kind} if kind else {}
    answer = client.post(CHECK, form, **more, **basic(row.client_id, secret))
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_request"


def test_a_teams_checks_on_pages_and_the_api_share_a_limit(cast, browse, client, draft, settings, monkeypatch):
    settings.LIMITS_ARE_ON = True
    assert rates.RATES["packages checked by team"] == (30, 600)
    monkeypatch.setitem(rates.RATES, "packages checked by team", (3, 60_000))
    cache.clear()
    row, secret = factories.client(cast.dev, name="Another")
    browser, page = browse(cast.dev), f"/apps/{draft.app.slug}/versions/{draft.pk}/package/"
    for answer in (
        client.post(CHECK, b"no zip", content_type="application/zip", **basic(row.client_id, secret)),
        browser.post(page, {"package": upload(data=b"no zip")}),
        browser.post(f"{page}edit/", {f"{part}-TOTAL_FORMS": 0 for part in ("vendors", "requests")} | {f"{part}-INITIAL_FORMS": 0 for part in ("vendors", "requests")}),
    ):  # fmt: skip
        assert answer.status_code in (200, 302, 422), answer
    for answer in (
        client.post(CHECK, b"no zip", content_type="application/zip", **basic(row.client_id, secret)),
        browser.post(page, {"package": upload(data=b"no zip")}),
        browser.post(f"{CHECK}?app={draft.app.slug}", b"no zip", content_type="application/zip"),
    ):
        assert answer.status_code == 429 and int(answer["Retry-After"]) > 0
    assert json.loads(answer.content)["error"] == "temporarily_unavailable"
    # Looking at the page does not count as a check, and other teams have limits of their own.
    assert browser.get(page).status_code == 200
    other, secret = factories.client(cast.other_dev)
    answer = client.post(CHECK, b"no zip", content_type="application/zip", **basic(other.client_id, secret))
    assert answer.status_code == 200
    cache.clear()
