"""Versions over time: what a new one means for whom has an old one, agreeing to it, declining it, withdrawing it (M4)."""

import re
from copy import deepcopy

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from consent import actions as consent
from consent.actions import ScreenIsStale
from consent.models import Access, Consent
from credentials import actions as credentials
from credentials.models import Level
from marketplace import actions, tasks
from marketplace.actions import NotOffered
from marketplace.models import Connection, Offer, OfferKind, Status, Version
from portal.accounts import actions as accounts
from portal.ledger.models import Entry
from tests import factories
from tests.factories import CREATE, DELETE, EDIT, VIEW, version_fields
from tests.marketplace.connected import installed_with_vendors, works
from tests.oauth import authorize_url
from tests.people.forms import text

pytestmark = pytest.mark.django_db


def next_version(app, dev, number="1.1", *, custom=None, **fields):
    """Publish a version that asks for what `fields` say, whatever its credentials lacked until now."""
    asked = {*fields.get("required_scopes", []), *fields.get("optional_scopes", [])}
    if app.client and (lacking := asked - app.client.scope_names()):
        credentials.add_scopes(app.client, scopes=dict.fromkeys(lacking, "It grew"), by=dev)
    draft = actions.create_version(app, by=dev, **version_fields(number, **fields))
    if custom:
        return actions.publish_custom(draft, accounts=custom, by=dev)
    return factories.publish(draft, dev)


def upgrade(installation, version, by, chosen=()):
    """Update as the page does it: with the digest of what is shown."""
    step = actions.step_to(installation, version, by=by)
    shown = step.screen.digest() if step.screen else ""
    return actions.upgrade(installation, version, by=by, shown=shown, chosen=chosen)


@pytest.fixture
def agreed(installed, cast):
    """An installation whose account agreed to all of version 1.0: VIEW, and EDIT that it might have left off."""
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin, chosen={EDIT})
    return installed


def scopes_now(side, account):
    """The scopes that the app gets by client credentials."""
    return side.token(grant_type="client_credentials", account=account.slug).json()["scope"].split()


# --- what a version means for an installation ---


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"required_scopes": [VIEW], "optional_scopes": [EDIT]}, OfferKind.CLICK),
        ({"required_scopes": [VIEW]}, OfferKind.CLICK),
        ({"required_scopes": [EDIT, VIEW]}, OfferKind.CLICK),
        ({"required_scopes": [VIEW, CREATE], "optional_scopes": [EDIT]}, OfferKind.ASK),
        ({"required_scopes": [VIEW], "optional_scopes": [EDIT, CREATE]}, OfferKind.ASK),
    ],
)
def test_a_version_asks_an_account_only_for_what_it_did_not_agree_to(agreed, cast, fields, kind):
    """M4; a scope that was optional and agreed to may become required without a question."""
    version = next_version(agreed.version.app, cast.dev, **fields)
    assert Offer.objects.get().kind == kind
    step = actions.step_to(agreed.installation, version, by=cast.admin)
    assert step.asks == (kind == OfferKind.ASK)


def test_a_scope_that_was_left_off_and_becomes_required_is_asked(installed, cast):
    factories.agree(installed.client, cast.acme, cast.admin)
    version = next_version(installed.version.app, cast.dev, required_scopes=[EDIT, VIEW])
    assert Offer.objects.get().kind == OfferKind.ASK
    upgrade(installed.installation, version, cast.admin)
    assert Consent.objects.get().granted == [EDIT, VIEW]
    assert Consent.objects.get().left_off == []


def test_a_scope_added_to_the_client_changes_nothing_until_a_version_asks_for_it(agreed, cast):
    """C2, T1"""
    credentials.add_scopes(agreed.client, scopes={CREATE: "Later"}, by=cast.dev)
    assert not Offer.objects.exists()
    assert scopes_now(agreed, cast.acme) == [EDIT, VIEW]
    assert actions.offered_version(agreed.installation) is None


def test_an_installation_stays_on_its_version_and_its_consent_until_it_is_upgraded(agreed, cast):
    """M4"""
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    agreed.installation.refresh_from_db()
    assert agreed.installation.version == agreed.version
    assert scopes_now(agreed, cast.acme) == [EDIT, VIEW]


