"""An account's admins, and a team's owners, say who belongs there; the last of them cannot go."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from credentials import actions as credentials
from portal.accounts.actions import inviting, memberships, people, teams
from portal.accounts.actions.memberships import LastAdmin, OwnersAreAdmins
from portal.accounts.actions.teams import LastOwner
from portal.accounts.models import Invitation, Membership, TeamMembership
from portal.accounts.rights import NotATeammate
from portal.ledger.models import Entry
from tests import factories
from tests.people.forms import text
from tests.worlds import shared

pytestmark = pytest.mark.django_db


def membership_of(user, account):
    return Membership.objects.get(user=user, account=account, ended_at=None)


@shared
def team(cast):
    """Dev's team, with another owner and a member."""
    cast.team = factories.team_of(cast.dev)
    cast.owner, cast.mate = factories.person("Olga", team=False), factories.person("Mats", team=False)
    cast.owner_place = teams.add_teammate(cast.team, cast.owner, role="owner", by=cast.dev)
    cast.mate_place = teams.add_teammate(cast.team, cast.mate, role="member", by=cast.dev)
    return cast.team


# --- an account ---


def test_an_admin_changes_a_role_and_removes_after_being_asked(cast, browse):
    ada, member = browse(cast.admin), membership_of(cast.agent, cast.acme)
    url = f"/members/{cast.acme.slug}/"
    assert "Axel" in text(ada.get(url))
    assert "Change the role of Axel in Acme to Admin" in text(ada.get(f"{url}{member.pk}/role/"))
    member.refresh_from_db()
    assert member.role == "agent", "a GET changes nothing"
    assert "The role was changed" in text(ada.post(f"{url}{member.pk}/role/", {"role": "admin"}, follow=True))
    assert "Remove Axel from Acme?" in text(ada.get(f"{url}{member.pk}/remove/"))
    assert "Removed" in text(ada.post(f"{url}{member.pk}/remove/", follow=True))
    member.refresh_from_db()
    assert member.role == "admin" and member.ended_at
    assert ada.post(f"{url}{member.pk}/remove/").status_code == 404, "replayed"


def test_an_old_page_gives_the_role_it_asked_about_and_no_other(cast, browse):
    ada, member = browse(cast.admin), membership_of(cast.agent, cast.acme)
    url = f"/members/{cast.acme.slug}/{member.pk}/role/"
    for _twice in range(2):
        assert ada.post(url, {"role": "admin"}).status_code == 302
    member.refresh_from_db()
    assert member.role == "admin"
    assert Entry.objects.filter(event="member.role_changed").count() == 1
    for role in ("owner", "", "admin\0"):
        assert ada.post(url, {"role": role}).status_code in (400, 422)


def test_the_last_admin_can_neither_go_nor_become_an_agent(cast, browse):
    ada, member = browse(cast.admin), membership_of(cast.admin, cast.acme)
    for act, data in (("role", {"role": "agent"}), ("remove", {})):
        page = text(ada.post(f"/members/{cast.acme.slug}/{member.pk}/{act}/", data, follow=True))
        assert "needs an admin" in page
    people.deactivate_person(factories.member(cast.acme, "admin", "Abe"), by=None)
    with pytest.raises(LastAdmin):
        memberships.end_membership(member, by=cast.admin)


@pytest.mark.parametrize("kind", ["account", "team"])
def test_a_page_says_beforehand_that_the_last_one_stays(cast, browse, kind):
    if kind == "account":
        user, url, who = cast.admin, f"/members/{cast.acme.slug}/", "The last admin"
        member, more = membership_of(user, cast.acme), lambda: factories.member(cast.acme, "admin", "Abe")
    else:
        team = factories.team_of(cast.dev)
        user, url, who = cast.dev, f"/teams/{team.public_id}/", "The last owner"
        other = factories.person("Olga", team=False)
        member, more = (
            team.memberships.get(),
            lambda: teams.add_teammate(team, other, role="owner", by=cast.dev),
        )
    browser = browse(user)
    links = [f'href="{member.pk}/role/"', f'href="{member.pk}/remove/"']
    page = browser.get(url)
    assert who in text(page) and not [link for link in links if link in page.content.decode()]
    for act in ("role", "remove"):
        asked = browser.get(f"{url}{member.pk}/{act}/")
        assert who.lower() in text(asked) and "irst make someone else" in text(asked)
        assert b'method="post"' not in asked.content.split(b"<main")[1]
    more()
    page = browser.get(url)
    assert who not in text(page) and [link for link in links if link in page.content.decode()] == links
    assert "irst make someone else" not in text(browser.get(f"{url}{member.pk}/remove/"))


