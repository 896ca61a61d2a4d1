"""Check a receipt, or an export of the ledger, with the portal's public keys: no portal, database or network needed.

    python verify_receipt.py RECEIPT.json --keys ledger-keys.json

RECEIPT.json may also be an export, ledger.json or ledger.csv. The keys are published at
<portal>/.well-known/ledger-keys.json. Exits 0 if the file is intact, 1 if it is not (naming what was changed), and 2
if it cannot be read or checked. Needs Python 3.9 or later and the package `cryptography`.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import csv
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    print("Install the package `cryptography` first: python -m pip install cryptography")
    sys.exit(2)

if TYPE_CHECKING:
    # By key id: the public key, and from when until when it signed.
    Keys = dict[str, tuple[Ed25519PublicKey, list[tuple[datetime, datetime | None]]]]

INTACT, NOT_INTACT, UNREADABLE = 0, 1, 2
# What an entry of the ledger consists of; its hash covers all that comes before the hash.
FIELDS = ("id", "chain", "sequence", "at", "actor", "event", "subject", "details", "previous_hash", "hash")
# The columns of a CSV export. Those in NAMES say in today's words what the recorded ones say by identifier.
COLUMNS = ("at", "what", "event", "about", "who", "where", "subject", "actor", "details", "chain", "sequence", "id", "previous_hash", "hash")  # fmt: skip
NAMES = ("what", "about", "who", "where")
# Marks the last row of a CSV export, which holds the signature in the column `details`.
SIGNATURE = "signature"
# Escaped with an apostrophe, so that no spreadsheet takes a cell, or what follows a separator in it, for a formula.
_FORMULA = r"(?='*[=+\-@＝＋－＠\t\r\n])"
_WITHIN = r"(?='*[=+\-@＝＋－＠])"


class NotIntact(Exception):
    """The file is not what the portal signed; `problems` lists each difference."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Unreadable(Exception):
    """The file is not a receipt, an export or a set of keys."""


class OperatorOnly(Unreadable):
    """The file was made before the portal signed with public keys."""

    def __init__(self) -> None:
        super().__init__(
            "it was made before receipts were signed with public keys: "
            "only whoever runs the portal can verify it, with `manage.py verify_ledger`"
        )


# --- entries and chains ---


def entry_hash(entry: Any) -> str:
    """Return the SHA-256, in hexadecimal, of an entry and the hash before it. Raises ValueError for a malformed entry."""
    if not isinstance(entry, dict) or set(entry) != set(FIELDS):
        raise ValueError("it is not a ledger entry")
    if not isinstance(entry["at"], str) or not isinstance(entry["details"], dict):
        raise ValueError("it is not a ledger entry")
    at = datetime.fromisoformat(entry["at"])
    if at.utcoffset() != timedelta(0) or at.isoformat() != entry["at"]:
        raise ValueError("its time is not written as a ledger writes it")
    content = [entry[name] for name in FIELDS[:-1]]
    content[FIELDS.index("at")] = at.isoformat(timespec="microseconds")
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def text_hash(words: Any) -> str:
    """Return the SHA-256, in hexadecimal, of words that somebody was shown; entries name it as `text_hash`."""
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def is_unaltered(entry: Any) -> bool:
    try:
        return entry_hash(entry) == entry["hash"]
    except (ValueError, TypeError):
        return False


def follow(entries: Iterable[Mapping[str, Any]], seen: Mapping[int, str]) -> tuple[int, str] | None:
    """Go through a chain's entries in order; return (sequence, problem) of the first bad entry, or None.

    `seen` is what signed statements say of the chain, as {length: hash of its last entry}.
    """
    length, previous = 0, ""
    for length, entry in enumerate(entries, 1):
        if entry.get("sequence") != length:
            return length, "the entry is missing"
        if entry.get("previous_hash") != previous:
            return length, "the entry does not follow from the one before"
        if not is_unaltered(entry):
            return length, "the entry was altered"
        if seen.get(length, entry["hash"]) != entry["hash"]:
            return length, "the entry is not the one that a checkpoint saw"
        previous = entry["hash"]
    longest = max(seen, default=0)
    if length < longest:
        return length + 1, f"the entry is missing: a checkpoint saw {longest} entries"
    return None


# --- signatures ---


