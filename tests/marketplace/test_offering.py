"""What a new version means for whom has an old one: the forecast, what is offered, and telling of it (M4)."""

import re
from copy import deepcopy
from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from consent.models import Consent
from credentials import actions as credentials
from marketplace import tasks
from marketplace.actions import installing, offering, publishing, upgrading
from marketplace.models import Installation, Offer, OfferKind
from portal.accounts.actions import accounts
from tests import factories
from tests.factories import CREATE, DELETE, EDIT, VIEW
from tests.marketplace.versions import next_draft, next_version, scopes_now, upgrade
from tests.people.forms import text
from tests.volume import grow_accounts

pytestmark = pytest.mark.django_db


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
    step = upgrading.step_to(agreed.installation, version, by=cast.admin)
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
    assert upgrading.offered_version(agreed.installation) is None


def test_an_installation_stays_on_its_version_and_its_consent_until_it_is_upgraded(agreed, cast):
    """M4"""
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    agreed.installation.refresh_from_db()
    assert agreed.installation.version == agreed.version
    assert scopes_now(agreed, cast.acme) == [EDIT, VIEW]


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
    upgrading.set_upgrades_itself(connected.installation, on=True, by=cast.admin)
    files = _requests(connected.version, **changes)
    version = next_version(connected.app, cast.dev, "1.1", custom={cast.acme.slug}, package=files)
    assert Offer.objects.get().kind == OfferKind.CLICK
    difference = upgrading.step_to(connected.installation, version, by=cast.admin).difference
    assert difference.changed_requests == {"events"}
    assert bool(difference.added_hosts) == ("options__oauth" in changes), "a known host, with another vendor's token"


def test_a_request_that_would_get_the_token_of_the_companys_own_products_is_read_before(cast, connected):
    """What was a vendor's name until now is then that of the app's own credentials; the request stays word for word the same."""
    upgrading.set_upgrades_itself(connected.installation, on=True, by=cast.admin)
    files = deepcopy(connected.version.package)
    integrations = files["config/oauth_config.json"]["integrations"]
    integrations["calendar"] = integrations.pop("portal")
    version = next_version(connected.app, cast.dev, "1.1", custom={cast.acme.slug}, package=files)
    assert version.scopes == connected.version.scopes
    assert Offer.objects.get().kind == OfferKind.CLICK
    difference = upgrading.step_to(connected.installation, version, by=cast.admin).difference
    assert difference.changed_requests == {"events"} and difference.added_hosts


def test_a_version_with_the_same_package_is_taken_by_itself(cast, connected):
    upgrading.set_upgrades_itself(connected.installation, on=True, by=cast.admin)
    next_version(connected.app, cast.dev, "1.1", custom={cast.acme.slug}, package=connected.version.package)
    assert Offer.objects.get().kind == OfferKind.ITSELF


def test_no_account_gets_by_itself_a_version_that_nobody_reviewed_in_place_of_a_reviewed_one(agreed, cast, browse):
    """M3"""
    upgrading.set_upgrades_itself(agreed.installation, on=True, by=cast.admin)
    here = {"install_url": agreed.version.install_url}
    next_version(agreed.version.app, cast.dev, custom={cast.acme.slug}, required_scopes=[VIEW], **here)
    assert Offer.objects.get().kind == OfferKind.CLICK
    page = browse(cast.admin).get(f"/installations/{agreed.installation.pk}/upgrade/")
    assert "Nobody reviewed this version" in text(page)


# --- the forecast ---


def rule(installation, version):
    """M4 in plain words: what a version that differs in its scopes alone means for an installation, or None."""
    old, now = installation.version, timezone.now()
    if installation.uninstalled_at or installation.account.suspended_at or old == version:
        return None
    agreed = [
        consent.granted
        for consent in installation.access.consents.all()
        if not consent.revoked_at and consent.expires_at > now
    ]
    asked = {*old.required_scopes, *old.optional_scopes}
    raised = {*version.required_scopes} & {*old.optional_scopes}
    if {*version.required_scopes, *version.optional_scopes} - asked:
        return OfferKind.ASK
    if raised and not (agreed and raised <= {*agreed[0]}):
        return OfferKind.ASK
    return OfferKind.ITSELF if installation.upgrades_itself else OfferKind.CLICK


