from importlib import import_module

import django.db.models.deletion
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import migrations, models
from django.db.models import CheckConstraint, Index, Q

from portal.foundation.guards import checked, insert_only, rewritten

_CATEGORIES = [
    ("collaboration", "Collaboration"),
    ("development", "Development"),
    ("hr", "People and HR"),
    ("monitoring", "Monitoring"),
    ("productivity", "Productivity"),
    ("reporting", "Reporting"),
    ("security", "Security"),
    ("telephony", "Telephony"),
    ("other", "Other"),
]
_REACHES = [("all", "Everyone"), ("others", "Everyone but chosen accounts"), ("chosen", "Chosen accounts")]

_FROM_APPS = """
UPDATE marketplace_version SET category = app.category FROM marketplace_app app WHERE app.id = app_id
"""
_FROM_VERSIONS = """
UPDATE marketplace_app SET category = newest.category FROM (
    SELECT DISTINCT ON (app_id) app_id, category FROM marketplace_version ORDER BY app_id, id DESC
) newest WHERE newest.app_id = marketplace_app.id
"""

# Which published versions are listed: the newest for everyone, and a newer one that is for chosen accounts (M3).
_FUNCTION = """
CREATE FUNCTION marketplace_version_listed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Each waits for the one before, and then sees what that one published.
    PERFORM FROM marketplace_app WHERE id = NEW.app_id FOR NO KEY UPDATE;
    DELETE FROM marketplace_listing WHERE app_id = NEW.app_id;
    {listed} WHERE app.id = NEW.app_id;
    RETURN NULL;
END $$;
CREATE TRIGGER marketplace_version_listed AFTER INSERT OR UPDATE OF status ON marketplace_version
FOR EACH ROW WHEN (NEW.status IN ('published', 'withdrawn')) EXECUTE FUNCTION marketplace_version_listed();
ALTER TABLE marketplace_version ENABLE ALWAYS TRIGGER marketplace_version_listed;
"""
_LISTED = """
INSERT INTO marketplace_listing (app_id, version_id, reach, name, category, published_at, search)
SELECT app.id, version.id,
    CASE WHEN version.audience = 'custom' THEN 'chosen' WHEN newest.audience = 'custom' THEN 'others' ELSE 'all' END,
    version.name, version.category, version.published_at, marketplace_words(version.name, version.tagline, app.slug)
FROM marketplace_app app
CROSS JOIN LATERAL (
    SELECT id, audience FROM marketplace_version
    WHERE app_id = app.id AND status = 'published' ORDER BY published_at DESC, id DESC LIMIT 1
) newest
LEFT JOIN LATERAL (
    SELECT id FROM marketplace_version
    WHERE app_id = app.id AND status = 'published' AND audience = 'public' ORDER BY published_at DESC, id DESC LIMIT 1
) newest_public ON true
CROSS JOIN LATERAL (SELECT newest.id UNION SELECT newest_public.id) listed(id)
JOIN marketplace_version version ON version.id = listed.id
"""
_NO_FUNCTION = """
DROP TRIGGER marketplace_version_listed ON marketplace_version;
DROP FUNCTION marketplace_version_listed();
"""
_DERIVED = """
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION '% of % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN coalesce(NEW, OLD);
END
"""

_search = import_module("marketplace.migrations.0013_search")
_always = import_module("marketplace.migrations.0014_search_always")


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0016_given_name")]

    operations = [
        # The category becomes part of a version, and is frozen with it.
        migrations.AddField(
            "version",
            "category",
            models.CharField(choices=_CATEGORIES, default="other", max_length=20, verbose_name="category"),
            preserve_default=False,
        ),
        *rewritten("marketplace_version", _FROM_APPS, "NULL"),
        *rewritten("marketplace_app", "NULL", _FROM_VERSIONS),
        migrations.AddConstraint(
            "version",
            CheckConstraint(
                condition=Q(category__in=[value for value, _label in _CATEGORIES]), name="version_category_is_known"
            ),
        ),
        migrations.RemoveConstraint("app", "app_category_is_known"),
        # A default for the rows that there are, should this be undone.
        migrations.AlterField("app", "category", models.CharField(default="other", max_length=20)),
        migrations.RemoveField("app", "category"),
        migrations.AddField("version", "screenshots", models.JSONField(blank=True, db_default=[], default=list)),
        migrations.CreateModel(
            "Picture",
            [
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("webp", models.BinaryField()),
            ],
        ),
        *insert_only("marketplace_picture"),
        # Listings take the place of the words that apps and versions had.
        *rewritten("marketplace_app", "NULL", _search._APPS),
        *rewritten("marketplace_version", "NULL", _search._VERSIONS),
        migrations.RunSQL(_search._NO_TRIGGERS, _search._TRIGGERS + _always._ALWAYS),
        migrations.RemoveIndex("app", "app_by_words"),
        migrations.RemoveField("app", "search"),
        migrations.RemoveField("version", "search"),
        migrations.CreateModel(
            "Listing",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reach", models.CharField(choices=_REACHES, max_length=10)),
                ("name", models.CharField(max_length=60)),
                ("category", models.CharField(choices=_CATEGORIES, max_length=20)),
                ("published_at", models.DateTimeField()),
                ("search", SearchVectorField()),
                (
                    "app",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="listings", to="marketplace.app"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="marketplace.version"
                    ),
                ),
            ],
        ),
        migrations.RunSQL(_LISTED, migrations.RunSQL.noop),
        # Before the table can be altered, its foreign keys are checked.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", migrations.RunSQL.noop),
        migrations.AddIndex("listing", GinIndex(fields=["search"], name="listing_by_words")),
        migrations.AddIndex("listing", Index(fields=["-published_at", "-id"], name="listing_by_time")),
        migrations.AddIndex("listing", Index(fields=["name", "id"], name="listing_by_name")),
        migrations.AddIndex(
            "listing", Index(fields=["category", "-published_at", "-id"], name="listing_in_category_by_time")
        ),
        migrations.AddIndex("listing", Index(fields=["category", "name", "id"], name="listing_in_category_by_name")),
        migrations.RunSQL(_FUNCTION.format(listed=_LISTED), _NO_FUNCTION),
        *checked("marketplace_listing", "derived", "INSERT OR UPDATE OR DELETE", _DERIVED),
    ]
