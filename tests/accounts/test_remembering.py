"""The account that a person works in is remembered while they stay signed in, and stands on every page."""

import re

import pytest

from portal.accounts.actions import memberships, profiles, teams
from tests import factories

pytestmark = pytest.mark.django_db


def in_header(browser):
    page = browser.get("/marketplace/").content.decode()
    found = re.search(r'<a class="switch".*?<span>(.*?)</span>', page, re.S)
    return found and found[1].strip()


def listed(browser):
    return browser.get("/installations/").context["membership"].account.name


@pytest.fixture
def both(cast):
    """Somebody who administers Acme, and is an agent of Globex, which is newer."""
    memberships.add_member(cast.globex, cast.admin, role="agent", by=None)
    return cast.admin


def test_header_and_list_show_the_oldest_account_until_one_is_chosen(cast, both, browse):
    ada = browse(both)
    assert (in_header(ada), listed(ada)) == ("Acme", "Acme")
    ada.get(f"/installations/?account={cast.globex.slug}")
    assert (in_header(ada), listed(ada)) == ("Globex", "Globex")
    assert in_header(browse(both)) == "Acme", "in another session nothing was chosen"


def test_a_page_that_cannot_show_the_remembered_account_forgets_nothing(cast, both, browse):
    ada = browse(both)
    ada.get(f"/installations/?account={cast.globex.slug}")
    assert ada.get("/installations/overview/").context["account"] == cast.acme, "an agent reads no overview"
    assert in_header(ada) == "Globex"


@pytest.mark.parametrize("slug", ["{globex}", "nowhere", "", "x" * 5000])
def test_another_account_is_not_remembered(cast, browse, slug):
    ada = browse(cast.admin)
    assert ada.get(f"/installations/?account={slug.format(globex=cast.globex.slug)}").status_code == 200
    assert (in_header(ada), listed(ada)) == ("Acme", "Acme")


def test_an_account_that_somebody_left_stands_nowhere(cast, both, browse):
    ada = browse(both)
    ada.get(f"/installations/?account={cast.globex.slug}")
    memberships.end_membership(cast.globex.memberships.get(user=both), by=cast.globex_admin)
    assert (in_header(ada), listed(ada)) == ("Acme", "Acme")
    assert "Globex" not in ada.get("/switch/").content.decode()


def test_switching_lists_ones_own_accounts_and_teams_and_nobody_elses(cast, both, browse):
    page = browse(both).get("/switch/").content.decode()
    assert f"?account={cast.acme.slug}" in page and f"?account={cast.globex.slug}" in page
    dev = browse(cast.dev).get("/switch/").content.decode()
    assert f"?account={cast.acme.slug}" not in dev and str(factories.team_of(cast.dev).public_id) in dev
    assert str(factories.team_of(cast.other_dev).public_id) not in dev
    assert "do not belong to an account or a team yet" in browse(factories.person("Nia", team=False)).get(
        "/switch/"
    ).content.decode().replace("\n", " ")


@pytest.fixture
def two_teams(cast):
    """A second team of Dev's, with credentials and an app, beside the first with credentials."""
    factories.client(cast.dev, name="First")
    team = factories.team_of(factories.person("Otto"))
    profiles.change_profile(team, by=None, name="Second team")
    teams.add_teammate(team, cast.dev, role="member", by=None)
    [otto] = [each.user for each in team.memberships.filter(role="owner").select_related("user")]
    client, _secret = factories.client(otto, name="Second")
    factories.app(otto, client)
    return team


def test_build_shows_all_teams_until_one_is_chosen_and_then_that_one(cast, two_teams, browse):
    dev = browse(cast.dev)

    def shown():
        clients, apps = (
            {each.team.name for each in dev.get(url).context["page_obj"]} for url in ("/credentials/", "/apps/")
        )
        return clients, apps

    assert shown()[0] == {"Second team", factories.team_of(cast.dev).name}
    dev.get(f"/credentials/?team={two_teams.public_id}")
    assert shown() == ({"Second team"}, {"Second team"})
    assert in_header(dev).endswith("· Second team")
    assert dev.get("/credentials/new/").context["form"]["team"].value() == two_teams.pk
    dev.get("/apps/?team=")
    assert len(shown()[0]) == 2 and "Second team" not in in_header(dev)


@pytest.mark.parametrize("named", ["{other}", "nobody", "x" * 5000])
def test_no_other_team_is_chosen(cast, two_teams, browse, named):
    dev = browse(cast.dev)
    other = factories.team_of(cast.other_dev)
    page = dev.get("/credentials/", {"team": named.format(other=other.public_id)})
    assert page.status_code == 200 and len({each.team for each in page.context["page_obj"]}) == 2
    assert other.name not in in_header(dev)


def test_a_team_that_somebody_left_is_chosen_no_longer(cast, two_teams, browse):
    dev = browse(cast.dev)
    dev.get(f"/credentials/?team={two_teams.public_id}")
    teams.end_teammate(two_teams.memberships.get(user=cast.dev), by=None)
    page = dev.get("/credentials/")
    assert {each.name for each in page.context["page_obj"]} == {"First"} and "Second team" not in in_header(dev)
