"""What a new version means for installations of an old one: the forecast, the offers and their mails (M4)."""

import re
from copy import deepcopy
from datetime import timedelta

import pytest
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
from tests.mailing import outbox
from tests.marketplace.versions import next_draft, next_version, scopes_now, upgrade
from tests.people.forms import text
from tests.volume import grow_accounts

pytestmark = pytest.mark.django_db


# --- what a version offers an installation ---


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
def test_a_version_asks_an_account_only_for_what_it_has_not_agreed_to(agreed_app, cast, fields, kind):
    """M4: an optional scope that was agreed to may become required without asking."""
    version = next_version(agreed_app.version.app, cast.dev, **fields)
    assert Offer.objects.get().kind == kind
    step = upgrading.step_to(agreed_app.installation, version, by=cast.admin)
    assert step.asks == (kind == OfferKind.ASK)


def test_a_left_off_scope_that_becomes_required_is_asked_for(installed, cast):
    factories.agree(installed.client, cast.acme, cast.admin)
    version = next_version(installed.version.app, cast.dev, required_scopes=[EDIT, VIEW])
    assert Offer.objects.get().kind == OfferKind.ASK
    upgrade(installed.installation, version, cast.admin)
    assert Consent.objects.get().granted == [EDIT, VIEW]
    assert Consent.objects.get().left_off == []


def test_a_scope_added_to_the_client_changes_nothing_until_a_version_requests_it(agreed_app, cast):
    """C2, T1"""
    credentials.add_scopes(agreed_app.client, scopes={CREATE: "Later"}, by=cast.dev)
    assert not Offer.objects.exists()
    assert scopes_now(agreed_app, cast.acme) == [EDIT, VIEW]
    assert upgrading.offered_version(agreed_app.installation) is None


def test_an_installation_keeps_its_version_and_consent_until_it_is_upgraded(agreed_app, cast):
    """M4"""
    next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    agreed_app.installation.refresh_from_db()
    assert agreed_app.installation.version == agreed_app.version
    assert scopes_now(agreed_app, cast.acme) == [EDIT, VIEW]


def _package_with_request(version, **changes):
    """Return the version's package with changes to its template “events”."""
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
def test_a_version_with_changed_requests_is_never_an_automatic_update(cast, connected_app, changes):
    """Somebody must read it first when settings or tokens go elsewhere, or others may run it."""
    upgrading.set_upgrades_itself(connected_app.installation, on=True, by=cast.admin)
    files = _package_with_request(connected_app.version, **changes)
    version = next_version(connected_app.app, cast.dev, "1.1", custom={cast.acme.slug}, package=files)
    assert Offer.objects.get().kind == OfferKind.CLICK
    difference = upgrading.step_to(connected_app.installation, version, by=cast.admin).difference
    assert difference.changed_requests == {"events"}
    assert bool(difference.added_hosts) == ("options__oauth" in changes), (
        "a known host, but with another vendor's token"
    )


def test_a_request_that_would_get_a_token_of_the_companys_products_is_never_an_automatic_update(cast, connected_app):
    """The app's own credentials take over a vendor's name, while the request stays word for word the same."""
    upgrading.set_upgrades_itself(connected_app.installation, on=True, by=cast.admin)
    files = deepcopy(connected_app.version.package)
    integrations = files["config/oauth_config.json"]["integrations"]
    integrations["calendar"] = integrations.pop("portal")
    version = next_version(connected_app.app, cast.dev, "1.1", custom={cast.acme.slug}, package=files)
    assert version.scopes == connected_app.version.scopes
    assert Offer.objects.get().kind == OfferKind.CLICK
    difference = upgrading.step_to(connected_app.installation, version, by=cast.admin).difference
    assert difference.changed_requests == {"events"} and difference.added_hosts


