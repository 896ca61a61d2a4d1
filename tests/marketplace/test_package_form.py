"""Writing the same package with a form."""

import re

import pytest

from marketplace.actions import publishing
from marketplace.models import VendorSecret
from marketplace.vendors.secrets import keep_vendor_secret
from tests import factories
from tests.factories import EDIT, VIEW
from tests.marketplace import packages
from tests.people.forms import forms_of, text
from tests.worlds import shared

pytestmark = pytest.mark.django_db
VENDOR = {
    "name": "octo",
    "display_name": "Octo",
    "token_type": "account",
    "authorize_url": "https://octo.dev/authorize",
    "token_url": "https://octo.dev/token",
    "client_id": "<%= oauth_iparams.id %>",
    "client_secret": "octo-secret-1",
    "scope": "repo",
    "client_authentication": "basic",
    "refuses_pkce": "on",
    "headers": "X-Version: 3",
    "asked": "id: Client ID (required)",
}
REQUEST = {
    "name": "issues",
    "oauth": "octo",
    "method": "GET",
    "host": "api.octo.dev",
    "path": "/repos/<%= iparam.owner %>/<%= context.repo %>",
    "query": "state: open",
    "headers": "Authorization: Bearer <%= access_token %>",
    "max_attempts": "3",
}


@shared
def draft(cast):
    return factories.app(cast.dev, factories.client(cast.dev)[0], required_scopes=[VIEW])


@shared
def page(draft):
    return f"/apps/{draft.app.slug}/versions/{draft.pk}/package/edit/"


