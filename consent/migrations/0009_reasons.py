from django.conf import settings
from django.db import migrations, models

from portal.foundation import guards

# What each reason was written as before.
ACCESS = {
    "uninstalled": "uninstalled",
    "discarded": "discarded before it was finished",
    "revoked": "revoked by an admin",
}
CONSENT = {
    "revoked": "revoked",
    "revoked_for_all": "revoked for all agents",
    "replaced": "replaced",
    "expired": "expired",
}
FAMILY = {
    "reused": "a refresh token was used again after it had been replaced",
    "code_reused": "its authorization code was used again",
    "given_back": "revoked by the client",
    "access_ended": "access ended",
    "consent_ended": "consent ended",
}


def rewritten(table, sentences):
    """Words that are no known reason become `other` and are kept in `reason_note`."""
    forwards = " ".join(f"WHEN '{sentence}' THEN '{value}'" for value, sentence in sentences.items())
    backwards = " ".join(f"WHEN '{value}' THEN '{sentence}'" for value, sentence in sentences.items())
    known = ", ".join(f"'{sentence}'" for sentence in sentences.values())
    return guards.rewritten(
        table,
        f"""
        UPDATE {table} SET
            reason = CASE reason {forwards} ELSE 'other' END,
            reason_note = CASE WHEN reason IN ({known}) THEN '' ELSE reason END
        WHERE reason <> ''
        """,
        f"UPDATE {table} SET reason = CASE reason {backwards} ELSE reason_note END WHERE reason <> ''",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_addresses"),
        ("consent", "0008_failure"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        migrations.swappable_dependency(settings.OAUTH2_PROVIDER_APPLICATION_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="access",
            name="reason_note",
            field=models.CharField(blank=True, db_default="", max_length=200),
        ),
        migrations.AddField(
            model_name="consent",
            name="reason_note",
            field=models.CharField(blank=True, db_default="", max_length=200),
        ),
        migrations.AddField(
            model_name="refreshtoken",
            name="reason_note",
            field=models.CharField(blank=True, db_default="", max_length=200),
        ),
        *rewritten("consent_access", ACCESS),
        *rewritten("consent_consent", CONSENT),
        *rewritten("consent_refreshtoken", FAMILY),
        migrations.AlterField(
            model_name="access",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("uninstalled", "Uninstalled"),
                    ("discarded", "Discarded before the installation was finished"),
                    ("revoked", "Revoked by an admin"),
                    ("other", "Ended for another reason"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="consent",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("revoked", "Revoked"),
                    ("revoked_for_all", "Revoked for all agents"),
                    ("replaced", "Replaced by a new agreement"),
                    ("expired", "Expired"),
                    ("other", "Ended for another reason"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="refreshtoken",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("reused", "A refresh token was used again after it had been replaced"),
                    ("code_reused", "The authorization code was used again"),
                    ("given_back", "Revoked by the app"),
                    ("access_ended", "All access had ended"),
                    ("consent_ended", "The agreement had ended"),
                    ("other", "Ended for another reason"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="access",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason__in", ["", "uninstalled", "discarded", "revoked", "other"])),
                name="access_reason_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="consent",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason__in", ["", "revoked", "revoked_for_all", "replaced", "expired", "other"])),
                name="consent_reason_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="refreshtoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "reason__in",
                        ["", "reused", "code_reused", "given_back", "access_ended", "consent_ended", "other"],
                    )
                ),
                name="family_reason_is_known",
            ),
        ),
    ]
