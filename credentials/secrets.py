"""Make, format, hash and check secrets, codes and tokens.

Each has a prefix that names its kind, and a checksum, so that scanners find leaks and garbage never reaches the
database (T7). Only its SHA-256 is stored: the random part has 256 bits, so a slow hash would add nothing (C3).
"""

import base64
import hashlib
import hmac
import secrets
import uuid
import zlib
from dataclasses import dataclass, field

from django.conf import settings

ACCESS_TOKEN = "amp_at_"
REFRESH_TOKEN = "amp_rt_"
AUTHORIZATION_CODE = "amp_ac_"
CLIENT_SECRET = "amp_cs_"
PRODUCT_SECRET = "amp_ps_"

_CHECKSUM_LENGTH = 6
_SHOWN = 12
_KEY_ID_BYTES = 4
_GENERATION_BYTES = 8
_MAC_BYTES = 32


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _checksum(text: str) -> str:
    return _encode(zlib.crc32(text.encode()).to_bytes(4, "big"))


def _with_form(prefix: str, data: bytes) -> str:
    text = prefix + _encode(data)
    return text + _checksum(text)


def generate(prefix: str) -> str:
    """Return a new random secret of the kind that `prefix` names."""
    return _with_form(prefix, secrets.token_bytes(32))


def derive(prefix: str, seed: str, key: str | None = None) -> str:
    """Derive a secret of the kind that `prefix` names from a seed with 256 random bits, which is stored nowhere."""
    message = b"\0".join(part.encode() for part in ("secret", prefix, seed))
    return _with_form(prefix, hmac.digest((key or settings.TOKEN_KEYS[0]).encode(), message, "sha256"))


def derived_before(prefix: str, seed: str) -> dict[str, str]:
    """Return {hash: secret} for each known key and a seed; the stored hash tells which one made it."""
    return {digest(value): value for value in (derive(prefix, seed, key) for key in settings.TOKEN_KEYS)}


def is_well_formed(value: object, prefix: str) -> bool:
    """Tell whether prefix and checksum are right; it proves nothing about whether the secret exists."""
    if not isinstance(value, str) or not value.isascii() or not value.startswith(prefix) or len(value) > 200:
        return False
    text, given = value[:-_CHECKSUM_LENGTH], value[-_CHECKSUM_LENGTH:]
    return len(text) > len(prefix) and hmac.compare_digest(_checksum(text), given)


def digest(value: str) -> str:
    """Return what is stored of a secret: its SHA-256, in hexadecimal."""
    return hashlib.sha256(value.encode()).hexdigest()


def challenge_of(verifier: str) -> str:
    """Return the code_challenge of a code_verifier by S256 (RFC 7636 section 4.2)."""
    return _encode(hashlib.sha256(verifier.encode()).digest())


def shown_prefix(value: str) -> str:
    """Return the first characters, enough to tell two secrets apart and too few to guess one."""
    return value[:_SHOWN]


# --- refresh tokens: the family's id, a generation, a key's id and a MAC (T6) ---


@dataclass(frozen=True)
class RefreshTokenParts:
    family: uuid.UUID
    generation: int
    key_id: bytes
    mac: bytes = field(repr=False)


def _key_id(key: str) -> bytes:
    return hashlib.sha256(b"key id" + key.encode()).digest()[:_KEY_ID_BYTES]


def _mac(key: str, salt: bytes, family: uuid.UUID, generation: int, purpose: bytes) -> bytes:
    message = purpose + b"\0" + bytes(salt) + family.bytes + generation.to_bytes(_GENERATION_BYTES, "big")
    return hmac.digest(key.encode(), message, "sha256")


def make_refresh_token(family: uuid.UUID, salt: bytes, generation: int, key: str | None = None) -> str:
    """Derive the refresh token of a family's generation; the same arguments give the same token."""
    key = key or settings.TOKEN_KEYS[0]
    data = family.bytes + generation.to_bytes(_GENERATION_BYTES, "big") + _key_id(key)
    return _with_form(REFRESH_TOKEN, data + _mac(key, salt, family, generation, b"refresh"))


def make_access_token(family: uuid.UUID, salt: bytes, generation: int, key: str | None = None) -> str:
    """Derive the access token that goes with a family's generation; the same arguments give the same token."""
    return _with_form(ACCESS_TOKEN, _mac(key or settings.TOKEN_KEYS[0], salt, family, generation, b"access"))


def read_refresh_token(value: object) -> RefreshTokenParts | None:
    """Return the parts that a refresh token claims, or None if it is malformed. Proves nothing: see `is_genuine`."""
    if not isinstance(value, str) or not is_well_formed(value, REFRESH_TOKEN):
        return None
    try:
        data = _decode(value[len(REFRESH_TOKEN) : -_CHECKSUM_LENGTH])
    except ValueError:
        return None
    if len(data) != 16 + _GENERATION_BYTES + _KEY_ID_BYTES + _MAC_BYTES:
        return None
    generation = int.from_bytes(data[16:24], "big")
    if not 0 < generation < 2**63:
        return None
    return RefreshTokenParts(uuid.UUID(bytes=data[:16]), generation, data[24:28], data[28:])


def is_genuine(parts: RefreshTokenParts, salt: bytes) -> bool:
    """Tell whether this server made the token: its MAC was made with a known key and the family's salt."""
    return any(
        hmac.compare_digest(_mac(key, salt, parts.family, parts.generation, b"refresh"), parts.mac)
        for key in settings.TOKEN_KEYS
        if _key_id(key) == parts.key_id
    )