# --- agreeing ---


def test_agreeing_widens_this_consent_and_turns_on_what_was_chosen(agreed, cast):
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE], optional_scopes=[EDIT, DELETE])
    before = Consent.objects.get()
    moved = upgrade(agreed.installation, version, cast.admin, chosen={DELETE})
    after = Consent.objects.get()
    assert (moved.version, moved.access_id) == (version, before.access_id)
    assert (after.pk, after.granted) == (before.pk, [CREATE, DELETE, EDIT, VIEW])
    assert Offer.objects.get().taken_at
    assert scopes_now(agreed, cast.acme) == [CREATE, DELETE, EDIT, VIEW]
    events = list(
        Entry.objects.filter(chain=cast.acme.chain_name).order_by("-sequence").values_list("event", flat=True)
    )
    assert events[:3] == ["installation.upgraded", "consent.widened", "access.terms_changed"]


def test_what_was_not_shown_is_not_agreed_to(agreed, cast):
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    stale = actions.step_to(agreed.installation, version, by=cast.admin).screen.digest()
    consent.trim_consent(agreed.consent, scopes={EDIT}, by=cast.admin)
    for shown in ("", "0" * 64, stale):
        with pytest.raises(ScreenIsStale), transaction.atomic():
            actions.upgrade(agreed.installation, version, by=cast.admin, shown=shown)
    agreed.installation.refresh_from_db()
    assert agreed.installation.version == agreed.version
    assert Access.objects.get().terms == {VIEW, EDIT}


def test_only_the_version_that_is_offered_can_be_had(agreed, cast):
    first = next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW])
    second = next_version(agreed.version.app, cast.dev, "1.2", required_scopes=[VIEW])
    other = factories.publish(factories.app(cast.dev, factories.client(cast.dev)[0]), cast.dev)
    for wrong in (first, agreed.version, other):
        with pytest.raises(NotOffered), transaction.atomic():
            upgrade(agreed.installation, wrong, cast.admin)
    assert upgrade(agreed.installation, second, cast.admin).version == second


# --- narrowing ---


def test_a_version_that_asks_for_less_narrows_consent_and_every_token_without_asking(agreed, cast, browse):
    """T1"""
    tokens = agreed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    assert tokens["scope"].split() == [EDIT, VIEW]
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW])
    before = Consent.objects.get()
    upgrade(agreed.installation, version, cast.admin)
    after = Consent.objects.get()
    assert (after.granted, after.trimmed, after.expires_at) == ([VIEW], [], before.expires_at)
    assert agreed.refresh(tokens["refresh_token"]).json()["scope"] == VIEW
    assert Entry.objects.filter(event="access.terms_changed").get().details["removed"] == [EDIT]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    edit = agreed.http.put("/sandbox/api/v2/tickets/1", "{}", content_type="application/json", **bearer)
    assert edit.status_code == 401
    assert edit.json()["error"] == "insufficient_scope"


def test_narrowing_many_agents_takes_a_fixed_number_of_queries(installed_agent, cast):
    def narrow(count):
        for _number in range(count):
            agent = factories.member(cast.acme)
            factories.agree(installed_agent.client, cast.acme, agent)
        terms = consent.Terms(frozenset([VIEW]), frozenset(), "Insights", "1.0", installed_agent.installation.pk)
        wide = consent.Terms(frozenset([VIEW, EDIT]), frozenset(), "Insights", "1.0", installed_agent.installation.pk)
        with transaction.atomic():
            consent.change_terms(installed_agent.installation.access, wide, by=cast.admin)
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            consent.change_terms(Access.objects.get(), terms, by=cast.admin)
        return len(queries)

    assert narrow(1) == narrow(12)


def test_the_database_refuses_terms_narrower_than_a_consent(agreed):
    with pytest.raises(DatabaseError, match="narrower than a consent"), transaction.atomic():
        Access.objects.update(optional_scopes=[])


# --- declining ---