def hundreds_of_installations(agreed, cast):
    """Of two versions: agreed to with and without the option, once agreed to, ended, suspended and by itself, each 30 times."""
    app = agreed.version.app
    for number in range(14):
        if number == 7:
            here = {"install_url": agreed.version.install_url}
            next_version(app, cast.dev, required_scopes=[VIEW], optional_scopes=[EDIT], **here)
        account = factories.account("many")
        admin = factories.member(account, "admin")
        installation = installing.install(app, account, by=admin)
        case = number % 7
        consent = factories.agree(agreed.client, account, admin, chosen={EDIT} if case % 2 else ())
        if case in (2, 3):
            upgrading.set_upgrades_itself(installation, on=True, by=admin)
        if case == 4:
            Consent.objects.filter(pk=consent.pk).update(expires_at=Now() - timedelta(days=1))
        if case == 5:
            accounts.suspend_account(account, reason="Unpaid", by=None)
        if case == 6:
            installing.uninstall(installation, by=admin)
        grow_accounts(installation, admin, 29, f"m{number}")
    return app


def test_the_forecast_of_hundreds_of_installations_is_the_rule_and_what_publication_does(agreed, cast):
    app = hundreds_of_installations(agreed, cast)
    rows = Installation.objects.filter(app=app).select_related("version", "account", "access")
    assert rows.count() > 400
    for number, kinds, fields in (
        ("1.2", {OfferKind.CLICK, OfferKind.ITSELF, OfferKind.ASK}, {"required_scopes": [EDIT, VIEW]}),
        ("1.3", {OfferKind.ASK}, {"required_scopes": [CREATE, VIEW], "optional_scopes": [EDIT]}),
    ):
        draft = next_draft(app, cast.dev, number, **fields, install_url=agreed.version.install_url)
        due = {(row.pk, row.version_id, rule(row, draft)) for row in rows.prefetch_related("access__consents")}
        due = {row for row in due if row[2]}
        assert {kind for _pk, _version, kind in due} == kinds and len(due) > 250
        assert set(offering.forecast(draft, "public").values_list("pk", "version", "kind")) == due
        version = factories.publish(draft, cast.dev)
        assert set(Offer.objects.filter(version=version).values_list("installation", "from_version", "kind")) == due


def test_a_developer_reads_what_publishing_would_do_before_and_what_became_of_it_after(agreed, cast, browse):
    app = agreed.version.app
    draft = next_draft(app, cast.dev, required_scopes=[VIEW, CREATE])
    browser = browse(cast.dev)
    url = f"/apps/{app.slug}/versions/{draft.pk}/changes/"
    page = text(browser.get(url))
    for expected in (
        "Newly requested",
        "freshservice.tickets.create Why: It grew Required",
        "Asked for no more",
        "Edit tickets",
        cast.acme.slug,
    ):
        assert expected in page, expected
    factories.publish(draft, cast.dev)
    page = text(browser.get(url))
    assert "Waiting 1" in " ".join(page.split())


def test_a_developer_is_told_that_a_draft_asks_for_the_same(published, cast, browse):
    draft = next_draft(published.app, cast.dev, optional_scopes=[EDIT])
    page = browse(cast.dev).get(f"/apps/{published.app.slug}/versions/{draft.pk}/changes/")
    assert "It asks for the same" in text(page)


# --- telling ---


def test_the_admins_are_told_once_with_a_link_to_the_page_and_find_it_in_their_list(agreed, cast, browse):
    second = factories.member(cast.acme, "admin")
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    mail.outbox.clear()
    offer = Offer.objects.get()
    tasks.tell_of_offer(offer.pk)
    tasks.tell_of_offer(offer.pk)
    assert sorted(message.to[0] for message in mail.outbox) == sorted([cast.admin.email, second.email])
    link = re.search(r"https?://\S+/installations/\S+/upgrade/", mail.outbox[0].body)[0]
    assert "goes on working" in mail.outbox[0].body
    browser = browse(cast.admin)
    assert browser.get(link).status_code == 200
    assert "Waits for permission" in text(browser.get("/installations/waiting/"))
    assert "waits for permission" in text(browser.get(f"/installations/{agreed.installation.pk}/"))
    assert "Nothing waits" in text(browse(cast.agent).get("/installations/waiting/"))


def test_a_slow_mail_server_keeps_no_other_work_waiting_and_no_two_workers_mail_the_same(agreed, cast, monkeypatch):
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    told = []
    monkeypatch.setattr(tasks.tell_of_offer, "delay", told.append)
    tasks.sweep_offers()
    assert told == [Offer.objects.get().pk]
    held = []

    def send(*_args, **_context):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            held.append(cursor.fetchone()[0])

    monkeypatch.setattr("portal.foundation.mail.send", send)
    tasks.tell_of_offer(Offer.objects.get().pk)
    assert held == [1]


def told_of(kind):
    """The mail of the one offer of this kind that is told now."""
    mail.outbox.clear()
    tasks.tell_of_offer(Offer.objects.filter(kind=kind, told_at=None).latest("pk").pk)
    (message,) = mail.outbox
    return message


