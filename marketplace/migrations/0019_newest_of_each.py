from django.db import migrations
from django.db.models import Index, Q


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0018_erased_pictures")]

    operations = [
        migrations.AddIndex("app", Index(fields=["team", "-created_at", "-id"], name="apps_of_team_by_time")),
        migrations.AddIndex("version", Index(fields=["app", "-created_at", "-id"], name="version_of_app")),
        migrations.AddIndex("review", Index(fields=["decided_at"], name="review_by_time")),
        migrations.AddIndex(
            "installation",
            Index(
                fields=["account", "-installed_at", "id"],
                condition=Q(uninstalled_at=None),
                name="live_installation_of_account",
            ),
        ),
        # It takes the place of the same for all installations, of which only live ones are listed.
        migrations.RemoveIndex("installation", "installation_of_account"),
        migrations.AddIndex(
            "connection",
            Index(
                fields=["membership"],
                condition=Q(ended_at=None) & ~Q(broken_at=None),
                name="broken_connection_of_member",
            ),
        ),
    ]