def test_a_version_with_the_same_package_is_an_automatic_update(cast, connected_app):
    upgrading.set_upgrades_itself(connected_app.installation, on=True, by=cast.admin)
    next_version(connected_app.app, cast.dev, "1.1", custom={cast.acme.slug}, package=connected_app.version.package)
    assert Offer.objects.get().kind == OfferKind.ITSELF


def test_an_unreviewed_version_never_replaces_a_reviewed_one_automatically(agreed_app, cast, browse):
    """M3"""
    upgrading.set_upgrades_itself(agreed_app.installation, on=True, by=cast.admin)
    here = {"install_url": agreed_app.version.install_url}
    next_version(agreed_app.version.app, cast.dev, custom={cast.acme.slug}, required_scopes=[VIEW], **here)
    assert Offer.objects.get().kind == OfferKind.CLICK
    page = browse(cast.admin).get(f"/installations/{agreed_app.installation.pk}/upgrade/")
    assert "This version was not reviewed. Its developer published it for chosen accounts, including yours." in text(
        page
    )


# --- the forecast ---


def rule(installation, version):
    """State M4 in plain words: what a version that differs only in its scopes offers an installation, or None."""
    old, now = installation.version, timezone.now()
    if installation.uninstalled_at or installation.account.suspended_at or old == version:
        return None
    granted = [
        consent.granted
        for consent in installation.access.consents.all()
        if not consent.revoked_at and consent.expires_at > now
    ]
    requested = {*old.required_scopes, *old.optional_scopes}
    raised = {*version.required_scopes} & {*old.optional_scopes}
    if {*version.required_scopes, *version.optional_scopes} - requested:
        return OfferKind.ASK
    if raised and not (granted and raised <= {*granted[0]}):
        return OfferKind.ASK
    return OfferKind.ITSELF if installation.upgrades_itself else OfferKind.CLICK


def hundreds_of_installations(agreed_app, cast):
    """Make installations of two versions: with and without the option, consent ended, uninstalled, suspended and automatic, 30 of each."""
    app = agreed_app.version.app
    for number in range(14):
        if number == 7:
            here = {"install_url": agreed_app.version.install_url}
            next_version(app, cast.dev, required_scopes=[VIEW], optional_scopes=[EDIT], **here)
        account = factories.account("many")
        admin = factories.member(account, "admin")
        installation = installing.install(app, account, by=admin)
        case = number % 7
        consent = factories.agree(agreed_app.client, account, admin, chosen={EDIT} if case % 2 else ())
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


def test_the_forecast_for_hundreds_of_installations_follows_the_rule_and_publication_follows_it(agreed_app, cast):
    app = hundreds_of_installations(agreed_app, cast)
    rows = Installation.objects.filter(app=app).select_related("version", "account", "access")
    assert rows.count() > 400
    for number, kinds, fields in (
        ("1.2", {OfferKind.CLICK, OfferKind.ITSELF, OfferKind.ASK}, {"required_scopes": [EDIT, VIEW]}),
        ("1.3", {OfferKind.ASK}, {"required_scopes": [CREATE, VIEW], "optional_scopes": [EDIT]}),
    ):
        draft = next_draft(app, cast.dev, number, **fields, install_url=agreed_app.version.install_url)
        due = {(row.pk, row.version_id, rule(row, draft)) for row in rows.prefetch_related("access__consents")}
        due = {row for row in due if row[2]}
        assert {kind for _pk, _version, kind in due} == kinds and len(due) > 250
        assert set(offering.forecast(draft, "public").values_list("pk", "version", "kind")) == due
        version = factories.publish(draft, cast.dev)
        assert set(Offer.objects.filter(version=version).values_list("installation", "from_version", "kind")) == due


