"""What is waiting for an admin: one line for each installation until they decide or it is superseded."""

import re

import pytest

from marketplace.actions import installing, offering, publishing, upgrading
from marketplace.models import Offer
from portal.accounts.actions import memberships
from tests import factories
from tests.factories import CREATE, DELETE, EDIT, VIEW
from tests.marketplace.versions import next_draft, next_version, upgrade
from tests.people.forms import text

pytestmark = pytest.mark.django_db


def pending():
    return list(Offer.objects.pending().values_list("installation__account__slug", "version__number"))


def test_an_installation_waits_on_one_line_however_many_versions_were_published(agreed_app, cast, browse):
    app = agreed_app.version.app
    first = next_version(app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    assert pending() == [(cast.acme.slug, "1.1")]
    second = next_version(app, cast.dev, "1.2", required_scopes=[VIEW, CREATE, DELETE])
    assert pending() == [(cast.acme.slug, "1.2")]
    assert [offering.progress(version)["waiting"] for version in (first, second)] == [0, 1]
    ada = browse(cast.admin)
    page = text(ada.get("/installations/waiting/"))
    assert page.count("Read and decide") == 1 and "1.2" in page and "1.1" not in page
    assert text(ada.get("/")).count("Review update") == 1
    upgrading.decline_upgrade(agreed_app.installation, second, by=cast.admin)
    assert pending() == [] and "Nothing is waiting for you" in text(ada.get("/installations/waiting/"))
    assert "Review update" not in text(ada.get("/"))


def test_a_version_and_its_note_stay_together_on_a_phone(agreed_app, cast, browse):
    """A table cell has room for its label and one element."""
    next_version(agreed_app.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    ada = browse(cast.admin)
    for page, said in (
        ("/installations/", "1.1 is available"),
        ("/installations/waiting/", "Waits for an admin to agree"),
    ):
        cell = re.search(r'data-label="Version">(.*?)</td>', ada.get(page).content.decode(), re.S)[1].strip()
        assert said in cell and cell.startswith("<span>") and cell.endswith("</span>"), cell


def test_the_previous_version_waits_again_when_the_newest_is_withdrawn(agreed_app, cast):
    next_version(agreed_app.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    second = next_version(agreed_app.version.app, cast.dev, "1.2", required_scopes=[VIEW, CREATE])
    publishing.withdraw_version(second, reason="Too early", by=cast.dev)
    assert pending() == [(cast.acme.slug, "1.1")]


def test_a_version_for_chosen_accounts_supersedes_only_for_them(agreed_app, cast):
    installation = installing.install(agreed_app.version.app, cast.globex, by=cast.globex_admin)
    factories.agree(agreed_app.client, cast.globex, cast.globex_admin)
    next_version(agreed_app.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    next_version(agreed_app.version.app, cast.dev, "1.2", custom={cast.acme.slug}, required_scopes=[VIEW, CREATE])
    assert sorted(pending()) == [(cast.acme.slug, "1.2"), (cast.globex.slug, "1.1")]
    publishing.withdraw_version(agreed_app.version, reason="Over", by=cast.dev)
    assert sorted(pending()) == [(cast.acme.slug, "1.2"), (cast.globex.slug, "1.1")]
    assert Offer.objects.filter(installation=installation).count() == 1


def test_a_withdrawal_without_another_version_waits_until_there_is_one(agreed_app, cast):
    publishing.withdraw_version(agreed_app.version, reason="Over", by=cast.dev)
    assert pending() == [(cast.acme.slug, None)]
    next_version(agreed_app.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    assert pending() == [(cast.acme.slug, "1.1")]


def test_a_consent_whose_admin_left_waits_on_the_same_page(agreed_app, cast, browse):
    colleague = factories.member(cast.acme, "admin", "Abe")
    memberships.change_role(cast.admin.memberships.get(), role="agent", by=colleague)
    answer = browse(colleague).get("/installations/waiting/")
    assert f"/consents/{agreed_app.consent.pk}/confirm/" in answer.content.decode()
    assert "Read and confirm" in text(answer) and "Nothing is waiting for you" not in text(answer)
    assert "Read and confirm" not in text(browse(cast.globex_admin).get("/installations/waiting/"))


def test_moving_to_an_earlier_version_is_not_called_an_update_and_gives_up_only_granted_scopes(
    agreed_app, cast, browse
):
    fields = {
        "required_scopes": [VIEW],
        "optional_scopes": [EDIT, CREATE],
        "install_url": agreed_app.version.install_url,
    }
    newer = next_version(agreed_app.version.app, cast.dev, "1.1", **fields)
    upgrade(agreed_app.installation, newer, cast.admin)
    publishing.withdraw_version(newer, reason="It loses tickets", by=cast.dev)
    ada = browse(cast.admin)
    listed = text(ada.get("/installations/"))
    assert "Withdrawn" in listed and "1.0 is available" not in listed
    url = f"/installations/{agreed_app.installation.pk}/upgrade/"
    page = ada.get(url)
    assert (
        "Switch Insights to 1.0" in text(page)
        and "What it will no longer be able to do" not in text(page)
        and "Update" not in text(page)
    )
    sent = {"version": agreed_app.version.pk, "shown": page.context["shown"], "decision": "agree"}
    assert "Switched to 1.0" in text(ada.post(url, sent, follow=True))


def test_a_version_that_cannot_update_automatically_says_so_if_that_is_on(agreed_app, cast, browse):
    upgrading.set_upgrades_itself(agreed_app.installation, on=True, by=cast.admin)
    next_version(agreed_app.version.app, cast.dev, "1.1", required_scopes=[VIEW], install_url="https://else.example/")
    page = text(browse(cast.admin).get(f"/installations/{agreed_app.installation.pk}/"))
    assert "This update is not automatic. Check what it changes." in page


def test_the_developer_reads_each_installations_state_and_since_when(agreed_app, cast, browse):
    """The page is right before and after a decline, and after the version is superseded or withdrawn."""
    app, dev = agreed_app.version.app, browse(cast.dev)
    first = next_version(app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    url = f"/apps/{app.slug}/versions/{first.pk}/changes/"
    assert "Waits for an admin to agree" in text(dev.get(url)) and "since" in text(dev.get(url))
    upgrading.decline_upgrade(agreed_app.installation, first, by=cast.admin)
    page = text(dev.get(url))
    assert "Declined on" in page and "Waits for an admin" not in page
    second = next_version(app, cast.dev, "1.2", required_scopes=[VIEW, CREATE])
    assert "No account is waiting for this version." in text(dev.get(url))
    publishing.withdraw_version(second, reason="Wrong", by=cast.dev)
    page = text(dev.get(url.replace(str(first.pk), str(second.pk))))
    assert (
        "This version was withdrawn. No installation is updated to it any more." in page
        and "Waits for an admin" not in page
    )


def test_a_drafts_page_shows_what_publishing_it_would_do(agreed_app, cast, browse):
    """Nobody publishes without having seen it."""
    app, dev = agreed_app.version.app, browse(cast.dev)
    draft = next_draft(app, cast.dev, required_scopes=[VIEW, CREATE])
    for step in (publishing.submit_version, None):
        page = text(dev.get(f"/apps/{app.slug}/versions/{draft.pk}/"))
        for expected in ("Newly requested", "Create tickets", "What publishing it would do", "Waits for an admin"):
            assert expected in page, expected
        if step:
            publishing.approve_version(step(draft, by=cast.dev), by=factories.reviewer())
    publishing.publish_version(draft, by=cast.dev)
    assert "What publishing it would do" not in text(dev.get(f"/apps/{app.slug}/versions/{draft.pk}/"))
