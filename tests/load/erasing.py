"""Erase the tokens that ended two days ago, and print how many rows it took how many seconds, as JSON.

`plain` deletes them by one statement, `erase` runs Celery's task. `expired` or `revoked` is how they ended; what ended
otherwise is out of the way before.
"""

import json
import sys
import time

import django

django.setup()

from django.db import connection  # noqa: E402

from consent import tasks  # noqa: E402

ENDED = {"expired": "expires", "revoked": "revoked_at"}


def delete(cursor, how):
    cursor.execute(f"DELETE FROM consent_accesstoken WHERE {ENDED[how]} < statement_timestamp() - interval '1 day'")
    return cursor.rowcount


def main(way, how):
    with connection.cursor() as cursor:
        for other in ENDED.keys() - {how}:
            delete(cursor, other)
        cursor.execute(f"SELECT count(*) FROM consent_accesstoken WHERE {ENDED[how]} < statement_timestamp()")
        rows = cursor.fetchone()[0]
        cursor.execute("VACUUM ANALYZE consent_accesstoken")
        cursor.execute("CHECKPOINT")
        print("begun", flush=True)
        begun = time.monotonic()
        if way == "erase":
            tasks.erase()
        elif delete(cursor, how) != rows:
            sys.exit("Other rows were deleted")
        seconds = time.monotonic() - begun
        cursor.execute(f"SELECT count(*) FROM consent_accesstoken WHERE {ENDED[how]} < statement_timestamp()")
        if left := cursor.fetchone()[0]:
            sys.exit(f"{left} were left")
    print(json.dumps({"rows": rows, "seconds": seconds}))


main(*sys.argv[1:])
