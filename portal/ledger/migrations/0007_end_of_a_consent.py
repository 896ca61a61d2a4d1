from django.db import migrations

from portal.foundation import guards

# T5: only an Agree, which is timed within the transaction that writes it, moves the end of a consent later, by a year.
AGREED = """
CREATE OR REPLACE FUNCTION consent_consent_agreed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.expires_at > OLD.expires_at AND (
        NEW.granted_at <= OLD.granted_at
        OR NEW.granted_at NOT BETWEEN transaction_timestamp() AND clock_timestamp()
        OR NEW.expires_at - NEW.granted_at > interval '365 days'
    ) THEN
        RAISE EXCEPTION 'expires_at of consent_consent moves later only with granted_at, the time of the Agree' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0006_keys_never_change")]

    operations = [migrations.RunSQL(AGREED, migrations.RunSQL.noop), *guards.pinned()]
