"""Encryption of what the database stores (FIELD_ENCRYPTION_KEYS: the first key encrypts, all decrypt)."""

import json
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import models


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


def encrypt(text: str) -> str:
    return _fernet().encrypt(text.encode()).decode()


def decrypt(encrypted: str) -> str:
    """Return the text. Raises cryptography.fernet.InvalidToken if none of the keys encrypted it."""
    return _fernet().decrypt(encrypted.encode()).decode()


def rotate(encrypted: str) -> str:
    """Encrypt again with the first key what any of the keys encrypted."""
    return _fernet().rotate(encrypted.encode()).decode()


# What may be set and what is read; the declaration of a field says which.
Set = TypeVar("Set", contravariant=True)
Get = TypeVar("Get", covariant=True)

if TYPE_CHECKING:

    class _JsonText(models.TextField[Set, Get]):
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

else:

    class _JsonText(models.TextField):
        def __class_getitem__(cls, types):
            return cls


class EncryptedField(_JsonText[Set, Get]):
    """Holds a JSON value, which the database stores encrypted and cannot search."""

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else encrypt(json.dumps(value))

    def from_db_value(self, value: str | None, expression: object, connection: object) -> Any:
        return None if value is None else json.loads(decrypt(value))

    def to_python(self, value: Any) -> Any:
        return value
