"""What is kept encrypted, and rotate_keys, which encrypts all of it anew."""

import io

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from marketplace.models import Connection, VendorSecret
from marketplace.vendors.secrets import keep_vendor_secret
from portal.foundation.encryption import EncryptedField, decrypt
from tests.worlds import shared

pytestmark = pytest.mark.django_db
NEW = Fernet.generate_key().decode()


def raw(table, column):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        return [value for (value,) in cursor.fetchall()]


@shared
def kept(installed, cast):
    """One value in each column that is encrypted, and a second factor."""
    Connection.objects.create(
        installation=installed.installation, integration="octo", values={"a": "b"}, tokens={"access_token": "t"}
    )
    keep_vendor_secret(installed.version.app, "octo", secret="s3cret", by=cast.dev)
    TOTP.activate(cast.agent, secret := generate_totp_secret())
    return secret


COLUMNS = [
    ("marketplace_connection", "tokens"), ("marketplace_connection", "values"),
    ("marketplace_installation", "values"), ("marketplace_vendorsecret", "secret"),
]  # fmt: skip


def test_every_encrypted_column_is_looked_at_here():
    found = {
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, EncryptedField)
    }
    assert found == set(COLUMNS)


def test_the_database_has_nothing_in_clear(kept):
    for table, column in COLUMNS:
        assert (values := raw(table, f'"{column}"'))
        assert not [value for value in values if "s3cret" in value or "access_token" in value or "{" in value]


def test_rotating_encrypts_all_with_the_first_key_and_then_the_old_can_go(kept, cast, settings):
    old = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [NEW, *old]
    call_command("rotate_keys", stdout=(told := io.StringIO()))
    assert told.getvalue().startswith("5 values")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert Connection.objects.get().tokens == {"access_token": "t"} and VendorSecret.objects.get().secret == "s3cret"
    assert decrypt(Authenticator.objects.get(user=cast.agent).data["secret"]) == kept
    for table, column in COLUMNS:
        for value in raw(table, f'"{column}"'):
            Fernet(NEW).decrypt(value.encode())
    # Again, which does no harm.
    call_command("rotate_keys", stdout=io.StringIO())
    assert VendorSecret.objects.get().secret == "s3cret"


def test_a_missing_key_is_told_and_nothing_is_lost(kept, settings):
    old = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match="not in FIELD_ENCRYPTION_KEYS"):
        call_command("rotate_keys", stdout=io.StringIO())
    settings.FIELD_ENCRYPTION_KEYS = old
    assert VendorSecret.objects.get().secret == "s3cret"


def test_what_is_encrypted_is_in_no_repr(kept):
    shown = repr(VendorSecret.objects.get()) + repr(Connection.objects.get()) + str(Connection.objects.get())
    assert "s3cret" not in shown and "access_token" not in shown
