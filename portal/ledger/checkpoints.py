"""Signed statements of how long a chain was and which hash it ended with, kept outside the database (E2).

A chain that was cut at its end, or rehashed whole, is intact in itself; only a checkpoint tells.
"""

import hashlib
import hmac
import json
import os

from django.conf import settings
from django.db.models import F

from portal.database import database_now

from .models import Chain

_SIGNED = ("chain", "length", "head", "at")
# What is signed for: an export that was cut must find no receipt whose checkpoint fits it.
LENGTH, RECEIPT = b"ledger checkpoint ", b"ledger receipt "
_BATCH = 1000


class BadCheckpoint(Exception):
    """A statement that no key of LEDGER_KEYS signed, or that is none; the text says where."""


def _mac(key: str, checkpoint: dict, purpose: bytes) -> str:
    content = json.dumps([checkpoint[name] for name in _SIGNED], separators=(",", ":"))
    return hmac.new(key.encode(), purpose + content.encode(), hashlib.sha256).hexdigest()


def sign(chain: str, *, length: int, head: str, at, purpose: bytes = LENGTH) -> dict:
    """Return a checkpoint: that a chain had `length` entries, the last with the hash `head`, as JSON can hold it.

    In a RECEIPT it says only that the entry at that length has that hash.
    """
    checkpoint = {"chain": chain, "length": length, "head": head, "at": at.isoformat()}
    return {**checkpoint, "mac": _mac(settings.LEDGER_KEYS[0], checkpoint, purpose)}


def check(checkpoint, purpose: bytes = LENGTH) -> dict:
    """Return a checkpoint that one of LEDGER_KEYS signed for `purpose`; raise BadCheckpoint for anything else."""
    try:
        given = str(checkpoint["mac"]).encode()
        macs = [_mac(key, checkpoint, purpose).encode() for key in settings.LEDGER_KEYS]
    except (KeyError, TypeError) as error:
        raise BadCheckpoint("it is not a checkpoint") from error
    if not any(hmac.compare_digest(mac, given) for mac in macs):
        raise BadCheckpoint("no key of LEDGER_KEYS signed it")
    return checkpoint


def write_checkpoints(path: str) -> int:
    """Append a checkpoint of each chain that has grown since its last one to a file; return how many."""
    written = 0
    while grown := list(Chain.objects.filter(length__gt=F("checkpointed")).order_by("pk")[:_BATCH]):
        now = database_now()
        lines = [json.dumps(sign(chain.name, length=chain.length, head=chain.head, at=now)) + "\n" for chain in grown]
        # Unbuffered: one append, so that two workers' lines never mix.
        with open(path, "ab", buffering=0) as file:
            file.write("".join(lines).encode())
            os.fsync(file)
        for chain in grown:
            chain.checkpointed = chain.length
        Chain.objects.bulk_update(grown, ["checkpointed"])
        written += len(grown)
    return written


def read_checkpoints(path: str) -> dict[str, dict[int, str]]:
    """Return {chain: {length: head}} of a file's checkpoints. Raises BadCheckpoint with the line, OSError."""
    seen: dict[str, dict[int, str]] = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                checkpoint = check(json.loads(line))
            except ValueError as error:
                raise BadCheckpoint(f"{path}, line {number}: it is not JSON") from error
            except BadCheckpoint as bad:
                raise BadCheckpoint(f"{path}, line {number}: {bad}") from bad
            seen.setdefault(checkpoint["chain"], {})[checkpoint["length"]] = checkpoint["head"]
    return seen
