from django.db import migrations

from portal.foundation import guards

# M2, and the table of allowed transitions.
FROZEN = """
BEGIN
    IF OLD.status <> 'draft' AND
        (OLD.number, OLD.release_notes, OLD.name, OLD.tagline, OLD.description, OLD.icon, OLD.install_url,
         OLD.required_scopes, OLD.optional_scopes, OLD.audience)
        IS DISTINCT FROM
        (NEW.number, NEW.release_notes, NEW.name, NEW.tagline, NEW.description, NEW.icon, NEW.install_url,
         NEW.required_scopes, NEW.optional_scopes, NEW.audience)
    THEN
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
END
"""

# C4: a platform client of the same team. T1: version ⊆ client.
CLIENT = """
BEGIN
    IF NEW.client_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM credentials_client WHERE id = NEW.client_id AND team_id = NEW.team_id AND kind = 'platform'
    ) THEN
        RAISE EXCEPTION 'an app has a platform client of its own team' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""
NESTS = """
BEGIN
    IF EXISTS (
        SELECT unnest(NEW.required_scopes || NEW.optional_scopes) EXCEPT
        SELECT scope.name FROM marketplace_app app
        JOIN credentials_clientscope held ON held.client_id = app.client_id
        JOIN credentials_scope scope ON scope.id = held.scope_id
        WHERE app.id = NEW.app_id
    ) THEN
        RAISE EXCEPTION 'a version cannot go beyond its client' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.required_scopes && NEW.optional_scopes THEN
        RAISE EXCEPTION 'a scope is required or optional, not both' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0001_initial"), ("consent", "0002_guards")]

    operations = [
        *guards.never_removed("marketplace_app"),
        *guards.never_changes("marketplace_app", "slug", "team_id"),
        *guards.set_once("marketplace_app", "client_id"),
        *guards.checked("marketplace_app", "client_fits", "INSERT OR UPDATE OF client_id", CLIENT),
        *guards.never_removed("marketplace_version"),
        *guards.checked("marketplace_version", "frozen", "UPDATE", FROZEN),
        *guards.checked("marketplace_version", "nests", "INSERT OR UPDATE OF required_scopes, optional_scopes", NESTS),
        *guards.never_removed("marketplace_installation"),
        *guards.never_changes("marketplace_installation", "account_id", "app_id", "access_id"),
        *guards.set_once("marketplace_installation", "uninstalled_at"),
        *guards.insert_only("marketplace_review"),
    ]
