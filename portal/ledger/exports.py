"""The ledger as files: a receipt of one entry, and exports of many, each signed as a whole."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
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


def _batches(entries: QuerySet[Entry]) -> Iterator[Any]:
    rows = entries.iterator(chunk_size=_BATCH)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _checkpoints(chains: Iterable[str]) -> list[dict]:
    """Return each chain's current length and last hash."""
    now = database_now().isoformat()
    rows = Chain.objects.filter(pk__in=chains).order_by("pk")
    return [{"chain": row.name, "length": row.length, "head": row.head, "at": now} for row in rows]


def json_lines(entries: QuerySet[Entry], chains: Iterable[str]) -> Iterator[Any]:
    """Yield an export as pieces of one JSON document. `chains` are the ones that it holds completely."""
    checkpoints, told = _checkpoints(chains), Digest()
    yield '{"entries": ['
    comma = ""
    for batch in _batches(entries):
        rows = [as_data(entry) for entry in batch]
        for row in rows:
            told.add(row)
        yield comma + ",".join("\n" + json.dumps(row) for row in rows)
        comma = ","
    signature = signer().sign("export", {"checkpoints": checkpoints, "digest": told.content()})
    yield f'\n], "checkpoints": {json.dumps(checkpoints)}, "signature": "{signature}"}}\n'


class _Echo:
    def write(self, value: Any) -> str:
        return value


def csv_lines(
    entries: QuerySet[Entry], chains: Iterable[str], named: Callable[[list[Entry]], Iterable[Any]]
) -> Iterator[Any]:
    """Yield an export as lines of CSV in which no cell is a formula. `named` adds the names that people read."""
    write = csv.writer(_Echo()).writerow
    checkpoints, told = _checkpoints(chains), Digest(NAMES)
    yield write(COLUMNS)
    for batch in _batches(entries):
        lines = []
        for entry in named(batch):
            row = as_data(entry)
            names = {"what": entry.title, "about": entry.about, "who": entry.actor_name, "where": entry.chain_title}
            names = {name: str(value) for name, value in names.items()}
            told.add(row, names)
            row = {**row, **names, "details": json.dumps(row["details"])}
            lines.append(write([escape(row[name]) for name in COLUMNS]))
        yield "".join(lines)
    signature = signer().sign("export", {"checkpoints": checkpoints, "digest": told.content()})
    last = {**dict.fromkeys(COLUMNS, ""), "event": verify_receipt.SIGNATURE, "details": signature}
    yield write(last.values())


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
