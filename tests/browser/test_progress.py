"""Work that goes on after a page was answered: the page brings itself up to date, without JavaScript by a link."""

import pytest

from consent.actions import ending
from consent.models import Access
from marketplace.actions import installing
from marketplace.models import App
from portal.accounts.models import Account, User
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
# Longer than the page waits at first, in milliseconds.
SOON = 10_000


@pytest.fixture
def uninstalled(demo):
    """An app of Acme that an admin has just uninstalled; no worker runs."""
    acme, ada = Account.objects.get(slug="acme"), User.objects.get(email="admin@acme.example")
    app = App.objects.get(slug="ticket-insights")
    installation = installing.install(app, acme, by=ada)
    factories.agree(app.client, acme, ada)
    installing.uninstall(installation, by=ada)
    return installation


def test_a_page_brings_itself_up_to_date_and_then_stops_asking(uninstalled, sit_down):
    ada = sit_down("admin@acme.example")
    ada.open(f"/installations/{uninstalled.pk}/")
    again, status = ada.page.get_by_text("Check again"), ada.page.locator(".going-on [role=status]")
    assert not again.is_visible() and "still cleaning up" in status.inner_text()
    # What is read out stays the same element, so that a change of it is noticed.
    status.evaluate("(element) => { element.dataset.same = 'yes'; }")
    with ada.page.expect_response("**/progress/", timeout=SOON):
        pass
    ending.revoke_tokens(Access.objects.get(pk=uninstalled.access_id))
    ada.page.get_by_text("These numbers are final").wait_for(timeout=SOON)
    assert status.get_attribute("data-same") == "yes"
    assert "access token" in ada.page.locator(".going-on").inner_text() and not again.is_visible()
    assert ada.page.locator("[data-progress]").count() == 0
    ada.page.reload()
    assert "These numbers are final" in status.inner_text()


def test_without_javascript_a_link_checks_again(uninstalled, sit_down):
    ada = sit_down("admin@acme.example", javascript=False)
    ada.open(f"/installations/{uninstalled.pk}/")
    ending.revoke_tokens(Access.objects.get(pk=uninstalled.access_id))
    ada.press("Check again")
    ada.sees("These numbers are final")


def test_a_page_whose_reader_was_signed_out_stops_asking_and_offers_the_link(uninstalled, sit_down):
    ada = sit_down("admin@acme.example")
    ada.open(f"/installations/{uninstalled.pk}/")
    ada.context.clear_cookies()
    ada.page.get_by_text("Check again").wait_for(timeout=SOON)
    assert "still cleaning up" in ada.page.locator(".going-on [role=status]").inner_text()
