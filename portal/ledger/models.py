"""The append-only record of every act that touches access (E2)."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Func, Q, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Now

# The details that people may search for, beside the name: a vendor’s name, and lists of scopes.
_SEARCHED = ("vendor", "scopes", "granted", "left_off", "trimmed", "removed", "required", "optional")


def _words() -> Func:
    texts = [Coalesce(KeyTextTransform("name", "details"), "subject", output_field=models.TextField())]
    texts += [Coalesce(KeyTextTransform(name, "details"), Value("")) for name in _SEARCHED]
    return Func(*texts, template="UPPER(%(expressions)s)", arg_joiner=" || ' ' || ", output_field=models.TextField())


class Chain(models.Model):
    """A chain of entries: one for each account (`account:<slug>`) and team (`team:<id>`), and `portal`."""

    name = models.CharField(max_length=100, primary_key=True)
    length = models.BigIntegerField(default=0)
    head = models.CharField(max_length=64, blank=True)
    # The length at the last checkpoint. It only says which chains have grown; the file is what is trusted.
    checkpointed = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class Entry(models.Model):
    """An act. `hash` covers every other column but `act_at` and `words`, and the hash of the entry before."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    chain = models.ForeignKey(Chain, on_delete=models.PROTECT, related_name="entries")
    sequence = models.BigIntegerField()
    at = models.DateTimeField()
    # The time of the act, where this entry of it is later: pages show an act as one line.
    act_at = models.DateTimeField(null=True, editable=False)
    actor = models.CharField(max_length=60)
    event = models.CharField(max_length=60)
    subject = models.CharField(max_length=120)
    details = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)
    # What the entry is about, in capitals. Searching thousands of entries is quick only if nothing is taken from `details`.
    words = models.GeneratedField(expression=_words(), output_field=models.TextField(), db_persist=True)

    class Meta:
        ordering = ["-at", "-sequence"]
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(fields=["chain", "sequence"], name="one_entry_per_chain_and_sequence"),
        ]
        indexes = [
            models.Index(fields=["-at", "-sequence"], name="ledger_by_time"),
            models.Index(fields=["chain", "-at", "-sequence"], name="ledger_of_chain"),
            models.Index(fields=["chain", "event", "-at", "-sequence"], name="ledger_of_chain_and_event"),
            models.Index(fields=["actor", "-at", "-sequence"], name="ledger_of_actor"),
            models.Index(fields=["actor", "chain", "-at", "-sequence"], name="ledger_of_actor_in_chain"),
            models.Index(fields=["subject", "-at"], name="ledger_of_a_subject"),
            models.Index(fields=["act_at"], condition=~Q(act_at=None), name="ledger_later_than_act"),
        ]

    def __str__(self) -> str:
        return f"{self.chain_id} #{self.sequence} {self.event}"


class KeyPeriod(models.Model):
    """A period in which a key of LEDGER_KEYS signed. A trigger takes both times from the database's clock."""

    # The thumbprint of the public key (RFC 7638).
    key = models.CharField(max_length=43)
    from_at = models.DateTimeField(db_default=Now())
    until_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["until_at"], nulls_distinct=False, name="one_key_signs_at_a_time"),
        ]
        indexes = [models.Index(fields=["key", "from_at"], name="period_of_a_key")]

    def __str__(self) -> str:
        return self.key


class Export(models.Model):
    """A large file of entries that a person asked for. Workers write it piece by piece, and erase it after a day."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=4)
    # The filters as the address of the list says them, and how its reader reads days and words.
    query = models.JSONField(default=dict)
    time_zone = models.CharField(max_length=60, blank=True)
    language = models.CharField(max_length=20)
    # [[chain, length, whether this person read all of it], …] when it was asked for.
    places = models.JSONField(default=list)
    # Of the chains that it holds completely.
    checkpoints = models.JSONField(default=list)
    # Where the next piece begins: which of the places, and after which of its entries.
    place = models.PositiveIntegerField(default=0)
    after = models.BigIntegerField(default=0)
    # In entries: all in its places, how many of them were looked at, and how many are in the file.
    whole = models.BigIntegerField()
    looked_at = models.BigIntegerField(default=0)
    count = models.BigIntegerField(default=0)
    # In bytes.
    size = models.BigIntegerField(default=0)
    asked_at = models.DateTimeField(db_default=Now())
    worked_at = models.DateTimeField(db_default=Now())
    done_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["worked_at"], condition=models.Q(done_at=None), name="export_to_write"),
            models.Index(fields=["asked_at"], name="export_by_age"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class ExportPiece(models.Model):
    """Some of an export's file, compressed."""

    export = models.ForeignKey(Export, db_index=False, on_delete=models.CASCADE, related_name="pieces")
    number = models.PositiveIntegerField()
    content = models.BinaryField()
    # How many entries it has, and what the signature's digest is made of, also compressed.
    count = models.PositiveIntegerField(default=0)
    lines = models.BinaryField(default=bytes)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="one_piece_per_export_and_number")]

    def __str__(self) -> str:
        return f"{self.export_id} {self.number}"
