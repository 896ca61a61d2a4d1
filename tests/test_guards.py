"""What the database refuses to whoever may write to its tables, above all to the web's role: on every guarded table."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models.functions import Now

from consent.actions import ending
from consent.models import Consent
from consent.validity import agreement_days
from marketplace.models import VendorSecret
from tests import factories
from tests.factories import EDIT
from tests.test_constraints import a_row_of_each as a_row_of_each
from tests.test_constraints import everything as everything

pytestmark = pytest.mark.django_db

# What may become of each time of a guarded table. A new one must be put somewhere.
TIMES = {
    # Never changes.
    "never": {
        "credentials_client.created", "credentials_clientsecret.created_at", "credentials_productsecret.created_at",
        "consent_access.opened_at", "consent_refreshtoken.created_at", "consent_accesstoken.created",
        "accounts_invitation.created_at", "marketplace_offer.offered_at",
        "ledger_keyperiod.from_at", "ledger_entry.at", "ledger_entry.act_at", "credentials_clientscope.added_at", "marketplace_review.decided_at",
    },
    # Ends something, and is never moved again.
    "once": {
        "accounts_membership.ended_at", "accounts_teammembership.ended_at", "accounts_invitation.accepted_at",
        "accounts_invitation.revoked_at", "consent_access.ended_at", "consent_consent.revoked_at",
        "consent_refreshtoken.ended_at", "consent_authorizationcode.used_at", "consent_accesstoken.revoked_at",
        "marketplace_installation.uninstalled_at", "marketplace_offer.declined_at", "marketplace_offer.taken_at",
        "marketplace_connection.ended_at", "marketplace_connection.erased_at", "ledger_keyperiod.until_at",
        "marketplace_picture.taken_down_at",
    },
    # Ends something, and only moves earlier.
    "earlier": {
        "credentials_clientsecret.expires_at", "credentials_productsecret.expires_at", "consent_authorizationcode.expires",
        "consent_accesstoken.expires",
    },
    # Later only together with an act of a person, in a test of its own below.
    "with an act": {
        "consent_consent.expires_at", "accounts_invitation.expires_at", "consent_refreshtoken.current_made_at",
        "consent_refreshtoken.previous_made_at",
    },
    # Ends all that was made before it, or says when a person last agreed.
    "later": {"credentials_client.not_before", "consent_consent.granted_at"},
    # Ends nothing, or is there to be lifted.
    "free": {
        "accounts_account.created_at", "accounts_account.suspended_at", "accounts_membership.created_at",
        "accounts_team.created_at", "accounts_team.verification_asked_at", "accounts_team.verified_at",
        "accounts_teammembership.created_at",
        "accounts_invitation.told_at", "accounts_user.date_joined", "accounts_user.last_login",
        "credentials_client.suspended_at", "credentials_client.updated", "credentials_clientsecret.last_used_at",
        "credentials_product.created_at", "credentials_productsecret.last_used_at", "credentials_scope.deprecated_at",
        "consent_access.erased_at", "consent_access.revoked_at",
        "consent_authorizationcode.created", "consent_consent.confirmed_at", "consent_consent.last_issued_at",
        "consent_consent.stamped_at", "consent_consent.successor_asked_at", "consent_consent.told_at",
        "marketplace_app.created_at", "marketplace_version.created_at", "marketplace_version.published_at",
        "marketplace_version.submitted_at", "marketplace_installation.installed_at", "marketplace_offer.told_at",
        "marketplace_connection.broken_at", "marketplace_connection.connected_at", "marketplace_connection.expires_at",
        "marketplace_connection.refresh_at", "marketplace_connection.revoke_at", "marketplace_connection.told_at",
        "marketplace_vendorsecret.saved_at", "marketplace_listing.published_at", "marketplace_picture.kept_at",
    },
}  # fmt: skip
TYPES = {"bigint": "-id - 1", "uuid": "gen_random_uuid()", "character varying": "'another'"}
_GUARDED = """
    SELECT DISTINCT relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE tgenabled = 'A' AND NOT tgisinternal
"""


def rows(sql, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall()


def guarded():
    """The tables that have a guard, from the database's own catalogue."""
    return sorted(name for (name,) in rows(_GUARDED))


