from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0010_words_of_entries"),
    ]

    operations = [
        migrations.AddField(
            model_name="entry",
            name="act_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("act_at", None), _negated=True),
                fields=["act_at"],
                name="ledger_later_than_act",
            ),
        ),
    ]
