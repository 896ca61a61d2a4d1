"""Make and verify teams, add developers to them, change their roles, and remove them."""

import secrets
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.foundation.seals import check_shown
from portal.ledger.actions import record

from ..events import Event
from ..models import Account, Membership, Role, Team, TeamMembership, TeamRole, User
from ..rights import require_owner_or_staff, require_staff
from .memberships import AlreadyMember, HasLeft, give_role, put_member, remove_member
from .profiles import seal_of, take_name


class LastOwner(Refused):
    pass


class AlreadyVerified(Refused):
    pass


# What the apps above put into a new test account.
_fill: list[Callable[[Account], None]] = []


def after_test_account(put: Callable[[Account], None]) -> None:
    """Have each new test account filled by `put`, in the transaction that makes it."""
    _fill.append(put)


@transaction.atomic
def create_team(*, by: User) -> Team:
    """Make a team whose owner is `by`, and the account it tests its apps on, whose admin is `by`."""
    name = _("%(person)s’s team") % {"person": by.name or by.email.partition("@")[0]}
    team = Team.objects.create(name=name[:80])
    TeamMembership.objects.create(team=team, user=by, role=TeamRole.OWNER)
    account = Account.objects.create(
        slug=f"test-{secrets.token_hex(5)}", name=_("%(team)s (test)") % {"team": name[:70]}, test_of_team=team
    )
    Membership.objects.create(account=account, user=by, role=Role.ADMIN)
    for put in _fill:
        put(account)
    subject = f"team:{team.public_id}"
    record(
        account.chain_name,
        Event.ACCOUNT_CREATED,
        by=by,
        subject=f"account:{account.slug}",
        test_of=subject,
    )
    # A team is named after its person, whom the ledger knows by id only (E2).
    record(team.chain_name, Event.TEAM_CREATED, by=by, subject=subject)
    return team


@transaction.atomic
def add_teammate(team: Team, user: User, *, role: str, by: User | None) -> TeamMembership:
    """Add a developer to a team; an owner also administers its test account. Raises NotStaff, AlreadyMember."""
    account = lock_team(team)
    require_owner_or_staff(team, by)
    return put_teammate(account, team, user, role=role, by=by)


def lock_team(team: Team) -> Account:
    """Lock and return a team's test account; who is in the team changes only under this lock."""
    return lock(Account, team.test_account.pk)


def put_teammate(
    account: Account, team: Team, user: User, *, role: str, by: User | None, **details: Any
) -> TeamMembership:
    """Write a membership of a team whose test account is locked. The caller has checked the rights. Raises AlreadyMember."""
    if TeamMembership.objects.filter(team=team, user=user, ended_at=None).exists():
        raise AlreadyMember(_("%(user)s already belongs to %(team)s.") % {"user": user, "team": team})
    teammate = TeamMembership.objects.create(team=team, user=user, role=TeamRole(role))
    _match_test_account(account, teammate, by)
    subject = f"person:{user.public_id}"
    record(team.chain_name, Event.TEAMMATE_ADDED, by=by, subject=subject, role=str(role), **details)
    return teammate


def _match_test_account(account: Account, teammate: TeamMembership, by: User | None) -> None:
    """Make an owner an admin of the team's test account, and remove an admin who is no longer an owner."""
    rows = Membership.objects.select_for_update(no_key=True)
    membership = rows.filter(account=account, user=teammate.user_id, ended_at=None).first()
    if teammate.role == TeamRole.OWNER and not teammate.ended_at:
        if membership is None:
            put_member(account, teammate.user, role=Role.ADMIN, by=by)
        elif membership.role != Role.ADMIN:
            give_role(account, membership, Role.ADMIN, by)
    elif membership and membership.role == Role.ADMIN:
        remove_member(account, membership, by)


@transaction.atomic
def change_teammate(teammate: TeamMembership, *, role: str, by: User | None) -> TeamMembership:
    """Make a member of a team an owner, or an owner a member. Raises NotStaff, HasLeft, LastOwner."""
    account = lock_team(teammate.team)
    teammate = _live_teammate(teammate, by)
    if teammate.role == role:
        return teammate
    _keep_an_owner(teammate)
    teammate.role = TeamRole(role)
    teammate.save(update_fields=["role"])
    _match_test_account(account, teammate, by)
    subject = f"person:{teammate.user.public_id}"
    record(teammate.team.chain_name, Event.TEAMMATE_ROLE_CHANGED, by=by, subject=subject, role=str(role))
    return teammate


@transaction.atomic
def end_teammate(teammate: TeamMembership, *, by: User | None) -> TeamMembership:
    """Remove a developer from a team, and an owner from its test account too. Raises NotStaff, HasLeft, LastOwner."""
    account = lock_team(teammate.team)
    teammate = _live_teammate(teammate, by)
    _keep_an_owner(teammate)
    TeamMembership.objects.filter(pk=teammate.pk).update(ended_at=Now())
    teammate.refresh_from_db()
    _match_test_account(account, teammate, by)
    record(teammate.team.chain_name, Event.TEAMMATE_REMOVED, by=by, subject=f"person:{teammate.user.public_id}")
    return teammate


def _live_teammate(teammate: TeamMembership, by: User | None) -> TeamMembership:
    require_owner_or_staff(teammate.team, by)
    teammate = TeamMembership.objects.select_related("team", "user").get(pk=teammate.pk)
    if teammate.ended_at:
        raise HasLeft(_("This person has left the team."))
    return teammate


def _keep_an_owner(teammate: TeamMembership) -> None:
    others = TeamMembership.objects.owners().filter(team=teammate.team).exclude(pk=teammate.pk)
    if teammate.role == TeamRole.OWNER and not others.exists():
        raise LastOwner(_("%(team)s needs an owner. Make someone else an owner first.") % {"team": teammate.team})


@transaction.atomic
def verify_team(team: Team, *, by: User | None, shown: str | None = None) -> Team:
    """Record, as staff, that the team is who it says it is (M3).

    `shown` is the seal of the profile that a person read, None where nobody reads a page. Raises NotStaff,
    AlreadyVerified, ScreenIsStale, NameIsTaken.
    """
    require_staff(by)
    team = lock(Team, team.pk)
    if team.verified_at:
        raise AlreadyVerified(_("%(team)s is already verified.") % {"team": team})
    if shown is not None:
        check_shown(shown, seal_of(team))
    take_name(team, team.name)
    Team.objects.filter(pk=team.pk).update(verified_at=Now(), verification_asked_at=None, verification_refused="")
    team.refresh_from_db()
    record(team.chain_name, Event.TEAM_VERIFIED, by=by, subject=f"team:{team.public_id}")
    return team
