from django.db import migrations, models

# What is known of the time before: families keep theirs, access tokens theirs for a day.
KNOWN = """
UPDATE consent_consent SET last_issued_at = issued.at
FROM (
    SELECT consent_id, max(at) AS at FROM (
        SELECT consent_id, current_made_at AS at FROM consent_refreshtoken
        UNION ALL SELECT consent_id, created FROM consent_accesstoken
    ) AS each GROUP BY consent_id
) AS issued
WHERE issued.consent_id = consent_consent.id
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0006_confirmed")]

    operations = [
        migrations.AddField(model_name="consent", name="last_issued_at", field=models.DateTimeField(null=True)),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
    ]
