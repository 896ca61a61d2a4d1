from django.conf import settings
from django.db import migrations
from django.db.models import Index, Q


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_mail"),
        ("consent", "0019_trial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            "access",
            Index(fields=["account", "-opened_at", "id"], condition=Q(ended_at=None), name="live_access_of_account"),
        ),
        migrations.AddIndex(
            "consent",
            Index(fields=["granted_by", "-granted_at", "id"], condition=~Q(membership=None), name="consent_of_person"),
        ),
    ]
