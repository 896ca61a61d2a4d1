"""What waits for an admin: one line for each installation, until they decided or it was superseded."""

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


def waiting():
    return list(Offer.objects.pending().values_list("installation__account__slug", "version__number"))


def test_it_is_one_line_however_many_versions_were_published_since(agreed, cast, browse):
    app = agreed.version.app
    first = next_version(app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    assert waiting() == [(cast.acme.slug, "1.1")]
    second = next_version(app, cast.dev, "1.2", required_scopes=[VIEW, CREATE, DELETE])
    assert waiting() == [(cast.acme.slug, "1.2")]
    assert [offering.progress(version)["waiting"] for version in (first, second)] == [0, 1]
    ada = browse(cast.admin)
    page = text(ada.get("/installations/waiting/"))
    assert page.count("Read and decide") == 1 and "1.2" in page and "1.1" not in page
    assert "1 app needs a decision" in text(ada.get("/"))
    upgrading.decline_upgrade(agreed.installation, second, by=cast.admin)
    assert waiting() == [] and "Nothing waits" in text(ada.get("/installations/waiting/"))
    assert "needs a decision" not in text(ada.get("/"))


def test_on_a_phone_a_version_and_what_is_said_of_it_stay_together(agreed, cast, browse):
    """A cell is its label, and one thing on the other side."""
    next_version(agreed.version.app, cast.dev, required_scopes=[VIEW, CREATE])
    ada = browse(cast.admin)
    for page, said in (("/installations/", "1.1 is out"), ("/installations/waiting/", "Waits for permission")):
        cell = re.search(r'data-label="Version">(.*?)</td>', ada.get(page).content.decode(), re.S)[1].strip()
        assert said in cell and cell.startswith("<span>") and cell.endswith("</span>"), cell


def test_the_one_before_waits_again_once_the_newest_is_withdrawn(agreed, cast):
    next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    second = next_version(agreed.version.app, cast.dev, "1.2", required_scopes=[VIEW, CREATE])
    publishing.withdraw_version(second, reason="Too early", by=cast.dev)
    assert waiting() == [(cast.acme.slug, "1.1")]


def test_a_version_for_chosen_accounts_supersedes_for_those_only(agreed, cast):
    installation = installing.install(agreed.version.app, cast.globex, by=cast.globex_admin)
    factories.agree(agreed.client, cast.globex, cast.globex_admin)
    next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    next_version(agreed.version.app, cast.dev, "1.2", custom={cast.acme.slug}, required_scopes=[VIEW, CREATE])
    assert sorted(waiting()) == [(cast.acme.slug, "1.2"), (cast.globex.slug, "1.1")]
    publishing.withdraw_version(agreed.version, reason="Over", by=cast.dev)
    assert sorted(waiting()) == [(cast.acme.slug, "1.2"), (cast.globex.slug, "1.1")]
    assert Offer.objects.filter(installation=installation).count() == 1


def test_where_nothing_was_left_that_is_what_waits_until_there_is_something(agreed, cast):
    publishing.withdraw_version(agreed.version, reason="Over", by=cast.dev)
    assert waiting() == [(cast.acme.slug, None)]
    next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    assert waiting() == [(cast.acme.slug, "1.1")]


def test_who_lost_the_admin_that_answered_for_them_waits_on_the_same_page(agreed, cast, browse):
    colleague = factories.member(cast.acme, "admin", "Abe")
    memberships.change_role(cast.admin.memberships.get(), role="agent", by=colleague)
    answer = browse(colleague).get("/installations/waiting/")
    assert f"/consents/{agreed.consent.pk}/confirm/" in answer.content.decode()
    assert "Read and confirm" in text(answer) and "Nothing waits" not in text(answer)
    assert "Read and confirm" not in text(browse(cast.globex_admin).get("/installations/waiting/"))


def test_going_back_is_told_as_that_and_what_was_never_allowed_is_not_given_up(agreed, cast, browse):
    fields = {"required_scopes": [VIEW], "optional_scopes": [EDIT, CREATE], "install_url": agreed.version.install_url}
    newer = next_version(agreed.version.app, cast.dev, "1.1", **fields)
    upgrade(agreed.installation, newer, cast.admin)
    publishing.withdraw_version(newer, reason="It loses tickets", by=cast.dev)
    ada = browse(cast.admin)
    listed = text(ada.get("/installations/"))
    assert "Withdrawn" in listed and "1.0 is out" not in listed
    url = f"/installations/{agreed.installation.pk}/upgrade/"
    page = ada.get(url)
    assert "Move Insights to 1.0" in text(page) and "It gives up" not in text(page) and "Update" not in text(page)
    sent = {"version": agreed.version.pk, "shown": page.context["shown"], "decision": "agree"}
    assert "Moved to 1.0" in text(ada.post(url, sent, follow=True))


def test_one_that_does_not_update_by_itself_says_so_where_that_is_turned_on(agreed, cast, browse):
    upgrading.set_upgrades_itself(agreed.installation, on=True, by=cast.admin)
    next_version(agreed.version.app, cast.dev, "1.1", required_scopes=[VIEW], install_url="https://else.example/")
    page = text(browse(cast.admin).get(f"/installations/{agreed.installation.pk}/"))
    assert "does not update by itself" in page


def test_the_developer_reads_what_became_of_each_and_since_when(agreed, cast, browse):
    """A page before and after somebody declined, and after it was superseded or withdrawn, says what is so."""
    app, dev = agreed.version.app, browse(cast.dev)
    first = next_version(app, cast.dev, "1.1", required_scopes=[VIEW, CREATE])
    url = f"/apps/{app.slug}/versions/{first.pk}/changes/"
    assert "Waits for an admin’s permission" in text(dev.get(url)) and "since" in text(dev.get(url))
    upgrading.decline_upgrade(agreed.installation, first, by=cast.admin)
    page = text(dev.get(url))
    assert "Declined on" in page and "Waits for an admin" not in page
    second = next_version(app, cast.dev, "1.2", required_scopes=[VIEW, CREATE])
    assert "No account waits for it" in text(dev.get(url))
    publishing.withdraw_version(second, reason="Wrong", by=cast.dev)
    page = text(dev.get(url.replace(str(first.pk), str(second.pk))))
    assert "nobody is moved to it any more" in page and "Waits for an admin" not in page


def test_the_page_of_a_draft_shows_what_publishing_it_would_do(agreed, cast, browse):
    """So that nobody publishes without having seen it."""
    app, dev = agreed.version.app, browse(cast.dev)
    draft = next_draft(app, cast.dev, required_scopes=[VIEW, CREATE])
    for step in (publishing.submit_version, None):
        page = text(dev.get(f"/apps/{app.slug}/versions/{draft.pk}/"))
        for expected in ("Newly requested", "Create tickets", "What publishing it would do", "Waits for an admin"):
            assert expected in page, expected
        if step:
            publishing.approve_version(step(draft, by=cast.dev), by=factories.reviewer())
    publishing.publish_version(draft, by=cast.dev)
    assert "What publishing it would do" not in text(dev.get(f"/apps/{app.slug}/versions/{draft.pk}/"))
