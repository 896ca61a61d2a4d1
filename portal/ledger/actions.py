"""Writing to the ledger, and telling whether anyone tampered with it (E2)."""

import hashlib
import json
from dataclasses import dataclass

from django.db import connection, transaction

from portal.accounts.models import User
from portal.database import database_now

from .models import Chain, Entry

PORTAL = "portal"
SYSTEM = "system"


def actor_name(by):
    """Return the opaque name under which a person, or the portal itself (None), is recorded."""
    return f"person:{by.public_id}" if isinstance(by, User) else by or SYSTEM


def digest(entry):
    """Return the SHA-256 over an entry's content and the hash before it, in hexadecimal."""
    content = [
        str(entry.id),
        entry.chain_id,
        entry.sequence,
        entry.at.isoformat(timespec="microseconds"),
        entry.actor,
        entry.event,
        entry.subject,
        entry.details,
        entry.previous_hash,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_of_text(words):
    """Return the SHA-256 over words that somebody was shown, as data; entries name it as `text_hash`."""
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def record(chain_name, event, *, by, subject, **details):
    """Append an entry to a chain and return it. Call it last in the transaction, which it must be in (T11)."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("record() belongs in the transaction of what it records")
    chains = Chain.objects.select_for_update(no_key=True)
    chain = chains.filter(name=chain_name).first()
    if chain is None:
        Chain.objects.bulk_create([Chain(name=chain_name)], ignore_conflicts=True)
        chain = chains.get(name=chain_name)
    entry = Entry(
        chain=chain,
        sequence=chain.length + 1,
        at=database_now(),
        actor=actor_name(by),
        event=event,
        subject=str(subject),
        details=details,
        previous_hash=chain.head,
    )
    entry.hash = digest(entry)
    entry.save(force_insert=True)
    Chain.objects.filter(name=chain_name).update(length=entry.sequence, head=entry.hash)
    return entry


@dataclass(frozen=True)
class Fault:
    """The first place at which a chain is not what was recorded."""

    chain: str
    sequence: int
    problem: str

    def __str__(self):
        return f"{self.chain} #{self.sequence}: {self.problem}"


def verify(chain, seen=None):
    """Return the first Fault of a chain, or None where it is intact; other connections may go on writing to it.

    `seen` is what checkpoints say of it, as {length: head}.
    """
    # The chain's own row comes with each entry, so that all is of one moment.
    entries = chain.entries.select_related("chain").order_by("sequence")
    fault, last = follow(chain.name, entries.iterator(chunk_size=2000), seen or {})
    if fault:
        return fault
    length, chain = (last.sequence, last.chain) if last else (0, chain)
    if length != chain.length:
        return Fault(chain.name, min(length, chain.length) + 1, "the chain's length and its entries differ")
    if last and last.hash != chain.head:
        return Fault(chain.name, length, "the chain's head is another entry's")
    return None


def follow(name, entries, seen):
    """Go through a chain's entries in their order; return (the first Fault or None, the last entry that is good).

    `seen` is what checkpoints say of the chain, as {length: head}.
    """
    last = None
    for sequence, entry in enumerate(entries, 1):
        if entry.sequence != sequence:
            return Fault(name, sequence, "the entry is missing"), last
        if entry.previous_hash != (last.hash if last else ""):
            return Fault(name, sequence, "the entry does not follow from the one before"), last
        if digest(entry) != entry.hash:
            return Fault(name, sequence, "the entry was altered"), last
        if seen.get(sequence, entry.hash) != entry.hash:
            return Fault(name, sequence, "the entry is not the one that a checkpoint saw"), last
        last = entry
    length, longest = last.sequence if last else 0, max(seen, default=0)
    if length < longest:
        return Fault(name, length + 1, f"the entry is missing: a checkpoint saw {longest} entries"), last
    return None, last
