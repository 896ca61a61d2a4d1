"""End an access, a consent, a family or a single token. Each writes one row; cleaning up comes later (T2, T3)."""

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Count, F, Func, Model, Q, QuerySet, Value
from django.db.models.functions import Least, Now
from django.utils.translation import gettext as _
from psycopg.errors import LockNotAvailable

from portal.accounts.models import Account, User
from portal.accounts.rights import is_admin, require_admin
from portal.foundation.database import database_now, lock, others_work
from portal.foundation.refusals import Refused
from portal.ledger.models import Entry

from ..events import Event
from ..models import Access, AccessToken, AuthorizationCode, Consent, RefreshToken
from ..reasons import AccessEnd, ConsentEnd, FamilyEnd
from ..validity import consents_unended_by, not_by, unended_consents
from .path import lock_path, queue_revoke_tokens, record_access, record_consent

# In rows: how much is erased at once while nobody else works, and while somebody does.
ERASE_BATCH, SMALL_BATCH = 50_000, 500
# In rows: how many accesses are locked at once to be marked.
MARK_BATCH = 1000
# In seconds, between small batches.
REST = 0.05


class NotYours(Refused):
    pass


class AlreadyEnded(Refused):
    pass


class NotGranted(Refused):
    pass


def _is_own(consent: Consent, by: User) -> bool:
    agent = consent.membership
    return agent is not None and agent.user_id == by.pk and not agent.ended_at and by.is_active


@transaction.atomic
def end_access(access: Access, *, by: User, reason: AccessEnd, **details: Any) -> Entry:
    """End an access. Every consent and token under it is dead when this commits; counting and erasing come later (T2, T3).

    `details` say what else ends with it. Returns the ledger's entry, for the receipt. Raises NotAnAdmin, AlreadyEnded.
    """
    account = lock(Account, access.account_id)
    require_admin(account, by)
    access = lock(Access, access.pk)
    if access.ended_at:
        raise AlreadyEnded(_("This has already ended."))
    consents, now = _agreements(unended_consents().filter(access=access)), database_now()
    agreed = access.consents.filter(membership=None, revoked_at=None, expires_at__gt=now).first()
    Access.objects.filter(pk=access.pk).update(ended_at=now, ended_by=by, reason=reason)
    queue_revoke_tokens(access)
    if agreed:
        details |= {"granted": agreed.granted, **agreed.said}
    return record_access(access, Event.ACCESS_ENDED, by=by, reason=reason, **consents, **details)


def what_ends(access: Access) -> dict[str, int]:
    """Count what ending an access ends: consents, agents among them, and tokens that are still good.

    What a suspension holds back counts too, since lifting the suspension would bring it back.
    """
    consents = unended_consents().filter(access=access)
    return {**_agreements(consents), **_tokens(access, consents)}


def _agreements(consents: QuerySet[Consent]) -> dict[str, int]:
    return consents.aggregate(consents=Count("pk"), agents=Count("membership"))


def _tokens(access: Access, consents: QuerySet[Consent], at: dt.datetime | None = None) -> dict[str, int]:
    """Count the families and access tokens under `consents` that nothing else had ended by a time, by default now."""
    families = RefreshToken.objects.filter(not_by("ended_at", at), consent__in=consents)
    tokens = AccessToken.objects.filter(
        Q(family=None) | not_by("family__ended_at", at),
        not_by("revoked_at", at),
        consent__in=consents,
        expires__gt=at or Now(),
    )
    if since := access.client.not_before:
        families, tokens = families.filter(created_at__gt=since), tokens.filter(created__gt=since)
    return {"refresh_tokens": families.count(), "access_tokens": tokens.count()}


@transaction.atomic
def revoke_consent(consent: Consent, *, by: User) -> Consent:
    """Revoke a consent: an admin revokes the account's or any agent's, an agent their own (T2). Raises NotYours, AlreadyEnded."""
    account = lock(Account, consent.access.account_id)
    consent = lock_path(consent)
    own = _is_own(consent, by)
    if not own and not is_admin(account, by):
        raise NotYours(_("Only the person who agreed, or an admin of %(account)s, can do this.") % {"account": account})
    if consent.is_over(database_now()):
        raise AlreadyEnded(_("This has already ended."))
    end_consent(consent, by=by, reason=ConsentEnd.REVOKED)
    queue_revoke_tokens(consent.access)
    record_consent(consent, Event.CONSENT_REVOKED, by=by, **consent.said)
    return consent


