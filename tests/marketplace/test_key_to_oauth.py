"""From API key to OAuth: an app that requests no permission, and its first version that does."""

from copy import deepcopy
from types import SimpleNamespace

import pytest

from consent.models import Access, Consent
from credentials.models import Level
from marketplace import tasks
from marketplace.actions import installing, offering, publishing, upgrading
from marketplace.actions.publishing import NotReady
from marketplace.models import Offer, OfferKind
from portal.ledger.models import Entry
from tests import factories
from tests.factories import VIEW
from tests.mailing import outbox
from tests.marketplace import packages
from tests.marketplace.connected import connect, register
from tests.oauth import AppSide
from tests.people.forms import receipt_in, text

pytestmark = pytest.mark.django_db

KEY = "the-admins-own-key"
OVERVIEW = "/installations/overview/"


@pytest.fixture
def files(vendors):
    """A package with settings and a request that sends them, but no integration."""
    protocol, host = vendors[0].url.split("://")
    schema = {
        "protocol": protocol, "method": "GET", "host": host, "path": "/api/items",
        "headers": {"X-Key": "<%= iparam.key %>"},
    }  # fmt: skip
    return {
        "manifest.json": packages.GOOD["manifest.json"]
        | {"modules": {"common": {"requests": {"status": {}}}, "x": {}}},
        "config/requests.json": {"status": {"schema": schema}},
        "config/iparams.json": {"key": {"display_name": "API key", "type": "text", "required": True, "secure": True}},
    }


@pytest.fixture
def app(cast, files):
    app = publishing.create_app(factories.team_of(cast.dev), slug="keyed", by=cast.dev)
    factories.publish(make_version(app, cast, package=files), cast.dev)
    return app


@pytest.fixture
def installation(app, cast):
    return installing.install(app, cast.acme, by=cast.admin)


def make_version(app, cast, number="1.0", **fields):
    return publishing.create_version(app, by=cast.dev, **factories.version_fields(number, required_scopes=[], **fields))


def with_scopes(files, client):
    """Return the same package with the app's own credentials as its integration."""
    portal = packages.PORTAL | {"client_id": client.client_id, "token_type": client.level, "options": {"scope": VIEW}}
    return files | {"config/oauth_config.json": {"integrations": {"portal": portal}}}


def with_vendor(files, vendor):
    """Return the same package with a request to a vendor that uses its access token."""
    files = deepcopy(files)
    call = deepcopy(files["config/requests.json"]["status"])
    call["schema"] |= {"path": "/api/items", "headers": {"Authorization": "Bearer <%= access_token %>"}}
    files["config/requests.json"]["items"] = call | {"options": {"oauth": "calendar"}}
    files["manifest.json"]["modules"]["common"]["requests"]["items"] = {}
    return files | {"config/oauth_config.json": {"integrations": {"calendar": packages.vendor(vendor, "account")}}}


def works(browser, installation, vendor):
    """Tell whether an admin's request goes out with the key; the vendor accepts only access tokens."""
    sent = {"template": "status", "context": "{}", "body": ""}
    shown = text(browser.post(f"/installations/{installation.pk}/console/", sent))
    return "Response: 401" in shown and vendor.log("/api/items")[-1]["headers"]["x-key"] == KEY


def fill_in(browser, installation):
    assert browser.post(f"/installations/{installation.pk}/settings/", {"value-key": KEY}).status_code == 302


def test_a_version_that_does_nothing_is_refused(cast):
    for number, client in enumerate((None, factories.client(cast.dev)[0])):
        app = publishing.create_app(factories.team_of(cast.dev), slug=f"idle-{number}", client=client, by=cast.dev)
        draft = make_version(app, cast)
        for act in (publishing.submit_version, installing.install_draft):
            with pytest.raises(NotReady, match="does nothing yet"):
                act(draft, by=cast.dev)
        with pytest.raises(NotReady, match="does nothing yet"):
            publishing.publish_custom(draft, accounts={"acme"}, by=cast.dev)


def test_an_app_with_only_a_key_is_listed_installed_used_and_uninstalled(app, ada, browse, cast, vendors):
    listing = text(ada.get(f"/marketplace/{app.slug}/"))
    assert "asks for no permissions here" in listing and "connects to no other service" not in listing
    assert "What an admin fills in API key" in listing and "It calls: 127.0.0.1" in listing and "agrees" not in listing
    assert "agree to what it asks for" not in text(ada.get(f"/marketplace/{app.slug}/install/"))
    page = ada.post(f"/marketplace/{app.slug}/install/", {"account": cast.acme.slug})["Location"]
    installation = app.installations.get()
    assert page == f"/installations/{installation.pk}/" and installation.access is None
    shown = text(ada.get(page))
    assert "Not finished" in shown and "API key" not in shown and "App settings Not filled in" in shown
    fill_in(ada, installation)
    assert "Ready" in text(ada.get(page)) and "Ready" in text(ada.get("/installations/"))
    assert works(ada, installation, vendors[0])
    # There is no agreement for agents, so they see the app but run none of its requests.
    assert "Ready" in text(browse(cast.agent).get(page))
    assert browse(cast.agent).get(f"{page}console/").status_code == 404
    assert "Nothing has access" in text(ada.get(OVERVIEW))
    confirmation = text(ada.get(f"{page}uninstall/"))
    assert "what was filled in for it is erased" in confirmation and "agents" not in confirmation
    receipt = ada.post(f"{page}uninstall/")["Location"]
    assert "App uninstalled" in text(ada.get(receipt))
    installation.refresh_from_db()
    assert installation.uninstalled_at and installation.values == {}
    assert not Access.objects.exists()


