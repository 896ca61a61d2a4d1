from django.db import migrations

from portal.foundation import guards


class Migration(migrations.Migration):
    dependencies = [("credentials", "0001_initial"), ("accounts", "0002_guards")]

    operations = [
        # C1, C4
        *guards.never_removed("credentials_client"),
        *guards.never_changes(
            "credentials_client", "id", "client_id", "name", "kind", "level", "team_id", "user_id", "created"
        ),
        # C2
        *guards.insert_only("credentials_clientscope"),
        # C6
        *guards.checked(
            "credentials_clientscope",
            "not_deprecated",
            "INSERT",
            """
            BEGIN
                IF EXISTS (SELECT FROM credentials_scope WHERE id = NEW.scope_id AND deprecated_at IS NOT NULL) THEN
                    RAISE EXCEPTION 'a deprecated scope cannot be added' USING ERRCODE = 'restrict_violation';
                END IF;
                RETURN NEW;
            END
            """,
        ),
        # C3
        *guards.never_removed("credentials_clientsecret"),
        *guards.never_changes("credentials_clientsecret", "client_id", "hash", "prefix", "created_at"),
        *guards.checked(
            "credentials_clientsecret",
            "at_most_two_active",
            "INSERT",
            """
            BEGIN
                PERFORM FROM credentials_client WHERE id = NEW.client_id FOR NO KEY UPDATE;
                IF (
                    SELECT count(*) >= 2 FROM credentials_clientsecret
                    WHERE client_id = NEW.client_id AND (expires_at IS NULL OR expires_at > clock_timestamp())
                ) THEN
                    RAISE EXCEPTION 'a client has at most two active secrets' USING ERRCODE = 'restrict_violation';
                END IF;
                RETURN NEW;
            END
            """,
        ),
        *guards.never_changes("credentials_scope", "name", "product_id"),
        *guards.never_removed("credentials_scope"),
    ]
