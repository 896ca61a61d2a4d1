"""Mail the admins of all accounts that a suspension concerns, and again once it is lifted."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from portal.foundation.broker import queue_on_commit
from portal.foundation.mail import post_all
from portal.foundation.models import MailKind

from ..models import Account, Membership, SuspensionNotice, User

# So many admins are mailed in one transaction, and so many accounts are listed in a mail.
BATCH, LISTED = 200, 20

# By the first part of a subject: the accounts that it concerns, by the rest. An account may say what an app is called there.
_concerned: dict[str, Callable[[str], QuerySet[Account]]] = {
    "account": lambda slug: Account.objects.filter(slug=slug),
}


def register_concerned(kind: str, accounts: Callable[[str], QuerySet[Account]]) -> None:
    """Register which accounts a kind of subject concerns, as annotated with `app_name`; the apps above know."""
    _concerned[kind] = accounts


def put_suspension(kind: str, *, subject: str, name: str, developer: str = "") -> None:
    """Store that admins are to be mailed about a suspension or its end; a worker does it once this commits (T3)."""
    notice = SuspensionNotice.objects.create(kind=kind, subject=subject, name=name, developer=developer)
    queue_on_commit("portal.accounts.tasks.tell_of_suspension", notice.pk)


def suspensions_to_mail() -> QuerySet[SuspensionNotice]:
    return SuspensionNotice.objects.filter(told_at=None).order_by("made_at", "pk")


@transaction.atomic
def tell_of_suspension(pk: int) -> bool:
    """Mail the next admins about a suspension or its end, each once, and return whether there may be more.

    Their mails and how far it got commit together. Once a later notice about the same is stored, what this one says is
    no longer true, and nobody else reads it.
    """
    rows = suspensions_to_mail().select_for_update(no_key=True, skip_locked=True)
    notice = rows.filter(pk=pk).first()
    if notice is None:
        return False
    is_over = SuspensionNotice.objects.filter(subject=notice.subject, pk__gt=notice.pk).exists()
    people = [] if is_over else _next_admins(notice)
    post_all(MailKind.SECURITY, "members/mail/suspension.txt", _letters(notice, people))
    rows = SuspensionNotice.objects.filter(pk=pk)
    if len(people) < BATCH:
        rows.update(told_at=Now())
        return False
    rows.update(told_up_to=people[-1].pk)
    return True


def _accounts_of(notice: SuspensionNotice) -> QuerySet[Account]:
    kind, _colon, key = notice.subject.partition(":")
    return _concerned[kind](key)


def _admins_of(notice: SuspensionNotice) -> Any:
    return Membership.objects.admins().filter(account__in=_accounts_of(notice).values("pk"))


def _next_admins(notice: SuspensionNotice) -> list[User]:
    keys = _admins_of(notice).filter(user__gt=notice.told_up_to).order_by("user").values_list("user", flat=True)
    return list(User.objects.filter(pk__in=list(keys.distinct()[:BATCH])).order_by("pk"))


def _letters(notice: SuspensionNotice, people: list[User]) -> list[tuple[User, dict[str, Any]]]:
    """Return what each of these people reads: their own accounts among those that it concerns."""
    pairs = list(_admins_of(notice).filter(user__in=people).values_list("user", "account"))
    accounts = _accounts_of(notice).filter(pk__in={account for _person, account in pairs})
    named = {account.pk: account for account in accounts}
    theirs: dict[int, list[Account]] = defaultdict(list)
    for person, account in pairs:
        if account in named:
            theirs[person].append(named[account])
    for some in theirs.values():
        some.sort(key=lambda account: (account.name, account.pk))
    return [
        (person, {"notice": notice, "accounts": theirs[person.pk][:LISTED], "more": len(theirs[person.pk][LISTED:])})
        for person in people
    ]