def form_data(vendors=(), requests=(), asked="", **more):
    data = {"fields-asked": asked, **more}
    for part, rows in (("vendors", vendors), ("requests", requests)):
        data |= {f"{part}-TOTAL_FORMS": len(rows), f"{part}-INITIAL_FORMS": 0}
        data |= {f"{part}-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()}
    return data


def unchanged_form(browser, page):
    """Return what the unchanged form sends with “Save”."""
    form = next(form for form in forms_of(browser.get(page)) if "vendors-TOTAL_FORMS" in form.values)
    return {name: value for name, value in form.values.items() if name != "add"}


def test_the_form_makes_the_package_of_the_version(cast, browse, draft, page):
    levels = {f"level:{VIEW}": "required", f"level:{EDIT}": "optional"}
    answer = browse(cast.dev).post(page, form_data([VENDOR], [REQUEST], "owner: Owner (required)", **levels))
    assert answer.status_code == 302, text(answer)
    draft.refresh_from_db()
    assert (draft.required_scopes, draft.optional_scopes) == ([VIEW], [EDIT])
    octo = draft.package["config/oauth_config.json"]["integrations"]["octo"]
    assert octo["options"] == {
        "scope": "repo", "client_authentication": "basic", "pkce": False, "customHeaders": {"X-Version": "3"},
    }  # fmt: skip
    assert octo["oauth_iparams"] == {"id": {"display_name": "Client ID", "required": True}}
    issues = draft.package["config/requests.json"]["issues"]
    assert issues["schema"]["query"] == {"state": "open"} and issues["options"] == {"maxAttempts": 3, "oauth": "octo"}
    assert draft.package["config/iparams.json"] == {"owner": {"display_name": "Owner", "required": True}}
    # The secret is stored where an upload's would be.
    assert "client_secret" not in octo and VendorSecret.objects.get().secret == "octo-secret-1"
    publishing.submit_version(draft, by=cast.dev)
    assert browse(cast.dev).get(page).status_code == 302


def test_saving_an_uploaded_package_unchanged_changes_nothing(cast, browse, draft, page):
    files = packages.good(draft.app.client)
    files["config/iparams.json"]["plan"] = {
        "display_name": "Plan", "type": "dropdown", "options": ["small", "large"], "description": "Which one", "required": True,
    }  # fmt: skip
    # A label that ends like the words beside a label.
    files["config/iparams.json"]["key"]["display_name"] = "API key (v2)"
    files["config/iparams.json"]["owner"] = {"display_name": "Owner (secret)", "type": "text"}
    files["config/requests.json"]["issues"]["schema"]["headers"]["X-Plan"] = "<%= iparam.plan %>"
    files["manifest.json"]["app"] = {"tracking_id": "abc"}
    files["manifest.json"]["modules"]["common"]["requests"]["issues"] = {"note": "kept"}
    files["manifest.json"]["modules"]["service_ticket"] = {"requests": {"tickets": {}}}
    del files["manifest.json"]["modules"]["common"]["requests"]["tickets"]
    files["config/oauth_config.json"]["integrations"]["portal"]["options"]["audience"] = "eu"
    publishing.change_version(draft, by=cast.dev, package=files)
    levels = {f"level:{VIEW}": "required", f"level:{EDIT}": "optional"}
    browser = browse(cast.dev)
    assert browser.post(page, unchanged_form(browser, page) | levels).status_code == 302
    draft.refresh_from_db()
    after = draft.package
    # The same, written differently.
    portal = after["config/oauth_config.json"]["integrations"]["portal"]
    assert portal["options"] == {"scope": [VIEW, EDIT], "optional_scope": [EDIT], "audience": "eu"}
    octo, was = (each["config/oauth_config.json"]["integrations"]["octo"] for each in (after, files))
    assert octo["options"].pop("scope").split() == was["options"].pop("scope")
    assert octo == was
    assert after["config/iparams.json"] == files["config/iparams.json"]
    assert after["config/requests.json"]["issues"] == files["config/requests.json"]["issues"]
    assert after["manifest.json"] == files["manifest.json"]


def rename_vendor(draft, browser, page, name="octocat", **more):
    """Rename the vendor and its template on the form."""
    sent = unchanged_form(browser, page) | {f"level:{VIEW}": "required", f"level:{EDIT}": "optional"}
    sent |= {"vendors-0-name": name, "requests-0-name": "questions", "requests-0-oauth": name, **more}
    answer = browser.post(page, sent)
    draft.refresh_from_db()
    return answer


def test_renaming_keeps_what_the_form_does_not_show(cast, browse, draft, page):
    files = packages.good(draft.app.client)
    files["config/oauth_config.json"]["integrations"]["octo"]["options"]["access_type"] = "offline"
    files["manifest.json"]["modules"]["common"]["requests"]["issues"] = {"note": "kept"}
    publishing.change_version(draft, by=cast.dev, package=files)
    assert rename_vendor(draft, browse(cast.dev), page).status_code == 302
    integrations = draft.package["config/oauth_config.json"]["integrations"]
    assert integrations.keys() == {"portal", "octocat"}
    assert integrations["octocat"]["client_secret"] == "<%= oauth_iparams.secret %>"
    assert integrations["octocat"]["options"]["access_type"] == "offline"
    assert draft.package["config/requests.json"]["questions"]["options"]["retryDelay"] == 500
    assert draft.package["manifest.json"]["modules"]["common"]["requests"] == {
        "questions": {"note": "kept"},
        "tickets": {},
    }


def test_a_stored_secret_is_copied_to_the_new_name(cast, browse, draft, page):
    """It stays under the former name too, because a published version uses it."""
    files = packages.good(draft.app.client)
    del files["config/oauth_config.json"]["integrations"]["octo"]["client_secret"]
    del files["config/oauth_config.json"]["integrations"]["octo"]["oauth_iparams"]["secret"]
    publishing.change_version(draft, by=cast.dev, package=files)
    browser = browse(cast.dev)
    for name in ("octo", "taken"):
        keep_vendor_secret(draft.app, name, secret=f"{name}-secret", by=cast.dev)
    refused = rename_vendor(draft, browser, page, "taken")
    assert refused.status_code == 422 and "The portal already stores a different client secret for “" in text(refused)
    assert "taken" not in draft.package["config/oauth_config.json"]["integrations"]
    assert rename_vendor(draft, browser, page).status_code == 302
    kept = {row.integration: row.secret for row in VendorSecret.objects.all()}
    assert kept == {"octo": "octo-secret", "taken": "taken-secret", "octocat": "octo-secret"}
    # And back again.
    assert rename_vendor(draft, browser, page, "octo").status_code == 302
    assert VendorSecret.objects.count() == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token_url": "http://octo.dev/token"}, "This address does not use https."),
        ({"name": "a/b"}, "not a valid name"),
        ({"headers": "no colon"}, "Line 1"),
        ({"asked": "no label"}, "Line 1"),
        ({"client_id": ""}, "required"),
        ({"client_id": "<%= oauth_iparams.ids %>"}, "Did you mean"),
    ],
)
def test_a_mistake_in_the_form_is_explained_and_changes_nothing(cast, browse, draft, page, wrong, said):
    answer = browse(cast.dev).post(page, form_data([VENDOR | wrong], **{f"level:{VIEW}": "required"}))
    assert answer.status_code == 422 and said in text(answer), text(answer)
    # The form keeps its fields, except for secrets.
    assert "https://octo.dev/authorize" in answer.content.decode() and "octo-secret-1" not in answer.content.decode()
    draft.refresh_from_db()
    assert draft.package == {} and not VendorSecret.objects.exists()


