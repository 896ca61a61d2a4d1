"""An app with three integrations, from its checklist: connected, cancelled, resumed, tried, disconnected, uninstalled."""

import pytest

from marketplace.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_admin_sets_an_app_up_on_one_checklist(sit_down, planner, vendors):
    """Left in the middle and resumed; one vendor's refusal leaves the rest as it is."""
    ada = sit_down("admin@acme.example")
    ada.welcome += tuple(vendor.url for vendor in vendors)
    page, checklist = ada.page, f"/installations/{planner.installation.pk}/"

    def connect(vendor, decision):
        page.locator("li", has_text=vendor).get_by_role("link").click()
        if vendor == "Example Calendar":
            page.fill("[name=value-room]", "4")
        ada.press(f"Continue to {vendor}")
        page.get_by_role("button", name=decision).click()
        page.wait_for_url(f"**{checklist}")

    ada.open(checklist)
    ada.shoot("checklist-new")
    page.get_by_role("link", name="Fill in").click()
    page.fill("[name=value-owner]", "acme")
    ada.press("Save")
    ada.press("Agree")
    ada.sees("asks for access to")
    ada.press("Agree")
    ada.sees("Agreed. Now complete the remaining steps.")
    connect("Example Calendar", "Deny")
    ada.sees("you canceled there")
    ada.shoot("checklist-cancelled")
    # On another day.
    ada.open("/installations/")
    page.locator("tr", has_text="Insights").get_by_role("link", name="Finish installing").first.click()
    ada.sees("Connect Insights in Acme to Example Calendar")
    ada.open(checklist)
    connect("Example Calendar", "Allow")
    ada.sees("Not connected by you")
    connect("Example Boards", "Allow")
    ada.sees("Ready")
    ada.shoot("checklist-done")
    ada.press("Try the app’s requests")
    ada.press("events")
    page.fill("[name=context]", '{"id": "7"}')
    ada.press("Send")
    ada.sees("Response: 200")
    assert Connection.objects.get(integration="calendar").tokens["access_token"] not in page.content()
    ada.shoot("console")
    ada.open(checklist)
    page.locator("li", has_text="Example Boards").get_by_role("link", name="Disconnect").click()
    ada.shoot("disconnect")
    ada.press("Disconnect")
    ada.sees("is disconnected")
    ada.press("Uninstall")
    ada.press("Uninstall")
    ada.press("View receipt")
    ada.sees("1 connection to a vendor")
    assert not Connection.objects.live().exists() and Connection.objects.over().count() == 2
