from django.db import migrations, models


def note_what_cannot_be_renewed(apps, schema_editor):
    """A refresh token is in an encrypted column; without one there is nothing to wait for."""
    connections = apps.get_model("marketplace", "Connection").objects
    connections.filter(refresh_at=None, broken_at=None, ended_at=None, expires_at__isnull=False).update(renews=False)
    connections.filter(broken_at__isnull=False, problem="").update(renews=False)


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0009_taken_back")]

    operations = [
        migrations.AddField("connection", "renews", models.BooleanField(db_default=True, default=True)),
        migrations.AddField("connection", "lifetime", models.PositiveBigIntegerField(null=True)),
        migrations.AddField("connection", "missing_scopes", models.JSONField(db_default=[], default=list)),
        migrations.AddField("connection", "revocation_url", models.TextField(null=True)),
        migrations.RunPython(note_what_cannot_be_renewed, migrations.RunPython.noop, elidable=True),
    ]
