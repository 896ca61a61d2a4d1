"""Write the fast lane's statements for refresh and check as scripts of pgbench, which draws live tokens from `bench_drawn`."""

import re
import sys
from pathlib import Path

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from consent.lane import calls, tokens  # noqa: E402

# No two connections draw the same token.
CONNECTIONS = 64
DRAW = f"\\set number random(0, :tokens / {CONNECTIONS} - 1) * {CONNECTIONS} + :client_id + 1"


def drawn(column):
    return f"(SELECT {column} FROM bench_drawn WHERE number = :number)"


def text(statement, **given):
    """Return a statement's SQL, with SQL in place of its parameters."""
    query, names = statement._compiled
    return re.sub(r"\$(\d+)", lambda place: given[names[int(place[1]) - 1]], query.decode())


def check():
    return text(calls._CHECKED, checksum=drawn("checksum"), product="'freshservice'") + " \\gset told_"


def refresh():
    family = drawn("family")
    find = text(tokens._FIND_FAMILY, client=drawn("client"), secret=drawn("secret"), family=family)
    write = text(
        tokens._REFRESH,
        family=family,
        generation=f"(SELECT generation FROM consent_refreshtoken WHERE id = {family})",
        scope="NULL::text",
        checksum="encode(sha256(gen_random_uuid()::text::bytea), 'hex')",
        asked_at=":found_asked_at::timestamptz",
        lifetime=f"interval '{settings.ACCESS_TOKEN_LIFETIME.total_seconds():.0f} seconds'",
        access=":found_access",
    )
    found = f"SELECT asked_at, access FROM ({find}) AS found"
    return f"{found} \\gset found_\n{' '.join(write.split())} \\gset told_"


def main(folder):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM bench_drawn")
        count = f"\\set tokens {cursor.fetchone()[0]}"
    for what, script in (("check", check()), ("refresh", refresh())):
        Path(folder, f"pgbench-{what}.sql").write_text("\n".join([count, DRAW, script]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
