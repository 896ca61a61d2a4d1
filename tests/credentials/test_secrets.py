"""T7 and C3: what secrets, codes and tokens look like, and that nothing of them is kept."""

import re
import uuid

import pytest

from consent import check as checking
from credentials import secrets
from credentials.authentication import check_client_secret
from credentials.models import ClientSecret
from portal.ledger.models import Entry
from tests import factories

PREFIXES = ["amp_at_", "amp_rt_", "amp_ac_", "amp_cs_", "amp_ps_"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_secret_carries_a_prefix_256_random_bits_and_a_checksum(prefix):
    value = secrets.generate(prefix)
    assert re.fullmatch(prefix + r"[A-Za-z0-9_-]{43}[A-Za-z0-9_-]{6}", value)
    assert secrets.is_well_formed(value, prefix) and value != secrets.generate(prefix)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "garble",
    [
        lambda value: value[:-1],
        lambda value: value + "A",
        lambda value: value[:20] + ("A" if value[20] != "A" else "B") + value[21:],
        lambda value: "amp_xx_" + value[7:],
        lambda value: value.upper(),
        lambda value: value + "\n",
        lambda value: value.replace(value[10], "é"),
        lambda value: "",
        lambda value: None,
        lambda value: [value],
    ],
)
def test_a_garbled_secret_is_seen_as_such(prefix, garble):
    assert not secrets.is_well_formed(garble(secrets.generate(prefix)), prefix)


@pytest.mark.django_db
def test_garbage_never_reaches_the_database(cast, django_assert_num_queries):
    row, secret = factories.client(cast.dev)
    with django_assert_num_queries(0):
        assert check_client_secret(row, secret[:-1] + "x") is None
        assert check_client_secret(row, secrets.generate("amp_at_")) is None
        with pytest.raises(checking.Refusal):
            checking.check("amp_at_garbage", ["freshservice.tickets.view"])
        assert secrets.read_refresh_token(secrets.generate("amp_rt_")) is None


@pytest.mark.django_db
def test_only_the_hash_of_a_client_secret_is_kept(cast):
    _row, secret = factories.client(cast.dev)
    kept = ClientSecret.objects.values().get()
    assert kept["hash"] == secrets.digest(secret) and len(kept["hash"]) == 64
    assert secret.startswith(kept["prefix"]) and len(kept["prefix"]) <= 12
    assert secret not in str(kept) and secret not in str(list(Entry.objects.values()))
    assert secret not in repr(ClientSecret.objects.get()) + str(ClientSecret.objects.get())


def test_a_refresh_token_is_derived_and_proves_itself():
    """T6: neither the database (salt) nor the key alone makes one."""
    family, salt = uuid.uuid4(), b"s" * 32
    token = secrets.make_refresh_token(family, salt, 7)
    parts = secrets.read_refresh_token(token)
    assert (parts.family, parts.generation) == (family, 7)
    assert token == secrets.make_refresh_token(family, salt, 7)
    assert secrets.is_genuine(parts, salt) and not secrets.is_genuine(parts, b"t" * 32)
    forged = secrets.read_refresh_token(secrets.make_refresh_token(family, salt, 7, key="another key"))
    assert forged and not secrets.is_genuine(forged, salt)
    assert repr(parts.mac) not in repr(parts)


def test_a_refresh_token_of_a_retired_key_is_known_until_the_key_goes(settings):
    family, salt = uuid.uuid4(), b"s" * 32
    settings.TOKEN_KEYS = ["old"]
    parts = secrets.read_refresh_token(secrets.make_refresh_token(family, salt, 1))
    settings.TOKEN_KEYS = ["new", "old"]
    assert secrets.is_genuine(parts, salt)
    assert secrets.read_refresh_token(secrets.make_refresh_token(family, salt, 1)).key_id != parts.key_id
    settings.TOKEN_KEYS = ["new"]
    assert not secrets.is_genuine(parts, salt)
