"""T3: what Celery does after an ending. Each step can run twice, and the sweep finds what a lost message left."""

import contextlib
import datetime as dt
import re
import threading
from types import SimpleNamespace

import psycopg
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from consent import tasks
from consent.actions import ending
from consent.actions.ending import access_to_revoke
from consent.models import Access, AccessToken, AuthorizationCode, Consent, RefreshToken
from marketplace.actions import installing
from portal.celery import app as celery
from portal.foundation.database import others_work
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance, eventually, eventually_swept, stopped
from tests.people.forms import receipt_in
from tests.portal.test_ledger import tamper
from tests.servers import environment, together

DAY = dt.timedelta(days=1)


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_stamps_and_counts_after_the_uninstall_button_and_sweeps(used, browse, cast, worker):
    ada = browse(cast.admin)
    receipt = receipt_in(ada.post(f"/installations/{used.installation.pk}/uninstall/", follow=True))
    eventually(lambda: Access.objects.get().revoked_at)
    access = Access.objects.get()
    assert access.revoked_counts == {"refresh_tokens": 2, "access_tokens": 3}
    assert not RefreshToken.objects.filter(ended_at=None).exists()
    assert not AccessToken.objects.filter(revoked_at=None).exists()
    page = ada.get(receipt).content.decode()
    assert "2 authorizations that the app can renew on its own" in page and "3 access tokens" in page
    # As if the message had been lost before a worker saw it.
    Access.objects.update(revoked_at=None)
    Consent.objects.update(stamped_at=None)
    eventually_swept(lambda: Access.objects.get().revoked_at and Consent.objects.get().stamped_at)
    advance(DAY + dt.timedelta(minutes=31))
    celery.send_task("consent.tasks.erase")
    eventually(lambda: not AccessToken.objects.exists() and not AuthorizationCode.objects.exists())
    eventually(lambda: Access.objects.get().erased_at)
    assert RefreshToken.objects.count() == 2 and Consent.objects.count() == 1


@pytest.mark.django_db
def test_revoking_tokens_twice_changes_and_counts_nothing_more(used, cast):
    installing.uninstall(used.installation, by=cast.admin)
    access = Access.objects.get()
    assert ending.revoke_tokens(access) == {"refresh_tokens": 2, "access_tokens": 3}
    rows = [list(model.objects.order_by("pk").values()) for model in (Access, Consent, RefreshToken, AccessToken)]
    ending.revoke_tokens(access)
    assert [list(model.objects.order_by("pk").values()) for model in (Access, Consent, RefreshToken, AccessToken)] == rows  # fmt: skip


def read(browser, path):
    return " ".join(re.sub("<[^>]*>", " ", browser.get(path).content.decode()).split())


@pytest.mark.django_db
def test_uninstalling_counts_no_token_and_the_receipt_says_so_until_a_second_entry_has_the_number(used, cast, browse):
    ada = browse(cast.admin)
    with CaptureQueriesContext(connection) as asked:
        ada.post(f"/installations/{used.installation.pk}/uninstall/")
    receipt = receipt_in(ada.get(f"/installations/{used.installation.pk}/"))
    assert not [
        query for query in asked if "consent_accesstoken" in query["sql"] or "consent_refreshtoken" in query["sql"]
    ]
    before = read(ada, receipt)
    assert "1 agreement" in before and "Counting authorizations and access tokens" in before
    ending.revoke_tokens(Access.objects.get())
    after = read(ada, receipt)
    assert "being counted" not in after
    assert (
        "2 authorizations that the app can renew on its own 3 access tokens ( see the entry with the count )" in after
    )
    counted = Entry.objects.get(event="access.tokens_counted")
    assert counted.actor == "system" and "3 access tokens" in read(ada, f"/receipts/{counted.pk}/")
    tamper("UPDATE ledger_entry SET details = details || '{\"access_tokens\": 1}' WHERE id = %s", counted.pk)
    assert ada.get(receipt).status_code == 409, "a number that was altered is not shown"


@pytest.mark.django_db
def test_however_late_the_count_is_of_what_the_end_ended(used, cast):
    """One token was revoked before; another expired after, and was due to be erased before anybody counted."""
    installation, first = used.installation, used.tokens["access_token"]
    used.revoke(first)
    installing.uninstall(installation, by=cast.admin)
    advance(2 * DAY)
    tasks.erase()
    assert Entry.objects.get(event="access.tokens_counted").details["access_tokens"] == 2
    assert not AccessToken.objects.exists()
    tasks.sweep()
    tasks.revoke_tokens(str(Access.objects.get().pk))
    assert Entry.objects.filter(event="access.tokens_counted").count() == 1


@pytest.mark.django_db
def test_nothing_is_counted_where_nothing_was_agreed_to(cast, browse):
    client, _secret = factories.client(cast.dev)
    app = factories.publish(factories.app(cast.dev, client), cast.dev).app
    receipt = installing.discard(installing.install(app, cast.acme, by=cast.admin), by=cast.admin)
    ending.revoke_tokens(Access.objects.get())
    assert "Nothing had been agreed to." in read(browse(cast.admin), f"/receipts/{receipt.pk}/")
    assert not Entry.objects.filter(event="access.tokens_counted").exists()


@pytest.mark.django_db
def test_revoking_tokens_under_a_live_access_changes_nothing(used):
    ending.revoke_tokens(Access.objects.get())
    assert AccessToken.objects.filter(revoked_at=None).count() == 3 and not access_to_revoke().exists()
    tasks.revoke_tokens("00000000-0000-0000-0000-000000000000")