def test_declining_changes_nothing_and_is_recorded(agreed, cast):
    """M4"""
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    before = Consent.objects.values().get(), Access.objects.values().get()
    actions.decline_upgrade(agreed.installation, version, by=cast.admin)
    assert (Consent.objects.values().get(), Access.objects.values().get()) == before
    offer = Offer.objects.get()
    assert offer.declined_at and offer.declined_by == cast.admin
    assert Entry.objects.filter(event="installation.upgrade_declined").count() == 1
    assert actions.progress(version) | {"took": None} == {
        "waiting": 0, "waiting_since": None, "agreed": 0, "took": None, "declined": 1,
    }  # fmt: skip
    # It can be agreed to all the same, later.
    assert upgrade(agreed.installation, version, cast.admin).version == version
    assert actions.progress(version)["agreed"] == 1
    assert actions.progress(version)["declined"] == 0


# --- agent level ---


def test_each_agent_is_asked_for_the_additional_scopes_only_and_who_declines_keeps_the_old_consent(
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
    # Declined, or not yet asked: the old consent works, and what needs the new scope does not.
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    assert side.http.get("/sandbox/api/v2/tickets", **bearer).status_code == 200
    refused = side.http.post("/sandbox/api/v2/tickets", "{}", content_type="application/json", **bearer)
    assert (refused.status_code, refused.json()["scope"]) == (401, CREATE)
    assert "can do more than you allowed" in text(browser.get(f"/installations/{side.installation.pk}/"))
    page = text(browser.get(authorize_url(side.client, "x" * 43, account=cast.acme.slug)))
    assert "Create tickets" in page
    assert "Already allowed: 1 permission" in page
    wider = side.tokens_for(browser, account=cast.acme.slug)
    assert wider["scope"].split() == [CREATE, VIEW]
    assert Consent.objects.get().granted == [CREATE, VIEW]


# --- without a click ---


def test_a_version_that_asks_for_nothing_new_is_taken_by_itself_where_an_admin_turned_that_on(agreed, cast):
    actions.set_upgrades_itself(agreed.installation, on=True, by=cast.admin)
    here = {"install_url": agreed.version.install_url}
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW], **here)
    assert Offer.objects.get().kind == OfferKind.ITSELF
    tasks.sweep_offers()
    for offer in Offer.objects.all():
        tasks.upgrade_itself_by_offer(offer.pk)
        tasks.upgrade_itself_by_offer(offer.pk)
    agreed.installation.refresh_from_db()
    assert agreed.installation.version == version
    assert Consent.objects.get().granted == [VIEW]
    entries = Entry.objects.filter(event="installation.upgraded")
    assert [entry.actor for entry in entries] == ["system"]


def test_a_version_that_asks_for_something_new_waits_also_where_updating_by_itself_is_on(agreed, cast):
    actions.set_upgrades_itself(agreed.installation, on=True, by=cast.admin)
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    offer = Offer.objects.get()
    assert offer.kind == OfferKind.ASK
    Offer.objects.update(kind=OfferKind.ITSELF)
    tasks.upgrade_itself_by_offer(offer.pk)
    agreed.installation.refresh_from_db()
    assert agreed.installation.version == agreed.version
    assert Offer.objects.get().kind == OfferKind.ASK


# --- telling ---


def test_the_admins_are_told_once_with_a_link_to_the_page_and_find_it_in_their_list(agreed, cast, browse):
    second = factories.member(cast.acme, "admin")
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    mail.outbox.clear()
    offer = Offer.objects.get()
    tasks.tell_of_one_offer(offer.pk)
    tasks.tell_of_one_offer(offer.pk)
    assert sorted(message.to[0] for message in mail.outbox) == sorted([cast.admin.email, second.email])
    link = re.search(r"https?://\S+/installations/\S+/upgrade/", mail.outbox[0].body)[0]
    assert "goes on working" in mail.outbox[0].body
    browser = browse(cast.admin)
    assert browser.get(link).status_code == 200
    assert "Waits for permission" in text(browser.get("/installations/waiting/"))
    assert "waits for permission" in text(browser.get(f"/installations/{agreed.installation.pk}/"))
    assert "Nothing waits" in text(browse(cast.agent).get("/installations/waiting/"))


