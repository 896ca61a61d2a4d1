"""The log of what a client was refused, for its developers: counted by the hour, beside the answer and never in its way."""

import datetime as dt

import structlog
from django.db import Error, connection, transaction
from django.db.models.functions import Now

from ..check import Refusal
from ..models import Failure, Where, Why

log = structlog.get_logger(__name__)

KEPT = dt.timedelta(days=30)
ERASE_BATCH = 5000
# An answer is worth more than a count: who would wait for others that count the same gives up, and no disk is waited for.
_HURRY = "SET LOCAL lock_timeout = '50ms'; SET LOCAL synchronous_commit = off"
# For whoever has a transaction open around this one, as tests do.
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
    """Count one refusal. Call it after the transaction that refused; whatever goes wrong here, the caller goes on.

    `text`, `scope` and `parameter` are the portal's own words: what a caller sent may hold a token.
    """
    if why == Why.EXPIRED:
        # Each account's every half an hour, which tells of none of them.
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
    """Count what a genuine token was refused; a made-up one belongs to nobody."""
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
    """Erase what is older than the log is kept, a bounded number at a time."""
    old = Failure.objects.filter(hour__lt=Now() - KEPT)
    return Failure.objects.filter(
        pk__in=list(old.order_by("hour").values_list("pk", flat=True)[:ERASE_BATCH])
    ).delete()[0]
