import django.contrib.postgres.indexes
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0011_services_of_accesses")]

    operations = [
        migrations.AddIndex(
            model_name="app",
            index=django.contrib.postgres.indexes.GinIndex(fields=["custom_accounts"], name="app_for_accounts"),
        ),
    ]
