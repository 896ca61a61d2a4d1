"""Ed25519 keys, derived from LEDGER_KEYS, that sign checkpoints, receipts and exports; the public halves are published."""

import functools
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from joserfc import jws
from joserfc.jwk import OKPKey

from docs import verify_receipt

from .models import KeyPeriod

_ALG = "Ed25519"  # RFC 9864


@functools.lru_cache(maxsize=32)
def _derive(value: str) -> OKPKey:
    """Return the key pair of one value of LEDGER_KEYS (HKDF, RFC 5869)."""
    seed = HKDF(SHA256(), length=32, salt=None, info=b"ledger signing key Ed25519").derive(value.encode())
    return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed))


@dataclass(frozen=True)
class Signer:
    """The key that signs now, and a time that is certainly within its period."""

    key: OKPKey
    at: datetime

    def sign(self, purpose: str, content: Any) -> str:
        """Return a signature (JWS, RFC 7515) over the content, the signer and the time.

        A signature is for one purpose only, so that a receipt's signature cannot pass for that of a cut export.
        """
        statement = {
            "purpose": purpose,
            "issuer": settings.BASE_URL,
            "at": self.at.isoformat(),
            "content": content,
        }
        header = {"alg": _ALG, "kid": self.key.thumbprint()}
        return jws.serialize_compact(header, json.dumps(statement), self.key, algorithms=[_ALG])


@transaction.atomic
def signer() -> Signer:
    """Return the signer of the first of LEDGER_KEYS, and begin its period if another key signed until now."""
    key = _derive(settings.LEDGER_KEYS[0])
    kid = key.thumbprint()
    while (period := _locked_period()) is None or period.key != kid:
        if period:
            KeyPeriod.objects.filter(pk=period.pk).update(until_at=Now())
        KeyPeriod.objects.bulk_create([KeyPeriod(key=kid)], ignore_conflicts=True)
    # The clock is read under the lock that the end of the period waits for.
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return Signer(key, cursor.fetchone()[0])


def announced() -> dict[str, Any]:
    """Return the published keys, among them the one that signs next: whoever downloads the keys first, and then a
    receipt, can verify it.

    A key's first period only: readers of the keys begin no others while processes with different keys run.
    """
    if not KeyPeriod.objects.filter(key=_derive(settings.LEDGER_KEYS[0]).thumbprint()).exists():
        signer()
    return published()


def _locked_period() -> KeyPeriod | None:
    return KeyPeriod.objects.select_for_update(no_key=True).filter(until_at=None).first()


def published() -> dict[str, Any]:
    """Return the public keys with the times from and until which each signed, as a JWK set (RFC 7517, RFC 8037).

    Only keys of LEDGER_KEYS are published, so that a forged row publishes nothing.
    """
    keys = {key.thumbprint(): key for key in map(_derive, settings.LEDGER_KEYS)}
    periods: dict[str, list] = {}
    for period in KeyPeriod.objects.filter(key__in=keys).order_by("from_at"):
        until = period.until_at and period.until_at.isoformat()
        periods.setdefault(period.key, []).append({"from": period.from_at.isoformat(), "until": until})
    return {
        "issuer": settings.BASE_URL,
        "keys": [
            {**keys[kid].as_dict(private=False), "kid": kid, "use": "sig", "alg": _ALG, "periods": signed}
            for kid, signed in periods.items()
        ],
    }


def own_keys() -> dict:
    """Return the published keys as `docs/verify_receipt.py` reads them."""
    return verify_receipt.read_keys(published())