def load(text: str) -> Any:
    """Parse JSON strictly. Raises Unreadable, and NotIntact where a name appears twice, since readers see only one of them."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _value in pairs]
        for name in names:
            if names.count(name) > 1:
                raise NotIntact(f"{name}: it appears twice")
        return dict(pairs)

    def no_number(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is not JSON: {error}") from error


def _decode(part: str) -> bytes:
    """Decode base64url as JWS writes it (RFC 7515): unpadded, and no other spelling of the same bytes."""
    data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise ValueError("not canonical")
    return data


def _time(text: str) -> datetime:
    """Parse a time. Raises TypeError, and ValueError, also where no time zone is named."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return time


def read_keys(published: Any) -> Keys:
    """Return {key id: (public key, [(from, until)])} of the published set. Raises Unreadable."""
    try:
        keys = {}
        for key in published["keys"]:
            periods = [(_time(each["from"]), each["until"] and _time(each["until"])) for each in key["periods"]]
            keys[key["kid"]] = (Ed25519PublicKey.from_public_bytes(_decode(key["x"])), periods)
        return keys
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"this is not a set of ledger keys: {error!r}") from error


def signed_content(signature: Any, keys: Keys, purpose: str) -> tuple[Any, dict[str, Any]]:
    """Return (content, statement) of a signature: what was signed, and by whom (`issuer`, `key`) and when (`at`).

    Raises NotIntact where no key of `keys` made it, at a time at which that key signed, for this purpose.
    """
    try:
        protected, payload, mark = signature.split(".")
        header, statement = json.loads(_decode(protected)), json.loads(_decode(payload))
        kid, mark = header["kid"], _decode(mark)
        at, content = _time(statement["at"]), statement["content"]
        if header["alg"] != "Ed25519" or "crit" in header or statement["purpose"] != purpose:
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error, RecursionError) as error:
        raise NotIntact(f"signature: it is not a signature of a ledger’s {purpose}") from error
    if not isinstance(kid, str) or kid not in keys:
        raise NotIntact(
            f"signature: its key {json.dumps(kid)} is not among the published ones; download the keys again if they are old"
        )
    public, periods = keys[kid]
    try:
        public.verify(mark, f"{protected}.{payload}".encode())
    except InvalidSignature as error:
        raise NotIntact("signature: the portal’s key did not make it for this content") from error
    if not any(begin <= at and (until is None or at <= until) for begin, until in periods):
        raise NotIntact(f"signature: it is dated {statement['at']}, when its key {kid} did not sign")
    return content, {"issuer": statement.get("issuer"), "at": statement["at"], "key": kid}


def differences(signed: Any, here: Any, name: str = "") -> Iterator[str]:
    """Yield each difference between what was signed and what the file says, by name."""
    if isinstance(signed, dict) and isinstance(here, dict):
        for key in sorted({*signed, *here}):
            shown = key if key.isidentifier() else json.dumps(key)
            path = f"{name}.{shown}" if name else shown
            if key not in here:
                yield f"{path}: it is missing"
            elif key not in signed:
                yield f"{path}: it was added"
            else:
                yield from differences(signed[key], here[key], path)
    elif isinstance(signed, list) and isinstance(here, list) and len(signed) == len(here):
        for number, value in enumerate(signed):
            yield from differences(value, here[number], f"{name}[{number}]")
    elif json.dumps(signed, sort_keys=True) != json.dumps(here, sort_keys=True):
        yield f"{name}: the file says {json.dumps(here)}, but {json.dumps(signed)} was signed"


def check_document(data: dict[str, Any], keys: Keys, purpose: str) -> tuple[Any, dict[str, Any]]:
    """Return (content, statement) of a document that holds its content and a `signature` of it. Raises NotIntact."""
    if "signature" not in data:
        raise NotIntact("signature: it is missing")
    content, statement = signed_content(data["signature"], keys, purpose)
    here = {name: value for name, value in data.items() if name != "signature"}
    if problems := list(differences(content, here)):
        raise NotIntact(*problems)
    return content, statement


# --- receipts ---