@pytest.mark.parametrize(
    "spoilt",
    [{}, {"vendors-TOTAL_FORMS": "x"}, {"vendors-TOTAL_FORMS": "4", "vendors-INITIAL_FORMS": "0"}, {"add": "evil"}],
)
def test_a_forged_form_is_refused(cast, browse, draft, page, spoilt):
    assert browse(cast.dev).post(page, spoilt).status_code in (200, 422)
    draft.refresh_from_db()
    assert draft.package == {}


def test_each_vendor_and_request_template_is_in_sections(cast, browse, page):
    answer = browse(cast.dev).post(page, form_data([VENDOR], [REQUEST], add="vendors"))
    titles = re.findall(r"<legend[^>]*>\s*(.*?)\s*</legend>", answer.content.decode())
    vendor = ["The vendor", "OAuth", "Token requests", "What people fill in", "Remove this vendor"]
    template = ["Name and token", "Request", "Retries", "Remove this template"]
    assert titles == ["Vendor 1", *vendor, "Vendor 2", *vendor, "Request template 1", *template]


def test_vendors_can_be_added_and_removed(cast, browse, draft, page):
    browser = browse(cast.dev)
    answer = browser.post(page, form_data([VENDOR], add="vendors"))
    assert answer.status_code == 200 and "Vendor 2" in text(answer) and 'value="octo"' in answer.content.decode()
    levels = {f"level:{VIEW}": "required"}
    browser.post(page, form_data([VENDOR], **levels))
    sent = unchanged_form(browser, page) | {"vendors-0-DELETE": "on"} | levels
    assert browser.post(page, sent).status_code == 302
    draft.refresh_from_db()
    assert draft.package["config/oauth_config.json"]["integrations"].keys() == {"portal"}


def test_the_form_explains_the_secret_and_offers_no_fourth_integration(cast, browse, draft, page):
    publishing.change_version(draft, by=cast.dev, package=packages.good(draft.app.client))
    browser, levels = browse(cast.dev), {f"level:{VIEW}": "required"}
    assert "The secret is <%= oauth_iparams.secret %>, which is filled in elsewhere." in text(browser.get(page))
    for vendors, fields, offered in ((1, levels, True), (2, levels, False), (2, {}, True), (3, {}, False)):
        page_text = text(browser.post(page, form_data([VENDOR] * (vendors - 1), add="vendors", **fields)))
        assert ("Add a vendor" in page_text) is offered, (vendors, fields)
        assert (
            "A version can connect to at most three vendors, including the app’s own credentials." in page_text
        ) is not offered


def test_the_preview_shows_the_resulting_screen_and_stores_nothing(cast, browse, draft, page):
    preview = page.replace("edit/", "preview/")
    levels = {f"level:{VIEW}": "required", f"level:{EDIT}": "optional"}
    agents = VENDOR | {"name": "cat", "display_name": "Cat", "token_type": "agent"}
    gone = VENDOR | {"name": "dog", "display_name": "Dog", "DELETE": "on"}
    answer = browse(cast.dev).post(preview, form_data([VENDOR, agents, gone], asked="owner: Owner", **levels))
    page_text = text(answer)
    assert "The app wants to Freshservice Read only View tickets" in page_text and "Edit tickets" in page_text
    assert "An admin fills in Owner." in page_text and "An admin connects Octo for the whole account" in page_text
    assert "Each agent connects Cat for themselves" in page_text and "Dog" not in page_text
    draft.refresh_from_db()
    assert draft.package == {}
    # Scopes of other credentials are not shown.
    other = browse(cast.dev).post(preview, {"level:freshservice.tickets.delete": "required"})
    assert "Delete" not in text(other)


@pytest.mark.parametrize("twice", [[VENDOR, VENDOR], [VENDOR | {"name": "portal"}]])
def test_two_vendors_with_one_name_are_refused(cast, browse, draft, page, twice):
    answer = browse(cast.dev).post(page, form_data(twice, **{f"level:{VIEW}": "required"}))
    assert answer.status_code == 422 and "This name is already taken. Use another name." in text(answer)
    draft.refresh_from_db()
    assert draft.package == {}
