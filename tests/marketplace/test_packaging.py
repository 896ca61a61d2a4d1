"""Making a version of an app package: its page, what is stored, and its secrets."""

import io
import json
import zipfile
from copy import deepcopy

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from marketplace.actions import installing, publishing
from marketplace.models import VendorSecret
from marketplace.package.contents import Contents
from portal.ledger.models import Entry
from tests import factories
from tests.factories import EDIT, VIEW
from tests.marketplace import packages
from tests.people.forms import text
from tests.worlds import shared

pytestmark = pytest.mark.django_db
SECRET = "octo-secret-0123456789"


@shared
def draft(cast):
    return factories.app(cast.dev, factories.client(cast.dev)[0], required_scopes=[VIEW])


@shared
def page(draft):
    return f"/apps/{draft.app.slug}/versions/{draft.pk}/package/"


@shared
def good(draft):
    return packages.good(draft.app.client)


def with_secret(files):
    files = deepcopy(files)
    files["config/oauth_config.json"]["integrations"]["octo"]["client_secret"] = SECRET
    return files


def upload(browser, page, files, **more):
    data = files if isinstance(files, bytes) else packages.as_zip(files)
    return browser.post(page, {"package": SimpleUploadedFile("app.zip", data, "application/zip"), **more})


def test_an_uploaded_package_makes_the_version(cast, browse, draft, page, good):
    """Its first-party integration defines the version's scopes; the package is stored unchanged."""
    answer = upload(browse(cast.dev), page, good)
    assert answer.status_code == 200
    draft.refresh_from_db()
    assert draft.package == good
    assert (draft.required_scopes, draft.optional_scopes) == ([VIEW], [EDIT])
    shown = text(answer)
    # The resulting consent screen, the vendor's redirect URI, and the requests.
    assert (
        "The app wants to Freshservice Read only View tickets" in shown
        and "Optional: turn on what you want to allow" in shown
    )
    assert f"/oauth/callback/{draft.app.slug}/octo" in answer.content.decode()
    assert "GET api.octo.dev" in shown


def test_a_mistake_is_reported_with_its_place_and_changes_nothing(cast, browse, draft, page, good):
    del good["config/oauth_config.json"]["integrations"]["octo"]["token_url"]
    good["config/requests.json"]["issues"]["schema"]["method"] = "FETCH"
    answer = upload(browse(cast.dev), page, good, keep_secrets="on")
    assert answer.status_code == 422
    shown = text(answer)
    assert "/integrations/octo/token_url" in shown and "/issues/schema/method" in shown
    assert "config/requests.json:4" in shown and "Use one of" in shown
    draft.refresh_from_db()
    assert draft.package == {} and not VendorSecret.objects.exists()


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_not_a_package_is_refused(cast, browse, draft, page, data):
    answer = upload(browse(cast.dev), page, data)
    # Django's form refuses an empty file itself.
    assert answer.status_code == 422 and ("file is empty" if not data else "cannot be used yet") in text(answer)
    draft.refresh_from_db()
    assert draft.package == {}


def test_an_old_package_is_converted_and_shown_converted(cast, browse, draft, page):
    files = deepcopy(packages.OLD)
    files["config/oauth_config.json"]["client_secret"] = SECRET
    answer = upload(browse(cast.dev), page, files, keep_secrets="on")
    assert answer.status_code == 200
    shown = text(answer)
    assert "2.x format" in shown and "platform-version" in shown and SECRET not in answer.content.decode()
    draft.refresh_from_db()
    assert draft.package["manifest.json"]["platform-version"] == "3.0"


def test_a_vendors_secret_is_stored_encrypted_and_removed_from_the_package(cast, browse, draft, page, good):
    browser = browse(cast.dev)
    answer = upload(browser, page, with_secret(good), keep_secrets="on")
    assert answer.status_code == 200
    draft.refresh_from_db()
    assert "client_secret" not in draft.package["config/oauth_config.json"]["integrations"]["octo"]
    assert VendorSecret.objects.get(app=draft.app, integration="octo").secret == SECRET
    assert "stands in the package" not in text(answer)
    for response in (answer, browser.get(page), browser.get(f"{page}download/")):
        assert SECRET.encode() not in response.content
    assert "The portal stores its client secret." in text(browser.get(page))
    # Nor does the warning about a missing secret return.
    assert "no client secret" not in text(browser.get(page))
    assert SECRET not in json.dumps(list(Entry.objects.values_list("details", flat=True)))
    assert SECRET not in repr(VendorSecret.objects.get()) + str(VendorSecret.objects.get())


