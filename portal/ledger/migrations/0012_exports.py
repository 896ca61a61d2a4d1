import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0011_times_never_run_backwards"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=4)),
                ("query", models.JSONField(default=dict)),
                ("time_zone", models.CharField(blank=True, max_length=60)),
                ("language", models.CharField(max_length=20)),
                ("places", models.JSONField(default=list)),
                ("checkpoints", models.JSONField(default=list)),
                ("place", models.PositiveIntegerField(default=0)),
                ("after", models.BigIntegerField(default=0)),
                ("whole", models.BigIntegerField()),
                ("looked_at", models.BigIntegerField(default=0)),
                ("count", models.BigIntegerField(default=0)),
                ("size", models.BigIntegerField(default=0)),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("worked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("done_at", models.DateTimeField(null=True)),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("done_at", None)), fields=["worked_at"], name="export_to_write"),
                    models.Index(fields=["asked_at"], name="export_by_age"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ExportPiece",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                ("count", models.PositiveIntegerField(default=0)),
                ("lines", models.BinaryField(default=bytes)),
                (
                    "export",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pieces",
                        to="ledger.export",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("export", "number"), name="one_piece_per_export_and_number")
                ],
            },
        ),
    ]
