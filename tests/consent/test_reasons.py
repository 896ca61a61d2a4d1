"""The reason of an ending is an enumeration with titles; earlier reasons recorded as sentences stay readable."""

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils.functional import Promise

from consent.actions import ending
from consent.events import Event
from consent.models import Access, Consent, RefreshToken
from consent.reasons import AccessEnd, ConsentEnd, FamilyEnd
from portal.accounts.events import Event as AccountsEvent
from portal.foundation import guards
from portal.ledger.actions import record
from portal.ledger.models import Entry
from tests.migrating import back_to, column, copied, forward, guards_of
from tests.people.forms import text
from tests.worlds import shared

pytestmark = pytest.mark.django_db

# The sentences that rows had before reasons were enumerated, and their values since.
FORMER = {
    "consent_access": {
        "uninstalled": AccessEnd.UNINSTALLED,
        "discarded before it was finished": AccessEnd.DISCARDED,
        "revoked by an admin": AccessEnd.REVOKED,
    },
    "consent_consent": {
        "revoked": ConsentEnd.REVOKED,
        "revoked for all agents": ConsentEnd.REVOKED_FOR_ALL,
        "replaced": ConsentEnd.REPLACED,
        "expired": ConsentEnd.EXPIRED,
    },
    "consent_refreshtoken": {
        "a refresh token was used again after it had been replaced": FamilyEnd.REUSED,
        "its authorization code was used again": FamilyEnd.CODE_REUSED,
        "revoked by the client": FamilyEnd.GIVEN_BACK,
        "access ended": FamilyEnd.ACCESS_ENDED,
        "consent ended": FamilyEnd.CONSENT_ENDED,
    },
}
UNKNOWN = "the customer’s lawyer asked for it, 100% sure"
ENDED = "2026-01-01T00:00:00Z"


@shared
def external_app(external, browse, cast):
    external.tokens_for(browse(cast.admin), account=cast.acme.slug)
    external.access = Access.objects.get(client=external.client)
    return external


def test_earlier_rows_are_migrated_without_losing_words(external_app):
    before = {table: guards_of(table) for table in FORMER}
    live = {
        "consent_access": external_app.access.pk,
        "consent_consent": Consent.objects.get().pk,
        "consent_refreshtoken": RefreshToken.objects.get().pk,
    }
    back_to("consent", "0008_failure")
    rows = {}
    for table, sentences in FORMER.items():
        end = "revoked_at" if table == "consent_consent" else "ended_at"
        reasons = [*sentences, UNKNOWN, ""]
        rows[table] = [copied(table, live[table], reason=reason, **{end: ENDED}) for reason in reasons]
    forward()
    for table, sentences in FORMER.items():
        keys, known = rows[table], len(sentences)
        assert column(table, "reason", keys) == [*sentences.values(), "other", ""]
        assert column(table, "reason_note", keys) == ["" for _key in keys[:known]] + [UNKNOWN, ""]
        assert column(table, "reason", [str(live[table])]) == [""]
    assert {table: guards_of(table) for table in FORMER} == before and {*before["consent_access"].values()} == {"A"}
    back_to("consent", "0008_failure")
    for table, sentences in FORMER.items():
        assert column(table, "reason", rows[table]) == [*sentences, UNKNOWN, ""]


def test_a_migration_rewrites_guarded_rows_and_they_are_guarded_again_afterwards(external_app):
    move = "UPDATE consent_access SET opened_at = opened_at - interval '1 day'"
    before = guards_of("consent_access")
    (operation,) = guards.rewritten("consent_access", move, move)
    with connection.cursor() as cursor:
        cursor.execute(operation.sql)
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            cursor.execute(move)
        (failing,) = guards.rewritten("consent_access", "UPDATE consent_access SET reason = 'x'", "")
        with pytest.raises(DatabaseError, match="access_reason_is_known"), transaction.atomic():
            cursor.execute(failing.sql)
    external_app.access.refresh_from_db()
    assert guards_of("consent_access") == before and external_app.access.reason == ""


def test_every_reason_has_a_lazily_translated_title():
    for kind in (AccessEnd, ConsentEnd, FamilyEnd):
        for value in kind:
            assert isinstance(value.label, Promise) and " " not in value and value.label != value, value


def test_a_page_shows_the_title_of_a_reason_or_an_earlier_reasons_words(external_app, cast, browse):
    entry = ending.end_access(external_app.access, by=cast.admin, reason=AccessEnd.REVOKED)
    assert entry.details["reason"] == "revoked"
    ada, page = browse(cast.admin), f"/authorizations/{external_app.access.pk}/"
    assert "Revoked by an admin" in text(ada.get(page))
    Access.objects.filter(pk=external_app.access.pk).update(reason=AccessEnd.OTHER, reason_note=UNKNOWN)
    assert UNKNOWN in text(ada.get(page))


@pytest.mark.parametrize(
    ("event", "recorded", "title"),
    [
        (Event.ACCESS_ENDED, AccessEnd.REVOKED, "Revoked by an admin"),
        (Event.ACCESS_ENDED, "revoked by an admin", "Revoked by an admin"),
        (Event.ACCESS_ENDED, "uninstalled", "Uninstalled"),
        (Event.ACCESS_ENDED, "discarded before it was finished", "Discarded before the installation was finished"),
        (Event.FAMILY_REUSE_DETECTED, FamilyEnd.CODE_REUSED, "The authorization code was used again"),
        (Event.FAMILY_REUSE_DETECTED, "its authorization code was used again", "The authorization code was used again"),
        (AccountsEvent.ACCOUNT_SUSPENDED, "revoked by an admin", "revoked by an admin"),
    ],
)
def test_a_receipt_shows_a_reasons_title_whenever_it_was_recorded(external_app, cast, browse, event, recorded, title):
    subject = f"access:{external_app.access.pk}"
    entry = record(cast.acme.chain_name, event, by=cast.admin, subject=subject, reason=recorded, consents=0)
    ada, url = browse(cast.admin), f"/receipts/{entry.pk}/"
    page = text(ada.get(url))
    assert f"Reason {title}" in page, page
    assert ada.get(f"{url}?format=json").json()["entry"]["details"]["reason"] == recorded
    call_command("verify_ledger", verbosity=0)


def test_new_entries_store_the_value(external_app, cast, browse):
    code, verifier = external_app.code_for(browse(cast.admin), account=cast.acme.slug)
    for _time in range(2):
        external_app.exchange(code, verifier)
    assert Entry.objects.get(event="family.reuse_detected").details["reason"] == "code_reused"
