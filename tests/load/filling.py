"""What fills the portal's databases: families and access tokens by set-based SQL, and the requests that use them."""

import base64
import contextlib
import random
from pathlib import Path
from urllib.parse import urlencode

from django.db import connection

from credentials.secrets import digest, make_access_token, make_refresh_token
from tests import factories

# Of more tokens than these, so many are drawn at random: more requests than wrk can send in a round.
MOST_REQUESTS = 250_000


def basic(name, secret):
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def line(authorization, method, path, form=()):
    """Return a request as load.lua reads it."""
    return f"{authorization}\t{method}\t{path}\t{urlencode(form)}"


def write(folder, database, lines):
    """Write each kind's requests to a file, in random order."""
    for what, sent in lines.items():
        random.shuffle(sent)
        Path(folder, f"{database}-{what}.txt").write_text("\n".join(sent))


def share(count):
    """Return how many percent of `count` tokens to draw."""
    return min(100, 100 * MOST_REQUESTS / count)


@contextlib.contextmanager
def in_bulk(cursor, table):
    """Set a table's triggers and plain indexes aside until the block ends."""
    cursor.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled = 'A'", [table])
    guards = [name for (name,) in cursor.fetchall()]
    cursor.execute(
        "SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = %s::regclass AND NOT indisunique",
        [table],
    )
    indexes = cursor.fetchall()
    cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    for name, _definition in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for _name, definition in indexes:
        cursor.execute(definition)
    cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")
    for name in guards:
        cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")


def issue(consents, count):
    """Issue families with an access token each, by turns under `consents`, for longer than what is filled is kept.

    Return [(family, the number of its consent, salt), …], of all or of MOST_REQUESTS of them drawn at random.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET work_mem = '512MB'; SET maintenance_work_mem = '512MB'")
        cursor.execute("CREATE TEMP TABLE under (number int PRIMARY KEY, consent uuid, scope text)")
        with cursor.copy("COPY under FROM STDIN") as rows:
            for number, consent in enumerate(consents):
                rows.write_row((number, consent.pk, " ".join(sorted(consent.granted))))
        cursor.execute("ANALYZE under")
        # In the order of the key, which PostgreSQL inserts fastest.
        with in_bulk(cursor, "consent_refreshtoken"):
            cursor.execute(
                "INSERT INTO consent_refreshtoken (id, consent_id, scope, salt, generation, reason)"
                " SELECT gen_random_uuid() AS id, consent, scope, sha256(gen_random_uuid()::text::bytea), 1, ''"
                " FROM generate_series(0, %s) n JOIN under ON number = n %% %s ORDER BY id",
                [count - 1, len(consents)],
            )
        cursor.execute(
            "SELECT family.id, number, salt FROM consent_refreshtoken family TABLESAMPLE BERNOULLI (%s) JOIN under ON consent = consent_id",
            [share(count)],
        )
        found = cursor.fetchall()
        cursor.execute("CREATE TEMP TABLE known (family uuid PRIMARY KEY, checksum text)")
        with cursor.copy("COPY known FROM STDIN") as rows:
            for family, _number, salt in found:
                rows.write_row((family, digest(make_access_token(family, bytes(salt), 1))))
        cursor.execute("ANALYZE known")
        with in_bulk(cursor, "consent_accesstoken"):
            cursor.execute(
                "INSERT INTO consent_accesstoken (token_checksum, consent_id, family_id, scope, expires)"
                " SELECT coalesce(checksum, encode(sha256(id::text::bytea), 'hex')) AS checksum, consent_id, id, scope,"
                " statement_timestamp() + interval '9 days'"
                " FROM consent_refreshtoken LEFT JOIN known ON family = id"
                " WHERE consent_id IN (SELECT consent FROM under) ORDER BY checksum"
            )
        cursor.execute("DROP TABLE under, known")
    return [(family, number, bytes(salt)) for family, number, salt in found]


def refresh(client, secret, family, salt, *, at):
    """Return a refresh, of each of the ways to prove oneself and to ask for scopes in turn."""
    form = {"grant_type": "refresh_token", "refresh_token": make_refresh_token(family, salt, 1)}
    if at % 2:
        form["scope"] = factories.VIEW
    if at // 2 % 2:
        return line("", "POST", "/oauth/token", {**form, "client_id": client.client_id, "client_secret": secret})
    return line(basic(client.client_id, secret), "POST", "/oauth/token", form)


def bearer(family, salt):
    return make_access_token(family, salt, 1)
