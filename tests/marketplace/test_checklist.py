"""The checklist of an installation: what is done, what is left to do, and by whom."""

import pytest

from marketplace.models import Connection
from marketplace.vendors import actions as connecting
from portal.ledger.models import Entry
from tests import factories
from tests.marketplace.connected import connect, row, url_of
from tests.people.forms import receipt_in, text
from tests.vendors import SECRET

pytestmark = pytest.mark.django_db


def test_one_checklist_shows_what_is_done_and_what_is_left(multi, ada, cast):
    """Settings, consent, the account's vendor, then each agent's own; interrupted halfway and resumed."""
    page = f"/installations/{multi.installation.pk}/"
    shown = text(ada.get(page))
    assert "App settings Not filled in" in shown and "Not agreed to" in shown
    assert "Example Calendar Not connected For the whole account" in shown and "For yourself only" in shown
    assert "Not finished" in shown
    assert ada.post(f"{page}settings/", {"value-owner": "acme"}).status_code == 302
    factories.agree(multi.client, cast.acme, cast.admin)
    assert "App settings Filled in" in text(ada.get(page)) and "Not finished" in text(ada.get(page))
    assert "Example Calendar is connected" in connect(ada, multi, "calendar")
    shown = text(ada.get(page))
    assert "Example Calendar Connected" in shown and "Not finished" not in shown
    assert "Not connected by you" in shown, "their own of the other vendor"
    # The list says the same.
    assert "Not finished" not in text(ada.get("/installations/"))
    # What is done is not requested again.
    assert "Read and agree" not in shown and "Change Disconnect" in shown
    connected = text(ada.get(url_of(multi, "calendar")))
    assert "Example Calendar is connected" in connected and "Connect again Disconnect" in connected
    assert "Continue to" not in connected


def test_an_installation_that_was_connected_before_is_not_unfinished(multi, ada, browse, cast):
    page = f"/installations/{multi.installation.pk}/"
    ada.post(f"{page}settings/", {"value-owner": "acme"})
    factories.agree(multi.client, cast.acme, cast.admin)
    connect(ada, multi, "calendar")
    connecting.disconnect(row(), by=cast.admin)
    for shown in (text(ada.get(page)), text(ada.get("/installations/"))):
        assert "Not finished" not in shown and "Not connected" in shown and "Finish installing" not in shown
    assert "Connect again" in text(ada.get("/installations/"))
    # An agent's ended connection is not the account's.
    connect(ada, multi, "boards")
    connecting.disconnect(row("boards"), by=cast.admin)
    connect(ada, multi, "calendar")
    assert "Not connected by you" in text(ada.get("/installations/"))
    connect(ada, multi, "boards")
    assert "Ready" in text(ada.get("/installations/"))


def test_only_people_who_can_agree_are_told_to(multi, browse, cast):
    page = f"/installations/{multi.installation.pk}/"
    assert "Read and agree" in text(browse(cast.admin).get(page))
    shown = text(browse(cast.agent).get(page))
    assert "Read and agree" not in shown and "An admin of the account has to agree" in shown


def test_the_receipt_and_the_ledger_name_the_vendors(multi, ada, cast):
    factories.agree(multi.client, cast.acme, cast.admin)
    connect(ada, multi, "calendar")
    connect(ada, multi, "boards")
    page = f"/installations/{multi.installation.pk}/uninstall/"
    named = "2 connections to vendors: Example Boards, Example Calendar"
    assert named in text(ada.get(page))
    assert named in text(ada.get(receipt_in(ada.post(page, follow=True))))
    assert "Connected to a vendor: Example Calendar" in text(ada.get("/ledger/"))


def test_agents_see_the_accounts_connections_and_make_their_own(multi, browse, cast):
    axel, ana = browse(cast.agent), browse(cast.agent2)
    shown = text(axel.get(f"/installations/{multi.installation.pk}/"))
    assert "An admin of the account has to connect it." in shown
    for method in (axel.get, axel.post):
        assert method(url_of(multi, "calendar")).status_code == 404
    assert "Example Boards is connected" in connect(axel, multi, "boards")
    assert row("boards").membership.user == cast.agent
    assert "as you. Other people’s connections are not affected." in text(
        axel.get(url_of(multi, "boards", "disconnect/"))
    )
    assert "Not connected For yourself" in text(ana.get(f"/installations/{multi.installation.pk}/"))
    connect(ana, multi, "boards")
    assert Connection.objects.filter(integration="boards", ended_at=None).count() == 2


def test_settings_are_checked_with_an_error_on_each_field(multi, ada):
    for value, said in (("", "Fill this in"), ("a\nb", "cannot be used"), ("x" * 2001, "at most 2000")):
        answer = ada.post(url_of(multi, "calendar"), {"value-room": value})
        assert answer.status_code == 422 and said in text(answer), value
    assert not Connection.objects.exists()


def test_a_package_cannot_put_html_into_a_field(multi_of, ada):
    """Developers must not be able to change the pages on which admins fill in secrets."""
    evil = "<b id='evil'>bold</b>"
    field = {"display_name": evil, "description": evil, "type": "text", "required": True}
    multi = multi_of(oauth_iparams={"room": field})
    page = ada.get(url_of(multi, "calendar")).content.decode()
    assert page.count("bold") >= 2 and "<b id" not in page


def test_no_stored_secret_is_shown_or_logged(multi, ada, cast, caplog):
    """Neither tokens nor the developer's client secret."""
    with caplog.at_level("DEBUG"):
        connect(ada, multi, "calendar")
    tokens = row().tokens
    secrets = [tokens["access_token"], tokens["refresh_token"], SECRET]
    pages = [f"/installations/{multi.installation.pk}/", url_of(multi, "calendar"), "/ledger/"]
    output = "".join(ada.get(page).content.decode() for page in pages) + caplog.text + repr(row())
    output += str(list(Entry.objects.values_list("details", flat=True)))
    assert not [secret for secret in secrets if secret in output]
    raw = Connection.objects.raw("SELECT id, tokens AS kept, values AS filled FROM marketplace_connection")[0]
    assert not [secret for secret in secrets if secret in raw.kept] and raw.filled != "4"


def test_an_app_that_only_has_vendors_is_installed_used_and_uninstalled(vendor_only, ada, cast, calendar):
    page = f"/installations/{vendor_only.installation.pk}/"
    assert vendor_only.installation.access is None
    for path in ("/installations/", page, f"/marketplace/{vendor_only.app.slug}/"):
        assert ada.get(path).status_code == 200
    assert "Not finished" in text(ada.get(page))
    assert ada.get(f"{page}connect/")["Location"] == page
    connect(ada, vendor_only, "calendar")
    assert "Not finished" not in text(ada.get(page)) and "Not finished" not in text(ada.get("/installations/"))
    named = "1 connection to a vendor: Example Calendar"
    assert named in text(ada.get(f"{page}uninstall/"))
    ended = ada.post(f"{page}uninstall/", follow=True)
    assert named in text(ada.get(receipt_in(ended))) and Connection.objects.over().count() == 1
    assert "Receipt" in text(ada.get(page))
