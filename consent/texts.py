"""Check that the words that people agreed to still match the hashes in the ledger (E2)."""

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Exists, OuterRef, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from docs.verify_receipt import text_hash
from portal.ledger.models import Entry

from .models import ShownText


def altered_texts(chain: str | None = None) -> list[str]:
    """Return the texts that were altered or removed, each with the first entry that names it. `chain` limits the search."""
    altered = [text.pk for text in ShownText.objects.iterator(chunk_size=500) if text_hash(text.words) != text.pk]
    named = Cast(KeyTextTransform("text_hash", "details"), TextField())
    entries = Entry.objects.filter(details__has_key="text_hash", **({"chain": chain} if chain else {}))
    entries = entries.annotate(text=named).order_by("text", "at", "sequence").distinct("text")
    kept = ShownText.objects.filter(pk=OuterRef("text"))
    # The words behind the hashes of the earliest entries were not stored yet.
    since = MigrationRecorder(connection).migration_qs.filter(app="consent", name="0005_text_that_was_read").first()
    faults = [(entry, "were altered") for entry in entries.filter(text__in=altered)] if altered else []
    faults += (
        [(entry, "are missing") for entry in entries.filter(~Exists(kept), at__gte=since.applied)] if since else []
    )
    told = [
        f"{entry.chain_id} #{entry.sequence}: the words that were read, {entry.text}, {how}" for entry, how in faults
    ]
    unnamed = {*altered} - {entry.text for entry, _how in faults} if not chain else set()
    return told + [f"the words {pk}, which no entry names, were altered" for pk in sorted(unnamed)]
