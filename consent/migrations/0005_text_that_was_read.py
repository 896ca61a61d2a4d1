import django.db.models.deletion
from django.db import migrations, models

from portal.foundation import guards


class Migration(migrations.Migration):
    dependencies = [("consent", "0004_terms_hold")]

    operations = [
        migrations.CreateModel(
            name="ShownText",
            fields=[
                ("id", models.CharField(editable=False, max_length=64, primary_key=True, serialize=False)),
                ("words", models.JSONField()),
            ],
        ),
        migrations.AddField(
            model_name="consent",
            name="text",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="consents",
                to="consent.showntext",
            ),
        ),
        *guards.insert_only("consent_showntext"),
    ]
