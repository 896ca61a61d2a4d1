"""Encrypted columns, and rotate_keys, which encrypts them all again."""

import io

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from consent.actions.trying import keep_trial
from consent.models import Trial
from marketplace.models import Connection, VendorSecret
from marketplace.vendors.secrets import keep_vendor_secret
from portal.foundation.encryption import EncryptedField, decrypt
from portal.foundation.models import OutgoingMail
from tests.worlds import shared

pytestmark = pytest.mark.django_db
NEW = Fernet.generate_key().decode()


def raw(table, column):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        return [value for (value,) in cursor.fetchall()]


@shared
def stored_secret(installed, cast):
    """Store a value in each encrypted column, and a second factor; return the second factor's secret."""
    Connection.objects.create(
        installation=installed.installation, integration="octo", values={"a": "b"}, tokens={"access_token": "t"}
    )
    keep_vendor_secret(installed.version.app, "octo", secret="s3cret", by=cast.dev)
    OutgoingMail.objects.create(kind="ends", content={"text": "s3cret"})
    keep_trial("session", installed.client, {"secret": "s3cret"}, browser_key=Fernet.generate_key().decode())
    TOTP.activate(cast.agent, secret := generate_totp_secret())
    return secret


COLUMNS = [
    ("accounts_outgoingmail", "content"), ("consent_trial", "state"),
    ("marketplace_connection", "tokens"), ("marketplace_connection", "values"),
    ("marketplace_installation", "values"), ("marketplace_vendorsecret", "secret"),
]  # fmt: skip


def test_every_encrypted_column_is_tested_here():
    encrypted = {
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        for field in model._meta.concrete_fields
        if isinstance(field, EncryptedField)
    }
    assert encrypted == set(COLUMNS)


def test_the_database_stores_nothing_in_plain_text(stored_secret):
    for table, column in COLUMNS:
        assert (values := raw(table, f'"{column}"'))
        assert not [value for value in values if "s3cret" in value or "access_token" in value or "{" in value]


def test_rotating_encrypts_everything_with_the_first_key_and_the_old_can_be_removed(stored_secret, cast, settings):
    old = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [NEW, *old]
    call_command("rotate_keys", stdout=(output := io.StringIO()))
    assert output.getvalue().startswith("7 values")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert Connection.objects.get().tokens == {"access_token": "t"} and VendorSecret.objects.get().secret == "s3cret"
    assert decrypt(Authenticator.objects.get(user=cast.agent).data["secret"]) == stored_secret
    for table, column in COLUMNS:
        for value in raw(table, f'"{column}"'):
            Fernet(NEW).decrypt(value.encode())
    # Running it again does no harm.
    call_command("rotate_keys", stdout=io.StringIO())
    assert VendorSecret.objects.get().secret == "s3cret"


def test_a_missing_key_is_reported_and_nothing_is_lost(stored_secret, settings):
    old = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match="not in FIELD_ENCRYPTION_KEYS"):
        call_command("rotate_keys", stdout=io.StringIO())
    settings.FIELD_ENCRYPTION_KEYS = old
    assert VendorSecret.objects.get().secret == "s3cret"


def test_encrypted_values_are_in_no_repr(stored_secret):
    shown = repr(VendorSecret.objects.get()) + repr(Connection.objects.get()) + str(Connection.objects.get())
    shown += repr(Trial.objects.get())
    assert "s3cret" not in shown and "access_token" not in shown
