from django.db import migrations

from portal.foundation import guards


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial"), ("accounts", "0002_guards")]

    operations = [
        *guards.insert_only("ledger_entry"),
        *guards.never_removed("ledger_chain"),
        *guards.never_changes("ledger_chain", "name"),
    ]
