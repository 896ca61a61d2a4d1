from django.db import migrations

from portal.foundation import guards

# T1: consent ⊆ terms (platform) or client (external); the membership is of the account, and only at agent level.
CONSENT = """
DECLARE about record;
BEGIN
    SELECT access.*, client.kind, client.level INTO about
    FROM consent_access access JOIN credentials_client client ON client.id = access.client_id
    WHERE access.id = NEW.access_id;
    IF about.kind = 'platform' AND NOT NEW.granted <@ (about.required_scopes || about.optional_scopes) THEN
        RAISE EXCEPTION 'a consent cannot go beyond its terms' USING ERRCODE = 'restrict_violation';
    END IF;
    IF EXISTS (
        SELECT unnest(NEW.granted) EXCEPT
        SELECT scope.name FROM credentials_clientscope held JOIN credentials_scope scope ON scope.id = held.scope_id
        WHERE held.client_id = about.client_id
    ) THEN
        RAISE EXCEPTION 'a consent cannot go beyond its client' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (about.level = 'agent') <> (NEW.membership_id IS NOT NULL) THEN
        RAISE EXCEPTION 'a consent names a member at agent level, and only there' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.membership_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM accounts_membership WHERE id = NEW.membership_id AND account_id = about.account_id
    ) THEN
        RAISE EXCEPTION 'a consent is of a member of its account' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""

# T1: code, family and access token ⊆ consent.
ISSUED = """
BEGIN
    IF NOT string_to_array(NEW.scope, ' ') <@ (SELECT granted::text[] FROM consent_consent WHERE id = NEW.consent_id) THEN
        RAISE EXCEPTION '% cannot go beyond its consent', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0001_initial"), ("credentials", "0002_guards")]

    operations = [
        *guards.never_removed("consent_access"),
        *guards.never_changes("consent_access", "client_id", "account_id", "installation_id", "opened_at"),
        *guards.set_once("consent_access", "ended_at"),
        *guards.never_removed("consent_consent"),
        *guards.never_changes("consent_consent", "access_id", "membership_id"),
        *guards.set_once("consent_consent", "revoked_at"),
        *guards.checked("consent_consent", "nests", "INSERT OR UPDATE OF granted", CONSENT),
        *guards.never_removed("consent_refreshtoken"),
        *guards.never_changes("consent_refreshtoken", "consent_id", "salt", "created_at"),
        *guards.set_once("consent_refreshtoken", "ended_at"),
        *guards.checked("consent_refreshtoken", "nests", "INSERT OR UPDATE OF scope", ISSUED),
        *guards.never_changes("consent_authorizationcode", "consent_id", "code", "redirect_uri", "code_challenge"),
        *guards.set_once("consent_authorizationcode", "used_at", "family_id"),
        *guards.checked("consent_authorizationcode", "nests", "INSERT OR UPDATE OF scope", ISSUED),
        *guards.never_changes("consent_accesstoken", "consent_id", "token_checksum", "expires", "created"),
        *guards.set_once("consent_accesstoken", "revoked_at"),
        *guards.checked("consent_accesstoken", "nests", "INSERT OR UPDATE OF scope", ISSUED),
    ]
