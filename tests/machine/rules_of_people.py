"""How the machine draws people, and what it has them do to their memberships."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

DATA = st.data()


class RulesOfPeople:
    def one(self, data, things, label=None):
        return data.draw(st.sampled_from(list(things)), label)

    def subset(self, data, scopes, label="scopes"):
        return data.draw(st.sets(st.sampled_from(sorted(scopes))), label) if scopes else set()

    def by(self, data, right):
        """Mostly somebody who may, now and then anybody."""
        return self.one(data, list(right) * 4 + self.model.people, "by")

    @property
    def developers(self):
        return self.model.team.developers

    @property
    def staff(self):
        return [None, *(person for person in self.model.people if person.runs_the_portal)]

    @property
    def reviewers(self):
        return [person for person in self.model.people if person.reviewer]

    def admins(self, account):
        return [member.person for member in account.members if member.role == "admin" and member.lives]

    # --- people and accounts ---

    @rule(data=DATA)
    def join(self, data):
        account = self.one(data, self.model.accounts, "account")
        new = data.draw(st.booleans(), "somebody new")
        person = self.world.sign_up(self.by(data, self.staff)) if new else self.one(data, self.model.people, "person")
        if person:
            role = self.one(data, ["agent", "admin"], "role")
            self.world.add_member(account, person, role, self.by(data, [None, *self.admins(account)]))

    @rule(data=DATA)
    def leave_or_change_role(self, data):
        member = self.one(data, self.model.members, "member")
        by = self.by(data, self.admins(member.account))
        role = self.one(data, ["", "agent", "admin"], "new role, or none")
        if role:
            self.world.change_role(member, role, by)
        else:
            self.world.end_membership(member, by)

    @rule(data=DATA)
    def act_as_staff(self, data):
        by, account = self.by(data, self.staff), self.one(data, self.model.accounts, "account")
        # Whom the story cannot do without stays.
        pillars = {*self.developers, *self.staff, *self.reviewers}
        person = self.one(data, [each for each in self.model.people if each not in pillars], "person")
        act = self.one(data, ["account", "account", "verify", "person"], "act")
        if act == "verify":
            self.world.verify_team(by)
        elif act == "person":
            self.world.deactivate(person, by)
        elif account.suspended:
            self.world.lift_account(account, by)
        else:
            self.world.suspend_account(account, by)

    @rule(data=DATA)
    def lift_or_suspend_again(self, data):
        for account in self.model.accounts:
            if account.suspended and data.draw(st.booleans(), f"lift {account}"):
                self.world.lift_account(account, None)
        client = self.one(data, self.model.clients, "client")
        by = self.by(data, self.reviewers)
        if client.suspended_at is None and data.draw(st.booleans(), "suspend"):
            self.world.suspend_client(client, by)
        else:
            self.world.lift_client(client, data.draw(st.booleans(), "leaked"), by)

    # --- the team, and invitations ---

    @rule(data=DATA)
    def change_the_team(self, data):
        by = self.by(data, [None, *self.model.team.owners])
        role = self.one(data, ["", "member", "owner"], "new role, or none")
        if data.draw(st.booleans(), "somebody new"):
            self.world.add_teammate(self.one(data, self.model.people, "person"), role or "member", by)
            return
        mate = self.one(data, self.model.team.mates, "teammate")
        if role:
            self.world.change_teammate(mate, role, by)
        else:
            self.world.end_teammate(mate, by)

    def _inviter(self, data, organisation):
        inviters = self.model.team.owners if organisation is self.model.team else self.admins(organisation)
        return self.one(
            data, inviters if inviters and data.draw(st.integers(0, 5), "anybody where 0") else self.model.people, "by"
        )

    def _guest(self, data, email):
        """Whoever has an address, mostly; who has none yet signs up with it."""
        guests = [person for person in self.model.people if person.email == email] or [self.world.sign_up(None, email)]
        return self.one(data, guests * 30 + self.model.people, "guest")

    @rule(data=DATA)
    def invite_somebody_who_comes_or_not(self, data):
        organisation = self.one(data, [*self.model.accounts, self.model.team], "organisation")
        new = data.draw(st.booleans(), "somebody new")
        email = self.world.new_address() if new else self.one(data, self.model.people, "invited").email
        roles = ["owner", "member"] if organisation is self.model.team else ["admin", "agent"]
        by = self._inviter(data, organisation)
        invitation = self.world.invite(organisation, email, self.one(data, roles, "role"), by)
        if data.draw(st.integers(0, 3), "no mail goes out where 0"):
            self.world.mail_invitations()
        if invitation and data.draw(st.integers(0, 2), "comes later where 0"):
            self.world.accept_invitation(invitation, invitation.token, self._guest(data, email))

    @precondition(lambda self: self.model.invitations)
    @rule(data=DATA)
    def go_on_with_an_invitation(self, data):
        """Perhaps sent again, taken back, or used: with the link of the newest mail, or of one before."""
        open_ones = [each for each in self.model.invitations if not each.over]
        invitation = self.one(data, open_ones * 4 + self.model.invitations, "invitation")
        link, by = invitation.token, self._inviter(data, invitation.organisation)
        for way in data.draw(
            st.lists(st.sampled_from(["send again", "take back", "mail", "mail"]), max_size=3), "first"
        ):
            if way == "mail":
                self.world.mail_invitations()
            elif way == "send again":
                self.world.resend_invitation(invitation, by)
            else:
                self.world.revoke_invitation(invitation, by)
        if data.draw(st.integers(0, 4), "with the link of before where 0"):
            link = invitation.token
        self.world.accept_invitation(invitation, link, self._guest(data, invitation.email))
