from django.db import migrations

from portal.foundation.guards import pinned

# What can be searched follows from the rows, whatever session_replication_role is, as guards do.
_ALWAYS = """
ALTER TABLE marketplace_version ENABLE ALWAYS TRIGGER marketplace_version_search;
ALTER TABLE marketplace_version ENABLE ALWAYS TRIGGER marketplace_app_search;
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0013_search")]

    operations = [migrations.RunSQL(_ALWAYS, migrations.RunSQL.noop), *pinned()]
