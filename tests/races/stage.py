"""A world that is restored after each race, and judges inside the database, which see the order of commits."""

import contextlib

from django.core.management import call_command
from django.db import connection, transaction

from tests.laning import off_the_lane
from tests.races.world import World

# The ledger's times are hashed, so they stay. All others move with the clock.
_COLUMNS = """
SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position),
    string_agg(
        quote_ident(column_name)
        || CASE WHEN data_type = 'timestamp with time zone' AND table_name NOT LIKE 'ledger%' THEN ' + age' ELSE '' END,
        ', ' ORDER BY ordinal_position
    )
FROM information_schema.columns
WHERE table_schema = 'public'
    AND split_part(table_name, '_', 1) IN ('accounts', 'credentials', 'consent', 'marketplace', 'ledger', 'mfa')
GROUP BY table_name
"""

# Each runs at commit and reads what is committed by then, so an ending that it sees was committed before.
_JUDGES = {
    "issued": (
        ("consent_accesstoken", "INSERT"),
        ("consent_authorizationcode", "INSERT"),
        ("consent_refreshtoken", "INSERT OR UPDATE OF generation"),
    ),
    "consented": (("consent_consent", "INSERT OR UPDATE OF granted_at"),),
    "installed": (("marketplace_installation", "INSERT"),),
}
_VERDICTS = {
    "issued": """
        SELECT FROM consent_consent consent
        JOIN consent_access access ON access.id = consent.access_id
        LEFT JOIN accounts_membership member ON member.id = consent.membership_id
        WHERE consent.id = NEW.consent_id AND (
            access.ended_at IS NOT NULL OR consent.revoked_at IS NOT NULL
            OR (member.ended_at IS NOT NULL AND (SELECT locks_members FROM races.rules))
            OR NOT string_to_array(NEW.scope, ' ') <@ consent.granted::text[]
        )""",
    "consented": """
        SELECT FROM consent_access access
        JOIN credentials_client client ON client.id = access.client_id
        JOIN accounts_account account ON account.id = access.account_id
        LEFT JOIN accounts_membership member
            ON member.account_id = account.id AND member.user_id = NEW.granted_by_id AND member.ended_at IS NULL
        WHERE access.id = NEW.access_id AND (
            access.ended_at IS NOT NULL OR client.suspended_at IS NOT NULL OR account.suspended_at IS NOT NULL
            OR member.id IS NULL OR (client.level = 'account' AND member.role <> 'admin')
        )""",
    "installed": """
        SELECT FROM accounts_account account
        JOIN consent_access access ON access.id = NEW.access_id
        JOIN credentials_client client ON client.id = access.client_id
        JOIN marketplace_version version ON version.id = NEW.version_id
        LEFT JOIN accounts_membership member
            ON member.account_id = account.id AND member.user_id = NEW.installed_by_id AND member.ended_at IS NULL
        WHERE account.id = NEW.account_id AND (
            account.suspended_at IS NOT NULL OR client.suspended_at IS NOT NULL OR access.ended_at IS NOT NULL
            OR version.status NOT IN ('published', 'snapshot') OR member.id IS NULL OR member.role <> 'admin'
        )""",
}


class Stage:
    """The world of the races. `reset()` restores it with its times moved to now."""

    def __enter__(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled = 'A'")
            self.guards = cursor.fetchall()
        self.world = World()
        with transaction.atomic(), connection.cursor() as cursor:
            self._save(cursor)
            # The guards stay on, except for reset(), which bypasses them in replica mode.
            self._guards(cursor, "ENABLE TRIGGER")
            for name, verdict in _VERDICTS.items():
                cursor.execute(
                    f"""
                    CREATE FUNCTION races.{name}() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN
                        IF EXISTS ({verdict}) THEN
                            RAISE EXCEPTION '%: committed after an ending', TG_TABLE_NAME USING ERRCODE = '23001';
                        END IF;
                        RETURN NULL;
                    END $$
                    """
                )
                for table, event in _JUDGES[name]:
                    cursor.execute(
                        f"CREATE CONSTRAINT TRIGGER races_{name} AFTER {event} ON {table} "
                        f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION races.{name}()"
                    )
        return self

    def _save(self, cursor):
        cursor.execute(_COLUMNS)
        tables = cursor.fetchall()
        cursor.execute("CREATE SCHEMA races")
        cursor.execute("CREATE TABLE races.saved AS SELECT statement_timestamp() AS at")
        cursor.execute("CREATE TABLE races.rules AS SELECT false AS locks_members")
        steps = []
        for table, columns, values in tables:
            cursor.execute(f"CREATE TABLE races.{table} AS TABLE public.{table}")
            if table == "ledger_entry":
                # It has most of the rows, which never change.
                steps.append(f"DELETE FROM public.{table} WHERE id NOT IN (SELECT id FROM races.{table});")
                continue
            steps.append(
                f"DELETE FROM public.{table}; INSERT INTO public.{table} ({columns}) SELECT {values} FROM races.{table};"
            )
        cursor.execute(
            f"""
            CREATE FUNCTION races.reset() RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS $$
            DECLARE age interval := statement_timestamp() - (SELECT at FROM races.saved);
            BEGIN {" ".join(steps)} END $$
            """
        )

    def _guards(self, cursor, how):
        for table, name in self.guards:
            cursor.execute(f"ALTER TABLE {table} {how} {name}")

    def reset(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT races.reset()")
        return self.world

    @contextlib.contextmanager
    def off_the_lane(self):
        """Have Django alone answer, which issues nothing once a member has left; the fast lane leaves that to each check."""
        rule = "UPDATE races.rules SET locks_members = %s"
        with off_the_lane(), connection.cursor() as cursor:
            cursor.execute(rule, [True])
            try:
                yield
            finally:
                cursor.execute(rule, [False])

    def __exit__(self, *exception):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA races CASCADE")
            self._guards(cursor, "ENABLE ALWAYS TRIGGER")
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=True)
