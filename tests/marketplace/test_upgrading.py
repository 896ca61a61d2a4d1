"""Moving an installation to another version: agreeing to it, declining it, and without a click (M4)."""

import re
from copy import deepcopy

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from consent import screen
from consent.actions import ending, granting
from consent.models import Access, Consent
from credentials import actions as credentials
from credentials.models import Level
from marketplace import tasks
from marketplace.actions import offering, publishing, upgrading
from marketplace.actions.upgrading import NotOffered
from marketplace.models import Connection, Offer, OfferKind
from marketplace.vendors import actions as connecting
from portal.accounts.actions import accounts
from portal.foundation.seals import ScreenIsStale
from portal.ledger.models import Entry
from tests import factories
from tests.factories import CREATE, DELETE, EDIT, VIEW
from tests.marketplace.connected import installed_with_vendors, works
from tests.marketplace.versions import next_version, scopes_now, upgrade
from tests.oauth import authorize_url
from tests.people.forms import text

pytestmark = pytest.mark.django_db


# --- agreeing ---


def test_agreeing_widens_the_consent_and_turns_on_the_chosen_scopes(agreed_app, cast):
    version = next_version(
        agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE], optional_scopes=[EDIT, DELETE]
    )
    before = Consent.objects.get()
    moved = upgrade(agreed_app.installation, version, cast.admin, chosen={DELETE})
    after = Consent.objects.get()
    assert (moved.version, moved.access_id) == (version, before.access_id)
    assert (after.pk, after.granted) == (before.pk, [CREATE, DELETE, EDIT, VIEW])
    assert Offer.objects.get().taken_at
    assert scopes_now(agreed_app, cast.acme) == [CREATE, DELETE, EDIT, VIEW]
    events = list(
        Entry.objects.filter(chain=cast.acme.chain_name).order_by("-sequence").values_list("event", flat=True)
    )
    assert events[:3] == ["installation.upgraded", "consent.widened", "access.terms_changed"]


def test_only_what_was_shown_can_be_agreed_to(agreed_app, cast):
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    stale = upgrading.step_to(agreed_app.installation, version, by=cast.admin).screen.digest()
    ending.trim_consent(agreed_app.consent, scopes={EDIT}, by=cast.admin)
    for shown in ("", "0" * 64, stale):
        with pytest.raises(ScreenIsStale), transaction.atomic():
            upgrading.upgrade(agreed_app.installation, version, by=cast.admin, shown=shown)
    agreed_app.installation.refresh_from_db()
    assert agreed_app.installation.version == agreed_app.version
    assert Access.objects.get().terms == {VIEW, EDIT}


def test_only_the_offered_version_can_be_installed(agreed_app, cast):
    first = next_version(agreed_app.version.app, cast.dev, "1.1", required_scopes=[VIEW])
    second = next_version(agreed_app.version.app, cast.dev, "1.2", required_scopes=[VIEW])
    other = factories.publish(factories.app(cast.dev, factories.client(cast.dev)[0]), cast.dev)
    for wrong in (first, agreed_app.version, other):
        with pytest.raises(NotOffered), transaction.atomic():
            upgrade(agreed_app.installation, wrong, cast.admin)
    assert upgrade(agreed_app.installation, second, cast.admin).version == second


