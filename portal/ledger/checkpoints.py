"""Signed statements of how long a chain was and which hash it ended with, kept outside the database (E2).

A chain that was cut at its end, or rehashed from the start, verifies in itself; only a checkpoint shows it.
"""

import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from typing import IO, Any

from django.conf import settings
from django.db.models import F

from docs import verify_receipt
from docs.verify_receipt import NotIntact, Unreadable

from .keys import own_keys, signer
from .models import Chain

# What the HMAC covered, before checkpoints, receipts and exports were signed with public keys.
_AUTHENTICATED = ("chain", "length", "head", "at")
LENGTH, RECEIPT = b"ledger checkpoint ", b"ledger receipt "
_BATCH = 1000
# Longer than any line.
_TAIL = 65536


class BadCheckpoint(Exception):
    """A statement is malformed, or no key of LEDGER_KEYS signed it. The text says where."""


def _mac(key: str, checkpoint: dict, purpose: bytes) -> str:
    content = json.dumps([checkpoint[name] for name in _AUTHENTICATED], separators=(",", ":"))
    return hmac.new(key.encode(), purpose + content.encode(), hashlib.sha256).hexdigest()


def check_mac(checkpoint: dict[str, Any], purpose: bytes = LENGTH) -> dict:
    """Return a checkpoint that one of LEDGER_KEYS authenticated for `purpose`; raise BadCheckpoint for anything else."""
    try:
        given = str(checkpoint["mac"]).encode()
        macs = [_mac(key, checkpoint, purpose).encode() for key in settings.LEDGER_KEYS]
    except (KeyError, TypeError) as error:
        raise BadCheckpoint("it is not a checkpoint") from error
    if not any(hmac.compare_digest(mac, given) for mac in macs):
        raise BadCheckpoint("no key of LEDGER_KEYS signed it")
    return checkpoint


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _last_line(file: IO[bytes]) -> bytes:
    file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
    return b"".join(file.readlines()[-1:])


def write_checkpoints(path: str) -> int:
    """Append to a file a checkpoint of each chain that has grown since its last one; return how many.

    Each has the hash of the line before it, so that none can be removed.
    """
    written = 0
    while grown := list(Chain.objects.filter(length__gt=F("checkpointed")).order_by("pk")[:_BATCH]):
        sign = signer()
        with open(path, "a+b", buffering=0) as file:
            # So that two workers' lines never mix.
            fcntl.flock(file, fcntl.LOCK_EX)
            line = _last_line(file)
            lines = []
            for chain in grown:
                point = {"chain": chain.name, "length": chain.length, "head": chain.head, "at": sign.at.isoformat()}
                point["previous"] = _hash(line)
                line = json.dumps({**point, "signature": sign.sign("checkpoint", point)}).encode() + b"\n"
                lines.append(line)
            file.write(b"".join(lines))
            os.fsync(file)
        for chain in grown:
            chain.checkpointed = chain.length
        Chain.objects.bulk_update(grown, ["checkpointed"])
        written += len(grown)
    return written


def read_checkpoints(path: str) -> dict[str, dict[int, str]]:
    """Return {chain: {length: head}} of a file's checkpoints. Raises BadCheckpoint with the line, OSError."""
    seen: dict[str, dict[int, str]] = {}
    keys, before = own_keys(), b""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                checkpoint = _check_line(line, keys, before)
            except (BadCheckpoint, NotIntact, Unreadable) as bad:
                raise BadCheckpoint(f"{path}, line {number}: {bad}") from bad
            seen.setdefault(checkpoint["chain"], {})[checkpoint["length"]] = checkpoint["head"]
            before = line
    return seen


def _check_line(line: bytes, keys: dict, before: bytes) -> dict:
    checkpoint = verify_receipt.load(line.decode(errors="replace"))
    if not isinstance(checkpoint, dict):
        raise BadCheckpoint("it is not a checkpoint")
    if "mac" in checkpoint:
        return check_mac(checkpoint)
    content, _statement = verify_receipt.check_document(checkpoint, keys, "checkpoint")
    if content["previous"] != _hash(before):
        raise BadCheckpoint("the line before it was removed or changed")
    return content


def missing_checkpoints(chains: Iterable[Chain], seen: dict[str, dict[int, str]]) -> list[str]:
    """Name the chains whose last checkpoint, by their rows as read before the file, the file lacks."""
    return [
        f"the checkpoint of {chain.name} at {chain.checkpointed} is missing: the file was emptied, cut or replaced"
        for chain in chains
        if chain.checkpointed > max(seen.get(chain.name, ()), default=0)
    ]