def test_an_installation_that_was_under_way_while_a_version_was_published_is_offered_it_later(agreed, cast):
    """The sweep finds it, whatever the publication did not see."""
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW])
    account = factories.account("late")
    admin = factories.member(account, "admin")
    installation = actions.install(agreed.version.app, account, by=admin)
    assert installation.version == version
    tasks.sweep_offers()
    assert Offer.objects.count() == 1


# --- the forecast ---


def test_the_forecast_is_what_publication_does(agreed, cast):
    """On seeded data with hundreds of installations, of several versions and kinds."""
    app = agreed.version.app
    here = {"install_url": agreed.version.install_url}
    for number in range(120):
        account = factories.account("many")
        admin = factories.member(account, "admin")
        installation = actions.install(app, account, by=admin)
        factories.agree(agreed.client, account, admin, chosen={EDIT} if number % 3 else ())
        if number % 2:
            actions.set_upgrades_itself(installation, on=True, by=admin)
        if number % 10 == 0:
            actions.uninstall(installation, by=admin)
        if number == 60:
            middle = next_version(app, cast.dev, "1.1", required_scopes=[VIEW], optional_scopes=[EDIT], **here)
    for offer in Offer.objects.filter(version=middle).order_by("pk")[:20]:
        account = offer.installation.account
        by = account.memberships.get().user if account != cast.acme else cast.admin
        upgrade(offer.installation, middle, by)
    for kinds, fields in (
        ({OfferKind.CLICK, OfferKind.ITSELF, OfferKind.ASK}, {"required_scopes": [EDIT, VIEW]}),
        ({OfferKind.ASK}, {"required_scopes": [CREATE, VIEW], "optional_scopes": [EDIT]}),
    ):
        number = "1.2" if OfferKind.CLICK in kinds else "1.3"
        asked = {*fields["required_scopes"], *fields.get("optional_scopes", [])}
        if lacking := asked - app.client.scope_names():
            credentials.add_scopes(app.client, scopes=dict.fromkeys(lacking, "It grew"), by=cast.dev)
        draft = actions.create_version(app, by=cast.dev, **version_fields(number, **fields, **here))
        expected = set(actions.forecast(draft, "public").values_list("pk", "version", "kind"))
        assert {kind for _pk, _version, kind in expected} == kinds
        assert len(expected) > 100
        version = factories.publish(draft, cast.dev)
        done = Offer.objects.filter(version=version).values_list("installation", "from_version", "kind")
        assert set(done) == expected


# --- withdrawing ---


def test_a_withdrawn_version_goes_on_working_and_its_admins_are_told_and_offered_the_earlier_one(agreed, cast, browse):
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW], optional_scopes=[EDIT, CREATE])
    upgrade(agreed.installation, version, cast.admin, chosen={CREATE})
    assert Consent.objects.get().granted == [CREATE, EDIT, VIEW]
    actions.withdraw_version(version, reason="It loses tickets.", by=cast.dev)
    assert scopes_now(agreed, cast.acme) == [CREATE, EDIT, VIEW]
    offer = Offer.objects.get(kind=OfferKind.WITHDRAWN)
    assert offer.version == agreed.version
    mail.outbox.clear()
    tasks.tell_of_one_offer(offer.pk)
    assert "It loses tickets." in mail.outbox[0].body
    page = browse(cast.admin).get(f"/installations/{agreed.installation.pk}/")
    assert "It loses tickets." in text(page)
    agreed.installation.refresh_from_db()
    back = upgrade(agreed.installation, agreed.version, cast.admin)
    assert back.version == agreed.version
    assert Consent.objects.get().granted == [EDIT, VIEW]


