from importlib import import_module

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models
from django.db.migrations import RunSQL
from django.db.models import CheckConstraint, Index, Q
from django.db.models.functions import Now

from portal.foundation import guards

_DELETED, _TRUNCATED, _UPDATED = guards.insert_only("marketplace_picture")

# M2: a picture stays while a version has it, and what it shows never changes; it can only be blanked for good.
_USED = """
BEGIN
    IF OLD.taken_down_at IS NOT NULL OR EXISTS (
        SELECT FROM marketplace_version
        WHERE screenshots @> jsonb_build_array(jsonb_build_object('picture', OLD.id))
    ) THEN
        RAISE EXCEPTION 'DELETE of marketplace_picture is refused' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END
"""
_SHOWS_THE_SAME = """
BEGIN
    IF NEW.webp IS DISTINCT FROM OLD.webp AND NOT (NEW.webp IS NULL AND NEW.taken_down_at IS NOT NULL) THEN
        RAISE EXCEPTION 'a picture never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
"""

# M2: an icon that was taken down leaves a frozen version, and nothing comes in its place.
_WAS = import_module("marketplace.migrations.0009_taken_back").FROZEN
_FROZEN = _WAS.replace(
    """    IF OLD.status <> 'draft' AND""",
    """    IF NEW.icon IS NULL AND EXISTS (
        SELECT FROM marketplace_picture WHERE id = encode(sha256(convert_to(OLD.app_id || ':', 'UTF8') || OLD.icon), 'hex') AND taken_down_at IS NOT NULL
    ) THEN
        moves := moves || ARRAY['icon'];
    END IF;
    IF OLD.status <> 'draft' AND""",
)


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0017_listings")]

    operations = [
        *(RunSQL(guard.reverse_sql, guard.sql) for guard in (_DELETED, _UPDATED)),
        migrations.AlterField("picture", "webp", models.BinaryField(null=True)),
        migrations.AddField("picture", "kept_at", models.DateTimeField(db_default=Now(), null=True)),
        migrations.AddField("picture", "taken_down_at", models.DateTimeField(null=True)),
        migrations.AddConstraint(
            "picture",
            CheckConstraint(
                condition=Q(("webp__isnull", False), ("taken_down_at__isnull", False), _connector="OR"),
                name="a_blank_picture_was_taken_down",
            ),
        ),
        migrations.AddIndex(
            "picture",
            Index(condition=Q(("kept_at", None), _negated=True), fields=["kept_at"], name="picture_to_look_at"),
        ),
        migrations.AddIndex(
            "version", GinIndex(fields=["screenshots"], name="version_with_picture", opclasses=["jsonb_path_ops"])
        ),
        *guards.key_never_changes("marketplace_picture"),
        *guards.set_once("marketplace_picture", "taken_down_at"),
        *guards.checked("marketplace_picture", "used", "DELETE", _USED),
        *guards.checked("marketplace_picture", "shows_the_same", "UPDATE OF webp", _SHOWS_THE_SAME),
        RunSQL(_FROZEN, _WAS),
        *guards.pinned(),
    ]
