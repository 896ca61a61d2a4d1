"""Databases of former commits, and the tasks that they left in the queue, still work.

What stands here is added to, never changed. Names of tables follow from the migrations, since
tests/test_architecture.py sees to it that no migration is missing.
"""

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from portal.celery import EVERY
from portal.celery import app as celery

# A new migration goes last in the list of its app.
MIGRATIONS = {
    "accounts": [
        "0001_initial", "0002_guards", "0003_readable_names", "0004_encrypt_second_factors", "0005_invitations",
        "0006_addresses", "0007_sent_forms", "0008_notices",
        "0009_words_that_people_read", "0010_publisher_profile", "0011_mail", "0012_suspensions_and_looks",
    ],
    "consent": [
        "0001_initial", "0002_guards", "0003_told_of_ends", "0004_terms_hold", "0005_text_that_was_read", "0006_confirmed",
        "0007_last_issued", "0008_failure", "0009_reasons", "0010_failure_parameter", "0011_services", "0012_erased_by_index", "0013_no_index_for_patterns", "0014_pages_of_many",
        "0015_one_guard_of_generations", "0016_room_for_refreshes", "0017_words_that_people_read", "0018_expired_lately",
        "0019_trial", "0020_newest_of_each",
    ],
    "credentials": [
        "0001_initial", "0002_guards", "0003_reviewers", "0004_readable_names", "0005_base_address", "0006_endpoint_of_scope",
        "0007_published", "0008_clients_of_team", "0009_words_that_people_read", "0010_what_home_looks_for", "0011_for_trying",
    ],
    "ledger": [
        "0001_initial", "0002_guards", "0003_subject_index", "0004_chain_checkpointed", "0005_key_periods",
        "0006_keys_never_change", "0007_end_of_a_consent", "0008_order_of_entries", "0009_own_acts_in_a_chain",
        "0010_words_of_entries", "0011_times_never_run_backwards", "0012_exports",
    ],
    "marketplace": [
        "0001_initial", "0002_guards", "0003_version_number", "0004_readable_names", "0005_packages", "0006_connections",
        "0007_upgrades", "0008_words_of_vendors", "0009_taken_back", "0010_connection_notes", "0011_services_of_accesses",
        "0012_app_for_accounts", "0013_search", "0014_search_always", "0015_words_that_people_read",
        "0016_given_name", "0017_listings", "0018_erased_pictures",
        "0019_newest_of_each",
    ],
    "sandbox": ["0001_initial", "0002_sample_tickets"],
}  # fmt: skip
TASKS = {
    "consent.tasks": [
        "ask_for_successor", "erase", "expire", "revoke_tokens", "sweep", "sweep_ends", "sweep_successors", "tell_of_ends",
    ],
    "marketplace.tasks": [
        "clear_pictures", "refresh_connection", "revoke_connection", "sweep_connections", "sweep_offers",
        "tell_of_broken_connection",
        "tell_of_offer", "upgrade_itself",
    ],
    "portal.accounts.tasks": [
        "clear_sent_forms", "clear_sessions", "sweep_invitations", "sweep_notices", "sweep_suspensions", "tell_of_invitation",
        "tell_of_notice", "tell_of_suspension",
    ],
    "portal.foundation.tasks": ["clear_mail", "send_mail", "sweep_mail"],
    "portal.ledger.tasks": ["checkpoint", "prepare_export", "sweep_exports"],
}  # fmt: skip
OURS = ("portal", "credentials", "consent", "marketplace")


@pytest.mark.django_db
def test_a_database_of_a_former_commit_has_nothing_to_migrate():
    with connection.cursor() as cursor:
        labels = [config.label for config in apps.get_app_configs() if config.name.split(".")[0] in OURS]
        cursor.execute("DELETE FROM django_migrations WHERE app = ANY(%s)", [labels])
        cursor.executemany(
            "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, now())",
            [(label, name) for label, names in MIGRATIONS.items() for name in names],
        )
    executor = MigrationExecutor(connection)
    executor.loader.check_consistent_history(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    assert {
        (label, name) for label, names in MIGRATIONS.items() for name in names
    } <= executor.loader.graph.nodes.keys()


def test_tasks_keep_the_names_under_which_they_wait_in_the_queue():
    celery.loader.import_default_modules()
    released = {f"{module}.{name}" for module, names in TASKS.items() for name in names}
    assert {name for name in celery.tasks if name.split(".")[0] in OURS} == released
    assert EVERY.keys() <= released