@transaction.atomic
def revoke_for_all(access: Access, *, by: User) -> Entry:
    """Revoke the consents of all agents of an account for one app. The app stays, and they can authorize it again (T2, T4).

    Returns the ledger's entry, for the receipt. Raises NotAnAdmin, AlreadyEnded.
    """
    account = lock(Account, access.account_id)
    require_admin(account, by)
    # Every other change of a consent under it waits for this lock.
    access = lock(Access, access.pk)
    ends = what_ends(access)
    if access.ended_at or not ends["agents"]:
        raise AlreadyEnded(_("There are no agents’ authorizations left to revoke."))
    rows = Consent.objects.filter(access=access, revoked_at=None, expires_at__gt=Now()).exclude(membership=None)
    _end_consents(rows, by=by, reason=ConsentEnd.REVOKED_FOR_ALL)
    queue_revoke_tokens(access)
    return record_access(access, Event.CONSENT_REVOKED_FOR_ALL, by=by, **ends)


def end_consent(consent: Consent, *, by: User | None, reason: ConsentEnd) -> None:
    """Write the one row that ends a locked consent. The caller has checked, and records it."""
    _end_consents(Consent.objects.filter(pk=consent.pk), by=by, reason=reason)
    consent.refresh_from_db()


def _without(value: Any, names: set[str]) -> Any:
    """Return an array column without some of its values."""
    for name in sorted(names):
        value = Func(value, Value(name), function="array_remove")
    return value


def narrow(consents: QuerySet, scopes: set[str]) -> int:
    """Remove scopes from locked consents and everything issued under them (T10). The caller has checked, and records it.

    Returns how many consents had any of the scopes.
    """
    wider = consents.filter(granted__overlap=sorted(scopes))
    # Tokens first: once the consent is narrower, the database refuses a wider token under it.
    under: dict[Any, str] = {AuthorizationCode: "used_at", RefreshToken: "ended_at", AccessToken: "revoked_at"}
    for model, end in under.items():
        names = Func(F("scope"), Value(" "), function="string_to_array")
        left = Func(_without(names, scopes), Value(" "), function="array_to_string")
        model.objects.filter(**{"consent__in": wider, end: None}).update(scope=left)
    return wider.update(granted=_without(F("granted"), scopes), revision=F("revision") + 1)


def forget_refusals(consents: QuerySet, scopes: set[str]) -> None:
    """Forget which scopes were declined or taken back, so that they are asked for like any other."""
    refused = Q(left_off__overlap=sorted(scopes)) | Q(trimmed__overlap=sorted(scopes))
    consents.filter(refused).update(
        left_off=_without(F("left_off"), scopes),
        trimmed=_without(F("trimmed"), scopes),
        revision=F("revision") + 1,
    )


def _end_consents(rows: QuerySet, *, by: User | None, reason: ConsentEnd) -> None:
    """End consents in one statement, writing one row for each."""
    rows.update(revoked_at=Least(F("expires_at"), Now()), revoked_by=by, reason=reason, revision=F("revision") + 1)


@transaction.atomic
def trim_consent(consent: Consent, *, scopes: set[str], by: User) -> Consent:
    """Take single scopes back. From this commit, no code, family or access token under the consent has them (T10).

    Raises NotYours, AlreadyEnded, NotGranted.
    """
    account = lock(Account, consent.access.account_id)
    consent = lock_path(consent)
    own = _is_own(consent, by)
    if not own and (consent.membership_id or not is_admin(account, by)):
        raise NotYours(_("Only the person who agreed can do this."))
    if consent.is_over(database_now()):
        raise AlreadyEnded(_("This has already ended."))
    if not scopes or not scopes <= {*consent.granted}:
        raise NotGranted(_("Choose from the permissions that were agreed to."))
    narrow(Consent.objects.filter(pk=consent.pk), scopes)
    consent.refresh_from_db()
    consent.trimmed = sorted({*consent.trimmed} | scopes)
    consent.save(update_fields=["trimmed"])
    record_consent(consent, Event.CONSENT_TRIMMED, by=by, trimmed=sorted(scopes), **consent.said)
    return consent


# --- cleaning up, each step safe to run twice (T3) ---


@transaction.atomic
def revoke_tokens(access: Access) -> dict[str, int]:
    """Stamp and count the dead tokens under an access, and record that on whatever ended."""
    access = lock(Access, access.pk)
    over = Consent.objects.filter(access=access)
    if not access.ended_at:
        over = over.exclude(revoked_at=None)
    ended = list(over.select_for_update(no_key=True).filter(stamped_at=None).order_by("pk"))
    if not ended and (not access.ended_at or access.revoked_at):
        return access.revoked_counts
    ended_with = _ended_with(access) if not access.revoked_at else {}
    counts = {
        "refresh_tokens": RefreshToken.objects.filter(consent__in=ended, ended_at=None).update(
            ended_at=Now(), reason=FamilyEnd.ACCESS_ENDED if access.ended_at else FamilyEnd.CONSENT_ENDED
        ),
        # Each at a time of its own, by which they are erased in batches.
        "access_tokens": AccessToken.objects.filter(consent__in=ended, revoked_at=None, expires__gt=Now()).update(
            revoked_at=Func(function="clock_timestamp")
        ),
    }
    Consent.objects.filter(pk__in=[consent.pk for consent in ended]).update(stamped_at=Now())
    if access.ended_at and not access.revoked_at:
        access.revoked_at = database_now()
    access.revoked_counts = {key: access.revoked_counts.get(key, 0) + counts[key] for key in counts}
    access.save(update_fields=["revoked_at", "revoked_counts"])
    if ended_with:
        record_access(access, Event.TOKENS_COUNTED, by=None, **ended_with)
    return counts


