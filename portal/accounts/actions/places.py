"""What happens to accounts and teams, and who belongs to them."""

import secrets

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.foundation.broker import queue_on_commit
from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import record

from ..events import Event
from ..models import Account, Membership, Role, Team, TeamMembership, TeamRole


class AlreadyMember(Refused):
    pass


class NotLive(Refused):
    pass


class LastAdmin(Refused):
    pass


class LastOwner(Refused):
    pass


class NotAllowed(Refused):
    pass


def guard_staff(by):
    """Raise NotAllowed unless `by` runs the portal, as a superuser, or is the portal itself (None)."""
    if by is not None and not (by.is_active and by.is_superuser):
        raise NotAllowed(_("Only the people who run this portal can do this."))


def _guard_admin(account, by):
    """Raise NotAllowed unless `by` administers the account or runs the portal."""
    if by is None or not Membership.objects.admins().filter(account=account, user=by).exists():
        guard_staff(by)


def _guard_owner(team, by):
    """Raise NotAllowed unless `by` owns the team or runs the portal."""
    if by is None or not TeamMembership.objects.owners().filter(team=team, user=by).exists():
        guard_staff(by)


def _guard_owners_place(account, user, role):
    """Raise NotAllowed where a test account would get an admin who is no owner, or an owner who is no admin.

    `role` is what the person is to be, or None where they are to go.
    """
    team = account.test_of_team
    if team and TeamMembership.objects.owners().filter(team=team, user=user).exists() != (role == Role.ADMIN):
        raise NotAllowed(
            _("The owners of %(team)s administer its test account: change their role in the team.") % {"team": team}
        )


@transaction.atomic
def create_account(*, slug, name, by):
    """Make a customer's account. Raises NotAllowed."""
    guard_staff(by)
    account = Account(slug=slug, name=name)
    account.full_clean()
    account.save(force_insert=True)
    record(account.chain_name, Event.ACCOUNT_CREATED, by=by, subject=f"account:{slug}", name=name)
    return account


@transaction.atomic
def add_member(account, user, *, role, by):
    """Give a person a place in an account. Raises NotAllowed, AlreadyMember."""
    account = lock(Account, account.pk)
    _guard_admin(account, by)
    return put_member(account, user, role=role, by=by)


def put_member(account, user, *, role, by, **details):
    """Write a person's place in a locked account; the caller decided who may. Raises NotAllowed, AlreadyMember."""
    if Membership.objects.filter(account=account, user=user, ended_at=None).exists():
        raise AlreadyMember(_("%(user)s already belongs to %(account)s.") % {"user": user, "account": account})
    if role == Role.ADMIN:
        _guard_owners_place(account, user, role)
    membership = Membership.objects.create(account=account, user=user, role=Role(role))
    record(
        account.chain_name,
        Event.MEMBER_ADDED,
        by=by,
        subject=f"person:{user.public_id}",
        role=str(role),
        membership=str(membership.pk),
        **details,
    )
    return membership


@transaction.atomic
def change_role(membership, *, role, by):
    """Make an admin an agent, or an agent an admin. Raises NotAllowed, NotLive, LastAdmin."""
    account = lock(Account, membership.account_id)
    _guard_admin(account, by)
    membership = lock(Membership, membership.pk)
    if membership.ended_at:
        raise NotLive(_("This person has left the account."))
    if membership.role == role:
        return membership
    _guard_owners_place(account, membership.user, role)
    _keep_an_admin(account, membership)
    return _give_role(account, membership, role, by)


def _give_role(account, membership, role, by):
    membership.role = Role(role)
    membership.save(update_fields=["role"])
    queue_succession(account.pk)
    record(
        account.chain_name,
        Event.MEMBER_ROLE_CHANGED,
        by=by,
        subject=f"person:{membership.user.public_id}",
        role=str(role),
    )
    return membership


