from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """A team's one set of test credentials, and secrets that are made to try the flow with."""

    dependencies = [
        ("accounts", "0011_mail"),
        ("credentials", "0010_what_home_looks_for"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="client",
            name="is_for_trying",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="clientsecret",
            name="is_for_trying",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name="client",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_for_trying", True)),
                fields=("team",),
                name="one_set_of_test_credentials_per_team",
            ),
        ),
        migrations.AddConstraint(
            model_name="clientsecret",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_for_trying", False), ("expires_at__isnull", False), _connector="OR"),
                name="secret_for_trying_expires",
            ),
        ),
    ]
