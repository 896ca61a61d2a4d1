"""The log of what a client was refused, for its developers: counted by the hour, without delaying the answer."""

import datetime as dt

import structlog
from django.db import Error, connection, transaction
from django.db.models.functions import Now

from ..check import Refusal
from ..models import Failure, Where, Why

log = structlog.get_logger(__name__)

KEPT = dt.timedelta(days=30)
ERASE_BATCH = 5000
# The answer matters more than the count: give up rather than wait for a lock or for the disk.
_HURRY = "SET LOCAL lock_timeout = '50ms'; SET LOCAL synchronous_commit = off"
# For callers with an open transaction, such as tests.
_NO_HURRY = "SET LOCAL lock_timeout = DEFAULT"
_COUNT = """
INSERT INTO consent_failure
(client_id, account_id, hour, "where", why, scope, parameter, error, text, times, last_at)
VALUES (%s, %s, date_trunc('hour', statement_timestamp()), %s, %s, %s, %s, %s, %s, 1, statement_timestamp())
ON CONFLICT (client_id, hour, "where", why, scope, parameter, account_id) DO UPDATE
SET times = consent_failure.times + 1, last_at = excluded.last_at, text = excluded.text, error = excluded.error
"""


def note_failure(
    client_id: int,
    *,
    where: Where,
    why: Why,
    error: str,
    account_id: int | None = None,
    text: str = "",
    scope: str = "",
    parameter: str = "",
) -> None:
    """Count one refusal. Call it after the transaction that refused. Errors here never reach the caller.

    `text`, `scope` and `parameter` must be the portal's own words: what a caller sent may hold a token.
    """
    if why == Why.EXPIRED:
        # Every account's tokens expire each half hour, which says nothing about any of them.
        account_id = None
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_HURRY)
            row = [client_id, account_id, where, why, scope[:250], parameter, error, text[:300]]
            cursor.execute(_COUNT, row)
            cursor.execute(_NO_HURRY)
    except Error as problem:
        log.warning("failure_not_noted", client=client_id, error=type(problem).__name__)


def note_refusal(refusal: Refusal, where: Where) -> None:
    """Count the refusal of a genuine token; a made-up one belongs to nobody."""
    if refusal.token and refusal.why:
        access = refusal.token.consent.access
        note_failure(
            access.client_id,
            account_id=access.account_id,
            where=where,
            why=refusal.why,
            error=refusal.error,
            text=refusal.description,
            scope=refusal.scope if refusal.error == "insufficient_scope" else "",
        )


def erase_failures() -> int:
    """Erase a bounded number of entries that are older than the log is kept."""
    old = Failure.objects.filter(hour__lt=Now() - KEPT)
    return Failure.objects.filter(
        pk__in=list(old.order_by("hour").values_list("pk", flat=True)[:ERASE_BATCH])
    ).delete()[0]
