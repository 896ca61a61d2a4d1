"""Installing and uninstalling: it works, the wrong person, the wrong state, twice (M2, M3, M5, M6)."""

import threading

import pytest
from django.db import connection

from consent.models import Access, Consent
from credentials.actions import suspend_client
from marketplace.actions import installing, publishing
from marketplace.actions.installing import (
    AlreadyInstalled,
    AlreadyUninstalled,
    NotADraft,
    NotInstallable,
    NotUnfinished,
)
from marketplace.models import Installation, Version
from portal.accounts.actions import accounts, memberships
from portal.accounts.rights import NotAnAdmin
from portal.ledger.models import Entry
from tests import factories
from tests.factories import DELETE, EDIT, VIEW, agree, version_fields
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def version(cast):
    client, _secret = factories.client(cast.dev)
    return factories.publish(factories.app(cast.dev, client, optional_scopes=[EDIT]), cast.dev)


@shared
def installation(cast, version):
    return installing.install(version.app, cast.acme, by=cast.admin)


def test_installing_opens_an_access_with_the_versions_terms(cast, version, installation):
    access = installation.access
    assert (installation.version, access.account, access.installation_id) == (version, cast.acme, installation.pk)
    assert (access.required_scopes, access.optional_scopes) == ([VIEW], [EDIT])
    assert not installing.is_begun(installation) and not Consent.objects.exists()


def test_only_an_admin_of_the_account_installs_uninstalls_and_discards(cast, version, installation):
    for who in (cast.agent, cast.globex_admin, cast.dev):
        with pytest.raises(NotAnAdmin):
            installing.install(version.app, cast.acme, by=who)
        for act in (installing.uninstall, installing.discard):
            with pytest.raises(NotAnAdmin):
                act(installation, by=who)
    installation.refresh_from_db()
    assert installation.uninstalled_at is None


def test_an_admin_who_was_demoted_or_left_cannot_install(cast, version):
    second = factories.member(cast.acme, "admin", "Amy")
    memberships.change_role(cast.acme.memberships.get(user=second), role="agent", by=cast.admin)
    with pytest.raises(NotAnAdmin):
        installing.install(version.app, cast.acme, by=second)


