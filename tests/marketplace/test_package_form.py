"""The same package, filled in on a form."""

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
    "asked": "id: Client id (required)",
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


def filled(vendors=(), requests=(), asked="", **more):
    data = {"fields-asked": asked, **more}
    for part, rows in (("vendors", vendors), ("requests", requests)):
        data |= {f"{part}-TOTAL_FORMS": len(rows), f"{part}-INITIAL_FORMS": 0}
        data |= {f"{part}-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()}
    return data


def shown(browser, page):
    """What the form sends as it stands, with “Save”."""
    form = next(form for form in forms_of(browser.get(page)) if "vendors-TOTAL_FORMS" in form.values)
    return {name: value for name, value in form.values.items() if name != "add"}


def test_what_is_filled_in_makes_the_version(cast, browse, draft, page):
    levels = {f"level:{VIEW}": "required", f"level:{EDIT}": "optional"}
    answer = browse(cast.dev).post(page, filled([VENDOR], [REQUEST], "owner: Owner (required)", **levels))
    assert answer.status_code == 302, text(answer)
    draft.refresh_from_db()
    assert (draft.required_scopes, draft.optional_scopes) == ([VIEW], [EDIT])
    octo = draft.package["config/oauth_config.json"]["integrations"]["octo"]
    assert octo["options"] == {
        "scope": "repo", "client_authentication": "basic", "pkce": False, "customHeaders": {"X-Version": "3"},
    }  # fmt: skip
    assert octo["oauth_iparams"] == {"id": {"display_name": "Client id", "required": True}}
    issues = draft.package["config/requests.json"]["issues"]
    assert issues["schema"]["query"] == {"state": "open"} and issues["options"] == {"maxAttempts": 3, "oauth": "octo"}
    assert draft.package["config/iparams.json"] == {"owner": {"display_name": "Owner", "required": True}}
    # The secret is where an upload's would be.
    assert "client_secret" not in octo and VendorSecret.objects.get().secret == "octo-secret-1"
    publishing.submit_version(draft, by=cast.dev)
    assert browse(cast.dev).get(page).status_code == 302


def test_saving_an_uploaded_package_unchanged_changes_nothing(cast, browse, draft, page):
    files = packages.good(draft.app.client)
    files["config/iparams.json"]["plan"] = {
        "display_name": "Plan", "type": "dropdown", "options": ["small", "large"], "description": "Which one", "required": True,
    }  # fmt: skip
    # A label that ends as the words beside one would.
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
    assert browser.post(page, shown(browser, page) | levels).status_code == 302
    draft.refresh_from_db()
    after = draft.package
    # Written in another way, and the same.
    portal = after["config/oauth_config.json"]["integrations"]["portal"]
    assert portal["options"] == {"scope": [VIEW, EDIT], "optional_scope": [EDIT], "audience": "eu"}
    octo, was = (each["config/oauth_config.json"]["integrations"]["octo"] for each in (after, files))
    assert octo["options"].pop("scope").split() == was["options"].pop("scope")
    assert octo == was
    assert after["config/iparams.json"] == files["config/iparams.json"]
    assert after["config/requests.json"]["issues"] == files["config/requests.json"]["issues"]
    assert after["manifest.json"] == files["manifest.json"]


def renamed(draft, browser, page, name="octocat", **more):
    """Give the vendor another name, and its template too, as a person does on the form."""
    sent = shown(browser, page) | {f"level:{VIEW}": "required", f"level:{EDIT}": "optional"}
    sent |= {"vendors-0-name": name, "requests-0-name": "questions", "requests-0-oauth": name, **more}
    answer = browser.post(page, sent)
    draft.refresh_from_db()
    return answer


def test_what_the_form_does_not_show_stays_under_a_new_name(cast, browse, draft, page):
    files = packages.good(draft.app.client)
    files["config/oauth_config.json"]["integrations"]["octo"]["options"]["access_type"] = "offline"
    files["manifest.json"]["modules"]["common"]["requests"]["issues"] = {"note": "kept"}
    publishing.change_version(draft, by=cast.dev, package=files)
    assert renamed(draft, browse(cast.dev), page).status_code == 302
    integrations = draft.package["config/oauth_config.json"]["integrations"]
    assert integrations.keys() == {"portal", "octocat"}
    assert integrations["octocat"]["client_secret"] == "<%= oauth_iparams.secret %>"
    assert integrations["octocat"]["options"]["access_type"] == "offline"
    assert draft.package["config/requests.json"]["questions"]["options"]["retryDelay"] == 500
    assert draft.package["manifest.json"]["modules"]["common"]["requests"] == {
        "questions": {"note": "kept"},
        "tickets": {},
    }


def test_a_kept_secret_goes_with_the_new_name(cast, browse, draft, page):
    """Under the former name it stays as well: a version that was published uses it."""
    files = packages.good(draft.app.client)
    del files["config/oauth_config.json"]["integrations"]["octo"]["client_secret"]
    del files["config/oauth_config.json"]["integrations"]["octo"]["oauth_iparams"]["secret"]
    publishing.change_version(draft, by=cast.dev, package=files)
    browser = browse(cast.dev)
    for name in ("octo", "taken"):
        keep_vendor_secret(draft.app, name, secret=f"{name}-secret", by=cast.dev)
    refused = renamed(draft, browser, page, "taken")
    assert refused.status_code == 422 and "another client secret" in text(refused)
    assert "taken" not in draft.package["config/oauth_config.json"]["integrations"]
    assert renamed(draft, browser, page).status_code == 302
    kept = {row.integration: row.secret for row in VendorSecret.objects.all()}
    assert kept == {"octo": "octo-secret", "taken": "taken-secret", "octocat": "octo-secret"}
    # And back again.
    assert renamed(draft, browser, page, "octo").status_code == 302
    assert VendorSecret.objects.count() == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token_url": "http://octo.dev/token"}, "not https"),
        ({"name": "a/b"}, "not a valid name"),
        ({"headers": "no colon"}, "Line 1"),
        ({"asked": "no label"}, "Line 1"),
        ({"client_id": ""}, "required"),
        ({"client_id": "<%= oauth_iparams.ids %>"}, "Did you mean"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(cast, browse, draft, page, wrong, said):
    answer = browse(cast.dev).post(page, filled([VENDOR | wrong], **{f"level:{VIEW}": "required"}))
    assert answer.status_code == 422 and said in text(answer), text(answer)
    # What was filled in is still there; a secret never is.
    assert "https://octo.dev/authorize" in answer.content.decode() and "octo-secret-1" not in answer.content.decode()
    draft.refresh_from_db()
    assert draft.package == {} and not VendorSecret.objects.exists()


@pytest.mark.parametrize(
    "spoilt",
    [{}, {"vendors-TOTAL_FORMS": "x"}, {"vendors-TOTAL_FORMS": "4", "vendors-INITIAL_FORMS": "0"}, {"add": "evil"}],
)
def test_a_form_that_no_page_sent_is_refused(cast, browse, draft, page, spoilt):
    assert browse(cast.dev).post(page, spoilt).status_code in (200, 422)
    draft.refresh_from_db()
    assert draft.package == {}


def test_one_more_is_added_and_one_removed(cast, browse, draft, page):
    browser = browse(cast.dev)
    answer = browser.post(page, filled([VENDOR], add="vendors"))
    assert answer.status_code == 200 and "Vendor 2" in text(answer) and 'value="octo"' in answer.content.decode()
    levels = {f"level:{VIEW}": "required"}
    browser.post(page, filled([VENDOR], **levels))
    sent = shown(browser, page) | {"vendors-0-DELETE": "on"} | levels
    assert browser.post(page, sent).status_code == 302
    draft.refresh_from_db()
    assert draft.package["config/oauth_config.json"]["integrations"].keys() == {"portal"}


def test_the_form_says_what_a_secret_is_and_offers_no_fourth_integration(cast, browse, draft, page):
    publishing.change_version(draft, by=cast.dev, package=packages.good(draft.app.client))
    browser, levels = browse(cast.dev), {f"level:{VIEW}": "required"}
    assert "It is <%= oauth_iparams.secret %>, which is filled in elsewhere." in text(browser.get(page))
    for vendors, own, offered in ((1, levels, True), (2, levels, False), (2, {}, True), (3, {}, False)):
        shown = text(browser.post(page, filled([VENDOR] * (vendors - 1), add="vendors", **own)))
        assert ("Add a vendor" in shown) is offered, (vendors, own)
        assert ("three at most" in shown) is not offered


def test_the_preview_shows_the_screen_that_results_and_keeps_nothing(cast, browse, draft, page):
    preview = page.replace("edit/", "preview/")
    levels = {f"level:{VIEW}": "required", f"level:{EDIT}": "optional"}
    agents = VENDOR | {"name": "cat", "display_name": "Cat", "token_type": "agent"}
    gone = VENDOR | {"name": "dog", "display_name": "Dog", "DELETE": "on"}
    answer = browse(cast.dev).post(preview, filled([VENDOR, agents, gone], asked="owner: Owner", **levels))
    shown = text(answer)
    assert "The app wants to View tickets" in shown and "Edit tickets" in shown
    assert "An admin fills in Owner." in shown and "An admin connects Octo for the whole account" in shown
    assert "Each agent connects Cat for themself" in shown and "Dog" not in shown
    draft.refresh_from_db()
    assert draft.package == {}
    # Of other credentials' scopes, nothing.
    other = browse(cast.dev).post(preview, {"level:freshservice.tickets.delete": "required"})
    assert "Delete" not in text(other)


@pytest.mark.parametrize("twice", [[VENDOR, VENDOR], [VENDOR | {"name": "portal"}]])
def test_of_two_with_one_name_none_is_lost(cast, browse, draft, page, twice):
    answer = browse(cast.dev).post(page, filled(twice, **{f"level:{VIEW}": "required"}))
    assert answer.status_code == 422 and "This name is taken" in text(answer)
    draft.refresh_from_db()
    assert draft.package == {}