def _ended_with(access: Access) -> dict[str, int]:
    """Count the tokens that ended with an access; return nothing if nothing had been agreed to.

    The act that ends the access does not count them: a million would keep the person, and the end itself, waiting.
    """
    if not access.ended_at:
        return {}
    consents = consents_unended_by(access.ended_at).filter(access=access)
    return _tokens(access, consents, access.ended_at) if consents.exists() else {}


def access_to_revoke() -> QuerySet[Access]:
    """Return the accesses with something ended but not yet stamped, which the sweep queues again."""
    ended = Access.objects.filter(ended_at__isnull=False, revoked_at=None).values("pk")
    of_consents = Consent.objects.filter(revoked_at__isnull=False, stamped_at=None).values("access")
    # An index finds each; with both in one condition PostgreSQL reads all consents.
    return Access.objects.filter(pk__in=ended.union(of_consents))


def expire_consent(consent: Consent) -> None:
    """End a locked consent that has expired, and record it. The caller has checked."""
    end_consent(consent, by=None, reason=ConsentEnd.EXPIRED)
    queue_revoke_tokens(consent.access)
    record_consent(consent, Event.CONSENT_EXPIRED, by=None, **consent.said)


def expire_consents() -> int:
    """Stamp expired consents, which are dead already, so that the ledger and the pages say so."""
    due = Consent.objects.filter(revoked_at=None, expires_at__lte=Now()).values_list("pk", flat=True)[:500]
    expired = 0
    for pk in due:
        with transaction.atomic():
            consent = lock_path(Consent.objects.select_related("access__account").get(pk=pk))
            if consent.revoked_at or consent.expires_at > database_now():
                continue
            expire_consent(consent)
            expired += 1
    return expired


# Each by an index of its own, and access tokens before codes.
_ERASED = ((AccessToken, "expires"), (AccessToken, "revoked_at"), (AuthorizationCode, "expires"))


def batches() -> Iterator[int]:
    """Yield batch sizes forever: doubling while the database is otherwise idle; small, after a rest, while it is not."""
    size = SMALL_BATCH
    while True:
        yield size
        size = min(2 * size, ERASE_BATCH)
        if others_work():
            time.sleep(REST)
            size = SMALL_BATCH


def erase_batch(size: int) -> int:
    """Erase about `size` codes or access tokens that ended over a day ago. Families keep their rows (T3)."""
    return next(filter(None, (_erase(model, ended, size) for model, ended in _ERASED)), 0)


def _erase(model: type[Model], ended: str, size: int) -> int:
    """Erase rows by the time at which they ended, and return how many: 0 if one of them is locked."""
    table = model._meta.db_table
    # Nothing refers to these rows, so that Django's delete() would find no more to do. A range of the index is read much
    # faster than single rows are found again.
    delete = f"""
        DELETE FROM {table} WHERE {ended} < statement_timestamp() - %(age)s AND {ended} <= coalesce((
            SELECT {ended} FROM {table} WHERE {ended} < statement_timestamp() - %(age)s
            ORDER BY {ended} OFFSET %(most)s LIMIT 1
        ), 'infinity')
    """  # noqa: S608 (the names are written above)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # Far less than PostgreSQL waits before it looks for a deadlock, so that no act of a person is ended for one.
            # To lock rows first, and skip locked ones, would write each of them twice.
            cursor.execute("SET LOCAL lock_timeout = '50ms'; SET LOCAL enable_seqscan = off")
            given: dict[str, Any] = {"age": settings.ERASE_AFTER, "most": size - 1}
            cursor.execute(delete, given)
            return cursor.rowcount
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return 0
        raise


def mark_erased() -> int:
    """Mark some of the accesses under which nothing is left to erase; return how many."""
    left = Q(consents__codes__isnull=False) | Q(consents__access_tokens__isnull=False)
    done = Access.objects.filter(erased_at=None, revoked_at__lt=Now() - settings.ERASE_AFTER).exclude(left)
    return Access.objects.filter(pk__in=done.values("pk")[:MARK_BATCH]).update(erased_at=Now())
