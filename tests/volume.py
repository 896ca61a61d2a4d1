"""Rows by the thousand, multiplied from those that actions made, for tests of size."""

from django.db import transaction

from portal.ledger.actions import digest
from portal.ledger.models import Chain, Entry

_BATCH = 5000


def grow_chain(name, length):
    """Repeat a chain's last entry until the chain has `length` of them, each hashed onto the one before."""
    with transaction.atomic():
        chain = Chain.objects.select_for_update().get(name=name)
        last = chain.entries.get(sequence=chain.length)
        fields = {field: getattr(last, field) for field in ("chain_id", "at", "actor", "event", "subject", "details")}
        while chain.length < length:
            batch = []
            for sequence in range(chain.length + 1, min(chain.length + _BATCH, length) + 1):
                last = Entry(**fields, sequence=sequence, previous_hash=last.hash)
                last.hash = digest(last)
                batch.append(last)
            Entry.objects.bulk_create(batch)
            chain.length, chain.head = last.sequence, last.hash
            chain.save()
