"""E2: each key signs in its own period, which nobody can move."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from docs import verify_receipt
from portal.foundation.database import database_now
from portal.ledger.keys import _derive, published, signer
from portal.ledger.models import KeyPeriod

pytestmark = pytest.mark.django_db


def test_a_key_that_comes_first_again_signs_in_a_new_period(settings, db):
    first, second = settings.LEDGER_KEYS[0], "another"
    for keys in ([first, second], [second, first], [first, second]):
        settings.LEDGER_KEYS = keys
        signer(), signer()
    assert {key["kid"]: len(key["periods"]) for key in published()["keys"]} == {
        _derive(first).thumbprint(): 2,
        _derive(second).thumbprint(): 1,
    }
    assert KeyPeriod.objects.filter(until_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
def test_processes_with_different_keys_sign_at_the_same_time(settings):
    """While a new key is rolled out, each signature falls in its key's period."""
    values, signed = [*settings.LEDGER_KEYS, "another"], []
    settings.LEDGER_KEYS = values

    class Keys(threading.local):
        first = 0

    local = Keys()

    def sign(number):
        from portal.ledger import keys

        try:
            local.first = number % 2
            signed.extend(keys.signer().sign("receipt", {}) for _time in range(8))
        finally:
            connection.close()

    class Local:
        """The settings as each process would see them."""

        def __getattr__(self, name):
            return values[:: -1 if local.first else 1] if name == "LEDGER_KEYS" else getattr(settings, name)

    from portal.ledger import keys as module

    real, module.settings = module.settings, Local()
    try:
        threads = [threading.Thread(target=sign, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        module.settings = real
    keys = verify_receipt.read_keys(published())
    assert len(signed) == 32
    for signature in signed:
        verify_receipt.signed_content(signature, keys, "receipt")


def test_writing_to_the_table_cannot_move_a_keys_period(db):
    signer()
    period = KeyPeriod.objects.get()
    for change in ({"from_at": period.from_at - timedelta(days=9)}, {"key": "x"}, {"id": 99}):
        with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
            KeyPeriod.objects.update(**change)
    before = database_now()
    KeyPeriod.objects.update(until_at=period.from_at - timedelta(days=9))
    period.refresh_from_db()
    assert period.until_at >= before, "the database's clock, whatever is written"
    for until in (None, period.until_at + timedelta(days=9)):
        with pytest.raises(IntegrityError, match="once set"), transaction.atomic():
            KeyPeriod.objects.update(until_at=until)
    other = KeyPeriod.objects.create(key="x", from_at=before - timedelta(days=9), until_at=before)
    other.refresh_from_db()
    assert other.from_at >= before and other.until_at is None
    assert len(published()["keys"]) == 1, "a row that matches no key of ours"
