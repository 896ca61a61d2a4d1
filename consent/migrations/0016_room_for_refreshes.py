"""Leave room in each page of families, so that a refresh writes to no index: PostgreSQL's heap-only update."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("consent", "0015_one_guard_of_generations")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE consent_refreshtoken SET (fillfactor = 80)",
            "ALTER TABLE consent_refreshtoken RESET (fillfactor)",
        ),
    ]
