"""Add tokens that ended two days ago, erase them, and print how many a second: the rows and seconds, as JSON.

`plain` deletes all in one statement, `erase` runs Celery's task. `expired` or `revoked` is how they ended.
"""

import json
import sys
import time

import django

django.setup()

from django.db import connection  # noqa: E402

from consent import tasks  # noqa: E402
from tests.load import filling  # noqa: E402

ENDED = {"expired": "expires", "revoked": "revoked_at"}


def add(cursor, how, count):
    """Add tokens, each ended at a time of its own, as Celery and the clock end them."""
    at = "statement_timestamp() - interval '2 days' - n * interval '1 microsecond'"
    times = {"expired": f"{at}, NULL", "revoked": f"statement_timestamp() + interval '9 days', {at}"}[how]
    with filling.in_bulk(cursor, "consent_accesstoken"):
        cursor.execute(
            "INSERT INTO consent_accesstoken (token_checksum, consent_id, scope, created, expires, revoked_at)"
            " SELECT encode(sha256(gen_random_uuid()::text::bytea), 'hex'), id, '', statement_timestamp() - interval '3 days',"
            f" {times} FROM generate_series(1, %s) n"
            " JOIN (SELECT id, row_number() OVER () - 1 AS number, count(*) OVER () AS of FROM consent_consent) each"
            " ON number = n %% of",
            [count],
        )
    cursor.execute("VACUUM ANALYZE consent_accesstoken")
    cursor.execute("CHECKPOINT")


def plain(how):
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM consent_accesstoken WHERE {ENDED[how]} < statement_timestamp() - interval '1 day'")


def main(way, how, count):
    with connection.cursor() as cursor:
        add(cursor, how, count)
        print("begun", flush=True)
        begun = time.monotonic()
        plain(how) if way == "plain" else tasks.erase()
        seconds = time.monotonic() - begun
        cursor.execute(f"SELECT count(*) FROM consent_accesstoken WHERE {ENDED[how]} < statement_timestamp()")
        left = cursor.fetchone()[0]
    if left:
        sys.exit(f"{left} were left")
    print(json.dumps({"rows": count, "seconds": seconds}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
