"""Complete the environment of the demo and of tests: make the secrets and start the servers that it does not name.

Runs before Django's settings are loaded. Child processes inherit the result.
"""

import json
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from portal.demo import embedded

_SERVERS = ("DATABASE_URL", "REDIS_URL")


def complete(var: Path) -> None:
    """Add what DEMO and EMBEDDED promise. Raises CannotStart."""
    is_demo = _is_on("DEMO")
    if is_demo:
        # WhiteNoise warns where it is missing.
        (var / "static").mkdir(parents=True, exist_ok=True)
        _add(_kept_secrets(var))
    if is_demo or _is_on("EMBEDDED"):
        add_servers(var)


def complete_for_tests(base: Path) -> None:
    """Add new secrets, and servers whose data under `base` is removed when this process ends. Raises CannotStart."""
    os.environ["DEMO"] = "1"
    (base.parent / "static").mkdir(parents=True, exist_ok=True)
    _add(_new_secrets())
    add_servers(base, temporary=True)


def add_servers(base: Path, *, temporary: bool = False) -> None:
    """Start or join the servers under `base` that the environment does not name. Raises CannotStart."""
    want_postgres, want_redis = (not os.environ.get(name) for name in _SERVERS)
    if want_postgres or want_redis:
        os.environ.update(
            embedded.services(base, want_postgres=want_postgres, want_redis=want_redis, temporary=temporary)
        )


def _is_on(name: str) -> bool:
    # As django-environ reads it.
    return os.environ.get(name, "").lower() in ("true", "on", "ok", "y", "yes", "1")


def _add(values: dict[str, str]) -> None:
    os.environ.update({name: value for name, value in values.items() if not os.environ.get(name)})


def _new_secrets() -> dict[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "TOKEN_KEYS": secrets.token_urlsafe(32),
        "LEDGER_KEYS": secrets.token_urlsafe(32),
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }


def _kept_secrets(var: Path) -> dict[str, str]:
    """Return the demo's secrets: made once, kept under var/, readable by their owner only."""
    path = var / "demo-secrets.json"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(_new_secrets(), file)
    except FileExistsError:
        pass
    return json.loads(path.read_text())
