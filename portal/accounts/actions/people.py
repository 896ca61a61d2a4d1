"""Actions on people."""

from collections.abc import Iterable, Mapping

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.translation import gettext as _

from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import PORTAL, record

from ..events import Event
from ..models import Membership, Role, User
from ..rights import require_staff
from .memberships import follow_up_admins


class AlreadyDeactivated(Refused):
    pass


class NoSecondFactor(Refused):
    pass


@transaction.atomic
def deactivate_person(user: User, *, by: User | None) -> User:
    """Close a person's sign-in. From this commit their own consents are void (T2).

    Raises NotStaff, AlreadyDeactivated.
    """
    require_staff(by)
    user = lock(User, user.pk)
    if not user.is_active:
        raise AlreadyDeactivated(_("%(user)s is already deactivated.") % {"user": user})
    user.is_active = False
    user.save(update_fields=["is_active"])
    follow_up_admins(
        *Membership.objects.filter(user=user, role=Role.ADMIN, ended_at=None).values_list("account", flat=True)
    )
    record(PORTAL, Event.PERSON_DEACTIVATED, by=by, subject=f"person:{user.public_id}")
    return user


@transaction.atomic
def change_staff(user: User, *, is_staff: bool, groups: Iterable[Group], by: User | None) -> User:
    """Set whether a person is staff, and their groups. Superuser status stays as it is. Raises NotStaff."""
    require_staff(by)
    user = lock(User, user.pk)
    user.is_staff = is_staff
    user.save(update_fields=["is_staff"])
    user.groups.set(groups if is_staff else [])
    names = sorted(user.groups.values_list("name", flat=True))
    subject = f"person:{user.public_id}"
    record(PORTAL, Event.PERSON_STAFF_CHANGED, by=by, subject=subject, is_staff=is_staff, groups=names)
    return user


@transaction.atomic
def remove_two_factor(user: User, *, by: User | None) -> User:
    """Let a person who lost their second factor sign in with their password alone. Raises NotStaff, NoSecondFactor."""
    require_staff(by)
    user = lock(User, user.pk)
    if not Authenticator.objects.filter(user=user).delete()[0]:
        raise NoSecondFactor(_("%(user)s has no two-factor authentication.") % {"user": user})
    record(PORTAL, Event.PERSON_TWO_FACTOR_REMOVED, by=by, subject=f"person:{user.public_id}")
    return user


def choose_mail(user: User, kinds: Mapping[str, bool]) -> User:
    """Turn kinds of mail to a person on or off; those that are not named stay as they are."""
    off = {kind for kind, is_on in kinds.items() if not is_on}
    user.unwanted_mail = sorted({*user.unwanted_mail} - {*kinds} | off)
    user.save(update_fields=["unwanted_mail"])
    return user


@transaction.atomic
def create_person(
    *,
    email: str,
    name: str,
    password: str | None,
    by: User | None,
    is_staff: bool = False,
    groups: Iterable[Group] = (),
    is_superuser: bool = False,
) -> User:
    """Make a person who can sign in at once. Unlike those who sign up, they get no team. Raises NotStaff."""
    require_staff(by)
    user = User.objects.create_user(email, password, name=name, is_staff=is_staff, is_superuser=is_superuser)
    user.groups.set(groups)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    record(PORTAL, Event.PERSON_CREATED, by=by, subject=f"person:{user.public_id}")
    return user
