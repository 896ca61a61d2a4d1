from django.db import migrations, models

import portal.foundation.encryption
from portal.foundation import guards

BEFORE = """
CREATE TRIGGER consent_accesstoken_never_changes BEFORE UPDATE OF {columns} ON consent_accesstoken
FOR EACH ROW EXECUTE FUNCTION portal_never_changes({columns});
ALTER TABLE consent_accesstoken ENABLE ALWAYS TRIGGER consent_accesstoken_never_changes;
"""


class Migration(migrations.Migration):
    """What a developer's session is trying with their credentials, kept for an hour.

    An access token may expire before its time, which a developer tries too; it never lives longer.
    """

    dependencies = [("consent", "0018_expired_lately"), ("ledger", "0006_keys_never_change")]

    operations = [
        migrations.CreateModel(
            name="Trial",
            fields=[
                ("key", models.CharField(editable=False, max_length=64, primary_key=True, serialize=False)),
                ("state", portal.foundation.encryption.EncryptedField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={"indexes": [models.Index(fields=["expires_at"], name="trial_to_erase")]},
        ),
        migrations.RunSQL(
            "DROP TRIGGER consent_accesstoken_never_changes ON consent_accesstoken;",
            BEFORE.format(columns="consent_id, token_checksum, expires, created"),
        ),
        *guards.never_changes("consent_accesstoken", "consent_id", "token_checksum", "created"),
        *guards.only_earlier("consent_accesstoken", "expires"),
    ]