def test_an_app_with_only_a_key_is_uninstalled_and_never_discarded_as_unfinished(
    installation, ada, app, cast, files, vendors
):
    page = f"/installations/{installation.pk}/"
    for _step in ("new", "filled in"):
        shown = text(ada.get(page))
        assert "Uninstall" in shown and "Discard" not in shown
        fill_in(ada, installation)
    # Nor is it unfinished after a version that still has to be connected.
    register(vendors, app.slug)
    version = factories.publish(make_version(app, cast, "2.0", package=with_vendor(files, vendors[0])), cast.dev)
    upgrading.upgrade(installation, version, by=cast.admin)
    shown = text(ada.get(page))
    assert "Uninstall" in shown and "Discard" not in shown


def test_a_reviewer_and_the_developer_read_what_the_app_works_with(app, browse, cast):
    version = app.versions.get()
    review = text(browse(factories.reviewer()).get(f"/admin/marketplace/version/{version.pk}/change/"))
    assert (
        "This version asks for no scopes." in review
        and "What an admin fills in API key" in review
        and "/api/items" in review
    )
    dev = browse(cast.dev)
    assert "It calls: 127.0.0.1" in text(dev.get(f"/apps/{app.slug}/versions/{version.pk}/"))
    assert dev.get(f"/apps/{app.slug}/versions/{version.pk}/changes/").status_code == 200
    assert "An admin fills in API key" in text(dev.get(f"/apps/{app.slug}/versions/{version.pk}/package/"))


def test_a_draft_with_only_a_key_is_tried_on_the_teams_test_account(cast, files, browse):
    app = publishing.create_app(factories.team_of(cast.dev), slug="keyed", by=cast.dev)
    draft = make_version(app, cast, package=files)
    dev = browse(cast.dev)
    tried = dev.post(f"/apps/{app.slug}/versions/{draft.pk}/test/", follow=True)
    assert tried.status_code == 200 and "App settings Not filled in" in text(tried)


@pytest.mark.parametrize("level", list(Level))
def test_the_version_with_the_first_credentials_waits_and_asks_for_consent(
    installation, level, app, ada, cast, browse, files, vendors, client
):
    """M4. After Agree, the app gets its first token."""
    fill_in(ada, installation)
    row, secret = factories.client(cast.dev, level=level)
    publishing.set_client(app, row, by=cast.dev)
    draft = make_version(app, cast, "2.0", package=with_scopes(files, row))
    assert [each.kind for each in offering.forecast(draft)] == [OfferKind.ASK]
    factories.publish(draft, cast.dev)
    assert Offer.objects.get().kind == OfferKind.ASK
    # Until then the old version keeps working.
    page = f"/installations/{installation.pk}/"
    assert "asks for something new, so an admin has to agree first. Until then, everything works as before." in text(
        ada.get(page)
    ) and "View tickets" not in text(ada.get(page))
    assert works(ada, installation, vendors[0])
    shown = ada.get(f"{page}upgrade/")
    assert "View tickets" in text(shown)
    decided = {"version": shown.context["version"].pk, "shown": shown.context["shown"]}
    declined = ada.post(f"{page}upgrade/", decided | {"decision": "decline"}, follow=True)
    assert "Nothing was changed" in text(declined) and works(ada, installation, vendors[0])
    assert not Access.objects.exists()
    ada.post(f"{page}upgrade/", decided | {"decision": "agree"})
    installation.refresh_from_db()
    assert installation.version.number == "2.0" and works(ada, installation, vendors[0])
    assert installation.access.terms == {VIEW}
    side = AppSide(client, row, secret)
    tokens = side.tokens_for(browse(cast.agent if level == Level.AGENT else cast.admin), account=cast.acme.slug)
    assert tokens["scope"] == VIEW and Consent.objects.get().granted == [VIEW]
    assert f"/installations/{installation.pk}/" in ada.get(OVERVIEW).content.decode()
    assert "1 agreement" in text(ada.get(f"{page}uninstall/"))
    assert "1 agreement" in text(ada.get(receipt_in(ada.post(f"{page}uninstall/", follow=True))))
    assert side.refresh(tokens["refresh_token"]).status_code == 400


def test_the_version_with_the_first_vendor_waits_and_is_then_connected(installation, app, ada, cast, files, vendors):
    fill_in(ada, installation)
    register(vendors, app.slug)
    factories.publish(make_version(app, cast, "2.0", package=with_vendor(files, vendors[0])), cast.dev)
    assert Offer.objects.get().kind == OfferKind.ASK
    outbox().clear()
    tasks.tell_of_offer(Offer.objects.get().pk)
    assert outbox()[0].subject == "Insights asks to connect to another service"
    assert "It asks to connect to: Example Calendar\n" in outbox()[0].body
    page = f"/installations/{installation.pk}/"
    shown = ada.get(f"{page}upgrade/")
    assert "New services to connect" in text(shown)
    ada.post(f"{page}upgrade/", {"version": shown.context["version"].pk, "decision": "agree"})
    assert "Example Calendar Not connected" in text(ada.get(page)) and works(ada, installation, vendors[0])
    multi = SimpleNamespace(installation=installation)
    assert "Example Calendar is connected" in connect(ada, multi, "calendar")
    assert "Ready" in text(ada.get(page))
    sent = {"template": "items", "context": "{}", "body": ""}
    assert "Response: 200" in text(ada.post(f"{page}console/", sent))
    assert Entry.objects.filter(event="installation.upgraded").count() == 1
