"""Make, suspend and lift customers' accounts, as staff do."""

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import record

from ..events import Event
from ..models import Account, NoticeKind, User
from ..rights import require_staff
from .suspensions import put_suspension


class AlreadySuspended(Refused):
    pass


class NotSuspended(Refused):
    pass


@transaction.atomic
def create_account(*, slug: str, name: str, by: User | None) -> Account:
    """Make a customer's account. Its slug is lower case, as listed accounts are (M3). Raises NotStaff."""
    require_staff(by)
    account = Account(slug=slug.lower(), name=name)
    account.full_clean()
    account.save(force_insert=True)
    record(account.chain_name, Event.ACCOUNT_CREATED, by=by, subject=f"account:{account.slug}", name=name)
    return account


@transaction.atomic
def suspend_account(account: Account, *, reason: str, by: User | None) -> Account:
    """Stop everything in an account at once (T2). Raises NotStaff, AlreadySuspended."""
    require_staff(by)
    account = lock(Account, account.pk)
    if account.suspended_at:
        raise AlreadySuspended(_("%(account)s is already suspended.") % {"account": account})
    Account.objects.filter(pk=account.pk).update(suspended_at=Now())
    account.refresh_from_db()
    put_suspension(NoticeKind.SUSPENDED, subject=account.chain_name, name=account.name)
    record(account.chain_name, Event.ACCOUNT_SUSPENDED, by=by, subject=f"account:{account.slug}", reason=reason)
    return account


@transaction.atomic
def lift_account(account: Account, *, reason: str, by: User | None) -> Account:
    """Lift an account's suspension; everything in it works as before. Raises NotStaff, NotSuspended."""
    require_staff(by)
    account = lock(Account, account.pk)
    if not account.suspended_at:
        raise NotSuspended(_("%(account)s is not suspended.") % {"account": account})
    account.suspended_at = None
    account.save(update_fields=["suspended_at"])
    put_suspension(NoticeKind.LIFTED, subject=account.chain_name, name=account.name)
    record(account.chain_name, Event.ACCOUNT_LIFTED, by=by, subject=f"account:{account.slug}", reason=reason)
    return account
