"""axe finds nothing on developers' pages: credentials, apps and versions."""

import pytest

from consent.actions import failing
from consent.models import Where, Why
from credentials import actions as credentials
from credentials.models import Client
from marketplace.actions import publishing
from marketplace.models import App, Version
from portal.accounts.models import Account, User
from tests import factories
from tests.factories import EDIT
from tests.marketplace import packages

from .looking import covers

pytestmark = pytest.mark.django_db(transaction=True)


@covers("client-list", "client-create")
def test_creating_credentials(look, calm):
    dev = calm("dev@example.com")
    for path in ("/", "/credentials/?q=nothing", "/credentials/", "/credentials/new/"):
        dev.open(path)
        look(dev.page)
    dev.page.evaluate("for (const form of document.forms) form.noValidate = true")
    dev.page.fill("#scope-search", "delete and restore tickets")
    dev.page.check("input[value='freshservice.tickets.delete']")
    dev.page.fill("[name=redirect_uris]", "http://far.example/")
    dev.press("Create Credentials")
    look(dev.page)
    dev.page.fill("[name=name]", "Asset Mirror")
    dev.page.fill("[name=redirect_uris]", "https://mirror.example/")
    dev.page.check("[name=kind][value=platform]")
    dev.page.check("[name=level][value=account]")
    dev.press("Create Credentials")
    look(dev.page)
    dev.page.fill("[name='why:freshservice.tickets.delete']", "Mirrors")
    dev.press("Create Credentials")
    dev.sees("shown only once")
    look(dev.page)


@covers("client-view", "client-add-scopes")
def test_a_set_of_credentials(look, calm, demo):
    dev = calm("dev@example.com")
    client = demo["by_name"]["Reply Helper"]["client_id"]
    dev.open(f"/credentials/{client}/")
    look(dev.page)
    dev.page.fill("[name=redirect_uris]", "http://far.example/")
    dev.press("Save")
    look(dev.page)
    dev.page.fill("#scope-search", "delete and restore tickets")
    dev.page.check("input[value='freshservice.tickets.delete']")
    dev.press("Add scopes")
    look(dev.page)
    dev.page.fill("[name='why:freshservice.tickets.delete']", "To clean up")
    dev.press("Add scopes")
    dev.sees("Add this scope to Reply Helper?")
    look(dev.page)


@covers("client-test", "client-test-callback")
def test_trying_credentials(look, calm, demo):
    dev = calm("dev@example.com")
    for name in ("Reply Helper", "Workflow Runner"):
        client = demo["by_name"][name]["client_id"]
        dev.open(f"/credentials/{client}/test/")
        look(dev.page)
    dev.press("Add it")
    dev.press("Authorize with your own secret")
    dev.press("Agree")
    dev.sees("Enter the secret of these credentials")
    look(dev.page)
    dev.page.fill("[name=secret]", "wrong")
    dev.press("Exchange the code")
    look(dev.page)
    dev.press("Authorize with a test secret")
    dev.press("Agree")
    dev.sees("Your call worked")
    look(dev.page)
    dev.press("Revoke")
    for tab in ("postman", "workflows"):
        dev.open(f"/credentials/{client}/test/?tab={tab}")
        look(dev.page)
    dev.open("/credentials/test/callback/")
    look(dev.page)


@covers("failure-list")
def test_the_log_of_credentials(look, calm, demo):
    dev = calm("dev@example.com")
    client = Client.objects.get(client_id=demo["by_name"]["Reply Helper"]["client_id"])
    dev.open(f"/credentials/{client.client_id}/log/")
    look(dev.page)
    account = Account.objects.get(slug="acme")
    failing.note_failure(client.pk, where=Where.TOKEN, why=Why.SECRET, error="invalid_client")
    failing.note_failure(
        client.pk,
        account_id=account.pk,
        where=Where.CHECK,
        why=Why.TAKEN_BACK,
        error="insufficient_scope",
        text=f"This call needs the scope {EDIT}; {EDIT} was taken back on 2026-01-31 12:00 UTC",
        scope=EDIT,
    )
    dev.open(f"/credentials/{client.client_id}/log/")
    look(dev.page)
    dev.page.fill("[name=account]", "nobody")
    dev.press("Filter")
    look(dev.page)


@covers("client-secrets", "client-end-secret")
def test_secrets(look, calm, demo):
    dev = calm("dev@example.com")
    client = Client.objects.get(client_id=demo["by_name"]["Reply Helper"]["client_id"])
    dev.open(f"/credentials/{client.client_id}/")
    dev.page.fill("[name=overlap_hours]", "0")
    dev.press("Rotate secret")
    dev.sees("Rotate the secret of Reply Helper now?")
    look(dev.page)
    dev.press("Keep it")
    dev.page.evaluate("for (const form of document.forms) form.noValidate = true")
    dev.page.fill("[name=overlap_hours]", "200")
    dev.press("Rotate secret")
    look(dev.page)
    dev.page.fill("[name=overlap_hours]", "24")
    dev.press("Rotate secret")
    look(dev.page)
    credentials.suspend_client(client, reason="A reason", by=User.objects.get(email="reviewer@example.com"))
    dev.press("I have copied it")
    look(dev.page)
    dev.press("End now")
    look(dev.page)


