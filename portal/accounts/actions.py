"""What happens to people, accounts and teams."""

import secrets

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.database import lock
from portal.ledger.actions import PORTAL, record

from .models import Account, Membership, Role, Team, TeamMembership, TeamRole, User


class Refused(Exception):
    """An action that the rules do not allow; its text says why, for people."""


class AlreadyMember(Refused):
    pass


class NotLive(Refused):
    pass


class LastAdmin(Refused):
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
    owners = TeamMembership.objects.filter(team=team, role=TeamRole.OWNER, ended_at=None, user__is_active=True)
    if by is None or not owners.filter(user=by).exists():
        guard_staff(by)


@transaction.atomic
def create_account(*, slug, name, by):
    """Make a customer's account. Raises NotAllowed."""
    guard_staff(by)
    account = Account(slug=slug, name=name)
    account.full_clean()
    account.save(force_insert=True)
    record(account.chain_name, "account.created", by=by, subject=f"account:{slug}", name=name)
    return account


@transaction.atomic
def add_member(account, user, *, role, by):
    """Give a person a place in an account. Raises NotAllowed, AlreadyMember."""
    account = lock(Account, account.pk)
    _guard_admin(account, by)
    if Membership.objects.filter(account=account, user=user, ended_at=None).exists():
        raise AlreadyMember(_("%(user)s already belongs to %(account)s.") % {"user": user, "account": account})
    membership = Membership.objects.create(account=account, user=user, role=Role(role))
    record(
        account.chain_name,
        "member.added",
        by=by,
        subject=f"person:{user.public_id}",
        role=role,
        membership=str(membership.pk),
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
    _keep_an_admin(account, membership)
    membership.role = Role(role)
    membership.save(update_fields=["role"])
    record(
        account.chain_name, "member.role_changed", by=by, subject=f"person:{membership.user.public_id}", role=str(role)
    )
    return membership


@transaction.atomic
def end_membership(membership, *, by):
    """Remove a person from an account: from this commit their own consents are void (T2). Raises NotAllowed, NotLive, LastAdmin."""
    account = lock(Account, membership.account_id)
    _guard_admin(account, by)
    membership = lock(Membership, membership.pk)
    if membership.ended_at:
        raise NotLive(_("This person has left the account."))
    _keep_an_admin(account, membership)
    Membership.objects.filter(pk=membership.pk).update(ended_at=Now())
    membership.refresh_from_db()
    record(
        account.chain_name,
        "member.removed",
        by=by,
        subject=f"person:{membership.user.public_id}",
        membership=str(membership.pk),
    )
    return membership


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
    record(account.chain_name, "account.suspended", by=by, subject=f"account:{account.slug}", reason=reason)
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
    record(account.chain_name, "account.lifted", by=by, subject=f"account:{account.slug}", reason=reason)
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
        "account.created",
        by=by,
        subject=f"account:{account.slug}",
        test_of=subject,
    )
    # A team is called after its person, whom the ledger names by id only (E2).
    record(team.chain_name, "team.created", by=by, subject=subject)
    return team


@transaction.atomic
def add_teammate(team, user, *, role, by):
    """Add a developer to a team; an owner also administers its test account. Raises NotAllowed, AlreadyMember."""
    # Who is in a team changes under its test account's lock.
    account = lock(Account, team.test_account.pk)
    _guard_owner(team, by)
    if TeamMembership.objects.filter(team=team, user=user, ended_at=None).exists():
        raise AlreadyMember(_("%(user)s already belongs to %(team)s.") % {"user": user, "team": team})
    teammate = TeamMembership.objects.create(team=team, user=user, role=TeamRole(role))
    if role == TeamRole.OWNER:
        Membership.objects.get_or_create(account=account, user=user, ended_at=None, defaults={"role": Role.ADMIN})
    record(team.chain_name, "teammate.added", by=by, subject=f"person:{user.public_id}", role=str(role))
    return teammate


@transaction.atomic
def verify_team(team, *, by):
    """Say, as staff, that the team is who it says it is (M3). Raises NotAllowed, and NotLive where that was said already."""
    guard_staff(by)
    team = lock(Team, team.pk)
    if team.verified_at:
        raise NotLive(_("%(team)s is verified already.") % {"team": team})
    Team.objects.filter(pk=team.pk).update(verified_at=Now())
    team.refresh_from_db()
    record(team.chain_name, "team.verified", by=by, subject=f"team:{team.public_id}")
    return team


@transaction.atomic
def deactivate_person(user, *, by):
    """Close a person's sign-in; what they consented to for themself is void from this commit (T2). Raises NotAllowed, NotLive."""
    guard_staff(by)
    user = lock(User, user.pk)
    if not user.is_active:
        raise NotLive(_("%(user)s is deactivated already.") % {"user": user})
    user.is_active = False
    user.save(update_fields=["is_active"])
    record(PORTAL, "person.deactivated", by=by, subject=f"person:{user.public_id}")
    return user


@transaction.atomic
def change_staff(user, *, is_staff, groups, by):
    """Say who works for the company, and in which groups; being a superuser is left as it is. Raises NotAllowed."""
    guard_staff(by)
    user = lock(User, user.pk)
    user.is_staff = is_staff
    user.save(update_fields=["is_staff"])
    user.groups.set(groups if is_staff else [])
    names = sorted(user.groups.values_list("name", flat=True))
    subject = f"person:{user.public_id}"
    record(PORTAL, "person.staff_changed", by=by, subject=subject, is_staff=is_staff, groups=names)
    return user


@transaction.atomic
def remove_two_factor(user, *, by):
    """Let a person who lost their second factor sign in with the password alone. Raises NotAllowed, and NotLive where there is none."""
    guard_staff(by)
    user = lock(User, user.pk)
    if not Authenticator.objects.filter(user=user).delete()[0]:
        raise NotLive(_("%(user)s has no two-factor authentication.") % {"user": user})
    record(PORTAL, "person.two_factor_removed", by=by, subject=f"person:{user.public_id}")
    return user


@transaction.atomic
def create_person(*, email, name, password, by, is_staff=False, groups=(), is_superuser=False):
    """Make a person who can sign in at once, as staff do; those who sign up by themselves get a team too."""
    guard_staff(by)
    user = User.objects.create_user(email, password, name=name, is_staff=is_staff, is_superuser=is_superuser)
    user.groups.set(groups)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    record(PORTAL, "person.created", by=by, subject=f"person:{user.public_id}")
    return user