def test_the_page_of_an_update_shows_the_difference_and_agrees_to_it(agreed_app, cast, browse):
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE], optional_scopes=[DELETE])
    browser, url = browse(cast.admin), f"/installations/{agreed_app.installation.pk}/upgrade/"
    page = text(browser.get(url))
    for expected in (
        "Create tickets",
        "It grew",
        "Already allowed: 1 permission",
        "What it will no longer be able to do",
        "Edit tickets",
    ):
        assert expected in page, expected
    shown = re.search(r'name="shown" value="(\w+)"', browser.get(url).content.decode())[1]
    good = {"version": version.pk, "shown": shown, "decision": "agree"}
    assert browser.post(url, {**good, "version": agreed_app.version.pk}).status_code == 409
    assert browser.post(url, {**good, "shown": "x"}).status_code == 409
    assert browser.post(url, {**good, "decision": "?"}).status_code == 404
    answer = browser.post(url, {**good, "optional": [DELETE]}, follow=True)
    assert "Updated to 1.1" in text(answer)
    receipt = re.search(r'href="(/receipts/[\w-]+/)">View receipt', answer.content.decode())[1]
    assert "Create tickets" in text(browser.get(receipt))
    assert Consent.objects.get().granted == [CREATE, DELETE, VIEW]
    # Twice: there is No other version.
    assert "No other version" in text(browser.post(url, good, follow=True))


# --- narrowing ---


def test_a_version_that_requests_less_narrows_the_consent_and_every_token_without_asking(agreed_app, cast, browse):
    """T1"""
    tokens = agreed_app.tokens_for(browse(cast.admin), account=cast.acme.slug)
    assert tokens["scope"].split() == [EDIT, VIEW]
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW])
    before = Consent.objects.get()
    upgrade(agreed_app.installation, version, cast.admin)
    after = Consent.objects.get()
    assert (after.granted, after.trimmed, after.expires_at) == ([VIEW], [], before.expires_at)
    assert agreed_app.refresh(tokens["refresh_token"]).json()["scope"] == VIEW
    assert Entry.objects.filter(event="access.terms_changed").get().details["removed"] == [EDIT]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    edit = agreed_app.http.put("/sandbox/api/v2/tickets/1", "{}", content_type="application/json", **bearer)
    assert edit.status_code == 401
    assert edit.json()["error"] == "insufficient_scope"


def test_narrowing_many_agents_takes_a_fixed_number_of_queries(installed_agent, cast):
    def narrow(count):
        for _number in range(count):
            agent = factories.member(cast.acme)
            factories.agree(installed_agent.client, cast.acme, agent)
        terms = screen.Terms(frozenset([VIEW]), frozenset(), "Insights", "1.0", installed_agent.installation.pk)
        wide = screen.Terms(frozenset([VIEW, EDIT]), frozenset(), "Insights", "1.0", installed_agent.installation.pk)
        with transaction.atomic():
            granting.change_terms(installed_agent.installation.access, wide, by=cast.admin)
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            granting.change_terms(Access.objects.get(), terms, by=cast.admin)
        return len(queries)

    assert narrow(1) == narrow(12)


def test_the_database_refuses_terms_narrower_than_a_consent(agreed_app):
    with pytest.raises(DatabaseError, match="narrower than a consent"), transaction.atomic():
        Access.objects.update(optional_scopes=[])


# --- declining ---


def test_declining_changes_nothing_and_is_recorded(agreed_app, cast):
    """M4"""
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    before = Consent.objects.values().get(), Access.objects.values().get()
    upgrading.decline_upgrade(agreed_app.installation, version, by=cast.admin)
    assert (Consent.objects.values().get(), Access.objects.values().get()) == before
    offer = Offer.objects.get()
    assert offer.declined_at and offer.declined_by == cast.admin
    assert Entry.objects.filter(event="installation.upgrade_declined").count() == 1
    assert offering.progress(version) | {"took": None} == {
        "waiting": 0, "waiting_since": None, "agreed": 0, "took": None, "declined": 1, "moved": 0,
    }  # fmt: skip
    # It can still be agreed to later.
    assert upgrade(agreed_app.installation, version, cast.admin).version == version
    assert offering.progress(version)["agreed"] == 1
    assert offering.progress(version)["declined"] == 0


# --- agent level ---