def check_receipt(data: Any, keys: Keys) -> tuple[Any, dict[str, Any]]:
    """Return (content, statement) of a receipt. Raises NotIntact, OperatorOnly, Unreadable."""
    if not isinstance(data, dict) or not {"entry", "signature"} & set(data):
        raise Unreadable("it is not a receipt")
    checkpoint, earlier = data.get("checkpoint"), "signature" not in data
    content, statement = (data, {}) if earlier else check_document(data, keys, "receipt")
    entry: Any = content.get("entry")
    if not is_unaltered(entry):
        raise NotIntact("entry: its hash does not match its content")
    if "text" in content and text_hash(content["text"]) != entry["details"].get("text_hash"):
        raise NotIntact("text: it is not the one that entry.details.text_hash names")
    if earlier:
        raise (
            OperatorOnly
            if isinstance(checkpoint, dict) and "mac" in checkpoint
            else NotIntact("signature: it is missing")
        )
    return content, statement


# --- exports ---


class Digest:
    """What an export's signature says of its entries: how many, and a hash over their hashes and over their names."""

    def __init__(self, columns: Sequence[str] = ()) -> None:
        self.count, self._entries = 0, hashlib.sha256()
        self._names = {name: hashlib.sha256() for name in columns}
        # Each is a hash over a line for each entry.
        self._hashed = {"": self._entries, **self._names}

    def add(self, entry: Mapping[str, Any], names: Mapping[str, str] | None = None) -> None:
        """Add an entry's hash, and of a CSV export {column of NAMES: cell}."""
        lines = {name: f"{json.dumps((names or {})[name])}\n" for name in self._names}
        self.add_lines(1, {"": f"{entry['hash']}\n", **lines})

    def add_lines(self, count: int, lines: Mapping[str, str]) -> None:
        """Add what `add` makes of so many entries: {column, or "" for the entries themselves: a line for each}."""
        self.count += count
        for name, text in lines.items():
            self._hashed[name].update(text.encode())

    def content(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "entries": self._entries.hexdigest(),
            "names": {name: hashed.hexdigest() for name, hashed in self._names.items()},
        }


def escape(value: object) -> str:
    """Write a CSV cell so that no spreadsheet takes it for a formula; `unescape` undoes it."""
    return re.sub(f"^{_FORMULA}", "'", re.sub(rf"([;|\t\r\n]){_WITHIN}", r"\1'", str(value)))


def unescape(cell: str) -> str:
    return re.sub(rf"([;|\t\r\n])'{_WITHIN}", r"\1", re.sub(f"^'{_FORMULA}", "", cell))


def _number(cell: str) -> int:
    """Return a cell's number. Raises ValueError, also for other spellings of one, such as 1_0."""
    if str(int(cell)) != cell:
        raise ValueError(f"{cell} is no number")
    return int(cell)


def read_csv(text: str) -> tuple[list[dict[str, Any]], list[dict[str, str]], str | None]:
    """Return ([entry], [{column of NAMES: cell}], signature or None) of a CSV export. Raises Unreadable."""
    csv.field_size_limit(2**30)
    entries, names, signature = [], [], None
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise Unreadable("it is not a CSV export of the ledger")
        for row in rows:
            if signature is not None or None in row or None in row.values():
                raise NotIntact(f"line {rows.line_num}: it is not a row of the export")
            if wrong := [name for name, cell in row.items() if escape(unescape(cell)) != cell]:
                raise NotIntact(f"line {rows.line_num}: {wrong[0]}: a spreadsheet could read a formula in it")
            row = {name: unescape(cell) for name, cell in row.items()}
            if row["event"] == SIGNATURE and not row["chain"]:
                signature = row.pop("details")
                if any(cell for name, cell in row.items() if name != "event"):
                    raise NotIntact(f"line {rows.line_num}: it holds more than the signature")
                continue
            entry = {name: row[name] for name in FIELDS}
            try:
                entry["sequence"], entry["details"] = _number(entry["sequence"]), load(entry["details"])
            except (ValueError, Unreadable) as error:
                raise NotIntact(f"line {rows.line_num}: it is not an entry") from error
            entries.append(entry)
            names.append({name: row[name] for name in NAMES})
    except csv.Error as error:
        raise Unreadable(f"it is not CSV: {error}") from error
    return entries, names, signature


