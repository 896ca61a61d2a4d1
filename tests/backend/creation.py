"""Migrate once for all processes of pytest-xdist: each clones a template, which the first of a run makes."""

import os

from django.conf import settings
from django.db.backends.postgresql.creation import DatabaseCreation as PostgresCreation

TEMPLATE = "test_template"


class DatabaseCreation(PostgresCreation):
    def create_test_db(self, *args, **options):
        """Create the test database of this process, in which nothing is left to migrate, and return its name."""
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
        if not run:
            return super().create_test_db(*args, **options)
        with self._nodb_cursor() as cursor:
            # Until this connection closes; the other processes wait for the template.
            cursor.execute("SELECT pg_advisory_lock(1)")
            sql = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
            cursor.execute(sql, [TEMPLATE])
            if cursor.fetchone() != (run,):
                self._create_template()
                # Complete, and of this run.
                cursor.execute(f"COMMENT ON DATABASE {TEMPLATE} IS '{run}'")
            self.connection.settings_dict["TEST"]["TEMPLATE"] = TEMPLATE
            return super().create_test_db(*args, **options)

    def _create_template(self):
        own, test = self.connection.settings_dict, self.connection.settings_dict["TEST"]
        names = own["NAME"], test["NAME"]
        test["NAME"] = TEMPLATE
        super().create_test_db(verbosity=0, autoclobber=True, serialize=False)
        # A template with a connection cannot be cloned.
        self.connection.close()
        own["NAME"], test["NAME"] = names
        settings.DATABASES[self.connection.alias]["NAME"] = own["NAME"]