def test_agents_are_asked_only_for_additional_scopes_and_keep_the_old_consent_until_they_agree(
    installed_agent, cast, browse
):
    side = installed_agent
    browser = browse(cast.agent)
    tokens = side.tokens_for(browser, account=cast.acme.slug)
    version = next_version(
        side.version.app, cast.dev, required_scopes=[VIEW, CREATE], install_url="https://app.example/"
    )
    assert Offer.objects.get().kind == OfferKind.ASK
    upgrade(side.installation, version, cast.admin)
    # Without an answer, the old consent works, and calls that need the new scope do not.
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    assert side.http.get("/sandbox/api/v2/tickets", **bearer).status_code == 200
    refused = side.http.post("/sandbox/api/v2/tickets", "{}", content_type="application/json", **bearer)
    assert (refused.status_code, refused.json()["scope"]) == (401, CREATE)
    assert "The installed version can do more than you agreed to. What you agreed to keeps working." in text(
        browser.get(f"/installations/{side.installation.pk}/")
    )
    page = text(browser.get(authorize_url(side.client, "x" * 43, account=cast.acme.slug)))
    assert "Create tickets" in page
    assert "Already allowed: 1 permission" in page
    wider = side.tokens_for(browser, account=cast.acme.slug)
    assert wider["scope"].split() == [CREATE, VIEW]
    assert Consent.objects.get().granted == [CREATE, VIEW]


# --- automatic updates ---


def test_a_version_that_requests_nothing_new_updates_automatically_if_an_admin_allowed_it(agreed_app, cast):
    upgrading.set_upgrades_itself(agreed_app.installation, on=True, by=cast.admin)
    here = {"install_url": agreed_app.version.install_url}
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW], **here)
    assert Offer.objects.get().kind == OfferKind.ITSELF
    tasks.sweep_offers()
    for offer in Offer.objects.all():
        tasks.upgrade_itself(offer.pk)
        tasks.upgrade_itself(offer.pk)
    agreed_app.installation.refresh_from_db()
    assert agreed_app.installation.version == version
    assert Consent.objects.get().granted == [VIEW]
    entries = Entry.objects.filter(event="installation.upgraded")
    assert [entry.actor for entry in entries] == ["system"]


def test_a_version_that_requests_something_new_waits_even_if_automatic_updates_are_on(agreed_app, cast):
    upgrading.set_upgrades_itself(agreed_app.installation, on=True, by=cast.admin)
    next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    offer = Offer.objects.get()
    assert offer.kind == OfferKind.ASK
    Offer.objects.update(kind=OfferKind.ITSELF)
    tasks.upgrade_itself(offer.pk)
    agreed_app.installation.refresh_from_db()
    assert agreed_app.installation.version == agreed_app.version
    assert Offer.objects.get().kind == OfferKind.ASK


def test_a_superseded_or_declined_version_is_not_an_automatic_update(agreed_app, cast):
    upgrading.set_upgrades_itself(agreed_app.installation, on=True, by=cast.admin)
    here = {"install_url": agreed_app.version.install_url}
    first = next_version(agreed_app.version.app, cast.dev, "1.1", required_scopes=[VIEW], **here)
    second = next_version(agreed_app.version.app, cast.dev, "1.2", required_scopes=[VIEW], **here)
    upgrading.decline_upgrade(agreed_app.installation, second, by=cast.admin)
    for version in (first, second):
        tasks.upgrade_itself(Offer.objects.get(version=version).pk)
    agreed_app.installation.refresh_from_db()
    assert agreed_app.installation.version == agreed_app.version
    assert Offer.objects.get(version=first).kind == OfferKind.CLICK


@pytest.mark.parametrize("what", ["account", "client"])
def test_nothing_is_updated_while_the_account_or_the_app_is_suspended(agreed_app, cast, browse, what):
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    if what == "account":
        accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    else:
        credentials.suspend_client(agreed_app.client, reason="Harmful", by=factories.reviewer())
    ada, url = browse(cast.admin), f"/installations/{agreed_app.installation.pk}/upgrade/"
    for answer in (ada.get(url, follow=True), ada.post(url, {"version": version.pk, "decision": "agree"}, follow=True)):
        assert "cannot be updated here now" in text(answer)
    agreed_app.installation.refresh_from_db()
    assert agreed_app.installation.version == agreed_app.version


