"""The account that a person works in is remembered while they stay signed in, and stands on every page."""

import re

import pytest

from portal.accounts.actions import memberships
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
