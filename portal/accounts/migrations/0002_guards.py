from django.db import migrations

from portal.foundation import guards


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        guards.FUNCTIONS,
        *guards.never_removed("accounts_account"),
        *guards.never_changes("accounts_account", "slug", "test_of_team_id"),
        *guards.never_removed("accounts_membership"),
        *guards.never_changes("accounts_membership", "user_id", "account_id"),
        *guards.set_once("accounts_membership", "ended_at"),
        *guards.set_once("accounts_teammembership", "ended_at"),
        *guards.never_changes("accounts_user", "public_id"),
    ]
