import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.foundation.encryption
from portal.foundation import guards

# M2: all of a version but its status and what goes with that; a column that is added later is frozen too.
FROZEN = """
CREATE OR REPLACE FUNCTION marketplace_version_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moves text[] := ARRAY['status', 'submitted_at', 'published_at'];
BEGIN
    IF OLD.status <> 'draft' AND to_jsonb(OLD) - moves IS DISTINCT FROM to_jsonb(NEW) - moves THEN
        RAISE EXCEPTION 'a submitted version is frozen' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.status <> NEW.status AND NOT (
        (OLD.status, NEW.status) IN (
            ('draft', 'in_review'), ('in_review', 'approved'), ('in_review', 'rejected'),
            ('approved', 'published'), ('published', 'withdrawn')
        )
        OR (OLD.status, NEW.status, NEW.audience) = ('draft', 'published', 'custom')
    ) THEN
        RAISE EXCEPTION 'a version cannot go from % to %', OLD.status, NEW.status USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""

# M1. The names of integrations are unique: they are the keys of an object.
_INTEGRATIONS = """'$."config/oauth_config.json".integrations.*"""
COUNTED = f"""
ALTER TABLE marketplace_version
    ADD CONSTRAINT version_has_at_most_three_integrations
    CHECK (jsonb_array_length(jsonb_path_query_array(package, {_INTEGRATIONS}')) <= 3),
    ADD CONSTRAINT version_has_at_most_one_agent_level_integration
    CHECK (jsonb_array_length(jsonb_path_query_array(package, {_INTEGRATIONS} ? (@.token_type == "agent")')) <= 1);
"""
UNCOUNTED = """
ALTER TABLE marketplace_version
    DROP CONSTRAINT version_has_at_most_three_integrations,
    DROP CONSTRAINT version_has_at_most_one_agent_level_integration;
"""
# M1, C4: of the portal's own credentials only the app's, in one integration.
FIRST_PARTY = f"""
DECLARE own text := (
    SELECT client.client_id FROM marketplace_app app JOIN credentials_client client ON client.id = app.client_id
    WHERE app.id = NEW.app_id
);
DECLARE used text[] := ARRAY(
    SELECT id #>> '{{}}' FROM jsonb_path_query(NEW.package, {_INTEGRATIONS}.client_id') id
    WHERE id #>> '{{}}' IN (SELECT client_id FROM credentials_client)
);
BEGIN
    IF cardinality(used) > 1 OR (cardinality(used) = 1 AND used[1] IS DISTINCT FROM own) THEN
        RAISE EXCEPTION 'a version has one first-party integration at most, with the credentials of its app' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0004_readable_names"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="version",
            name="package",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.RunSQL(FROZEN, migrations.RunSQL.noop),
        migrations.RunSQL(COUNTED, UNCOUNTED),
        *guards.checked("marketplace_version", "first_party", "INSERT OR UPDATE OF package", FIRST_PARTY),
        migrations.CreateModel(
            name="VendorSecret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("integration", models.CharField(max_length=50)),
                ("secret", portal.foundation.encryption.EncryptedField()),
                ("saved_at", models.DateTimeField()),
                (
                    "app",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="vendor_secrets", to="marketplace.app"
                    ),
                ),
                (
                    "saved_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("app", "integration"), name="one_vendor_secret_per_app_and_integration"
                    )
                ],
            },
        ),
    ]
