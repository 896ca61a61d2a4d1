from django.db import migrations

from portal.foundation import guards

# T1, from the other side: no terms narrower than a consent under them that nobody ended.
TERMS = """
BEGIN
    IF EXISTS (
        SELECT FROM consent_consent
        WHERE access_id = NEW.id AND revoked_at IS NULL AND NOT granted <@ (NEW.required_scopes || NEW.optional_scopes)
    ) THEN
        RAISE EXCEPTION 'terms cannot be narrower than a consent' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0003_told_of_ends")]

    operations = guards.checked("consent_access", "terms_hold", "UPDATE OF required_scopes, optional_scopes", TERMS)