def refused(sql, why, *, role=None):
    """A guard refuses it by these words, also to the web's role."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if role:
            cursor.execute(f"SET LOCAL ROLE {role}")
        with pytest.raises(IntegrityError, match=why), transaction.atomic():
            cursor.execute(sql)
        cursor.execute("RESET ROLE; SET CONSTRAINTS ALL DEFERRED")


def recipe(role):
    """The README's SQL for the web's role, for this database."""
    readme = (Path(settings.BASE_DIR) / "README.md").read_text()
    block = re.search(r"^ {4}CREATE ROLE .*?(?=\n\n)", readme, re.M | re.S)[0]
    ((database, owner),) = rows("SELECT current_database(), current_user")
    for name, here in (("portal_owner", owner), ("portal_web", role), ("DATABASE portal ", f"DATABASE {database} ")):
        assert name in block
        block = block.replace(name, here)
    return block


@pytest.fixture
def web(db):
    """The web's role, made as the README says."""
    role = f"web_of_{connection.settings_dict['NAME']}"
    with connection.cursor() as cursor:
        cursor.execute(recipe(role))
    return role


@pytest.fixture
def row_of_each(a_row_of_each, everything):
    """A row of every guarded table."""
    VendorSecret.objects.create(
        app=everything.version.app, integration="octo", secret="s", saved_at=Now(), saved_by=everything.cast.dev
    )
    empty = [table for table in guarded() if not rows(f"SELECT FROM {table} LIMIT 1")]
    assert not empty, "make a row of these"
    return everything