def queue_succession(*accounts):
    """Once this transaction commits, have the admins of these told of what nobody there answers for; the sweep finds it too (T3)."""
    for pk in accounts:
        queue_on_commit("consent.tasks.ask_for_successor", pk)


@transaction.atomic
def end_membership(membership, *, by):
    """Remove a person from an account: from this commit their own consents are void (T2). Raises NotAllowed, NotLive, LastAdmin."""
    account = lock(Account, membership.account_id)
    _guard_admin(account, by)
    membership = lock(Membership, membership.pk)
    if membership.ended_at:
        raise NotLive(_("This person has left the account."))
    if membership.role == Role.ADMIN:
        _guard_owners_place(account, membership.user, None)
    _keep_an_admin(account, membership)
    return _end(account, membership, by)


def _end(account, membership, by):
    Membership.objects.filter(pk=membership.pk).update(ended_at=Now())
    membership.refresh_from_db()
    queue_succession(account.pk)
    record(
        account.chain_name,
        Event.MEMBER_REMOVED,
        by=by,
        subject=f"person:{membership.user.public_id}",
        membership=str(membership.pk),
    )
    return membership


def runs_alone(place):
    """Return the place of who alone runs an account or a team, which can neither end nor change; None where several do."""
    rows = place.memberships
    found = list((rows.admins() if isinstance(place, Account) else rows.owners())[:2])
    return found[0] if len(found) == 1 else None


def _keep_an_admin(account, membership):
    others = Membership.objects.admins().filter(account=account).exclude(pk=membership.pk)
    if membership.role == Role.ADMIN and not others.exists():
        raise LastAdmin(_("%(account)s needs an admin; make somebody else one first.") % {"account": account})


@transaction.atomic
def suspend_account(account, *, reason, by):
    """Stop everything in an account at once (T2). Raises NotAllowed, and NotLive where it is suspended already."""
    guard_staff(by)
    account = lock(Account, account.pk)
    if account.suspended_at:
        raise NotLive(_("%(account)s is suspended already.") % {"account": account})
    Account.objects.filter(pk=account.pk).update(suspended_at=Now())
    account.refresh_from_db()
    record(account.chain_name, Event.ACCOUNT_SUSPENDED, by=by, subject=f"account:{account.slug}", reason=reason)
    return account


@transaction.atomic
def lift_account(account, *, reason, by):
    """Let a suspended account work again, as it was. Raises NotAllowed, and NotLive where it is not suspended."""
    guard_staff(by)
    account = lock(Account, account.pk)
    if not account.suspended_at:
        raise NotLive(_("%(account)s is not suspended.") % {"account": account})
    account.suspended_at = None
    account.save(update_fields=["suspended_at"])
    record(account.chain_name, Event.ACCOUNT_LIFTED, by=by, subject=f"account:{account.slug}", reason=reason)
    return account


@transaction.atomic
def create_team(*, by, name=None):
    """Make a team whose owner is `by`, and the account it tests its apps on, whose admin is `by`."""
    name = name or _("%(person)s’s team") % {"person": by.name or by.email.partition("@")[0]}
    team = Team.objects.create(name=name[:80])
    TeamMembership.objects.create(team=team, user=by, role=TeamRole.OWNER)
    account = Account.objects.create(
        slug=f"test-{secrets.token_hex(5)}", name=_("%(team)s (test)") % {"team": name[:70]}, test_of_team=team
    )
    Membership.objects.create(account=account, user=by, role=Role.ADMIN)
    subject = f"team:{team.public_id}"
    record(
        account.chain_name,
        Event.ACCOUNT_CREATED,
        by=by,
        subject=f"account:{account.slug}",
        test_of=subject,
    )
    # A team is called after its person, whom the ledger names by id only (E2).
    record(team.chain_name, Event.TEAM_CREATED, by=by, subject=subject)
    return team


@transaction.atomic
def add_teammate(team, user, *, role, by):
    """Add a developer to a team; an owner also administers its test account. Raises NotAllowed, AlreadyMember."""
    account = lock_team(team)
    _guard_owner(team, by)
    return put_teammate(account, team, user, role=role, by=by)