def test_a_withdrawn_version_cannot_be_had_and_where_it_was_the_only_one_that_is_told(agreed, cast):
    actions.withdraw_version(agreed.version, reason="Over.", by=cast.dev)
    offer = Offer.objects.get()
    assert (offer.kind, offer.version) == (OfferKind.WITHDRAWN, None)
    with pytest.raises(actions.NotInstallable):
        actions.install(agreed.version.app, cast.globex, by=cast.globex_admin)
    mail.outbox.clear()
    tasks.tell_of_one_offer(offer.pk)
    assert "no other version" in mail.outbox[0].body
    assert Version.objects.get().status == Status.WITHDRAWN


def test_why_a_version_was_withdrawn_is_said_then_and_never_changed(agreed, cast):
    with pytest.raises(DatabaseError), transaction.atomic():
        Version.objects.update(withdrawn_because="Else")
    actions.withdraw_version(agreed.version, reason="Over.", by=cast.dev)
    with pytest.raises(DatabaseError), transaction.atomic():
        Version.objects.update(withdrawn_because="Else")


def test_chosen_accounts_keep_at_most_three_published_versions(cast):
    row = factories.client(cast.dev)[0]
    app = actions.create_app(factories.team_of(cast.dev), slug="custom", category="other", client=row, by=cast.dev)
    for number in ("1.0", "1.1", "1.2"):
        first = next_version(app, cast.dev, number, custom={cast.acme.slug}, required_scopes=[VIEW])
    with pytest.raises(actions.TooManyVersions), transaction.atomic():
        next_version(app, cast.dev, "1.3", custom={cast.acme.slug}, required_scopes=[VIEW])
    actions.withdraw_version(first, reason="Room", by=cast.dev)
    draft = actions.create_version(app, by=cast.dev, **version_fields("1.4"))
    assert actions.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev).status == Status.PUBLISHED


# --- an app's first client, and vendors ---


def test_a_version_that_brings_the_first_credentials_asks_for_consent_in_the_same_way(cast, vendors):
    """From an API key to OAuth: the installation has no access until somebody agreed."""
    multi = installed_with_vendors(cast, vendors, client=False)
    assert multi.installation.access is None
    row, _secret = factories.client(cast.dev, level=Level.ACCOUNT)
    actions.set_client(multi.app, row, by=cast.dev)
    multi.app.refresh_from_db()
    version = next_version(
        multi.app, cast.dev, custom={cast.acme.slug}, required_scopes=[VIEW], install_url="https://app.example/"
    )
    assert Offer.objects.get().kind == OfferKind.ASK
    with pytest.raises(ScreenIsStale), transaction.atomic():
        actions.upgrade(multi.installation, version, by=cast.admin)
    moved = upgrade(multi.installation, version, cast.admin)
    assert moved.access.terms == {VIEW}
    assert Consent.objects.get().granted == [VIEW]
    with pytest.raises(DatabaseError), transaction.atomic():
        type(moved).objects.update(access=None)


def _with(version, **integrations):
    """The version's package with other integrations."""
    files = {**version.package, "config/oauth_config.json": {"integrations": {}}}
    before = version.package["config/oauth_config.json"]["integrations"]
    files["config/oauth_config.json"]["integrations"] = {
        name: {**one, **integrations.get(name, {})}
        for name, one in before.items()
        if integrations.get(name) is not False
    }
    return files


def test_an_upgrade_takes_connections_along_by_name_and_ends_those_that_lead_elsewhere(cast, vendors, connected):
    """Nothing that was given for one vendor goes to another under the same name (RFC 9700, 4.4)."""
    multi = connected
    kept = Connection.objects.get(integration="calendar")
    same = next_version(multi.app, cast.dev, "1.1", custom={cast.acme.slug}, package=multi.version.package)
    moved = upgrade(multi.installation, same, cast.admin)
    kept.refresh_from_db()
    assert kept.ended_at is None and works(vendors[0], kept)
    changed = _with(same, calendar={"token_url": f"{vendors[1].url}/token"})
    elsewhere = next_version(multi.app, cast.dev, "1.2", custom={cast.acme.slug}, package=changed)
    assert Offer.objects.get(version=elsewhere).kind == OfferKind.ASK
    upgrade(moved, elsewhere, cast.admin)
    kept.refresh_from_db()
    assert kept.ended_at and kept.version == same
    # The vendor that issued the tokens is told, not the other.
    assert vendors[0].url in str(actions.vendor_of(kept).integration.token_url)


