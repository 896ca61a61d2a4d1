"""Write to the ledger, and verify that nobody tampered with it (E2)."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from django.db import connection, transaction

from docs.verify_receipt import FIELDS, entry_hash, follow
from portal.ledger.events import LedgerEvent

from .events import find_event
from .models import Chain, Entry

PORTAL = "portal"
SYSTEM = "system"


class Person(Protocol):
    public_id: UUID


def actor_name(by: Person | str | None) -> str:
    """Return the opaque name under which an actor is recorded. A client has one already; None is the portal."""
    return by or SYSTEM if by is None or isinstance(by, str) else f"person:{by.public_id}"


def as_data(entry: Entry) -> dict:
    """Return an entry as JSON values."""
    values = {name: getattr(entry, name if name != "chain" else "chain_id") for name in FIELDS}
    return {**values, "id": str(entry.id), "at": entry.at.isoformat()}


def digest(entry: Entry) -> str:
    """Return the SHA-256 over an entry's content and the hash before it, in hexadecimal."""
    return entry_hash(as_data(entry))


# {transaction: the time of its first entry}, while one click of a person is answered.
_times: ContextVar[dict[str, datetime] | None] = ContextVar("_times", default=None)
_NOW = """
SELECT statement_timestamp(), pg_current_xact_id()::text,
    (SELECT at FROM ledger_entry WHERE chain_id = %s AND sequence = %s)
"""


@contextlib.contextmanager
def one_act() -> Iterator[None]:
    """Make what one transaction records meanwhile one act, which has the time of its first entry: pages show one line."""
    token = _times.set({})
    try:
        yield
    finally:
        _times.reset(token)


def _times_of_next(chain: Chain) -> tuple[datetime, datetime | None]:
    """Return the time of a locked chain's next entry, and that of its act if it is another.

    While an act waits for a chain, others may record there: its own entry is then later, so that no chain's times run
    backwards. Nor do they when the clock is set back.
    """
    with connection.cursor() as cursor:
        cursor.execute(_NOW, [chain.name, chain.length])
        now, transaction_id, last = cursor.fetchone()
    times = _times.get()
    act = now if times is None else times.setdefault(transaction_id, now)
    return (act, None) if last is None or last <= act else (max(now, last), act)


_MOVE_ON = "UPDATE ledger_chain SET length = %s, head = %s WHERE name = %s"


def record(chain_name: str, event: LedgerEvent, *, by: Person | str | None, subject: str, **details: object) -> Entry:
    """Append an entry to a chain and return it. Call it last in the transaction, which it must be in (T11).

    Raises TypeError for an event that no app's `events.py` has.
    """
    if find_event(event) is not event:
        raise TypeError(f"{event!r} is no event of an app: add it to its events.py, with a title")
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("record() belongs in the transaction of what it records")
    chains = Chain.objects.select_for_update(no_key=True)
    chain = chains.filter(name=chain_name).first()
    if chain is None:
        Chain.objects.bulk_create([Chain(name=chain_name)], ignore_conflicts=True)
        chain = chains.get(name=chain_name)
    at, act_at = _times_of_next(chain)
    entry = Entry(
        chain=chain,
        sequence=chain.length + 1,
        at=at,
        act_at=act_at,
        actor=actor_name(by),
        event=event.value,
        subject=str(subject),
        details=details,
        previous_hash=chain.head,
    )
    entry.hash = digest(entry)
    entry.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute(_MOVE_ON, [entry.sequence, entry.hash, chain_name])
    return entry


@dataclass(frozen=True)
class Fault:
    """The first entry at which a chain differs from what was recorded."""

    chain: str
    sequence: int
    problem: str

    def __str__(self) -> str:
        return f"{self.chain} #{self.sequence}: {self.problem}"


def verify(chain: Chain, seen: Any = None) -> Fault | None:
    """Return the first Fault of a chain, or None if it is intact. Other connections may go on writing to it.

    `seen` is what checkpoints say about it, as {length: head}.
    """
    # The chain's own row is read with each entry, so that both are of the same moment.
    entries, last = chain.entries.select_related("chain").order_by("sequence"), None

    def told() -> Iterator[Any]:
        nonlocal last
        for last in entries.iterator(chunk_size=2000):
            yield as_data(last)

    if fault := follow(told(), seen or {}):
        return Fault(chain.name, *fault)
    length, chain = (last.sequence, last.chain) if last else (0, chain)
    knows = f"the chain’s own row knows of {chain.length}"
    if length > chain.length:
        return Fault(chain.name, chain.length + 1, f"the entry was added by hand: {knows}")
    if length < chain.length:
        return Fault(chain.name, length + 1, f"the entry is missing: {knows}")
    if last and last.hash != chain.head:
        return Fault(chain.name, length, "the entry is not the one that the chain’s own row knows")
    return None
