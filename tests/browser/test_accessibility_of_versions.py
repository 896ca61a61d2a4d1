"""axe finds nothing on the pages of versions that come and go: what is offered, asked, compared and withdrawn."""

import pytest

from marketplace.actions import installing
from portal.accounts.models import Account, User
from tests import factories

from .looking import covers

pytestmark = pytest.mark.django_db(transaction=True)


@covers("offer-list", "installation-upgrade", "installation-view", "installation-list", "home", "version-changes",
        "version-withdraw", "version-view")  # fmt: skip
def test_axe_finds_nothing_on_the_pages_of_versions(look, calm, demo, board):
    first = board.published("2.0", ["view"])
    acme, admin = Account.objects.get(slug="acme"), User.objects.get(email="admin@acme.example")
    installation = installing.install(board.app, acme, by=admin)
    factories.agree(installation.access.client, acme, admin)
    ada, dev = calm("admin@acme.example"), calm("dev@example.com")
    ada.open("/installations/waiting/")
    look(ada.page)
    second = board.published("2.1", ["view", "edit"], ["delete"])
    here, versions = f"/installations/{installation.pk}/", "/apps/ticket-insights/versions"
    for path in ("/", "/installations/", "/installations/waiting/", here, f"{here}upgrade/"):
        ada.open(path)
        look(ada.page)
    for path in (f"{second.pk}/", f"{second.pk}/changes/", f"{first.pk}/withdraw/"):
        dev.open(f"{versions}/{path}")
        look(dev.page)
    dev.page.fill("[name=reason]", "It merges what it should not.")
    dev.press("Withdraw")
    look(dev.page)
    for path in (here, f"{here}upgrade/"):
        ada.open(path)
        look(ada.page)