# --- an app's first client, vendors and settings ---


def test_a_version_with_the_first_credentials_asks_for_consent(cast, vendors):
    """From an API key to OAuth: the installation has no access until somebody agrees."""
    multi = installed_with_vendors(cast, vendors, client=False)
    assert multi.installation.access is None
    row, _secret = factories.client(cast.dev, level=Level.ACCOUNT)
    publishing.set_client(multi.app, row, by=cast.dev)
    multi.app.refresh_from_db()
    version = next_version(
        multi.app, cast.dev, custom={cast.acme.slug}, required_scopes=[VIEW], install_url="https://app.example/"
    )
    assert Offer.objects.get().kind == OfferKind.ASK
    with pytest.raises(ScreenIsStale), transaction.atomic():
        upgrading.upgrade(multi.installation, version, by=cast.admin)
    moved = upgrade(multi.installation, version, cast.admin)
    assert moved.access.terms == {VIEW}
    assert Consent.objects.get().granted == [VIEW]
    with pytest.raises(DatabaseError), transaction.atomic():
        type(moved).objects.update(access=None)


def _package_with(version, **integrations):
    """Return the version's package with changes to its integrations."""
    files = {**version.package, "config/oauth_config.json": {"integrations": {}}}
    before = version.package["config/oauth_config.json"]["integrations"]
    files["config/oauth_config.json"]["integrations"] = {
        name: {**one, **integrations.get(name, {})}
        for name, one in before.items()
        if integrations.get(name) is not False
    }
    return files


def test_an_upgrade_keeps_connections_by_name_and_ends_those_that_lead_elsewhere(cast, vendors, connected_app):
    """Nothing meant for one vendor goes to another of the same name (RFC 9700 section 4.4)."""
    multi = connected_app
    row = Connection.objects.get(integration="calendar")
    same = next_version(multi.app, cast.dev, "1.1", custom={cast.acme.slug}, package=multi.version.package)
    moved = upgrade(multi.installation, same, cast.admin)
    row.refresh_from_db()
    assert row.ended_at is None and works(vendors[0], row)
    changed = _package_with(same, calendar={"token_url": f"{vendors[1].url}/token"})
    elsewhere = next_version(multi.app, cast.dev, "1.2", custom={cast.acme.slug}, package=changed)
    assert Offer.objects.get(version=elsewhere).kind == OfferKind.ASK
    upgrade(moved, elsewhere, cast.admin)
    row.refresh_from_db()
    assert row.ended_at and row.version == same
    # They are revoked at the vendor that issued them, not at the other.
    assert vendors[0].url in str(connecting.vendor_of(row).integration.token_url)


def test_an_ended_connection_keeps_the_version_whose_vendor_is_told(cast, connected_app):
    row = Connection.objects.get(integration="calendar")
    connecting.disconnect(row, by=cast.admin)
    row.refresh_from_db()
    assert row.version == connected_app.version


def test_a_setting_is_not_reused_for_a_changed_field_of_the_same_name(cast, connected_app):
    connecting.change_values(connected_app.installation, values={"owner": "acme"}, by=cast.admin)
    connected_app.installation.refresh_from_db()
    files = deepcopy(connected_app.version.package)
    files["config/iparams.json"]["owner"]["secure"] = not files["config/iparams.json"]["owner"].get("secure", False)
    version = next_version(connected_app.app, cast.dev, "1.1", custom={cast.acme.slug}, package=files)
    assert Offer.objects.get().kind == OfferKind.CLICK
    assert connected_app.installation.values["owner"] == "acme"
    assert "owner" not in upgrade(connected_app.installation, version, cast.admin).values