@pytest.mark.django_db
def test_a_revoked_consent_is_stamped_and_its_access_stays_open(used, cast, browse):
    ending.revoke_consent(Consent.objects.get(), by=cast.admin)
    assert ending.revoke_tokens(Access.objects.get()) == {"refresh_tokens": 2, "access_tokens": 3}
    access = Access.objects.get()
    assert access.revoked_at is None and not access_to_revoke().exists()
    used.tokens_for(browse(cast.admin), account=cast.acme.slug)
    installing.uninstall(used.installation, by=cast.admin)
    assert ending.revoke_tokens(access) == {"refresh_tokens": 1, "access_tokens": 1}
    access.refresh_from_db()
    assert access.revoked_counts == {"refresh_tokens": 3, "access_tokens": 4}


@pytest.mark.django_db
def test_erasing_keeps_families_and_what_ended_less_than_a_day_ago(used, cast):
    advance(dt.timedelta(minutes=31))
    tasks.erase()
    assert AccessToken.objects.count() == 3 and AuthorizationCode.objects.count() == 3
    advance(DAY)
    tasks.erase()
    assert not AccessToken.objects.exists() and not AuthorizationCode.objects.exists()
    assert RefreshToken.objects.count() == 2
    assert used.refresh(used.tokens["refresh_token"]).status_code == 200
    tasks.erase()


@pytest.mark.django_db(transaction=True)
def test_erasing_gives_way_to_whoever_works(monkeypatch):
    """Batches grow while nobody else works; each is small, and comes after a rest, while somebody does."""
    rests = []
    monkeypatch.setattr(ending, "time", SimpleNamespace(sleep=rests.append))
    sizes = ending.batches()
    with psycopg.connect(environment()["DATABASE_URL"], autocommit=True) as other:

        def work():
            with contextlib.suppress(psycopg.errors.QueryCanceled):
                other.execute("SELECT pg_sleep(3600)")

        assert next(sizes) == ending.SMALL_BATCH
        working = threading.Thread(target=work)
        working.start()
        eventually(others_work)
        assert next(sizes) == next(sizes) == ending.SMALL_BATCH and rests == [ending.REST] * 2
        other.cancel()
        working.join()
        eventually(lambda: not others_work())
        grown = [next(sizes) for _batch in range(7)]
        assert grown[0] == 2 * ending.SMALL_BATCH and grown[-1] == ending.ERASE_BATCH and len(rests) == 2


@pytest.mark.django_db
def test_erasing_goes_in_bounded_batches(used):
    advance(2 * DAY)
    for left in range(AccessToken.objects.count() - 1, -1, -1):
        assert ending.erase_batch(1) == 1 and AccessToken.objects.count() == left
    tasks.erase()
    assert not AccessToken.objects.exists() and not AuthorizationCode.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_erasing_waits_for_nobody_who_holds_a_row(used):
    """Nor does anybody's act end for a deadlock with it: PostgreSQL looks for those after a second."""
    advance(2 * DAY)

    def erase_meanwhile():
        return ending.erase_batch(1000), AccessToken.objects.exists()

    with transaction.atomic():
        AccessToken.objects.select_for_update().first()
        # It goes on with the codes.
        assert together(erase_meanwhile) == [(3, True)]
    tasks.erase()
    assert not AccessToken.objects.exists()


@pytest.mark.django_db
def test_a_consent_is_stamped_once_after_its_365_days(used, browse, cast):
    tasks.expire()
    assert Consent.objects.get().revoked_at is None
    advance(365 * DAY)
    tasks.expire()
    consent = Consent.objects.get()
    assert consent.revoked_at == consent.expires_at and consent.reason == "expired" and consent.revoked_by is None
    tasks.expire()
    assert Entry.objects.filter(event="consent.expired").count() == 1
    assert access_to_revoke().count() == 1


@pytest.mark.django_db
def test_agreeing_again_before_the_stamp_records_both_the_end_and_the_new_consent(used, cast):
    old = Consent.objects.get()
    advance(365 * DAY)
    new = factories.agree(used.client, cast.acme, cast.admin, replace=True)
    entries = Entry.objects.filter(subject__in=[f"consent:{old.pk}", f"consent:{new.pk}"]).order_by("sequence")
    assert [entry.event for entry in entries][-2:] == ["consent.expired", "consent.granted"]
    tasks.expire()
    assert Entry.objects.filter(event="consent.expired").count() == 1


# Committed each time, since PostgreSQL cannot prune old row versions within one transaction.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("times", [52, pytest.param(48 * 365, marks=pytest.mark.soak)])
def test_a_year_of_refreshes_is_one_row_and_ends_on_the_agreed_day(installed, browse, cast, times):
    """T6: a family is one row, updated in place; T5: however often it rotates, it ends with its consent."""
    tokens = installed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    agreed = Consent.objects.get().granted_at
    with stopped() as now:
        for number in range(1, times):
            now(agreed + number * 365 * DAY / times)
            answer = installed.refresh(tokens["refresh_token"])
            assert answer.status_code == 200, number
            tokens = answer.json()
            if number % 100 == 50:
                tasks.erase()
        assert RefreshToken.objects.get().generation == times
        assert Consent.objects.count() == 1 and AuthorizationCode.objects.count() == 0
        assert AccessToken.objects.count() <= 200
        now(agreed + 365 * DAY)
        answer = installed.refresh(tokens["refresh_token"])
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_grant"
    assert RefreshToken.objects.count() == 1


def test_the_schedule_is_as_designed():
    every = {entry["task"]: entry["schedule"] for entry in celery.conf.beat_schedule.values()}
    assert every["consent.tasks.expire"] == every["consent.tasks.sweep"] == dt.timedelta(minutes=1)
    assert every["portal.ledger.tasks.checkpoint"] == dt.timedelta(hours=1)
    celery.loader.import_default_modules()
    assert every.keys() <= celery.tasks.keys()
