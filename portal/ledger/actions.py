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


def verify(chain):
    """Return the first Fault of a chain, or None where it is intact."""
    previous, sequence = "", 0
    for entry in chain.entries.order_by("sequence").iterator(chunk_size=2000):
        sequence += 1
        if entry.sequence != sequence:
            return Fault(chain.name, sequence, "the entry is missing")
        if entry.previous_hash != previous:
            return Fault(chain.name, sequence, "the entry does not follow from the one before")
        if digest(entry) != entry.hash:
            return Fault(chain.name, sequence, "the entry was altered")
        previous = entry.hash
    if sequence != chain.length:
        return Fault(chain.name, min(sequence, chain.length) + 1, "the chain's length and its entries differ")
    if previous != chain.head:
        return Fault(chain.name, sequence, "the chain's head is another entry's")
    return None
