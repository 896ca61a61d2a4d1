"""Add people to an account, change their roles, and remove them."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import record

from ..events import Event
from ..models import Account, Membership, Role, User
from ..rights import is_owner, require_admin_or_staff


class AlreadyMember(Refused):
    pass


class HasLeft(Refused):
    """An ended membership never changes again (T4)."""


class LastAdmin(Refused):
    pass


class OwnersAreAdmins(Refused):
    """The admins of a team's test account are the owners of the team."""


def _check_owners_are_admins(account: Account, user: User, role: str | None) -> None:
    """Raise OwnersAreAdmins if a test account would get an admin who owns no team, or lose an owner as admin.

    `role` is the person's role afterwards, or None if they are removed.
    """
    team = account.test_of_team
    if team and is_owner(team, user) != (role == Role.ADMIN):
        raise OwnersAreAdmins(
            _("The owners of %(team)s administer its test account. Change their role in the team instead.")
            % {"team": team}
        )


@transaction.atomic
def add_member(account: Account, user: User, *, role: str, by: User | None) -> Membership:
    """Add a person to an account. Raises NotStaff, AlreadyMember, OwnersAreAdmins."""
    account = lock(Account, account.pk)
    require_admin_or_staff(account, by)
    return put_member(account, user, role=role, by=by)


def put_member(account: Account, user: User, *, role: str, by: User | None, **details: Any) -> Membership:
    """Write a membership of a locked account. The caller has checked the rights. Raises AlreadyMember, OwnersAreAdmins."""
    if Membership.objects.filter(account=account, user=user, ended_at=None).exists():
        raise AlreadyMember(_("%(user)s already belongs to %(account)s.") % {"user": user, "account": account})
    if role == Role.ADMIN:
        _check_owners_are_admins(account, user, role)
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
def change_role(membership: Membership, *, role: str, by: User | None) -> Membership:
    """Make an admin an agent, or an agent an admin. Raises NotStaff, HasLeft, OwnersAreAdmins, LastAdmin."""
    account = lock(Account, membership.account_id)
    require_admin_or_staff(account, by)
    membership = lock(Membership, membership.pk)
    if membership.ended_at:
        raise HasLeft(_("This person has left the account."))
    if membership.role == role:
        return membership
    _check_owners_are_admins(account, membership.user, role)
    _keep_an_admin(account, membership)
    return give_role(account, membership, role, by)


def give_role(account: Account, membership: Membership, role: str, by: User | None) -> Membership:
    """Change the role of a membership of a locked account. The caller has checked the rights."""
    membership.role = Role(role)
    membership.save(update_fields=["role"])
    follow_up_admins(account.pk)
    record(
        account.chain_name,
        Event.MEMBER_ROLE_CHANGED,
        by=by,
        subject=f"person:{membership.user.public_id}",
        role=str(role),
    )
    return membership


_FOLLOW_UPS: list[Callable[[int], None]] = []


def after_admins_change(follow_up: Callable[[int], None]) -> None:
    """Register a task that an app above queues, by the account's id, whenever an account may have lost an admin.

    It carries no rule: a sweep finds the same work (T3).
    """
    _FOLLOW_UPS.append(follow_up)


def follow_up_admins(*accounts: int) -> None:
    for pk in accounts:
        for follow_up in _FOLLOW_UPS:
            follow_up(pk)


@transaction.atomic
def end_membership(membership: Membership, *, by: User | None) -> Membership:
    """Remove a person from an account. From this commit their own consents are void (T2).

    Raises NotStaff, HasLeft, OwnersAreAdmins, LastAdmin.
    """
    account = lock(Account, membership.account_id)
    require_admin_or_staff(account, by)
    membership = lock(Membership, membership.pk)
    if membership.ended_at:
        raise HasLeft(_("This person has left the account."))
    if membership.role == Role.ADMIN:
        _check_owners_are_admins(account, membership.user, None)
    _keep_an_admin(account, membership)
    return remove_member(account, membership, by)


def remove_member(account: Account, membership: Membership, by: User | None) -> Membership:
    """End a membership of a locked account. The caller has checked the rights."""
    Membership.objects.filter(pk=membership.pk).update(ended_at=Now())
    membership.refresh_from_db()
    follow_up_admins(account.pk)
    record(
        account.chain_name,
        Event.MEMBER_REMOVED,
        by=by,
        subject=f"person:{membership.user.public_id}",
        membership=str(membership.pk),
    )
    return membership


def _keep_an_admin(account: Account, membership: Membership) -> None:
    others = Membership.objects.admins().filter(account=account).exclude(pk=membership.pk)
    if membership.role == Role.ADMIN and not others.exists():
        raise LastAdmin(_("%(account)s needs an admin. Make someone else an admin first.") % {"account": account})