def test_a_developer_reads_what_publishing_would_do_and_afterwards_what_it_did(agreed_app, cast, browse):
    app = agreed_app.version.app
    draft = next_draft(app, cast.dev, required_scopes=[VIEW, CREATE])
    browser = browse(cast.dev)
    url = f"/apps/{app.slug}/versions/{draft.pk}/changes/"
    page = text(browser.get(url))
    for expected in (
        "Newly requested",
        "freshservice.tickets.create Why: It grew Required",
        "No longer requested",
        "Edit tickets",
        cast.acme.slug,
    ):
        assert expected in page, expected
    factories.publish(draft, cast.dev)
    page = text(browser.get(url))
    assert "Waiting 1" in " ".join(page.split())


def test_a_developer_is_told_when_a_draft_requests_the_same(published_version, cast, browse):
    draft = next_draft(published_version.app, cast.dev, optional_scopes=[EDIT])
    page = browse(cast.dev).get(f"/apps/{published_version.app.slug}/versions/{draft.pk}/changes/")
    assert "This version asks for the same scopes, connects to the same services and calls the same addresses." in text(
        page
    )


# --- mails ---


def test_admins_get_one_mail_with_a_link_and_find_the_version_in_their_list(agreed_app, cast, browse):
    second = factories.member(cast.acme, "admin")
    next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    outbox().clear()
    offer = Offer.objects.get()
    tasks.tell_of_offer(offer.pk)
    tasks.tell_of_offer(offer.pk)
    assert sorted(message.to[0] for message in outbox()) == sorted([cast.admin.email, second.email])
    link = re.search(r"https?://\S+/installations/\S+/upgrade/", outbox()[0].body)[0]
    assert "keeps working" in outbox()[0].body
    browser = browse(cast.admin)
    assert browser.get(link).status_code == 200
    assert "Waits for an admin to agree" in text(browser.get("/installations/waiting/"))
    assert "asks for something new, so an admin has to agree first. Until then, everything works as before." in text(
        browser.get(f"/installations/{agreed_app.installation.pk}/")
    )
    assert "Nothing is waiting for you" in text(browse(cast.agent).get("/installations/waiting/"))


def test_no_two_workers_post_the_same_mail(agreed_app, cast, monkeypatch):
    next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    queued = []
    monkeypatch.setattr(tasks.tell_of_offer, "delay", queued.append)
    tasks.sweep_offers()
    assert queued == [Offer.objects.get().pk]
    held = []

    def locks():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            return cursor.fetchone()[0]

    # The test's transaction still holds those of the acts before.
    before = locks()
    monkeypatch.setattr("portal.foundation.mail.post", lambda *_args, **_context: held.append(locks() - before))
    tasks.tell_of_offer(Offer.objects.get().pk)
    assert held == [1]


def send_mail_about(kind):
    """Send the mail about the latest untold offer of this kind, and return it."""
    outbox().clear()
    tasks.tell_of_offer(Offer.objects.filter(kind=kind, told_at=None).latest("pk").pk)
    (message,) = outbox()
    return message


def test_the_mail_names_new_permissions_in_words(agreed_app, cast):
    next_version(
        agreed_app.version.app, cast.dev, name="Graphs", required_scopes=[CREATE, EDIT, VIEW], optional_scopes=[DELETE]
    )
    message = send_mail_about(OfferKind.ASK)
    assert message.subject == "Graphs asks for 2 new permissions"
    # An optional scope that is agreed to is not asked for.
    assert "It asks to:\n- Create tickets\n- Delete and restore tickets (optional)\n\nSee what" in message.body
    assert "connected to" not in message.body


def test_the_mail_uses_the_singular_for_one_permission_and_shortens_a_long_list(agreed_app, cast, monkeypatch):
    monkeypatch.setattr(offering, "LISTED", 1)
    next_version(agreed_app.version.app, cast.dev, required_scopes=[CREATE, DELETE, VIEW])
    message = send_mail_about(OfferKind.ASK)
    assert message.subject == "Insights asks for 2 new permissions"
    assert "- Create tickets\nand 1 more" in message.body and "Delete" not in message.body
    Offer.objects.update(told_at=None)
    version = next_version(agreed_app.version.app, cast.dev, "1.2", required_scopes=[CREATE, VIEW])
    message = send_mail_about(OfferKind.ASK)
    assert message.subject == "Insights asks for a new permission" and f"Version {version.number}" in message.body