def test_an_admin_who_removes_themself_is_led_home(cast, browse):
    factories.member(cast.acme, "admin", "Abe")
    answer = browse(cast.admin).post(f"/members/{cast.acme.slug}/{membership_of(cast.admin, cast.acme).pk}/remove/")
    assert answer["Location"] == "/"


def test_an_agent_reads_who_belongs_but_no_address_and_no_button(cast, browse):
    inviting.invite(cast.acme, email="nia@example.com", role="agent", by=cast.admin)
    page = browse(cast.agent).get(f"/members/{cast.acme.slug}/").content.decode()
    assert "Ada" in page and "Ana" in page
    assert cast.admin.email not in page and "nia@example.com" not in page and "/remove/" not in page


def test_the_ledger_names_people_by_ids_only(cast, team):
    """E2"""
    inviting.invite(cast.acme, email="nia@example.com", role="agent", by=cast.admin)
    teams.change_teammate(cast.mate_place, role="owner", by=cast.dev)
    teams.end_teammate(cast.owner_place, by=cast.dev)
    kept = str(list(Entry.objects.values()))
    for told in ("@example.com", "Mats", "Olga", "nia"):
        assert told not in kept


# --- a team ---


def test_an_owner_makes_another_and_removes_them(cast, team, browse):
    dev, url = browse(cast.dev), f"/teams/{team.public_id}/"
    assert "Mats" in text(dev.get(url))
    page = text(dev.post(f"{url}{cast.mate_place.pk}/role/", {"role": "owner"}, follow=True))
    assert "The role was changed" in page and membership_of(cast.mate, team.test_account).role == "admin"
    assert "rotate" in text(dev.get(f"{url}{cast.mate_place.pk}/remove/"))
    assert "Removed" in text(dev.post(f"{url}{cast.mate_place.pk}/remove/", follow=True))
    assert not Membership.objects.live().filter(user=cast.mate, account=team.test_account).exists()
    assert browse(cast.mate).get(url).status_code == 404


def test_an_owner_who_is_demoted_or_goes_loses_the_place_in_the_test_account(cast, team):
    teams.change_teammate(cast.owner_place, role="member", by=cast.dev)
    assert not Membership.objects.live().filter(user=cast.owner, account=team.test_account).exists()
    teams.change_teammate(cast.owner_place, role="owner", by=cast.dev)
    teams.end_teammate(cast.owner_place, by=cast.dev)
    rows = Membership.objects.filter(user=cast.owner, account=team.test_account)
    assert rows.count() == 2 and not rows.live().exists(), "coming back made a new membership (T4)"
    told = Entry.objects.filter(subject=f"person:{cast.owner.public_id}").order_by("at", "sequence")
    assert [entry.event for entry in told.filter(chain_id=team.chain_name)] == [
        "teammate.added", "teammate.role_changed", "teammate.role_changed", "teammate.removed"
    ]  # fmt: skip
    assert [entry.event for entry in told.filter(chain_id=team.test_account.chain_name)] == [
        "member.added", "member.removed", "member.added", "member.removed"
    ]  # fmt: skip


def test_the_last_owner_can_neither_go_nor_become_a_member(cast, team, browse):
    only = TeamMembership.objects.get(user=cast.dev, team=team)
    people.deactivate_person(cast.owner, by=None)
    for act in (
        lambda: teams.end_teammate(only, by=cast.dev),
        lambda: teams.change_teammate(only, role="member", by=cast.dev),
    ):
        with pytest.raises(LastOwner):
            act()
    page = text(browse(cast.dev).post(f"/teams/{team.public_id}/{only.pk}/remove/", follow=True))
    assert "needs an owner" in page


