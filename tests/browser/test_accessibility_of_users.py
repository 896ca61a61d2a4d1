"""axe finds nothing on the pages of who uses apps: admins and agents, and what they are asked."""

import datetime as dt
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.db.models.functions import Now

from consent.events import Event
from consent.models import Access
from credentials import actions as credentials
from credentials.models import Client
from marketplace.actions import installing
from marketplace.models import App, Connection, Installation
from marketplace.vendors import actions as connecting
from portal.accounts.actions import accounts
from portal.accounts.models import Account, User
from portal.ledger import preparing
from portal.ledger import views as ledger_views
from portal.ledger.actions import one_act, record
from portal.ledger.models import Entry, Export
from tests import factories
from tests.clock import advance
from tests.marketplace.connected import code_of_vendor, installed_with_vendors

from .looking import covers

pytestmark = pytest.mark.django_db(transaction=True)


@covers("home", "listing-list", "listing-view", "listing-install", "oauth-authorize", "oauth-callback",
        "installation-view", "installation-discard")  # fmt: skip
def test_installing(look, calm, stranger):
    for path in ("/marketplace/", "/marketplace/ticket-insights/"):
        stranger.goto(path)
        look(stranger)
    bea = calm("both@example.com")
    for path in ("/", "/marketplace/", "/marketplace/?q=nothing", "/marketplace/ticket-insights/",
                 "/marketplace/ticket-insights/install/"):  # fmt: skip
        bea.open(path)
        look(bea.page)
    bea.press("Install in Acme")
    look(bea.page)
    bea.press("Cancel")
    look(bea.page)
    for path in ("/marketplace/", "/marketplace/ticket-insights/", "/marketplace/ticket-insights/install/"):
        bea.open(path)
        look(bea.page)
    bea.press("Finish installing in Acme")
    bea.press("Discard")
    look(bea.page)
    bea.open("/oauth/callback")
    look(bea.page)


@pytest.fixture
def agreed(demo):
    """In Acme: Ticket Insights agreed to for the account, and an external app too; Reply Helper by Axel for himself."""
    acme, ada = Account.objects.get(slug="acme"), User.objects.get(email="admin@acme.example")
    clients = {client.name: client for client in Client.objects.all()}
    for slug in ("ticket-insights", "reply-helper"):
        installing.install(App.objects.get(slug=slug), acme, by=ada)
    factories.agree(clients["Ticket Insights"], acme, ada)
    factories.agree(clients["Workflow Runner"], acme, ada, requested={"freshservice.tickets.view"})
    factories.agree(clients["Reply Helper"], acme, User.objects.get(email="agent@acme.example"))
    return clients


@covers("installation-list", "installation-view", "installation-uninstall", "authorization-reauthorize",
        "consent-trim", "consent-widen", "consent-renew", "receipt-view", "ledger-list")  # fmt: skip
def test_an_admins_apps(look, calm, agreed):
    ada = calm("admin@acme.example")
    installation = Installation.objects.get(app__slug="ticket-insights", account__slug="acme")
    entry = Entry.objects.filter(event="consent.granted").first()
    for path in ("/installations/", f"/installations/{installation.pk}/", f"/receipts/{entry.pk}/", "/ledger/",
                 f"/authorizations/{installation.access_id}/reauthorize/",
                 f"/{entry.subject.replace('consent:', 'consents/')}/renew/"):  # fmt: skip
        ada.open(path)
        look(ada.page)
    with one_act(), transaction.atomic():
        for name in ("First", "Second"):
            by = User.objects.get(email="admin@acme.example")
            record("account:acme", Event.ACCESS_ENDED, by=by, subject="access:x", name=f"{name} of one click")
    for path in ("/ledger/?q=click&who=me&event=access", "/ledger/?since=2026-02-02&until=2026-02-01"):
        ada.open(path)
        for parts in ada.page.locator("td details > summary").all():
            parts.click()
        look(ada.page)
    ada.open(f"/installations/{installation.pk}/")
    ada.press("Permissions")
    look(ada.page)
    ada.page.locator("[name=scope]").first.check()
    for button in ("Remove", "Remove", "View receipt", "← Back", "Permissions", "Allow more"):
        ada.press(button)
        look(ada.page)
    ada.open(f"/installations/{installation.pk}/")
    ada.press("Uninstall")
    look(ada.page)
    ada.press("Uninstall")
    look(ada.page)
    ada.open(f"/installations/{installation.pk}/")
    look(ada.page)


@covers("ledger-list", "export-view")
def test_a_large_download(look, calm, monkeypatch):
    ada = calm("admin@acme.example")
    monkeypatch.setattr(ledger_views, "MOST_COUNTED", 1)
    ada.open("/ledger/")
    look(ada.page)
    ada.press("CSV")
    ada.page.wait_for_url("**/ledger/exports/*/")
    look(ada.page)
    ada.shoot("export-prepared")
    while preparing.write_some(str(Export.objects.get().pk)):
        pass
    ada.page.get_by_text("Your file is ready").wait_for()
    look(ada.page)
    ada.shoot("export-ready")
    with ada.page.expect_download() as file:
        ada.press("Download")
    assert file.value.suggested_filename == "ledger.csv"
    ada.open("/ledger/")
    look(ada.page)


