"""Close the rules in SQL on every guarded table; in one migration, since each app's guards lean on another's tables."""

from django.db import migrations

from portal.foundation import guards

# Sending an invitation again ends the link of the mail before.
SENT_AGAIN = """
BEGIN
    IF NEW.expires_at > OLD.expires_at AND NEW.token_hash IS NOT NULL THEN
        RAISE EXCEPTION 'expires_at of accounts_invitation moves later only with a new link' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""
# T5: nothing without a person's Agree moves the end of a consent later.
AGREED = """
BEGIN
    IF NEW.expires_at > OLD.expires_at AND NEW.granted_at <= OLD.granted_at THEN
        RAISE EXCEPTION 'expires_at of consent_consent moves later only with granted_at' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""
# T6: a token that was replaced is good for a minute after that, and no longer.
MOVES_ON = """
BEGIN
    IF NEW.generation = OLD.generation AND
        (NEW.current_made_at, NEW.previous_made_at) IS DISTINCT FROM (OLD.current_made_at, OLD.previous_made_at)
    THEN
        RAISE EXCEPTION 'a family’s times move only with its generation' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0005_key_periods"),
        ("accounts", "0008_notices"),
        ("credentials", "0006_endpoint_of_scope"),
        ("consent", "0011_services"),
        ("marketplace", "0011_services_of_accesses"),
    ]

    operations = [
        guards.DIRECTIONS,
        # Removed and made anew, a row would be another under the same key.
        *guards.never_removed("accounts_user"),
        *guards.never_removed("accounts_team"),
        *guards.never_changes("accounts_team", "public_id"),
        *guards.key_never_changes("accounts_user"),
        *guards.key_never_changes("accounts_team"),
        *guards.key_never_changes("accounts_account"),
        *guards.key_never_changes("accounts_membership"),
        *guards.key_never_changes("accounts_teammembership"),
        *guards.key_never_changes("accounts_invitation"),
        *guards.checked("accounts_invitation", "sent_again", "UPDATE OF expires_at", SENT_AGAIN),
        *guards.only_grows("credentials_client", "not_before"),
        *guards.only_earlier("credentials_clientsecret", "expires_at"),
        *guards.never_removed("credentials_product"),
        *guards.never_removed("credentials_productsecret"),
        *guards.never_changes("credentials_productsecret", "product_id", "hash", "prefix", "created_at"),
        *guards.only_earlier("credentials_productsecret", "expires_at"),
        *guards.key_never_changes("credentials_clientsecret"),
        *guards.key_never_changes("credentials_endpoint"),
        *guards.key_never_changes("credentials_product"),
        *guards.key_never_changes("credentials_productsecret"),
        *guards.key_never_changes("credentials_scope"),
        *guards.only_grows("consent_consent", "granted_at", "revision"),
        *guards.checked("consent_consent", "agreed", "UPDATE OF expires_at", AGREED),
        *guards.only_grows("consent_refreshtoken", "generation"),
        *guards.checked("consent_refreshtoken", "moves_on", "UPDATE OF current_made_at, previous_made_at", MOVES_ON),
        *guards.only_earlier("consent_authorizationcode", "expires"),
        *guards.key_never_changes("consent_access"),
        *guards.key_never_changes("consent_consent"),
        *guards.key_never_changes("consent_refreshtoken"),
        *guards.key_never_changes("consent_authorizationcode"),
        *guards.key_never_changes("consent_accesstoken"),
        *guards.key_never_changes("marketplace_app"),
        *guards.key_never_changes("marketplace_version"),
        *guards.key_never_changes("marketplace_installation"),
        *guards.key_never_changes("marketplace_offer"),
        *guards.key_never_changes("marketplace_connection"),
        *guards.key_never_changes("marketplace_vendorsecret"),
        *guards.only_grows("ledger_chain", "length", "checkpointed"),
        *guards.pinned(),
    ]
