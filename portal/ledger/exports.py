"""The ledger as files: a receipt of one entry, and exports of many, whose checkpoints tell what was left out."""

import csv
import json
import re
from datetime import datetime
from itertools import islice

from portal.database import database_now

from .actions import digest, follow, hash_of_text
from .checkpoints import RECEIPT, BadCheckpoint, check, sign
from .models import Chain, Entry

_FIELDS = ("id", "chain", "sequence", "at", "actor", "event", "subject", "details", "previous_hash", "hash")
_BATCH = 500
# What makes a spreadsheet read a cell as a formula.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
# Where some spreadsheets begin another cell.
_WITHIN = re.compile(r"([;|\t\r\n])(?=[=+\-@＝＋－＠])")


def as_data(entry) -> dict:
    """Return an entry as JSON can hold it."""
    values = [getattr(entry, name if name != "chain" else "chain_id") for name in _FIELDS]
    return dict(zip(_FIELDS, [str(values[0]), *values[1:3], values[3].isoformat(), *values[4:]], strict=True))


def from_data(data) -> Entry:
    """Return the unsaved Entry that `as_data` wrote. Raises BadCheckpoint where it is none."""
    try:
        fields = {name: data[name] for name in _FIELDS}
        return Entry(**{**fields, "at": datetime.fromisoformat(fields["at"]), "chain": Chain(name=fields["chain"])})
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint("it holds something that is no entry of the ledger") from error


def receipt(entry, words=None) -> dict:
    """Return an entry and a signed checkpoint of its chain at that length, with the words that the entry's `text_hash`
    is of. Raises BadCheckpoint for an altered one.
    """
    if digest(entry) != entry.hash:
        raise BadCheckpoint("the entry is not what was recorded")
    signed = sign(entry.chain_id, length=entry.sequence, head=entry.hash, at=database_now(), purpose=RECEIPT)
    return {"entry": as_data(entry), "checkpoint": signed, **({"text": words} if words else {})}


def check_receipt(data) -> dict:
    """Return a receipt's checkpoint; raise BadCheckpoint where this portal did not make it, or it was changed."""
    try:
        entry, checkpoint = from_data(data["entry"]), check(data["checkpoint"], RECEIPT)
    except (KeyError, TypeError) as error:
        raise BadCheckpoint("it is not a receipt") from error
    known = [entry.chain_id, entry.sequence, entry.hash]
    if digest(entry) != entry.hash or known != [checkpoint[name] for name in ("chain", "length", "head")]:
        raise BadCheckpoint("the receipt was altered")
    if "text" in data and hash_of_text(data["text"]) != entry.details.get("text_hash"):
        raise BadCheckpoint("the receipt’s text is not the one that the entry names")
    return checkpoint


def _batches(entries):
    rows = entries.iterator(chunk_size=_BATCH)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def json_lines(entries, chains):
    """Yield an export as pieces of one JSON document; `chains` are those of which it holds every entry."""
    now = database_now()
    kept = Chain.objects.filter(pk__in=chains).order_by("pk")
    signed = [sign(chain.name, length=chain.length, head=chain.head, at=now) for chain in kept]
    yield '{"entries": ['
    comma = ""
    for batch in _batches(entries):
        yield comma + ",".join("\n" + json.dumps(as_data(entry)) for entry in batch)
        comma = ","
    yield '\n], "checkpoints": ' + json.dumps(signed) + "}\n"


def check_export(data):
    """Return the Faults of an export's chains and how many it has. Raises BadCheckpoint where it is none."""
    try:
        checkpoints = [check(each) for each in data["checkpoints"]]
        entries = sorted(map(from_data, data["entries"]), key=lambda entry: (entry.chain_id, entry.sequence))
    except (KeyError, TypeError) as error:
        raise BadCheckpoint("it is not an export") from error
    faults = []
    for point in checkpoints:
        own = (entry for entry in entries if entry.chain_id == point["chain"])
        faults.append(follow(point["chain"], own, {point["length"]: point["head"]})[0])
    return [fault for fault in faults if fault], len(checkpoints)


class _Echo:
    def write(self, value):
        return value


def _cell(value):
    text = _WITHIN.sub(r"\1'", str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_lines(entries, named):
    """Yield an export as lines of CSV, in which no cell is a formula; `named` gives entries what people read."""
    write = csv.writer(_Echo()).writerow
    columns = (
        "at",
        "what",
        "event",
        "about",
        "who",
        "where",
        "subject",
        "actor",
        "details",
        "chain",
        "sequence",
        "hash",
    )
    yield write(columns)
    for batch in _batches(entries):
        yield "".join(
            write([_cell(value) for value in (
                entry.at.isoformat(), entry.title, entry.event, entry.about, entry.actor_name, entry.place, entry.subject,
                entry.actor, json.dumps(entry.details), entry.chain_id, entry.sequence, entry.hash,
            )])
            for entry in named(batch)
        )  # fmt: skip
