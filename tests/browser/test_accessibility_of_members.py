"""axe finds nothing on the pages on which people are invited, changed and removed, nor on what the invited are asked."""

import pytest

from credentials.models import Client
from portal.accounts.actions import memberships
from portal.accounts.models import Account, Team, User
from tests import factories

from .looking import covers

pytestmark = pytest.mark.django_db(transaction=True)


@covers("member-list", "member-invite", "member-role", "member-remove", "invitation-revoke")
def test_an_accounts_members(look, calm):
    ada, acme = calm("admin@acme.example"), Account.objects.get(slug="acme")
    ada.open("/members/acme/")
    look(ada.page)
    ada.press("Invite someone")
    look(ada.page)
    ada.page.fill("[name=email]", "agent@acme.example")
    ada.press("Invite")
    ada.sees("already belongs")
    look(ada.page)
    ada.page.fill("[name=email]", "someone.with.a.rather.long.name@subsidiary.of.acme.example")
    ada.press("Invite")
    ada.sees("Invited. An email is on its way to")
    look(ada.page)
    ada.shoot("member-list")
    ada.press("Cancel invitation to someone.with.a.rather.long.name@subsidiary.of.acme.example")
    look(ada.page)
    member = acme.memberships.get(user__email="agent@acme.example")
    for act in ("role", "remove"):
        ada.open(f"/members/acme/{member.pk}/{act}/")
        look(ada.page)
        ada.shoot(f"member-{act}")
    axel = calm("agent@acme.example")
    axel.open("/members/acme/")
    look(axel.page)


@covers("team-list", "team-view", "team-profile", "team-invite", "teammate-role", "teammate-remove", "member-list")
def test_a_teams_members(look, calm):
    dev = calm("dev@example.com")
    team = Team.objects.get(memberships__user__email="dev@example.com")
    owner = team.memberships.get(user__email="dev@example.com")
    for path in ("/teams/", f"/teams/{team.public_id}/", f"/teams/{team.public_id}/invite/", f"/teams/{team.public_id}/profile/",
                 f"/teams/{team.public_id}/{owner.pk}/role/", f"/teams/{team.public_id}/{owner.pk}/remove/",
                 f"/members/{team.test_account.slug}/"):  # fmt: skip
        dev.open(path)
        look(dev.page)
    dev.open(f"/teams/{team.public_id}/")
    dev.shoot("team-view")
    ada = calm("admin@acme.example")
    ada.open("/teams/")
    look(ada.page)


@covers("invitation-accept")
def test_an_invitation(look, calm, stranger):
    acme, ada = Account.objects.get(slug="acme"), User.objects.get(email="admin@acme.example")
    _row, token = factories.invited(acme, "dev@example.com", by=ada)
    dev, other = calm("dev@example.com"), calm("dev2@example.com")
    for page, said in (
        (stranger, "Sign in with the address"),
        (dev.page, "Accept"),
        (other.page, "This invitation is for someone else"),
    ):
        page.goto(f"{dev.demo['url']}/invitations/{token}/")
        page.get_by_text(said).first.wait_for()
        look(page)
    dev.shoot("invitation-accept")
    stranger.goto("/invitations/made-up/")
    look(stranger)


@covers("consent-confirm", "home", "authorization-view")
def test_the_installer_left(look, calm):
    acme, bea = Account.objects.get(slug="acme"), User.objects.get(email="both@example.com")
    runner = Client.objects.get(name="Workflow Runner")
    agreed = factories.agree(runner, acme, bea, requested={"freshservice.tickets.view"})
    memberships.change_role(acme.memberships.get(user=bea), role="agent", by=None)
    ada = calm("admin@acme.example")
    for path, name in (("/", "successor-home"), (f"/authorizations/{agreed.access_id}/", "successor-access")):
        ada.open(path)
        look(ada.page)
        ada.shoot(name)
    ada.press("Read and confirm")
    look(ada.page)
    ada.shoot("consent-confirm")
    ada.press("Confirm")
    ada.sees("Nothing changed for the app")