def lock_team(team):
    """Lock and return a team's test account, under which changes who is in the team."""
    return lock(Account, team.test_account.pk)


def put_teammate(account, team, user, *, role, by, **details):
    """Write a person's place in a team whose test account is locked; the caller decided who may. Raises AlreadyMember."""
    if TeamMembership.objects.filter(team=team, user=user, ended_at=None).exists():
        raise AlreadyMember(_("%(user)s already belongs to %(team)s.") % {"user": user, "team": team})
    teammate = TeamMembership.objects.create(team=team, user=user, role=TeamRole(role))
    _seat(account, teammate, by)
    subject = f"person:{user.public_id}"
    record(team.chain_name, Event.TEAMMATE_ADDED, by=by, subject=subject, role=str(role), **details)
    return teammate


def _seat(account, teammate, by):
    """Make an owner admin of the team's test account, and end that place of who is none."""
    place = Membership.objects.select_for_update(no_key=True).filter(
        account=account, user=teammate.user_id, ended_at=None
    )
    place = place.first()
    if teammate.role == TeamRole.OWNER and not teammate.ended_at:
        if place is None:
            put_member(account, teammate.user, role=Role.ADMIN, by=by)
        elif place.role != Role.ADMIN:
            _give_role(account, place, Role.ADMIN, by)
    elif place and place.role == Role.ADMIN:
        _end(account, place, by)


@transaction.atomic
def change_teammate(teammate, *, role, by):
    """Make a member of a team an owner, or an owner a member. Raises NotAllowed, NotLive, LastOwner."""
    account = lock_team(teammate.team)
    teammate = _live_teammate(teammate, by)
    if teammate.role == role:
        return teammate
    _keep_an_owner(teammate)
    teammate.role = TeamRole(role)
    teammate.save(update_fields=["role"])
    _seat(account, teammate, by)
    subject = f"person:{teammate.user.public_id}"
    record(teammate.team.chain_name, Event.TEAMMATE_ROLE_CHANGED, by=by, subject=subject, role=str(role))
    return teammate


@transaction.atomic
def end_teammate(teammate, *, by):
    """Remove a developer from a team, and an owner from its test account too. Raises NotAllowed, NotLive, LastOwner."""
    account = lock_team(teammate.team)
    teammate = _live_teammate(teammate, by)
    _keep_an_owner(teammate)
    TeamMembership.objects.filter(pk=teammate.pk).update(ended_at=Now())
    teammate.refresh_from_db()
    _seat(account, teammate, by)
    record(teammate.team.chain_name, Event.TEAMMATE_REMOVED, by=by, subject=f"person:{teammate.user.public_id}")
    return teammate


def _live_teammate(teammate, by):
    _guard_owner(teammate.team, by)
    teammate = TeamMembership.objects.select_related("team", "user").get(pk=teammate.pk)
    if teammate.ended_at:
        raise NotLive(_("This person has left the team."))
    return teammate


def _keep_an_owner(teammate):
    others = TeamMembership.objects.owners().filter(team=teammate.team).exclude(pk=teammate.pk)
    if teammate.role == TeamRole.OWNER and not others.exists():
        raise LastOwner(_("%(team)s needs an owner; make somebody else one first.") % {"team": teammate.team})


@transaction.atomic
def verify_team(team, *, by):
    """Say, as staff, that the team is who it says it is (M3). Raises NotAllowed, and NotLive where that was said already."""
    guard_staff(by)
    team = lock(Team, team.pk)
    if team.verified_at:
        raise NotLive(_("%(team)s is verified already.") % {"team": team})
    Team.objects.filter(pk=team.pk).update(verified_at=Now())
    team.refresh_from_db()
    record(team.chain_name, Event.TEAM_VERIFIED, by=by, subject=f"team:{team.public_id}")
    return team
