"""People, and their memberships of accounts and of the team: given by staff and admins, or by an invitation."""

from dataclasses import dataclass, field

from .things import Account, Invitation, Member, No, Person, Team, Teammate


def need(condition, error="refused"):
    if not condition:
        raise No(error)


@dataclass
class People:
    team: Team
    now: float = 0.0
    people: list[Person] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    invitations: list[Invitation] = field(default_factory=list)

    # --- who may ---

    @staticmethod
    def runs(by):
        return by is None or (by.active and by.runs_the_portal)

    @staticmethod
    def membership(account, person):
        return next((member for member in account.members if member.person is person and member.lives), None)

    def is_admin(self, account, person):
        member = self.membership(account, person)
        return bool(member and member.role == "admin")

    def teammate(self, person):
        return next((mate for mate in self.team.mates if mate.person is person and not mate.ended), None)

    def is_owner(self, person):
        mate = self.teammate(person)
        return bool(mate and mate.lives and mate.role == "owner")

    def is_developer(self, person):
        mate = self.teammate(person)
        return bool(mate and mate.lives)

    def runs_organisation(self, organisation, person):
        return self.is_admin(organisation, person) if isinstance(organisation, Account) else self.is_owner(person)

    @property
    def members(self):
        return [member for account in self.accounts for member in account.members]

    # --- people and accounts ---

    def sign_up(self, email, by):
        need(self.runs(by) and not any(person.email == email for person in self.people))
        person = self.add(self.people, Person(email=email))
        self.tell("portal", "person.created", by, person)
        return person

    def _owners_place(self, account, person, role):
        """Who owns a team administers its test account, and nobody else does."""
        need(not account.test_of or self.is_owner(person) == (role == "admin"))

    def add_member(self, account, person, role, by):
        need(self.runs(by) or self.is_admin(account, by))
        return self._add_member(account, person, role, by)

    def _add_member(self, account, person, role, by):
        need(not any(member.person is person and not member.ended for member in account.members))
        if role == "admin":
            self._owners_place(account, person, role)
        member = Member(person, account, role, name=f"{person.name} in {account.name}")
        account.members.append(member)
        self.tell(account, "member.added", by, person, role=role)
        return member

    def _another_admin(self, member):
        return any(m is not member and m.lives and m.role == "admin" for m in member.account.members)

    def change_role(self, member, role, by):
        need((self.runs(by) or self.is_admin(member.account, by)) and not member.ended)
        if member.role != role:
            self._owners_place(member.account, member.person, role)
            need(member.role != "admin" or self._another_admin(member))
            self._give_role(member, role, by)

    def _give_role(self, member, role, by):
        member.role = role
        self.tell(member.account, "member.role_changed", by, member.person, role=role)

    def end_membership(self, member, by):
        need((self.runs(by) or self.is_admin(member.account, by)) and not member.ended)
        if member.role == "admin":
            self._owners_place(member.account, member.person, "")
        need(member.role != "admin" or self._another_admin(member))
        self._end_member(member, by)

    def _end_member(self, member, by):
        member.ended_at = self.now
        self.tell(member.account, "member.removed", by, member.person)

    def deactivate(self, person, by):
        need(self.runs(by) and person.active)
        person.active = False
        self.tell("portal", "person.deactivated", by, person)

    def suspend_account(self, account, by):
        need(self.runs(by) and not account.suspended)
        account.suspended = True
        self.tell(account, "account.suspended", by, account)

    def lift_account(self, account, by):
        need(self.runs(by) and account.suspended)
        account.suspended = False
        self.tell(account, "account.lifted", by, account)

    def verify_team(self, by):
        need(self.runs(by) and not self.team.verified)
        self.team.verified = True
        self.tell(self.team, "team.verified", by, self.team)

    # --- the team ---

    def add_teammate(self, person, role, by):
        need(self.runs(by) or self.is_owner(by))
        return self._take_in(person, role, by)

    def _take_in(self, person, role, by):
        need(not self.teammate(person))
        mate = Teammate(person, role, name=f"{person.name} in the team")
        self.team.mates.append(mate)
        self._administer(mate, by)
        self.tell(self.team, "teammate.added", by, person, role=role)
        return mate

    def _administer(self, mate, by):
        """Who owns the team administers its test account, and nobody else."""
        account = next(account for account in self.accounts if account.test_of)
        member = next((m for m in account.members if m.person is mate.person and not m.ended), None)
        if mate.role == "owner" and not mate.ended:
            if member is None:
                self._add_member(account, mate.person, "admin", by)
            elif member.role != "admin":
                self._give_role(member, "admin", by)
        elif member and member.role == "admin":
            self._end_member(member, by)

    def _check_mate(self, mate, by):
        need((self.runs(by) or self.is_owner(by)) and not mate.ended)

    def _another_owner(self, mate):
        return any(other is not mate and other.lives and other.role == "owner" for other in self.team.mates)

    def change_teammate(self, mate, role, by):
        self._check_mate(mate, by)
        if mate.role != role:
            need(mate.role != "owner" or self._another_owner(mate))
            mate.role = role
            self._administer(mate, by)
            self.tell(self.team, "teammate.role_changed", by, mate.person, role=role)

    def end_teammate(self, mate, by):
        self._check_mate(mate, by)
        need(mate.role != "owner" or self._another_owner(mate))
        mate.ended_at = self.now
        self._administer(mate, by)
        self.tell(self.team, "teammate.removed", by, mate.person)

    # --- invitations ---

    @staticmethod
    def _memberships(organisation):
        return organisation.members if isinstance(organisation, Account) else organisation.mates

    def invite(self, organisation, email, role, by):
        need(self.runs_organisation(organisation, by))
        need(not (isinstance(organisation, Account) and organisation.test_of and role == "admin"))
        need(
            not any(
                membership.person.email == email and not membership.ended
                for membership in self._memberships(organisation)
            )
        )
        need(not any(i.organisation is organisation and i.email == email and not i.over for i in self.invitations))
        invitation = self.add(self.invitations, Invitation(organisation, email, role, by, self.now))
        self.tell(organisation, "invitation.made", by, invitation, role=role)
        return invitation

    def can_be_accepted(self, invitation):
        there = not invitation.over and self.now < invitation.expires
        return there and self.runs_organisation(invitation.organisation, invitation.by)

    def mail_invitations(self):
        """What workers do: a new token each, once."""
        told = [each for each in self.invitations if not each.told and self.can_be_accepted(each)]
        for invitation in told:
            invitation.told, invitation.token = True, None
        return told

    def _check_open(self, invitation, by):
        need(self.runs_organisation(invitation.organisation, by) and not invitation.over)

    def resend_invitation(self, invitation, by):
        self._check_open(invitation, by)
        invitation.by, invitation.made, invitation.told, invitation.token = by, self.now, False, ""
        self.tell(invitation.organisation, "invitation.resent", by, invitation)

    def revoke_invitation(self, invitation, by):
        self._check_open(invitation, by)
        invitation.over = True
        self.tell(invitation.organisation, "invitation.revoked", by, invitation)

    def accept_invitation(self, invitation, token, by):
        need(self.can_be_accepted(invitation) and token and token == invitation.token)
        need(by.active and by.email == invitation.email)
        # Whoever has left since it was sent was not meant to come back by it.
        need(
            all(
                s.person is not by or s.ended_at <= invitation.made or not s.ended
                for s in self._memberships(invitation.organisation)
            )
        )
        if isinstance(invitation.organisation, Account):
            membership = self._add_member(invitation.organisation, by, invitation.role, by)
        else:
            membership = self._take_in(by, invitation.role, by)
        invitation.over = True
        return membership