# --- pages ---


def test_the_page_of_an_update_shows_the_difference_and_agrees_to_it(agreed, cast, browse):
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE], optional_scopes=[DELETE])
    browser, url = browse(cast.admin), f"/installations/{agreed.installation.pk}/upgrade/"
    page = text(browser.get(url))
    for expected in ("Create tickets", "It grew", "Already allowed: 1 permission", "It gives up", "Edit tickets"):
        assert expected in page, expected
    shown = re.search(r'name="shown" value="(\w+)"', browser.get(url).content.decode())[1]
    good = {"version": version.pk, "shown": shown, "decision": "agree"}
    assert browser.post(url, {**good, "version": agreed.version.pk}).status_code == 409
    assert browser.post(url, {**good, "shown": "x"}).status_code == 409
    assert browser.post(url, {**good, "decision": "?"}).status_code == 404
    answer = browser.post(url, {**good, "optional": [DELETE]}, follow=True)
    assert "Updated to 1.1" in text(answer)
    receipt = re.search(r'href="(/receipts/[\w-]+/)">See the receipt', answer.content.decode())[1]
    assert "Create tickets" in text(browser.get(receipt))
    assert Consent.objects.get().granted == [CREATE, DELETE, VIEW]
    # Twice: there is nothing more to be had.
    assert "no other version" in text(browser.post(url, good, follow=True))


def test_a_developer_reads_what_publishing_would_do_before_and_what_became_of_it_after(agreed, cast, browse):
    app = agreed.version.app
    credentials.add_scopes(app.client, scopes={CREATE: "It grew"}, by=cast.dev)
    draft = actions.create_version(app, by=cast.dev, **version_fields("1.1", required_scopes=[VIEW, CREATE]))
    browser = browse(cast.dev)
    url = f"/apps/{app.slug}/versions/{draft.pk}/changes/"
    page = text(browser.get(url))
    for expected in ("Asked for anew", "Create tickets", "Asked for no more", "Edit tickets", cast.acme.slug):
        assert expected in page, expected
    factories.publish(draft, cast.dev)
    page = text(browser.get(url))
    assert "Waiting 1" in " ".join(page.split())


@pytest.mark.parametrize("url", ["/installations/waiting/", "/apps/{app}/versions/{version}/changes/"])
def test_lists_take_a_fixed_number_of_queries(agreed, cast, browse, url):
    app = agreed.version.app
    browser = browse(cast.admin if "waiting" in url else cast.dev)

    def queries_with(more, number):
        for _each in range(more):
            account = factories.account("more")
            accounts.add_member(account, cast.admin, role="admin", by=None)
            actions.install(app, account, by=cast.admin)
        version = next_version(app, cast.dev, number, required_scopes=[VIEW, CREATE])
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(url.format(app=app.slug, version=version.pk)).status_code == 200
        actions.withdraw_version(version, reason="Again", by=cast.dev)
        return len(queries)

    few = queries_with(1, "1.1")
    assert queries_with(8, "1.2") <= few


def test_an_account_that_waited_is_told_when_what_it_has_is_withdrawn(agreed, cast):
    """The same step is offered for another reason then."""
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    offer = Offer.objects.get()
    tasks.tell_of_one_offer(offer.pk)
    mail.outbox.clear()
    actions.withdraw_version(agreed.version, reason="Old.", by=cast.dev)
    for _time in range(2):
        tasks.sweep_offers()
        tasks.tell_of_one_offer(offer.pk)
    assert [message.subject for message in mail.outbox] == ["Insights 1.0 was withdrawn"]
    assert Offer.objects.get().kind == OfferKind.WITHDRAWN


def _requests(version, **changes):
    """The version's package with other parts of its template “events”."""
    files = deepcopy(version.package)
    for path, value in changes.items():
        part, _dot, key = path.partition("__")
        files["config/requests.json"]["events"][part][key] = value
    return files


