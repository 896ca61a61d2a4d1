"""The ledger's events about people, accounts and teams."""

from django.utils.translation import gettext_lazy as _

from portal.ledger.events import Group, LedgerEvent, register


@register(
    account=Group.PEOPLE,
    team=Group.PEOPLE,
    member=Group.PEOPLE,
    teammate=Group.PEOPLE,
    invitation=Group.PEOPLE,
    person=Group.PEOPLE,
)
class Event(LedgerEvent):
    ACCOUNT_CREATED = "account.created", _("Account created")
    ACCOUNT_LIFTED = "account.lifted", _("Account suspension lifted")
    ACCOUNT_SUSPENDED = "account.suspended", _("Account suspended")
    TEAM_CREATED = "team.created", _("Team created")
    TEAM_PROFILE_CHANGED = "team.profile_changed", _("Publisher profile changed")
    TEAM_VERIFICATION_ASKED = "team.verification_asked", _("Verification requested")
    TEAM_VERIFICATION_ENDED = "team.verification_ended", _("Verification ended by a changed profile")
    TEAM_VERIFICATION_REFUSED = "team.verification_refused", _("Verification refused")
    TEAM_VERIFIED = "team.verified", _("Team verified")
    MEMBER_ADDED = "member.added", _("Member added")
    MEMBER_REMOVED = "member.removed", _("Member removed")
    MEMBER_ROLE_CHANGED = "member.role_changed", _("Member’s role changed")
    TEAMMATE_ADDED = "teammate.added", _("Teammate added")
    TEAMMATE_REMOVED = "teammate.removed", _("Teammate removed")
    TEAMMATE_ROLE_CHANGED = "teammate.role_changed", _("Teammate’s role changed")
    INVITATION_MADE = "invitation.made", _("Person invited")
    INVITATION_RESENT = "invitation.resent", _("Invitation resent")
    INVITATION_REVOKED = "invitation.revoked", _("Invitation canceled")
    PERSON_CREATED = "person.created", _("Person added")
    PERSON_DEACTIVATED = "person.deactivated", _("Person deactivated")
    PERSON_STAFF_CHANGED = "person.staff_changed", _("Staff rights changed")
    PERSON_TWO_FACTOR_REMOVED = "person.two_factor_removed", _("Two-factor authentication removed by staff")
