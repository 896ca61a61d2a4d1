"""Rows by the thousand, multiplied from those that actions made, for tests of size."""

import json
import uuid

from django.db import connection, transaction

from portal.ledger.actions import digest
from portal.ledger.models import Chain

_COLUMNS = ("id", "chain_id", "sequence", "at", "actor", "event", "subject", "details", "previous_hash", "hash")


def grow_chain(name, length):
    """Repeat a chain's last entry until the chain has `length` of them, each hashed onto the one before."""
    with transaction.atomic(), connection.cursor() as cursor:
        chain = Chain.objects.select_for_update().get(name=name)
        entry = chain.entries.get(sequence=chain.length)
        details = json.dumps(entry.details)
        with cursor.copy(f"COPY ledger_entry ({', '.join(_COLUMNS)}) FROM STDIN") as rows:
            for sequence in range(chain.length + 1, length + 1):
                entry.id, entry.sequence, entry.previous_hash = uuid.uuid4(), sequence, entry.hash
                entry.hash = digest(entry)
                rows.write_row([details if column == "details" else getattr(entry, column) for column in _COLUMNS])
        chain.length, chain.head = entry.sequence, entry.hash
        chain.save()
