from django.db import migrations

# Nobody looks for a hash by its first characters; each index is one more write for each token.
_INDEXES = {
    "consent_accesstoken": "token_checksum",
    "consent_authorizationcode": "code",
}
_DROP = """
DO $$
DECLARE found name;
BEGIN
    FOR found IN SELECT indexname FROM pg_indexes
        WHERE tablename = '{table}' AND indexdef LIKE '%({column} varchar_pattern_ops)' LOOP
        EXECUTE format('DROP INDEX %I', found);
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0012_erased_by_index")]

    operations = [
        migrations.RunSQL(
            _DROP.format(table=table, column=column),
            f"CREATE INDEX ON {table} ({column} varchar_pattern_ops)",
        )
        for table, column in _INDEXES.items()
    ]