def test_installing_twice_is_refused(cast, version, installation):
    """M6"""
    with pytest.raises(AlreadyInstalled):
        installing.install(version.app, cast.acme, by=cast.admin)
    assert Installation.objects.count() == Access.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_admins_installing_at_once_make_one_installation(cast, version):
    """M6, T11"""
    outcomes = []

    def install():
        try:
            outcomes.append(installing.install(version.app, cast.acme, by=cast.admin))
        except AlreadyInstalled:
            outcomes.append(None)
        finally:
            connection.close()

    threads = [threading.Thread(target=install) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4 and sum(outcome is not None for outcome in outcomes) == 1
    assert Installation.objects.count() == Access.objects.count() == 1


def test_a_version_that_is_not_published_cannot_be_installed(cast):
    """M3"""
    draft = factories.app(cast.dev, factories.client(cast.dev)[0])
    for step in (
        lambda: None,
        lambda: publishing.submit_version(draft, by=cast.dev),
        lambda: publishing.approve_version(draft, by=factories.reviewer()),
    ):
        step()
        with pytest.raises(NotInstallable):
            installing.install(draft.app, cast.acme, by=cast.admin)
    publishing.publish_version(draft, by=cast.dev)
    assert installing.install(draft.app, cast.acme, by=cast.admin)


def test_a_custom_version_is_installed_only_by_the_accounts_it_lists(cast):
    """M3"""
    draft = factories.app(cast.dev, factories.client(cast.dev)[0])
    version = publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    assert installing.install(version.app, cast.acme, by=cast.admin)
    with pytest.raises(NotInstallable):
        installing.install(version.app, cast.globex, by=cast.globex_admin)


def test_a_draft_is_installed_on_its_teams_own_test_account_as_a_frozen_copy(cast):
    """M2, M3"""
    draft = factories.app(cast.dev, factories.client(cast.dev)[0])
    first = installing.install_draft(draft, by=cast.dev)
    assert first.account == draft.app.team.test_account and first.version.number == "1.0-draft.1"
    publishing.change_version(draft, by=cast.dev, name="Better")
    first.version.refresh_from_db()
    assert first.version.name == "Insights" and first.version.is_frozen
    second = installing.install_draft(draft, by=cast.dev)
    first.refresh_from_db()
    assert first.uninstalled_at and (second.version.number, second.version.name) == ("1.0-draft.2", "Better")
    with pytest.raises(NotInstallable):
        installing.install(draft.app, cast.acme, by=cast.admin)


def test_a_submitted_version_can_no_longer_be_tested_as_a_draft(cast):
    draft = factories.app(cast.dev, factories.client(cast.dev)[0])
    version = publishing.submit_version(draft, by=cast.dev)
    with pytest.raises(NotADraft):
        installing.install_draft(version, by=cast.dev)
    assert Version.objects.count() == 1


def test_nothing_is_installed_while_the_app_or_account_is_suspended(cast, version):
    accounts.suspend_account(cast.globex, reason="Unpaid", by=None)
    with pytest.raises(NotInstallable):
        installing.install(version.app, cast.globex, by=cast.globex_admin)
    suspend_client(version.app.client, reason="Harmful", by=factories.reviewer())
    with pytest.raises(NotInstallable):
        installing.install(version.app, cast.acme, by=cast.admin)


def test_a_newer_version_leaves_installations_on_theirs(cast, version, installation):
    factories.publish(publishing.create_version(version.app, by=cast.dev, **version_fields("1.1", required_scopes=[VIEW, EDIT])), cast.dev)  # fmt: skip
    installation.refresh_from_db()
    installation.access.refresh_from_db()
    assert installation.version == version and installation.access.required_scopes == [VIEW]
    assert installing.install(version.app, cast.globex, by=cast.globex_admin).version.number == "1.1"


def test_uninstalling_ends_everything_in_one_commit_and_works_once(cast, version, installation):
    """M5, T2"""
    agree(version.app.client, cast.acme, cast.admin)
    entry = installing.uninstall(installation, by=cast.admin)
    installation.refresh_from_db()
    installation.access.refresh_from_db()
    assert installation.uninstalled_at and installation.access.ended_at and installation.uninstalled_by == cast.admin
    assert entry.event == "access.ended"
    with pytest.raises(AlreadyUninstalled):
        installing.uninstall(installation, by=cast.admin)
    assert Entry.objects.filter(event="installation.uninstalled").count() == 1


def test_uninstalling_works_whatever_happened_to_the_app(cast, version, installation):
    """M5"""
    suspend_client(version.app.client, reason="Harmful", by=factories.reviewer())
    accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    installing.uninstall(installation, by=cast.admin)
    installation.refresh_from_db()
    assert installation.uninstalled_at


def test_reinstalling_opens_a_new_access_that_asks_again(cast, version, installation):
    """T4"""
    agree(version.app.client, cast.acme, cast.admin)
    installing.uninstall(installation, by=cast.admin)
    again = installing.install(version.app, cast.acme, by=cast.admin)
    assert again.pk != installation.pk and again.access_id != installation.access_id
    assert not installing.is_begun(again)


def test_an_unfinished_installation_is_discarded_and_a_finished_one_is_not(cast, version, installation):
    other = installing.install(version.app, cast.globex, by=cast.globex_admin)
    agree(version.app.client, cast.globex, cast.globex_admin)
    with pytest.raises(NotUnfinished):
        installing.discard(other, by=cast.globex_admin)
    installing.discard(installation, by=cast.admin)
    with pytest.raises(AlreadyUninstalled):
        installing.discard(installation, by=cast.admin)
    events = Entry.objects.filter(chain=cast.acme.chain_name).values_list("event", flat=True)
    assert "installation.discarded" in events and "installation.uninstalled" not in events


def test_a_scope_added_to_the_client_later_is_not_in_the_terms(cast, version, installation):
    """C2"""
    from credentials.actions import add_scopes

    add_scopes(version.app.client, scopes={DELETE: "Why"}, by=cast.dev)
    installation.access.refresh_from_db()
    assert DELETE not in installation.access.terms


def test_an_installation_that_was_agreed_to_is_never_discarded(installed, cast, browse):
    """Not even while its client is suspended, or after its consent has ended."""
    agree(installed.client, cast.acme, cast.admin)
    suspend_client(installed.client, reason="Harmful", by=factories.reviewer())
    ada = browse(cast.admin)
    page = ada.get(f"/installations/{installed.installation.pk}/").content.decode()
    assert (
        "Suspended by staff" in page
        and "Discard" not in page
        and "Uninstall" in page
        and "Finish installing" not in page
    )
    with pytest.raises(NotUnfinished):
        installing.discard(installed.installation, by=cast.admin)
    assert "Insights" not in ada.get("/marketplace/").content.decode(), "a suspended app is not offered"
    assert installing.uninstall(installed.installation, by=cast.admin)


def test_a_suspended_account_says_so_and_offers_only_what_works(installed, cast, browse):
    accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    ada = browse(cast.admin)
    assert "Suspended" in ada.get("/").content.decode()
    for page in ("/installations/", f"/installations/{installed.installation.pk}/"):
        text = ada.get(page).content.decode()
        assert "suspended" in text and "Finish installing" not in text
    accounts.suspend_account(cast.globex, reason="Unpaid", by=None)
    gus = browse(cast.globex_admin)
    assert "Globex: suspended" in gus.get(f"/marketplace/{installed.version.app.slug}/install/").content.decode()