def test_who_left_a_team_can_do_nothing_there_any_more(cast, team):
    client, _secret = factories.client(cast.dev)
    teams.end_teammate(cast.mate_place, by=cast.dev)
    with pytest.raises(NotATeammate):
        credentials.rotate_secret(client, overlap_hours=1, by=cast.mate)


def test_a_test_accounts_admins_are_the_owners_of_its_team(cast, team, browse):
    """So neither an owner nor an admin is made or removed on the account's own page."""
    account = team.test_account
    memberships.add_member(account, cast.mate, role="agent", by=cast.dev)
    for act in (
        lambda: memberships.end_membership(membership_of(cast.owner, account), by=cast.dev),
        lambda: memberships.change_role(membership_of(cast.owner, account), role="agent", by=cast.dev),
        lambda: memberships.change_role(membership_of(cast.mate, account), role="admin", by=cast.dev),
        lambda: memberships.add_member(account, cast.agent, role="admin", by=cast.dev),
        lambda: inviting.invite(account, email="nia@example.com", role="admin", by=cast.dev),
    ):
        with pytest.raises(OwnersAreAdmins, match="owners"):
            act()
    page = browse(cast.dev).get(f"/members/{account.slug}/invite/").content.decode()
    assert 'value="agent"' in page and 'value="admin"' not in page
    memberships.end_membership(membership_of(cast.mate, account), by=cast.dev)


def test_an_owner_who_was_an_agent_of_the_test_account_becomes_its_admin(cast, team):
    memberships.add_member(team.test_account, cast.mate, role="agent", by=cast.dev)
    teams.change_teammate(cast.mate_place, role="owner", by=cast.dev)
    assert membership_of(cast.mate, team.test_account).role == "admin"


# --- size ---


def test_the_lists_take_as_many_queries_for_many_as_for_few(cast, team, browse):
    """And show a page at a time."""
    asked = [
        (cast.admin, f"/members/{cast.acme.slug}/"),
        (cast.dev, f"/teams/{team.public_id}/"),
        (cast.dev, "/teams/"),
    ]

    def counted():
        counts = []
        for who, url in asked:
            browser = browse(who)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                page = browser.get(url)
            assert page.status_code == 200
            counts.append(len(queries))
        return counts

    inviting.invite(cast.acme, email="first@example.com", role="agent", by=cast.admin)
    inviting.invite(team, email="first@example.com", role="member", by=cast.dev)
    before = counted()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_user (password, is_superuser, is_staff, is_active, date_joined, public_id, email, name, time_zone)"
            " SELECT 'x', false, false, true, now(), gen_random_uuid(), 'n' || n || '@example.com', 'N ' || n, 'UTC'"
            " FROM generate_series(1, 2000) n"
        )
        cursor.execute(
            "INSERT INTO accounts_membership (id, user_id, account_id, role, created_at)"
            " SELECT gen_random_uuid(), id, %s, 'agent', now() FROM accounts_user WHERE name LIKE 'N %%'",
            [cast.acme.pk],
        )
        cursor.execute(
            "INSERT INTO accounts_teammembership (user_id, team_id, role, created_at)"
            " SELECT id, %s, 'member', now() FROM accounts_user WHERE name LIKE 'N %%'",
            [team.pk],
        )
    for row in list(Invitation.objects.all()):
        Invitation.objects.bulk_create(
            Invitation(
                account=row.account, team=row.team, role=row.role, invited_by=row.invited_by,
                expires_at=row.expires_at, email=f"more{number}@example.com",
            )
            for number in range(1000)
        )  # fmt: skip
    assert counted() == before
    page = text(browse(cast.admin).get(f"/members/{cast.acme.slug}/?page=2&invitations=3"))
    assert "Page 2 Next" in page and "Page 3 Next" in page