@pytest.mark.parametrize(
    "changes",
    [
        {"schema__path": "/api/else"},
        {"schema__headers": {"X-Key": "<%= iparam.owner %>"}},
        {"options__agents": True},
        {"options__oauth": "boards"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_version_whose_requests_say_something_else_is_never_taken_by_itself(cast, connected, changes):
    """Whatever goes elsewhere with what was given, or may be run by others, somebody has read before."""
    actions.set_upgrades_itself(connected.installation, on=True, by=cast.admin)
    files = _requests(connected.version, **changes)
    version = next_version(connected.app, cast.dev, "1.1", custom={cast.acme.slug}, package=files)
    assert Offer.objects.get().kind == OfferKind.CLICK
    difference = actions.step_to(connected.installation, version, by=cast.admin).difference
    assert difference.changed_requests == {"events"}
    assert bool(difference.added_hosts) == ("options__oauth" in changes), "a known host, with another vendor's token"


def test_a_version_with_the_same_package_is_taken_by_itself(cast, connected):
    actions.set_upgrades_itself(connected.installation, on=True, by=cast.admin)
    next_version(connected.app, cast.dev, "1.1", custom={cast.acme.slug}, package=connected.version.package)
    assert Offer.objects.get().kind == OfferKind.ITSELF


def test_no_account_gets_by_itself_a_version_that_nobody_reviewed_in_place_of_a_reviewed_one(agreed, cast, browse):
    """M3"""
    actions.set_upgrades_itself(agreed.installation, on=True, by=cast.admin)
    here = {"install_url": agreed.version.install_url}
    next_version(agreed.version.app, cast.dev, custom={cast.acme.slug}, required_scopes=[VIEW], **here)
    assert Offer.objects.get().kind == OfferKind.CLICK
    page = browse(cast.admin).get(f"/installations/{agreed.installation.pk}/upgrade/")
    assert "Nobody reviewed this version" in text(page)


def test_what_was_filled_in_for_one_question_is_no_answer_to_another_of_the_same_name(cast, connected):
    actions.change_values(connected.installation, values={"owner": "acme"}, by=cast.admin)
    connected.installation.refresh_from_db()
    files = deepcopy(connected.version.package)
    files["config/iparams.json"]["owner"]["secure"] = not files["config/iparams.json"]["owner"].get("secure", False)
    version = next_version(connected.app, cast.dev, "1.1", custom={cast.acme.slug}, package=files)
    assert Offer.objects.get().kind == OfferKind.CLICK
    assert connected.installation.values["owner"] == "acme"
    assert "owner" not in upgrade(connected.installation, version, cast.admin).values


def test_the_vendor_of_before_is_told_that_a_connection_is_over_also_after_an_update(cast, connected):
    row = Connection.objects.get(integration="calendar")
    actions.disconnect(row, by=cast.admin)
    row.refresh_from_db()
    assert row.version == connected.version


def test_admins_get_one_mail_a_day_however_often_versions_come_and_go(agreed, cast):
    for number in ("1.1", "1.2", "1.3"):
        version = next_version(agreed.version.app, cast.dev, number, required_scopes=[VIEW, CREATE])
        tasks.tell_of_one_offer(Offer.objects.get(version=version).pk)
        actions.withdraw_version(version, reason="Again", by=cast.dev)
    asked = [message for message in mail.outbox if "asks for a new permission" in message.subject]
    assert len(asked) == 1


def test_what_cannot_be_taken_by_itself_any_more_or_was_declined_is_left_to_people(agreed, cast):
    actions.set_upgrades_itself(agreed.installation, on=True, by=cast.admin)
    here = {"install_url": agreed.version.install_url}
    first = next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW], **here)
    second = next_version(agreed.version.app, cast.dev, "1.2", required_scopes=[VIEW], **here)
    actions.decline_upgrade(agreed.installation, second, by=cast.admin)
    for version in (first, second):
        tasks.upgrade_itself_by_offer(Offer.objects.get(version=version).pk)
    agreed.installation.refresh_from_db()
    assert agreed.installation.version == agreed.version
    assert Offer.objects.get(version=first).kind == OfferKind.CLICK
