"""Nobody learns from signing up, a forgotten password or signing in which addresses are known: not by how long it takes."""

import re
import statistics
import time
from collections import Counter

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Team, User
from portal.ledger.models import Entry
from tests.mailing import outbox

STRONG = "a horse of another colour"
# What a known and an unknown address are tried with.
FORMS = {
    "/accounts/signup/": {"name": "Nia", "password1": STRONG},
    "/accounts/password/reset/": {},
    "/accounts/login/": {"password": "wrong one here"},
}


def sent(path, email):
    name = "login" if path.endswith("login/") else "email"
    return Browser().post(path, {**FORMS[path], name: email})


def work(path, email, monkeypatch):
    """What it takes to answer: password hashes, mails, and statements by what they do to which table."""
    hashed, encode = [], MD5PasswordHasher.encode
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *given: hashed.append(1) or encode(*given))
    mails = len(outbox())
    with CaptureQueriesContext(connection) as asked:
        response = sent(path, email)
    monkeypatch.undo()
    verbs = Counter(re.match(r'\s*(INSERT INTO "\w+"|UPDATE "\w+"|SELECT|\w+)', query["sql"])[1] for query in asked)
    return response.status_code, len(hashed), len(outbox()) - mails, verbs


@pytest.mark.django_db
@pytest.mark.parametrize("path", FORMS)
def test_a_known_address_takes_the_same_work_as_an_unknown_one(cast, monkeypatch, path):
    for email in ("warm@example.com", cast.agent.email):
        sent(path, email)
    known, unknown = work(path, cast.dev.email, monkeypatch), work(path, "nia@example.com", monkeypatch)
    assert known[:3] == unknown[:3] and known[1] + known[2] >= 1
    writes = [{verb: times for verb, times in each[3].items() if verb[0] in "IU"} for each in (known, unknown)]
    assert writes[0] == writes[1]
    # A few that read by an index, beside a hash of 200 ms.
    assert abs(known[3]["SELECT"] - unknown[3]["SELECT"]) <= 5


@pytest.mark.django_db
def test_signing_up_with_a_known_address_leaves_nothing_behind(cast):
    before = User.objects.count(), Team.objects.count(), Entry.objects.count()
    sent("/accounts/signup/", cast.dev.email)
    assert (User.objects.count(), Team.objects.count(), Entry.objects.count()) == before
    assert [each.to for each in outbox()] == [[cast.dev.email]] and "has an account" in outbox()[0].body


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", FORMS)
def test_a_known_address_takes_as_long_as_an_unknown_one(cast, settings, path):
    """Medians of 60 each, taken in turns, with the password hashes of production."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    took = {True: [], False: []}
    for number in range(61):
        for known in (True, False):
            User.objects.filter(pk=cast.dev.pk).update(email=f"known{number}@example.com")
            cast.dev.emailaddress_set.update(email=f"known{number}@example.com")
            start = time.perf_counter()
            sent(path, f"{'known' if known else 'new'}{number}@example.com")
            if number:
                took[known].append(time.perf_counter() - start)
    known, unknown = (statistics.median(took[each]) for each in (True, False))
    assert abs(known - unknown) < 0.05 * unknown, (known, unknown)