def test_the_mail_names_what_is_new_in_words(agreed, cast):
    next_version(
        agreed.version.app, cast.dev, name="Graphs", required_scopes=[CREATE, EDIT, VIEW], optional_scopes=[DELETE]
    )
    message = told_of(OfferKind.ASK)
    assert message.subject == "Graphs asks for 2 new permissions"
    # What was optional, and is agreed to, is not asked.
    assert "It wants to:\n- Create tickets\n- Delete and restore tickets (optional)\n\nRead what" in message.body
    assert "connected to" not in message.body


def test_the_mail_names_one_permission_as_one_and_of_many_so_many(agreed, cast, monkeypatch):
    monkeypatch.setattr(offering, "LISTED", 1)
    next_version(agreed.version.app, cast.dev, required_scopes=[CREATE, DELETE, VIEW])
    message = told_of(OfferKind.ASK)
    assert message.subject == "Insights asks for 2 new permissions"
    assert "- Create tickets\nand 1 more" in message.body and "Delete" not in message.body
    Offer.objects.update(told_at=None)
    version = next_version(agreed.version.app, cast.dev, "1.2", required_scopes=[CREATE, VIEW])
    message = told_of(OfferKind.ASK)
    assert message.subject == "Insights asks for a new permission" and f"Version {version.number}" in message.body


def test_a_withdrawal_is_told_on_the_day_of_an_offer_and_each_but_once_a_day(agreed, cast):
    app = agreed.version.app
    version = next_version(app, cast.dev, required_scopes=[VIEW, CREATE])
    told_of(OfferKind.ASK)
    upgrade(agreed.installation, version, cast.admin)
    publishing.withdraw_version(version, reason="It merges what it should not", by=cast.dev)
    assert "was withdrawn" in told_of(OfferKind.WITHDRAWN).subject
    # However often: none of either kind until the day is over.
    agreed.installation.refresh_from_db()
    upgrade(agreed.installation, agreed.version, cast.admin)
    publishing.withdraw_version(agreed.version, reason="So does this", by=cast.dev)
    assert not Offer.objects.to_tell().exists()
    Offer.objects.exclude(told_at=None).update(told_at=Now() - timedelta(days=1, minutes=1))
    assert Offer.objects.to_tell().get().kind == OfferKind.WITHDRAWN
    next_version(app, cast.dev, "1.2", required_scopes=[VIEW, DELETE])
    assert "asks for a new permission" in told_of(OfferKind.ASK).subject


def test_an_installation_that_was_under_way_while_a_version_was_published_is_offered_it_later(agreed, cast):
    """The sweep finds it, whatever the publication did not see."""
    version = next_version(agreed.version.app, cast.dev, required_scopes=[VIEW])
    account = factories.account("late")
    admin = factories.member(account, "admin")
    installation = installing.install(agreed.version.app, account, by=admin)
    assert installation.version == version
    tasks.sweep_offers()
    assert Offer.objects.count() == 1


def test_admins_get_one_mail_a_day_however_often_versions_come_and_go(agreed, cast):
    for number in ("1.1", "1.2", "1.3"):
        version = next_version(agreed.version.app, cast.dev, number, required_scopes=[VIEW, CREATE])
        tasks.tell_of_offer(Offer.objects.get(version=version).pk)
        publishing.withdraw_version(version, reason="Again", by=cast.dev)
    asked = [message for message in mail.outbox if "asks for a new permission" in message.subject]
    assert len(asked) == 1


def tell_all():
    for pk in list(Offer.objects.to_tell().values_list("pk", flat=True)):
        tasks.tell_of_offer(pk)


@pytest.mark.parametrize(("withdraws", "mails"), [("after", 1), ("before", 2)])
def test_an_app_that_updates_itself_is_no_way_to_more_mails(agreed, cast, withdraws, mails):
    """Withdrawing what an installation has, or has left, makes room for one mail that tells of it and for no other."""
    upgrading.set_upgrades_itself(agreed.installation, on=True, by=cast.admin)
    here = {"install_url": agreed.version.install_url}
    has = agreed.version
    for step in range(1, 4):
        asks = next_version(has.app, cast.dev, f"{step}.1", required_scopes=[VIEW, CREATE], **here)
        tell_all()
        if withdraws == "before":
            publishing.withdraw_version(has, reason="Again", by=cast.dev)
            tell_all()
        same = next_version(has.app, cast.dev, f"{step}.2", required_scopes=[VIEW], optional_scopes=[EDIT], **here)
        tasks.upgrade_itself(Offer.objects.get(version=same, from_version=has).pk)
        if withdraws == "after":
            publishing.withdraw_version(has, reason="Again", by=cast.dev)
        publishing.withdraw_version(asks, reason="Again", by=cast.dev)
        tell_all()
        has = same
    agreed.installation.refresh_from_db()
    assert agreed.installation.version == has
    assert len([message for message in mail.outbox if message.to == [cast.admin.email]]) == mails
