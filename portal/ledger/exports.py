"""The ledger as files: a receipt of one entry, and exports of many, each signed as a whole."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from docs import verify_receipt
from docs.verify_receipt import COLUMNS, NAMES, Digest, OperatorOnly, escape, text_hash
from portal.foundation.database import database_now

from .actions import as_data, digest
from .checkpoints import LENGTH, RECEIPT, check_mac
from .keys import own_keys, signer
from .models import Chain, Entry
from .reading import with_names

_BATCH = 500


class NotRecorded(Exception):
    """An entry, or the text it names, differs from what was recorded."""


def check_recorded(entry: Entry, words: dict[str, Any] | None = None) -> None:
    """Raise NotRecorded if an entry was altered or added by hand, or if `words` do not match its `text_hash`."""
    if digest(entry) != entry.hash:
        raise NotRecorded("the entry was altered")
    following = Entry.objects.filter(chain=OuterRef("pk"), sequence=entry.sequence + 1).values("previous_hash")
    chain = Chain.objects.annotate(following=Subquery(following)).get(pk=entry.chain_id)
    if entry.sequence > chain.length or entry.hash != (chain.following or chain.head):
        raise NotRecorded("the entry is not the one that the chain has there")
    if words is not None and text_hash(words) != entry.details.get("text_hash"):
        raise NotRecorded("the words that were read were altered")


def receipt(entry: Entry, words: dict[str, Any] | None = None) -> dict:
    """Return a signed receipt of an entry, with the words that match its `text_hash`. Raises NotRecorded."""
    check_recorded(entry, words)
    sign = signer()
    checkpoint = {"chain": entry.chain_id, "length": entry.sequence, "head": entry.hash, "at": sign.at.isoformat()}
    content = {"entry": as_data(entry), "checkpoint": checkpoint, **({"text": words} if words is not None else {})}
    return {**content, "signature": sign.sign("receipt", content)}


def check_receipt(data: Any) -> tuple[dict, bool]:
    """Return a receipt's checkpoint, and whether anybody can verify it or, for an older one, only the operator.

    Raises NotIntact, Unreadable, BadCheckpoint.
    """
    try:
        content, _statement = verify_receipt.check_receipt(data, own_keys())
        return content["checkpoint"], True
    except OperatorOnly:
        entry, point = data["entry"], check_mac(data["checkpoint"], RECEIPT)
        known = [entry["chain"], entry["sequence"], entry["hash"]]
        if known != [point["chain"], point["length"], point["head"]]:
            raise verify_receipt.NotIntact("checkpoint: it is of another entry") from None
        return point, False


class Lines(Digest):
    """Collects what a digest is made of, for a file that is written in pieces."""

    def __init__(self, columns: Iterable[str], count: int) -> None:
        super().__init__(tuple(columns))
        self.count, self.collected = count, dict.fromkeys(("", *columns), "")

    def add_lines(self, count: int, lines: Mapping[str, str]) -> None:
        self.count += count
        for name, text in lines.items():
            self.collected[name] += text


class Json:
    """How an export is written as JSON."""

    content_type, head = "application/json", '{"entries": ['
    names: tuple[str, ...] = ()

    def text(self, entries: list[Entry], told: Digest) -> str:
        """Return the next entries as they are written, after those that `told` knows, and add them to it."""
        lines = []
        for row in map(as_data, entries):
            lines += ["," if told.count else "", "\n", json.dumps(row)]
            told.add(row)
        return "".join(lines)

    def tail(self, checkpoints: list[dict], signature: str) -> str:
        return f'\n], "checkpoints": {json.dumps(checkpoints)}, "signature": "{signature}"}}\n'


class _Echo:
    def write(self, value: Any) -> str:
        return value


_write = csv.writer(_Echo()).writerow


class Csv:
    """How an export is written as CSV, in which no cell is a formula, with the names that people read."""

    content_type, head = "text/csv; charset=utf-8", str(_write(COLUMNS))
    names: tuple[str, ...] = NAMES

    def text(self, entries: list[Entry], told: Digest) -> str:
        """Return the next entries as they are written, and add them to `told`."""
        lines = []
        for entry in with_names(entries):
            row = as_data(entry)
            names = {"what": entry.title, "about": entry.about, "who": entry.actor_name, "where": entry.chain_title}
            names = {name: str(value) for name, value in names.items()}
            told.add(row, names)
            row = {**row, **names, "details": json.dumps(row["details"])}
            lines.append(str(_write([escape(row[name]) for name in COLUMNS])))
        return "".join(lines)

    def tail(self, checkpoints: list[dict], signature: str) -> str:
        last = {**dict.fromkeys(COLUMNS, ""), "event": verify_receipt.SIGNATURE, "details": signature}
        return str(_write(last.values()))


KINDS: dict[str, Csv | Json] = {"csv": Csv(), "json": Json()}


def checkpoints_of(chains: Iterable[Chain]) -> list[dict]:
    """Return each chain's current length and last hash."""
    now = database_now().isoformat()
    return [{"chain": row.name, "length": row.length, "head": row.head, "at": now} for row in chains]


def signature_of(checkpoints: list[dict], told: Digest) -> str:
    return signer().sign("export", {"checkpoints": checkpoints, "digest": told.content()})


def stream(kind: Csv | Json, entries: QuerySet[Entry], chains: Iterable[str]) -> Iterator[str]:
    """Yield an export in pieces. `chains` are the ones that it holds completely."""
    checkpoints, told = checkpoints_of(Chain.objects.filter(pk__in=chains).order_by("pk")), Digest(kind.names)
    yield kind.head
    rows = entries.iterator(chunk_size=_BATCH)
    while batch := list(islice(rows, _BATCH)):
        yield kind.text(batch, told)
    yield kind.tail(checkpoints, signature_of(checkpoints, told))


def check_export(text: str) -> tuple[dict, bool]:
    """Return what an export's signature says about it, and whether anybody can verify it or only the operator.

    Raises NotIntact, Unreadable, BadCheckpoint.
    """
    try:
        content, _statement = verify_receipt.check_export(text, own_keys())
        return content, True
    except OperatorOnly:
        data = verify_receipt.load(text)
        points = [check_mac(each, LENGTH) for each in data["checkpoints"]]
        if problems := verify_receipt.check_chains(data["entries"], points):
            raise verify_receipt.NotIntact(*problems) from None
        return {"checkpoints": points, "digest": {"count": len(data["entries"])}}, False
