"""Acts on people and their memberships, in the model and in the portal."""

import re

from portal.accounts.actions import accounts, inviting, memberships, people, teams
from portal.accounts.actions.inviting import hash_of, invitations_to_mail
from portal.accounts.models import Invitation, Membership
from portal.foundation.refusals import Refused
from tests import factories
from tests.mailing import outbox

from .beside import Beside, name, row


class WorldOfPeople(Beside):
    def new_address(self):
        return f"p{next(factories._numbers)}@example.com"

    def sign_up(self, by, email=None):
        fields = {"email": email or self.new_address(), "name": "P", "password": factories.PASSWORD}
        return self.make("sign_up", lambda: people.create_person(by=row(by), **fields), fields["email"], by)

    def add_member(self, account, person, role, by):
        def portal():
            return memberships.add_member(row(account), row(person), role=role, by=row(by))

        return self.make("add_member", portal, account, person, role, by)

    def change_role(self, member, role, by):
        self.act("change_role", lambda: memberships.change_role(row(member), role=role, by=row(by)), member, role, by)

    def end_membership(self, member, by):
        self.act("end_membership", lambda: memberships.end_membership(row(member), by=row(by)), member, by)

    def deactivate(self, person, by):
        self.act("deactivate", lambda: people.deactivate_person(row(person), by=row(by)), person, by)

    def suspend_account(self, account, by):
        portal = accounts.suspend_account
        self.act("suspend_account", lambda: portal(row(account), reason="Why", by=row(by)), account, by)

    def lift_account(self, account, by):
        portal = accounts.lift_account
        self.act("lift_account", lambda: portal(row(account), reason="Why", by=row(by)), account, by)

    def verify_team(self, by):
        self.act("verify_team", lambda: teams.verify_team(row(self.model.team), by=row(by)), by)

    # --- the team ---

    def _name_members(self):
        """Name the memberships of the test account that came with those of the team."""
        for member in self.model.members:
            if member.pk is None:
                found = Membership.objects.get(user=member.person.pk, account=member.account.pk, ended_at=None)
                name(member, found)

    def add_teammate(self, person, role, by):
        def portal():
            return teams.add_teammate(row(self.model.team), row(person), role=role, by=row(by))

        self.make("add_teammate", portal, person, role, by)
        self._name_members()

    def change_teammate(self, mate, role, by):
        self.act("change_teammate", lambda: teams.change_teammate(row(mate), role=role, by=row(by)), mate, role, by)
        self._name_members()

    def end_teammate(self, mate, by):
        self.act("end_teammate", lambda: teams.end_teammate(row(mate), by=row(by)), mate, by)

    # --- invitations ---

    def invite(self, organisation, email, role, by):
        def portal():
            return inviting.invite(row(organisation), email=email, role=role, by=row(by))

        return self.make("invite", portal, organisation, email, role, by)

    def mail_invitations(self):
        """Do the workers' part; read the links in the mails."""

        def portal():
            for invitation in invitations_to_mail():
                inviting.tell_of_invitation(invitation)

        before = len(outbox())
        told, _nothing = self.act("mail_invitations", portal)
        sent = [re.search(r"/invitations/([\w-]+)/", message.body)[1] for message in outbox()[before:]]
        links = {hash_of(token): token for token in sent}
        assert len(sent) == len(told), "one mail for each"
        for invitation in told:
            invitation.token = links[row(invitation).token_hash]

    def resend_invitation(self, invitation, by):
        portal = inviting.resend_invitation
        self.act("resend_invitation", lambda: portal(row(invitation), by=row(by)), invitation, by)

    def revoke_invitation(self, invitation, by):
        portal = inviting.revoke_invitation
        self.act("revoke_invitation", lambda: portal(row(invitation), by=row(by)), invitation, by)

    def accept_invitation(self, invitation, token, by):
        def portal():
            found = Invitation.objects.filter(token_hash=hash_of(token)).first()
            if found is None:
                raise Refused
            return inviting.accept_invitation(found, by=row(by))

        self.make("accept_invitation", portal, invitation, token, by)
        self._name_members()