def check_export(text: str, keys: Keys) -> tuple[Any, dict[str, Any]]:
    """Return (content, statement) of an export. Raises NotIntact, OperatorOnly, Unreadable."""
    if text.startswith("at,"):
        entries, names, signature = read_csv(text)
        if signature is None:
            raise NotIntact("signature: it is missing")
        digest, here = Digest(NAMES), {}
    else:
        data = load(text)
        try:
            entries, names, here = data["entries"], None, {"checkpoints": data["checkpoints"]}
            signature = data.get("signature")
            old = signature is None and any("mac" in each for each in data["checkpoints"])
            readable = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
        except (KeyError, TypeError, AttributeError) as error:
            raise Unreadable("it is not an export") from error
        if not readable:
            raise Unreadable("it is not an export")
        if old:
            raise OperatorOnly
        if signature is None:
            raise NotIntact("signature: it is missing")
        digest = Digest()
        if more := set(data) - {"entries", "checkpoints", "signature"}:
            raise NotIntact(*(f"{name}: it was added" for name in sorted(more)))
    content, statement = signed_content(signature, keys, "export")
    if here and (problems := list(differences(content["checkpoints"], here["checkpoints"], "checkpoints"))):
        raise NotIntact(*problems)
    if problems := check_chains(entries, content["checkpoints"]):
        raise NotIntact(*problems)
    for number, entry in enumerate(entries):
        if not is_unaltered(entry):
            raise NotIntact(f"{place(entry)}: the entry was altered")
        digest.add(entry, names[number] if names else None)
    known = content["digest"]
    if digest.content() == known:
        return content, statement
    if digest.count != known["count"]:
        raise NotIntact(f"entries: there are {digest.count}, but {known['count']} were signed")
    if digest.content()["entries"] != known["entries"]:
        raise NotIntact("entries: they are not the signed ones, or are in another order")
    changed = differences(known["names"], digest.content()["names"])
    raise NotIntact(*(f"{each.split(':')[0]}: a cell of this column was changed" for each in changed))


def place(entry: Mapping[str, Any]) -> str:
    """Return how people name an entry."""
    return f"{entry.get('chain')} #{entry.get('sequence')}"


def check_chains(entries: Sequence[Mapping[str, Any]], checkpoints: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the first problem of each chain that an export holds as a whole, which its checkpoints name."""
    problems: list[str] = []
    chains: dict[str, list[Any]] = {}
    for entry in entries:
        chains.setdefault(str(entry.get("chain")), []).append(entry)
    for point in checkpoints:
        own = chains.get(point["chain"], [])
        own.sort(key=lambda entry: entry["sequence"] if isinstance(entry.get("sequence"), int) else 0)
        if fault := follow(own, {point["length"]: point["head"]}):
            problems.append(f"{point['chain']} #{fault[0]}: {fault[1]}")
    return problems


# --- the command ---


def describe(text: str, keys: Keys) -> str:
    """Check a receipt or an export; return what it is, in words. Raises NotIntact, OperatorOnly, Unreadable."""
    if not text.startswith("at,"):
        data = load(text)
        if not isinstance(data, dict) or "entries" not in data:
            content, statement = check_receipt(data, keys)
            entry = content["entry"]
            what = f"{entry['event']}, {place(entry)}, recorded {entry['at']}"
            return f"{what}; signed {statement['at']} by {statement['issuer']} with the key {statement['key']}"
    content, statement = check_export(text, keys)
    whole = ", ".join(point["chain"] for point in content["checkpoints"]) or "no complete chain"
    what = f"an export of {content['digest']['count']} entries ({whole})"
    return f"{what}; signed {statement['at']} by {statement['issuer']} with the key {statement['key']}"


def say(text: str) -> None:
    """Print a line, whatever the file holds, on any terminal: nothing in it can begin another line or move the cursor."""
    print("".join(each if each.isprintable() else ascii(each)[1:-1] for each in text))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", metavar="RECEIPT", help="the receipt, or an export in JSON or CSV")
    parser.add_argument("--keys", required=True, metavar="KEYS", help="what /.well-known/ledger-keys.json answered")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    path = options.keys
    try:
        with open(path, encoding="utf-8-sig") as file:
            keys = read_keys(load(file.read()))
        path = options.file
        with open(path, encoding="utf-8-sig", newline="") as file:
            say(f"Intact: {describe(file.read(), keys)}.")
    except NotIntact as bad:
        for problem in bad.problems:
            say(f"Not intact: {problem}")
        return NOT_INTACT
    except (OSError, UnicodeError, RecursionError, Unreadable) as error:
        say(f"Cannot be checked: {path}: {error}")
        return UNREADABLE
    return INTACT


if __name__ == "__main__":
    sys.exit(main())