def test_a_secret_that_the_portal_will_store_causes_no_warning_beside_an_error(cast, browse, draft, page, good):
    files = with_secret(good)
    del files["config/requests.json"]["issues"]["schema"]["host"]
    browser, warning = browse(cast.dev), "Store it encrypted in the portal, and remove it from the package."
    refused = text(upload(browser, page, files, keep_secrets="on"))
    assert warning not in refused and "Nothing was changed, because the package has errors." in refused
    assert warning in text(upload(browser, page, files))


def test_a_secret_stays_in_the_package_if_the_developer_wants_it_there(cast, browse, draft, page, good):
    answer = upload(browse(cast.dev), page, with_secret(good))
    assert "contains the vendor’s secret" in text(answer)
    draft.refresh_from_db()
    assert draft.package == with_secret(good) and not VendorSecret.objects.exists()


def test_a_stored_secret_can_be_replaced_and_is_never_shown(cast, browse, draft, page, good):
    browser = browse(cast.dev)
    upload(browser, page, with_secret(good), keep_secrets="on")
    assert browser.post(f"{page}secrets/octo/", {"secret": "another"}).status_code == 302
    assert VendorSecret.objects.get().secret == "another"
    assert "another" not in text(browser.get(page)).replace("Upload another package", "")
    for name, secret in (("octo", ""), ("octo", "a\nb"), ("octo", "x" * 2001)):
        browser.post(f"{page}secrets/{name}/", {"secret": secret})
        assert VendorSecret.objects.get().secret == "another"
    # Neither the app's own credentials nor an unknown integration has a secret here.
    for name in ("portal", "none"):
        assert browser.post(f"{page}secrets/{name}/", {"secret": "x"}).status_code == 404


def test_the_download_is_a_package_that_passes_the_checks(cast, browse, draft, page, good):
    browser = browse(cast.dev)
    assert browser.get(f"{page}download/").status_code == 404
    upload(browser, page, good)
    answer = browser.get(f"{page}download/")
    assert answer["Content-Type"] == "application/zip" and "attachment" in answer["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert {name: json.loads(archive.read(name)) for name in archive.namelist()} == good
    # In the order that people write it, with the name first.
    assert archive.read("config/oauth_config.json").index(b"display_name") < 80
    assert upload(browser, page, answer.content).status_code == 200


def test_a_frozen_version_keeps_its_package(cast, browse, draft, page, good):
    """M2"""
    browser = browse(cast.dev)
    upload(browser, page, good)
    draft.refresh_from_db()
    publishing.submit_version(draft, by=cast.dev)
    other = deepcopy(good)
    other["config/iparams.json"]["owner"]["display_name"] = "Another"
    assert upload(browser, page, other).status_code == 302
    assert "can no longer be changed" in text(browser.get(page))
    draft.refresh_from_db()
    assert draft.package == good
    assert 'type="file"' not in browser.get(page).content.decode()


def test_a_package_that_became_invalid_is_found_when_it_is_submitted(cast, draft, page, good, browse):
    """The portal's URL, the registry or the credentials may change between upload and submission."""
    upload(browse(cast.dev), page, good)
    draft.refresh_from_db()
    factories.product().endpoints.filter(method="GET").update(scopes=["freshservice.tickets.delete"])
    with pytest.raises(publishing.NotReady, match="needs a scope"):
        publishing.submit_version(draft, by=cast.dev)


def test_the_package_decides_the_scopes_whatever_the_form_says(cast, browse, draft, page, good):
    browser = browse(cast.dev)
    upload(browser, page, good)
    edit = f"/apps/{draft.app.slug}/versions/{draft.pk}/edit/"
    assert (
        "The app package defines what this version asks for." in text(browser.get(edit))
        and "level:" not in browser.get(edit).content.decode()
    )
    fields = {"number": "1.0", "name": "A", "tagline": "t", "category": "hr", "description": "d", "release_notes": "n"}
    assert browser.post(edit, {**fields, f"level:{EDIT}": "required"}).status_code == 302
    draft.refresh_from_db()
    assert (draft.required_scopes, draft.optional_scopes) == ([VIEW], [EDIT])


def test_the_next_version_starts_with_the_package_of_the_last(cast, browse, draft, page, good):
    browser = browse(cast.dev)
    upload(browser, page, good)
    fields = {"number": "2.0", "name": "A", "tagline": "t", "category": "hr", "description": "d", "release_notes": "n"}
    browser.post(f"/apps/{draft.app.slug}/versions/new/", fields)
    assert draft.app.versions.get(number="2.0").package == good


def test_a_test_copy_has_the_package_too(cast, draft, page, good, browse):
    upload(browse(cast.dev), page, good)
    draft.refresh_from_db()
    installation = installing.install_draft(draft, by=cast.dev)
    assert Contents.of(installation.version).vendors.keys() == {"octo"}