def test_a_withdrawal_is_mailed_on_the_day_of_an_offer_and_each_kind_once_a_day(agreed_app, cast):
    app = agreed_app.version.app
    version = next_version(app, cast.dev, required_scopes=[VIEW, CREATE])
    send_mail_about(OfferKind.ASK)
    upgrade(agreed_app.installation, version, cast.admin)
    publishing.withdraw_version(version, reason="It merges what it should not", by=cast.dev)
    assert "was withdrawn" in send_mail_about(OfferKind.WITHDRAWN).subject
    # No more mails of either kind until the day is over.
    agreed_app.installation.refresh_from_db()
    upgrade(agreed_app.installation, agreed_app.version, cast.admin)
    publishing.withdraw_version(agreed_app.version, reason="So does this", by=cast.dev)
    assert not Offer.objects.to_tell().exists()
    Offer.objects.exclude(told_at=None).update(told_at=Now() - timedelta(days=1, minutes=1))
    assert Offer.objects.to_tell().get().kind == OfferKind.WITHDRAWN
    next_version(app, cast.dev, "1.2", required_scopes=[VIEW, DELETE])
    assert "asks for a new permission" in send_mail_about(OfferKind.ASK).subject


def test_an_installation_made_while_a_version_was_published_is_offered_it_later(agreed_app, cast):
    """The sweep finds the installation if the publication did not see it."""
    version = next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW])
    account = factories.account("late")
    admin = factories.member(account, "admin")
    installation = installing.install(agreed_app.version.app, account, by=admin)
    assert installation.version == version
    tasks.sweep_offers()
    assert Offer.objects.count() == 1


def test_admins_get_one_mail_a_day_however_often_versions_come_and_go(agreed_app, cast):
    for number in ("1.1", "1.2", "1.3"):
        version = next_version(agreed_app.version.app, cast.dev, number, required_scopes=[VIEW, CREATE])
        tasks.tell_of_offer(Offer.objects.get(version=version).pk)
        publishing.withdraw_version(version, reason="Again", by=cast.dev)
    mails = [message for message in outbox() if "asks for a new permission" in message.subject]
    assert len(mails) == 1


def send_all_mails():
    for pk in list(Offer.objects.to_tell().values_list("pk", flat=True)):
        tasks.tell_of_offer(pk)


@pytest.mark.parametrize(("withdraws", "mails"), [("after", 1), ("before", 2)])
def test_automatic_updates_are_no_way_to_send_more_mails(agreed_app, cast, withdraws, mails):
    """Withdrawing an installation's current or former version allows one mail about that and no other."""
    upgrading.set_upgrades_itself(agreed_app.installation, on=True, by=cast.admin)
    here = {"install_url": agreed_app.version.install_url}
    has = agreed_app.version
    for step in range(1, 4):
        asks = next_version(has.app, cast.dev, f"{step}.1", required_scopes=[VIEW, CREATE], **here)
        send_all_mails()
        if withdraws == "before":
            publishing.withdraw_version(has, reason="Again", by=cast.dev)
            send_all_mails()
        same = next_version(has.app, cast.dev, f"{step}.2", required_scopes=[VIEW], optional_scopes=[EDIT], **here)
        tasks.upgrade_itself(Offer.objects.get(version=same, from_version=has).pk)
        if withdraws == "after":
            publishing.withdraw_version(has, reason="Again", by=cast.dev)
        publishing.withdraw_version(asks, reason="Again", by=cast.dev)
        send_all_mails()
        has = same
    agreed_app.installation.refresh_from_db()
    assert agreed_app.installation.version == has
    assert len([message for message in outbox() if message.to == [cast.admin.email]]) == mails
