from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations
from django.db.models import Index, Q

from portal.foundation.guards import rewritten

# Punctuation separates words here, as in marketplace/searching.py. PostgreSQL's own parser would read "-5" as a number,
# and "a.example" as a host name of one word.
_WORDS = r"""
CREATE FUNCTION marketplace_words(name text, tagline text, slug text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT setweight(to_tsvector('simple', translate(name || ' ' || slug, marks.every, marks.blank)), 'A')
        || setweight(to_tsvector('simple', translate(tagline, marks.every, marks.blank)), 'B')
    FROM (SELECT every, repeat(' ', length(every)) AS blank FROM (SELECT $m$!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~$m$ AS every) AS each) AS marks
$$;
"""
# Whatever is written to the columns, they say what can be searched.
_TRIGGERS = """
CREATE FUNCTION marketplace_version_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.search := marketplace_words(NEW.name, NEW.tagline, (SELECT slug FROM marketplace_app WHERE id = NEW.app_id));
    RETURN NEW;
END $$;
CREATE TRIGGER marketplace_version_search BEFORE INSERT OR UPDATE OF app_id, name, tagline, search
ON marketplace_version FOR EACH ROW EXECUTE FUNCTION marketplace_version_search();

CREATE FUNCTION marketplace_app_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE marketplace_app SET search = strip(coalesce(search, '') || NEW.search) WHERE id = NEW.app_id;
    RETURN NULL;
END $$;
CREATE TRIGGER marketplace_app_search AFTER INSERT OR UPDATE OF status
ON marketplace_version FOR EACH ROW WHEN (NEW.status = 'published') EXECUTE FUNCTION marketplace_app_search();

DO $pin$ BEGIN
    EXECUTE format('ALTER FUNCTION marketplace_version_search() SET search_path = pg_catalog, %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION marketplace_app_search() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $pin$;
"""
_NO_TRIGGERS = """
DROP TRIGGER marketplace_version_search ON marketplace_version;
DROP TRIGGER marketplace_app_search ON marketplace_version;
DROP FUNCTION marketplace_version_search();
DROP FUNCTION marketplace_app_search();
"""
_VERSIONS = """
UPDATE marketplace_version SET search = marketplace_words(marketplace_version.name, tagline, marketplace_app.slug)
FROM marketplace_app WHERE marketplace_app.id = app_id
"""
_APPS = """
UPDATE marketplace_app SET search = (
    SELECT strip(string_agg(words::text, ' ')::tsvector) FROM (
        SELECT strip(search) AS words FROM marketplace_version WHERE app_id = marketplace_app.id AND status = 'published'
    ) AS published
)
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0012_app_for_accounts")]

    operations = [
        migrations.AddField("app", "search", SearchVectorField(null=True, editable=False)),
        migrations.AddField("version", "search", SearchVectorField(null=True, editable=False)),
        migrations.RunSQL(_WORDS, "DROP FUNCTION marketplace_words(text, text, text);"),
        migrations.RunSQL(_TRIGGERS, _NO_TRIGGERS),
        *rewritten("marketplace_version", _VERSIONS, "NULL"),
        *rewritten("marketplace_app", _APPS, "NULL"),
        migrations.AddIndex("app", GinIndex(fields=["search"], name="app_by_words")),
        migrations.AddIndex("app", Index(fields=["team", "slug"], name="apps_of_team")),
        migrations.AddIndex(
            "version",
            Index(
                fields=["app", "-published_at", "-id"], condition=Q(status="published"), name="published_version_of_app"
            ),
        ),
        migrations.AddIndex("version", Index(fields=["status", "submitted_at", "id"], name="version_to_review")),
    ]
