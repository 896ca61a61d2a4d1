import django.db.models.functions.datetime
from django.db import migrations, models

from portal.accounts.lookalikes import look_of


def _look_again(apps, schema_editor):
    """Which names look alike is now judged otherwise."""
    Team = apps.get_model("accounts", "Team")
    looks = {}
    # Of teams that look alike now, the one that was verified first keeps the name to itself, or else the oldest.
    teams = Team.objects.exclude(look="").order_by("verified_at", "pk")
    for pk, name in teams.values_list("pk", "name").iterator():
        looks.setdefault(look_of(name), pk)
    Team.objects.exclude(look="").update(look="")
    for look, pk in looks.items():
        Team.objects.filter(pk=pk).update(look=look)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_mail"),
    ]

    operations = [
        migrations.CreateModel(
            name="SuspensionNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("submitted", "Submitted for review"),
                            ("taken_back", "Submission canceled"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("suspended", "Suspended"),
                            ("lifted", "Suspension lifted"),
                            ("lifted_after_leak", "Suspension lifted, earlier tokens and secrets ended"),
                        ],
                        max_length=20,
                    ),
                ),
                ("subject", models.CharField(max_length=120)),
                ("name", models.CharField(max_length=100)),
                ("developer", models.CharField(blank=True, max_length=80)),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("told_up_to", models.BigIntegerField(default=0)),
                ("told_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("told_at", None)), fields=["made_at"], name="suspension_to_mail"),
                    models.Index(fields=["subject", "id"], name="suspensions_of_a_subject"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["suspended", "lifted", "lifted_after_leak"])),
                        name="suspension_notice_kind_is_known",
                    )
                ],
            },
        ),
        migrations.RunPython(_look_again, migrations.RunPython.noop),
    ]