def test_no_key_of_a_guarded_table_changes(row_of_each, web):
    """Two rows that swap keys would swap all that refers to them: a client's scopes, an account's consents."""
    keys = rows(
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        JOIN pg_index ON indrelid = table_name::regclass AND indisprimary
        JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) AND attname = column_name
        WHERE table_schema = 'public' AND table_name = ANY (%s)
        """,
        guarded(),
    )
    assert {table for table, _key, _kind in keys} == {*guarded()}
    for table, key, kind in keys:
        for role in (None, web):
            change = f"UPDATE {table} SET {key} = {TYPES[kind]}"
            refused(
                change,
                f"^({key} of {table} never changes|UPDATE of {table} is refused|a submitted version is frozen)",
                role=role,
            )


def test_no_row_that_others_refer_to_is_replaced(row_of_each, web):
    """Removed and made anew under the same key, which the foreign keys, checked at commit, would let pass."""
    referred = {
        table for (table,) in rows("SELECT DISTINCT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'")
    }
    # What is erased in time, and what a registry no longer publishes.
    short_lived = {"consent_accesstoken", "consent_authorizationcode", "credentials_endpoint"}
    for table in sorted((referred & {*guarded()}) - short_lived):
        refused(f"DELETE FROM {table}", f"^DELETE of {table} is refused", role=web)


def test_every_time_of_a_guarded_table_is_known_here():
    times = rows(
        """
        SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'timestamp with time zone' AND table_name = ANY (%s)
        """,
        guarded(),
    )
    known = [time for kind in TIMES.values() for time in kind]
    assert len(known) == len({*known}) and {time for (time,) in times} == {*known}


def test_times_that_end_things_only_move_earlier(row_of_each, web):
    later, sooner = "now() + interval '9 days'", "now() - interval '9 days'"
    for time in sorted(TIMES["never"] | TIMES["once"] | TIMES["earlier"] | TIMES["later"]):
        table, column = time.split(".")
        one = f"WHERE ctid = (SELECT max(ctid) FROM {table})"

        def attempt(value, why, table=table, column=column, one=one):
            refused(f"UPDATE {table} SET {column} = {value} {one}", why, role=web)

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if time in TIMES["never"]:
                for value in (later, sooner):
                    attempt(value, f"{column} of {table} never changes|UPDATE of {table} is refused")
            elif time in TIMES["once"]:
                cursor.execute(f"UPDATE {table} SET {column} = now() {one} AND {column} IS NULL")
                one = f"WHERE ctid = (SELECT max(ctid) FROM {table} WHERE {column} IS NOT NULL)"
                for value in (later, "NULL"):
                    attempt(value, f"{column} of {table}, once set, never changes", one=one)
            elif time in TIMES["later"]:
                cursor.execute(f"UPDATE {table} SET {column} = coalesce({column}, now()) {one}")
                one = f"WHERE ctid = (SELECT max(ctid) FROM {table} WHERE {column} IS NOT NULL)"
                for value in (sooner, "NULL"):
                    attempt(value, f"{column} of {table} only grows", one=one)
            else:
                cursor.execute(f"UPDATE {table} SET {column} = now() {one}")
                one = f"WHERE ctid = (SELECT max(ctid) FROM {table} WHERE {column} IS NOT NULL)"
                for value in (later, "NULL"):
                    attempt(value, f"{column} of {table} only moves earlier", one=one)
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            transaction.set_rollback(True)


def test_a_consent_ends_later_only_together_with_the_time_of_the_agree(everything, web):
    """T5"""
    later = "expires_at = expires_at + interval '1 second'"
    refused(f"UPDATE consent_consent SET {later}", "moves later only with granted_at", role=web)
    refused(
        f"UPDATE consent_consent SET {later}, granted_at = granted_at", "moves later only with granted_at", role=web
    )
    refused("UPDATE consent_consent SET granted_at = granted_at - interval '1 day'", "only grows", role=web)
    for granted_at, ends in (
        ("granted_at + interval '1 second'", "granted_at + interval '365 days'"),
        ("clock_timestamp() + interval '9 days'", "clock_timestamp() + interval '370 days'"),
        ("statement_timestamp()", "statement_timestamp() + interval '366 days'"),
    ):
        agree = f"UPDATE consent_consent SET granted_at = {granted_at}, expires_at = {ends} + interval '1 hour'"
        refused(agree, "moves later only with granted_at", role=web)
    before = everything.consent.expires_at
    Consent.objects.update(expires_at=before - timedelta(days=9))
    factories.agree(everything.client, everything.cast.acme, everything.cast.admin, ask_again=True)
    assert Consent.objects.get().expires_at > before


def test_a_consent_lasts_as_long_as_the_settings_say(everything, web):
    """T5: the database and the settings state the same length."""
    Consent.objects.update(expires_at=everything.consent.expires_at - timedelta(days=9))
    length = f"statement_timestamp() + interval '{agreement_days()} days'"
    agree = f"UPDATE consent_consent SET granted_at = statement_timestamp(), expires_at = {length}"
    refused(f"{agree} + interval '1 second'", "moves later only with granted_at", role=web)
    assert rows(f"{agree} RETURNING 1")


def test_an_invitation_ends_later_only_with_a_new_link(everything, web):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_invitation SET token_hash = 'x'")
    later = "UPDATE accounts_invitation SET expires_at = expires_at + interval '1 day'"
    refused(later, "moves later only with a new link", role=web)
    rows(f"{later}, token_hash = NULL RETURNING 1")


def test_a_refresh_token_that_was_replaced_never_comes_back(used, web):
    """T6"""
    for change in (
        "generation = generation - 1",
        "current_made_at = now()",
        "previous_made_at = now() + interval '1 day'",
        "generation = 1, current_made_at = now()",
    ):
        refused(f"UPDATE consent_refreshtoken SET {change} WHERE generation > 1", "only grows|move only with", role=web)


def test_every_guard_finds_the_portals_own_tables():
    """pg_temp last: unnamed, it would come first."""
    functions = rows("SELECT DISTINCT tgfoid::regproc::text, proconfig FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal")  # fmt: skip
    assert len(functions) > 10
    for name, pinned in functions:
        assert pinned == ["search_path=pg_catalog, public, pg_temp"], name


def test_a_temporary_table_of_the_same_name_is_not_believed(everything):
    """Where a database was set up without the recipe, and so lets its roles make some."""
    forged = everything.consent.pk
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE consent_consent (LIKE public.consent_consent) ON COMMIT DROP")
        cursor.execute("INSERT INTO pg_temp.consent_consent SELECT * FROM public.consent_consent")
        cursor.execute("UPDATE pg_temp.consent_consent SET granted = granted || %s::varchar", [EDIT])
        cursor.execute("SET LOCAL search_path = pg_temp, public")
        with pytest.raises(IntegrityError, match="beyond its consent"), transaction.atomic():
            cursor.execute(
                "INSERT INTO public.consent_refreshtoken (id, consent_id, scope, salt, generation, reason)"
                " VALUES (gen_random_uuid(), %s, %s, 'salt', 1, '')",
                [forged, EDIT],
            )


# --- the web's role ---


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMPORARY TABLE consent_consent (id uuid)",
        "CREATE TABLE consent_mine (id uuid)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION statement_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2001-01-01'::timestamptz $$",
        "CREATE OR REPLACE FUNCTION portal_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
        "ALTER FUNCTION portal_refuse() RESET search_path",
        "ALTER TABLE consent_consent DISABLE TRIGGER ALL",
        "DROP TRIGGER consent_consent_never_deleted ON consent_consent",
        "TRUNCATE consent_accesstoken",
        "SET session_replication_role = replica",
        "DROP TABLE ledger_entry",
    ],
)
def test_the_role_that_the_readme_makes_cannot(web, sql):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {web}")
        with pytest.raises(DatabaseError, match=r"permission denied|must be owner"), transaction.atomic():
            cursor.execute(sql)
        cursor.execute("RESET ROLE")


def test_the_role_that_the_readme_makes_is_enough_for_the_portal(web, installed, browse, cast):
    """Installed, agreed to, used, ended and erased."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {web}")
        tokens = installed.tokens_for(browse(cast.admin))
        installed.refresh(tokens["refresh_token"])
        ending.end_access(installed.installation.access, by=cast.admin, reason="uninstalled")
        assert installed.call(tokens["access_token"]).status_code == 401
        assert rows("SELECT current_user") == [(web,)]
        cursor.execute("RESET ROLE")