@covers("app-list", "app-create", "app-view", "app-list-accounts", "app-unlist-account")
def test_a_developers_apps(look, calm):
    dev = calm("dev@example.com")
    for path in ("/apps/", "/apps/?q=insights&sort=newest", "/apps/new/", "/apps/ticket-insights/"):
        dev.open(path)
        look(dev.page)
    dev.open("/apps/acme-bridge/")
    dev.page.click("main summary")
    look(dev.page)
    dev.page.evaluate("document.forms[0].noValidate = true")
    dev.press("Add accounts")
    look(dev.page)
    dev.page.fill("[name=accounts]", "globex, Nobody")
    dev.press("Continue")
    dev.sees("Nobody")
    look(dev.page)
    dev.press("Not now")
    dev.page.click("main summary")
    dev.press("Remove acme")
    look(dev.page)
    dev.open("/apps/new/")
    dev.page.fill("[name=name]", "Asset Mirror")
    dev.page.fill("[name=slug]", "Not An Address")
    dev.press("Create app")
    look(dev.page)
    dev.page.fill("[name=slug]", "asset-mirror")
    dev.press("Create app")
    look(dev.page)
    factories.client(User.objects.get(email="dev@example.com"), name="Asset Mirror")
    dev.open("/apps/asset-mirror/")
    dev.page.select_option("[name=client]", label="Asset Mirror")
    dev.press("Continue")
    dev.sees("no other app can use these")
    look(dev.page)
    dev.press("Set permanently")
    dev.open("/apps/?q=nothing")
    look(dev.page)


@covers("version-create")
def test_a_new_version(look, calm):
    dev = calm("dev@example.com")
    dev.open("/apps/shift-planner/versions/new/")
    look(dev.page)
    dev.page.evaluate("document.forms[0].noValidate = true")
    dev.page.fill("[name=number]", "one")
    dev.page.fill("[name=install_url]", "nonsense")
    dev.page.set_input_files("[name=upload]", {"name": "icon.png", "mimeType": "image/png", "buffer": b"no icon"})
    dev.press("Save draft")
    look(dev.page)


@covers("need-list", "version-edit", "version-view", "version-publish-custom", "version-submit", "version-publish")
def test_a_version_from_draft_to_decision(look, calm):
    dev = calm("dev@example.com")
    submitted = Version.objects.get(app__slug="shift-planner")
    by = submitted.created_by
    fields = factories.version_fields("1.0", required_scopes=["freshservice.tickets.view"])
    draft = publishing.create_version(submitted.app, by=by, **fields)
    for path in (f"{draft.pk}/", f"{draft.pk}/edit/", f"{submitted.pk}/"):
        dev.open(f"/apps/shift-planner/versions/{path}")
        look(dev.page)
    dev.open(f"/apps/shift-planner/versions/{draft.pk}/")
    dev.page.evaluate("for (const form of document.forms) form.noValidate = true")
    dev.press("Publish for these accounts")
    look(dev.page)
    dev.open(f"/apps/shift-planner/versions/{draft.pk}/submit/")
    look(dev.page)
    reviewer = User.objects.get(email="reviewer@example.com")
    publishing.reject_version(submitted, reason="Say which shifts are read.", by=reviewer)
    publishing.approve_version(publishing.submit_version(draft, by=by), by=reviewer)
    dev.open("/needs/approved/")
    look(dev.page)
    dev.open(f"/apps/shift-planner/versions/{draft.pk}/publish/")
    look(dev.page)
    for version in (submitted, draft):
        dev.open(f"/apps/shift-planner/versions/{version.pk}/")
        look(dev.page)


@covers("version-package", "version-package-edit")
def test_an_app_package(look, calm):
    dev = calm("dev@example.com")
    app = App.objects.get(slug="ticket-insights")
    draft = publishing.create_version(app, by=app.created_by, **factories.version_fields("9.0"))
    files = packages.good(app.client)
    for spoilt in (packages.OLD, {**files, "manifest.json": {}}, files):
        dev.open(f"/apps/ticket-insights/versions/{draft.pk}/package/")
        look(dev.page)
        made = {"name": "app.zip", "mimeType": "application/zip", "buffer": packages.as_zip(spoilt)}
        dev.page.set_input_files("[name=package]", made)
        dev.press("Check and use package")
        for details in dev.page.query_selector_all("main details"):
            details.evaluate("element => element.open = true")
        look(dev.page)
    edit = f"/apps/ticket-insights/versions/{draft.pk}/package/edit/"
    dev.open(edit)
    look(dev.page)
    dev.press("Add a vendor")
    dev.sees("Vendor 2")
    dev.press("Check and save")
    dev.page.evaluate("for (const form of document.forms) form.noValidate = true")
    dev.press("Check and save")
    look(dev.page)
    # The preview follows what is chosen.
    dev.open(edit)
    dev.page.select_option("[name='level:freshservice.tickets.delete']", "required")
    dev.sees("The app wants to")
    dev.page.locator(".preview", has_text="Delete and restore tickets").wait_for()


@covers("guide-list", "guide-view", "scope-list")
def test_the_guides_and_the_scopes(look, stranger, calm):
    for path in ("/help/", "/help/?q=secret", "/help/?q=zebra", "/help/start/", "/help/tokens/", "/help/errors/"):
        stranger.goto(path)
        look(stranger)
    dev = calm("dev@example.com")
    dev.open("/scopes/?q=tickets")
    look(dev.page)
    dev.page.locator("details.group summary").first.click()
    dev.page.fill("[name=pasted]", "nothing to read")
    dev.press("Find the scope")
    look(dev.page)
    for pasted in ("curl https://any.example/api/v2/tickets/7", "GET /elsewhere/api/v2/tickets", "/nowhere"):
        dev.page.fill("[name=pasted]", pasted)
        dev.press("Find the scope")
        look(dev.page)
    dev.open("/scopes/?q=zebra")
    look(dev.page)
