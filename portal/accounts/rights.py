"""Who may do what: each rule once, as a question (`is_admin`), a demand (`require_admin`) or a queryset.

A page only asks; an action demands the right again, under its locks.
"""

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from portal.foundation.refusals import Refused

from .models import REVIEWERS, Account, Membership, Team, TeamMembership, User


class NotStaff(Refused):
    pass


class NotAnAdmin(Refused):
    pass


class NotATeammate(Refused):
    pass


class NotAReviewer(Refused):
    pass


class OwnTeam(Refused):
    """Nobody decides on their own work."""


class NotAnInviter(Refused):
    pass


# --- staff, who run the portal ---


def is_staff(by: User | AnonymousUser | None) -> bool:
    """True for a superuser and for the portal itself (None); Django's `is_staff` only opens the staff pages."""
    return by is None or (by.is_active and by.is_superuser)


def require_staff(by: User | None) -> None:
    """Raise NotStaff unless `by` runs the portal."""
    if not is_staff(by):
        raise NotStaff(_("Only the portal team can do this."))


# --- admins of an account ---


def is_admin(account: Account, by: User) -> bool:
    return Membership.objects.admins().filter(account=account, user=by).exists()


def require_admin(account: Account, by: User) -> None:
    """Raise NotAnAdmin unless `by` administers the account; staff do not."""
    if not is_admin(account, by):
        raise NotAnAdmin(_("Only an admin of %(account)s can do this.") % {"account": account})


def require_admin_or_staff(account: Account, by: User | None) -> None:
    """Raise NotStaff unless `by` administers the account or runs the portal."""
    if by is None or not is_admin(account, by):
        require_staff(by)


def accounts_run_by(user: User) -> QuerySet[Account]:
    return Account.objects.filter(pk__in=Membership.objects.administered_by(user))


# --- owners and members of a team ---


def is_owner(team: Team, by: User) -> bool:
    return TeamMembership.objects.owners().filter(team=team, user=by).exists()


def require_owner_or_staff(team: Team, by: User | None) -> None:
    """Raise NotStaff unless `by` owns the team or runs the portal."""
    if by is None or not is_owner(team, by):
        require_staff(by)


def teams_run_by(user: User) -> QuerySet[Team]:
    return Team.objects.filter(memberships__in=TeamMembership.objects.owners().filter(user=user))


def is_teammate(team: Team, by: User) -> bool:
    return TeamMembership.objects.live().filter(team=team, user=by).exists()


def require_teammate(team: Team, by: User) -> None:
    """Raise NotATeammate unless `by` is one of the team's developers."""
    if not is_teammate(team, by):
        raise NotATeammate(_("Only members of %(team)s can do this.") % {"team": team})


# --- those who run an account (its admins) or a team (its owners) ---


def only_runner(organisation: Account | Team) -> Membership | TeamMembership | None:
    """Return the membership of the only person who runs it, which can neither end nor change, or None if several do."""
    runners: list[Membership] | list[TeamMembership]
    if isinstance(organisation, Account):
        runners = list(organisation.memberships.admins()[:2])
    else:
        runners = list(organisation.memberships.owners()[:2])
    return runners[0] if len(runners) == 1 else None


def require_inviter(organisation: Account | Team, by: User) -> None:
    """Raise NotAnInviter unless `by` is an admin of the account or an owner of the team; staff do not invite."""
    may = is_admin(organisation, by) if isinstance(organisation, Account) else is_owner(organisation, by)
    if not may:
        raise NotAnInviter(
            _("Only people who manage %(organisation)s can invite people.") % {"organisation": organisation}
        )


# --- reviewers ---


def reviewers() -> QuerySet[User]:
    """Return the people in the group Reviewers. Being staff, or a superuser, is not enough."""
    return User.objects.filter(is_active=True, is_staff=True, groups__name=REVIEWERS)


def is_reviewer(by: User | AnonymousUser) -> bool:
    # Costs no query for most people, who are not staff.
    return by.is_staff and reviewers().filter(pk=by.pk).exists()


def require_reviewer(by: User) -> None:
    if not is_reviewer(by):
        raise NotAReviewer(_("Only members of the Reviewers group can do this."))


def require_outside_reviewer(team: Team, by: User) -> None:
    """Raise NotAReviewer or OwnTeam unless `by` is a reviewer outside the team (M3)."""
    require_reviewer(by)
    if is_teammate(team, by):
        raise OwnTeam(_("You cannot review your own team’s app."))
