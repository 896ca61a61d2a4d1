import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from portal.foundation import guards


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_encrypt_second_factors"),
    ]

    operations = [
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("email", models.EmailField(blank=True, max_length=254)),
                ("role", models.CharField(max_length=10)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField()),
                ("token_hash", models.CharField(max_length=64, null=True, unique=True)),
                ("told_at", models.DateTimeField(null=True)),
                ("accepted_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invitations",
                        to="accounts.account",
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invitations",
                        to="accounts.team",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("told_at", None)), fields=["expires_at"], name="invitation_to_mail"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at", None), ("revoked_at", None)),
                        fields=("account", "team", "email"),
                        name="one_open_invitation_per_place_and_address",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("account__isnull", False), ("role__in", ["admin", "agent"]), ("team", None)),
                            models.Q(("account", None), ("role__in", ["owner", "member"]), ("team__isnull", False)),
                            _connector="OR",
                        ),
                        name="invitation_is_to_one_place_in_a_role_of_it",
                    ),
                ],
            },
        ),
        *guards.never_removed("accounts_invitation"),
        *guards.never_changes("accounts_invitation", "account_id", "team_id", "role", "created_at"),
        *guards.set_once("accounts_invitation", "accepted_at", "accepted_by_id", "revoked_at"),
        # As those of accounts: a place once given is history.
        *guards.never_removed("accounts_teammembership"),
        *guards.never_changes("accounts_teammembership", "user_id", "team_id"),
    ]
