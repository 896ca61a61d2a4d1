"""Guards: rules that the database itself enforces by triggers, which no session setting turns off. Migration operations."""

from django.db.migrations import RunSQL

# ALWAYS: they fire under session_replication_role = replica too.
_TRIGGER = """
CREATE TRIGGER {name} BEFORE {event} ON {table} {each} EXECUTE FUNCTION {function};
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name};
"""

# A table that has constraints still to be checked cannot be altered.
_UNGUARDED = """
SET CONSTRAINTS ALL IMMEDIATE;
DO $unguarded$
DECLARE
    guards name[] := ARRAY(
        SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND tgenabled = 'A' AND NOT tgisinternal
    );
    guard name;
BEGIN
    FOREACH guard IN ARRAY guards LOOP
        EXECUTE format('ALTER TABLE {table} DISABLE TRIGGER %I', guard);
    END LOOP;
    {sql};
    FOREACH guard IN ARRAY guards LOOP
        EXECUTE format('ALTER TABLE {table} ENABLE ALWAYS TRIGGER %I', guard);
    END LOOP;
END $unguarded$;
SET CONSTRAINTS ALL DEFERRED;
"""

FUNCTIONS = RunSQL(
    """
    CREATE FUNCTION portal_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% of % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$;

    CREATE FUNCTION portal_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE col text;
    BEGIN
        FOREACH col IN ARRAY TG_ARGV LOOP
            IF to_jsonb(OLD) -> col IS DISTINCT FROM to_jsonb(NEW) -> col THEN
                RAISE EXCEPTION '% of % never changes', col, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
            END IF;
        END LOOP;
        RETURN NEW;
    END $$;

    CREATE FUNCTION portal_set_once() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE col text;
    BEGIN
        FOREACH col IN ARRAY TG_ARGV LOOP
            IF to_jsonb(OLD) ->> col IS NOT NULL AND to_jsonb(OLD) -> col IS DISTINCT FROM to_jsonb(NEW) -> col THEN
                RAISE EXCEPTION '% of %, once set, never changes', col, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
            END IF;
        END LOOP;
        RETURN NEW;
    END $$;
    """,
    """
    DROP FUNCTION portal_refuse(); DROP FUNCTION portal_never_changes(); DROP FUNCTION portal_set_once();
    """,
)


# A time that ends something goes from null to a time, or to an earlier one. A number, or a time before which everything has ended, only grows.
DIRECTIONS = RunSQL(
    """
    CREATE FUNCTION portal_only_earlier() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE col text; before timestamptz; after timestamptz;
    BEGIN
        FOREACH col IN ARRAY TG_ARGV LOOP
            before := to_jsonb(OLD) ->> col;
            after := to_jsonb(NEW) ->> col;
            IF before IS NOT NULL AND (after IS NULL OR after > before) THEN
                RAISE EXCEPTION '% of % only moves earlier', col, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
            END IF;
        END LOOP;
        RETURN NEW;
    END $$;

    CREATE FUNCTION portal_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE col text; before jsonb; after jsonb; shrinks boolean;
    BEGIN
        FOREACH col IN ARRAY TG_ARGV LOOP
            before := to_jsonb(OLD) -> col;
            after := to_jsonb(NEW) -> col;
            IF jsonb_typeof(before) = 'number' THEN
                shrinks := after < before;
            ELSE
                shrinks := (after #>> '{}')::timestamptz < (before #>> '{}')::timestamptz;
            END IF;
            IF shrinks OR (before <> 'null' AND after = 'null') THEN
                RAISE EXCEPTION '% of % only grows', col, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
            END IF;
        END LOOP;
        RETURN NEW;
    END $$;
    """,
    "DROP FUNCTION portal_only_earlier(); DROP FUNCTION portal_only_grows();",
)

# pg_temp last: unless it is named, a temporary table comes before all others of its name.
_PIN = """
DO $pin$
DECLARE guard regprocedure;
BEGIN
    FOR guard IN
        SELECT DISTINCT tgfoid FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE tgenabled = 'A' AND NOT tgisinternal AND relnamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', guard, current_schema());
    END LOOP;
END $pin$;
"""


def pinned() -> list[RunSQL]:
    """Make every guard's function use the portal's own tables, whatever search_path and temporary tables a session has.

    A migration that replaces a function with its own SQL must call this last, since replacing drops the setting.
    """
    return [RunSQL(_PIN, RunSQL.noop)]


def _trigger(table: str, name: str, event: str, each: str, function: str) -> RunSQL:
    return RunSQL(
        _TRIGGER.format(table=table, name=name, event=event, each=each, function=function),
        f"DROP TRIGGER {name} ON {table};",
    )


def key_never_changes(table: str) -> list[RunSQL]:
    """Keep the primary key, `id`, unchanged, so that rows referring to it keep their meaning."""
    return [_trigger(table, f"{table}_key_never_changes", "UPDATE OF id", "FOR EACH ROW", "portal_never_changes(id)")]


def only_earlier(table: str, *columns: str) -> list[RunSQL]:
    """Once set, the times only move earlier, and are never cleared."""
    function = f"portal_only_earlier({', '.join(columns)})"
    return [_trigger(table, f"{table}_only_earlier", f"UPDATE OF {', '.join(columns)}", "FOR EACH ROW", function)]


def only_grows(table: str, *columns: str) -> list[RunSQL]:
    """The numbers or times only grow, and are never cleared."""
    function = f"portal_only_grows({', '.join(columns)})"
    return [_trigger(table, f"{table}_only_grows", f"UPDATE OF {', '.join(columns)}", "FOR EACH ROW", function)]


def never_removed(table: str) -> list[RunSQL]:
    """Refuse DELETE and TRUNCATE."""
    return [
        _trigger(table, f"{table}_never_deleted", "DELETE", "FOR EACH ROW", "portal_refuse()"),
        _trigger(table, f"{table}_never_truncated", "TRUNCATE", "FOR EACH STATEMENT", "portal_refuse()"),
    ]


def insert_only(table: str) -> list[RunSQL]:
    """Refuse UPDATE, DELETE and TRUNCATE."""
    return [
        *never_removed(table),
        _trigger(table, f"{table}_never_updated", "UPDATE", "FOR EACH ROW", "portal_refuse()"),
    ]


def never_changes(table: str, *columns: str) -> list[RunSQL]:
    """The columns keep the values they were inserted with."""
    function = f"portal_never_changes({', '.join(columns)})"
    return [_trigger(table, f"{table}_never_changes", f"UPDATE OF {', '.join(columns)}", "FOR EACH ROW", function)]


def set_once(table: str, *columns: str) -> list[RunSQL]:
    """The columns may go from null to a value, which they then keep."""
    function = f"portal_set_once({', '.join(columns)})"
    return [_trigger(table, f"{table}_set_once", f"UPDATE OF {', '.join(columns)}", "FOR EACH ROW", function)]


def rewritten(table: str, forwards: str, backwards: str) -> list[RunSQL]:
    """Change existing rows by SQL as the table's owner: lift the guards and restore them in the same transaction."""
    return [RunSQL(_UNGUARDED.format(table=table, sql=forwards), _UNGUARDED.format(table=table, sql=backwards))]


def checked(table: str, name: str, event: str, body: str) -> list[RunSQL]:
    """Before each row's `event`, run `body`: PL/pgSQL that raises if the row must not be written."""
    function = f"{table}_{name}"
    return [
        RunSQL(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$;",
            f"DROP FUNCTION {function}();",
        ),
        _trigger(table, function, event, "FOR EACH ROW", f"{function}()"),
        *pinned(),
    ]
