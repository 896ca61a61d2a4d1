"""Guard a family's generation and times with one trigger, without jsonb (T6)."""

from django.db import migrations

from portal.foundation import guards

TABLE = "consent_refreshtoken"
TIMES_FOLLOW_GENERATION = """
    IF NEW.generation = OLD.generation AND
        (NEW.current_made_at, NEW.previous_made_at) IS DISTINCT FROM (OLD.current_made_at, OLD.previous_made_at)
    THEN
        RAISE EXCEPTION 'a family’s times move only with its generation' USING ERRCODE = 'restrict_violation';
    END IF;
"""
ONLY_GROWS = f"""
    IF NEW.generation < OLD.generation THEN
        RAISE EXCEPTION 'generation of {TABLE} only grows' USING ERRCODE = 'restrict_violation';
    END IF;
"""
REPLACED = [
    *guards.only_grows(TABLE, "generation"),
    *guards.checked(
        TABLE,
        "moves_on",
        "UPDATE OF current_made_at, previous_made_at",
        f"BEGIN {TIMES_FOLLOW_GENERATION} RETURN NEW; END",
    ),
]


class Migration(migrations.Migration):
    dependencies = [("consent", "0014_pages_of_many"), ("ledger", "0009_own_acts_in_a_chain")]

    operations = [
        *(migrations.RunSQL(guard.reverse_sql, guard.sql) for guard in reversed(REPLACED)),
        *guards.checked(
            TABLE,
            "moves_on",
            "UPDATE OF generation, current_made_at, previous_made_at",
            f"BEGIN {ONLY_GROWS} {TIMES_FOLLOW_GENERATION} RETURN NEW; END",
        ),
    ]
