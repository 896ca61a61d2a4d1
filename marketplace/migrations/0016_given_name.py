from django.db import migrations, models

import portal.foundation.text


class Migration(migrations.Migration):
    """An app has a name before it has a version."""

    dependencies = [("marketplace", "0015_words_that_people_read")]

    operations = [
        migrations.AddField(
            model_name="app",
            name="given_name",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                max_length=60,
                validators=[portal.foundation.text.validate_readable],
                verbose_name="name",
            ),
        ),
    ]