@covers("authorization-view", "authorization-end", "consent-revoke", "installation-list")
def test_external_apps_and_what_is_suspended(look, calm, agreed):
    ada = calm("admin@acme.example")
    access = Access.objects.get(client=agreed["Workflow Runner"])
    for path in (f"authorizations/{access.pk}/", f"authorizations/{access.pk}/end/",
                 f"consents/{access.consents.get().pk}/revoke/"):  # fmt: skip
        ada.open(f"/{path}")
        look(ada.page)
    reply_helper = Installation.objects.get(app__slug="reply-helper")
    ada.open(f"/installations/{reply_helper.pk}/")
    look(ada.page)
    staff = User.objects.get(email="staff@example.com")
    credentials.suspend_client(
        agreed["Ticket Insights"], reason="Why", by=User.objects.get(email="reviewer@example.com")
    )
    ada.open("/installations/")
    look(ada.page)
    accounts.suspend_account(access.account, reason="Why", by=staff)
    for path in ("/installations/", f"/installations/{reply_helper.pk}/"):
        ada.open(path)
        look(ada.page)


@covers("overview", "authorization-revoke-for-all", "receipt-view")
def test_everything_that_has_access(look, calm, agreed):
    ada = calm("admin@acme.example")
    for path in ("/installations/overview/", "/installations/overview/?q=nothing+at+all"):
        ada.open(path)
        look(ada.page)
    ada.open("/installations/overview/")
    ada.page.locator("td details").first.click()
    look(ada.page)
    ada.press("Revoke for all")
    look(ada.page)
    ada.press("Revoke for all agents")
    look(ada.page)
    ada.press("View receipt")
    look(ada.page)


@covers("home", "ending-list", "authorization-list", "authorization-view", "installation-view", "installation-list")
def test_what_ends_soon(look, calm, agreed):
    ada, axel = calm("admin@acme.example"), calm("agent@acme.example")
    ada.open("/authorizations/ending/")
    look(ada.page)
    advance(dt.timedelta(days=344))
    access = Access.objects.get(client=agreed["Workflow Runner"])
    insights = Installation.objects.get(app__slug="ticket-insights", account__slug="acme")
    for who, paths in (
        (ada, ("/", "/authorizations/ending/", f"/authorizations/{access.pk}/", f"/installations/{insights.pk}/")),
        (axel, ("/authorizations/", "/installations/", f"/installations/{insights.pk}/")),
    ):
        for path in paths:
            who.open(path)
            look(who.page)


def asking(client, **more):
    query = {"response_type": "code", "client_id": client.client_id, "redirect_uri": client.redirect_uris.split()[0],
             "code_challenge": "A" * 43, "code_challenge_method": "S256", **more}  # fmt: skip
    return f"/oauth/authorize?{urlencode(query)}"


@covers("oauth-authorize")
def test_what_an_app_that_asks_may_meet(look, calm, agreed):
    bea = calm("both@example.com")
    asks_for_more = asking(agreed["Workflow Runner"], account="acme",
                           scope="freshservice.tickets.view freshservice.tickets.edit")  # fmt: skip
    unverified = asking(agreed["Desk Companion"], account="globex")
    nothing_new = asking(agreed["Workflow Runner"], account="acme", scope="freshservice.tickets.view")
    for path in (asks_for_more, nothing_new, unverified, asking(agreed["Workflow Runner"]),
                 asking(agreed["Workflow Runner"], account="x"), asking(agreed["Workflow Runner"], account="globex"), asking(agreed["Shift Planner"], account="acme")):  # fmt: skip
        bea.open(path)
        look(bea.page)
    bea.open(asking(agreed["Ticket Insights"], account="acme", prompt="consent"))
    bea.page.evaluate("document.querySelector('[name=shown]').value = 'stale'")
    bea.press("Agree")
    look(bea.page)
    stan = calm("staff@example.com")
    stan.open(asking(agreed["Workflow Runner"]))
    look(stan.page)


@covers("home", "installation-list", "installation-view", "authorization-list", "consent-revoke",
        "demo-app-install", "demo-app-callback", "oauth-authorize")  # fmt: skip
def test_an_agents_apps(look, calm, agreed):
    ana = calm("agent2@acme.example")
    installation = Installation.objects.get(app__slug="reply-helper")
    for path in ("/", "/installations/", "/authorizations/", f"/installations/{installation.pk}/"):
        ana.open(path)
        look(ana.page)
    for button in ("Authorize", "Continue to the portal", "Agree"):
        ana.press(button)
        look(ana.page)
    ana.open("/authorizations/")
    look(ana.page)
    ana.press("Revoke")
    look(ana.page)
    ana.open("/sandbox/app/callback?error=access_denied")
    look(ana.page)


@covers("installation-settings", "connection-view", "connection-disconnect", "installation-console", "vendor-callback")
def test_an_app_with_vendors(look, calm, demo, vendors):
    people = {"dev": User.objects.get(email="dev@example.com"), "admin": User.objects.get(email="admin@acme.example")}
    planner = installed_with_vendors(SimpleNamespace(acme=Account.objects.get(slug="acme"), **people), vendors)
    code = code_of_vendor(planner, "calendar", {"room": "4"})
    connecting.finish_connection(planner.installation, "calendar", by=people["admin"], **code)
    ada, checklist = calm("admin@acme.example"), f"/installations/{planner.installation.pk}/"
    ada.open(f"{checklist}settings/")
    ada.page.evaluate("document.forms[document.forms.length - 1].noValidate = true")
    ada.press("Save")
    look(ada.page)
    for path in (f"{checklist}connections/calendar/", f"{checklist}connections/calendar/disconnect/",
                 f"{checklist}console/?template=events", "/oauth/callback/planner/calendar"):  # fmt: skip
        ada.open(path)
        look(ada.page)
    for context in ('{"id": 7}', '{"id": ".."}', "no"):
        ada.open(f"{checklist}console/?template=events")
        ada.page.fill("[name=context]", context)
        ada.press("Send")
        look(ada.page)
    Connection.objects.update(broken_at=Now(), problem="invalid_grant")
    for path in (checklist, f"{checklist}connections/calendar/", "/installations/"):
        ada.open(path)
        look(ada.page)
