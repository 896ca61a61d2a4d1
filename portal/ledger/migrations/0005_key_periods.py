import django.db.models.functions.datetime
from django.db import migrations, models

from portal.foundation import guards

# Nobody who can write to the table can date a period back or forward.
CLOCK = """
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.from_at := clock_timestamp();
        NEW.until_at := NULL;
    ELSIF NEW.until_at IS NOT NULL THEN
        NEW.until_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_chain_checkpointed")]

    operations = [
        migrations.CreateModel(
            name="KeyPeriod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=43)),
                ("from_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("until_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["key", "from_at"], name="period_of_a_key")],
                "constraints": [
                    models.UniqueConstraint(fields=("until_at",), name="one_key_signs_at_a_time", nulls_distinct=False)
                ],
            },
        ),
        *guards.never_removed("ledger_keyperiod"),
        *guards.never_changes("ledger_keyperiod", "id", "key", "from_at"),
        *guards.checked("ledger_keyperiod", "clock", "INSERT OR UPDATE OF until_at", CLOCK),
        *guards.set_once("ledger_keyperiod", "until_at"),
    ]
