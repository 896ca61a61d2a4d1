"""What the database keeps encrypted (FIELD_ENCRYPTION_KEYS: the first encrypts, all decrypt)."""

import json
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import models


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


def encrypt(text: str) -> str:
    return _fernet().encrypt(text.encode()).decode()


def decrypt(encrypted: str) -> str:
    """Return the text. Raises cryptography.fernet.InvalidToken where no key of ours made it."""
    return _fernet().decrypt(encrypted.encode()).decode()


def rotate(encrypted: str) -> str:
    """Encrypt again, with the first key, what any of the keys encrypted."""
    return _fernet().rotate(encrypted.encode()).decode()


class EncryptedField(models.TextField):
    """Holds what JSON can; the database has it encrypted only, so nothing can be searched in it."""

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else encrypt(json.dumps(value))

    def from_db_value(self, value: str | None, expression: object, connection: object) -> Any:
        return None if value is None else json.loads(decrypt(value))

    def to_python(self, value: Any) -> Any:
        return value
