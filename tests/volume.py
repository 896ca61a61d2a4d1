"""Multiply rows that actions made by set-based SQL, for tests of size."""

import json
import uuid
from importlib import import_module
from zlib import crc32

from django.db import connection, transaction

from portal.ledger.actions import digest
from portal.ledger.models import Chain

_COLUMNS = ("id", "chain_id", "sequence", "at", "actor", "event", "subject", "details", "previous_hash", "hash")


def grow_chain(name, length):
    """Repeat a chain's last entry until the chain has `length` entries, each hashed onto the one before."""
    with transaction.atomic(), connection.cursor() as cursor:
        chain = Chain.objects.select_for_update().get(name=name)
        entry = chain.entries.get(sequence=chain.length)
        details = json.dumps(entry.details)
        with cursor.copy(f"COPY ledger_entry ({', '.join(_COLUMNS)}) FROM STDIN") as rows:
            for sequence in range(chain.length + 1, length + 1):
                entry.id, entry.sequence, entry.previous_hash = uuid.uuid4(), sequence, entry.hash
                entry.hash = digest(entry)
                rows.write_row([details if column == "details" else getattr(entry, column) for column in _COLUMNS])
        chain.length, chain.head = entry.sequence, entry.hash
        chain.save()


def multiply(row, count, /, *, analyze=True, **columns):
    """Insert `count` copies of a row; `columns` are SQL of `n` (1 to `count`) for those that differ, its key among them."""
    table = row._meta.db_table
    names = [field.column for field in row._meta.concrete_fields if not field.generated]
    values = ", ".join(f"({columns[name]})" if name in columns else f'"{name}"' for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(map(connection.ops.quote_name, names))}) "
            f"SELECT {values} FROM {table}, generate_series(1, %s) AS n WHERE {row._meta.pk.column} = %s",
            [count, row.pk],
        )
        if analyze:
            # As the database itself does once a table has grown.
            cursor.execute(f"ANALYZE {table}")


def relist():
    """List the published versions of all apps, where they were written without the trigger that does it; also unguarded."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE marketplace_app, marketplace_version")
        cursor.execute("DELETE FROM marketplace_listing")
        cursor.execute(import_module("marketplace.migrations.0017_listings")._LISTED)


class Copies:
    """SQL of the n-th copy's keys, the same wherever it is referred to; `batch` sets one growth apart from the next."""

    def __init__(self, batch, n="n"):
        self.batch, self.n = batch, n
        self.number = f"{crc32(batch.encode())} * 1000000::bigint + {n}"

    def key(self, name):
        return f"md5('{self.batch} {name}' || {self.n})::uuid"

    def of(self, name):
        """Return keys for the copies of another row, beside those of this one."""
        return Copies(f"{self.batch} {name}", self.n)


def grow_agents(consent, count, batch="agents"):
    """Have `count` more agents of the account agree to what one agreed to."""
    membership, copies = consent.membership, Copies(batch)
    member = copies.key("member")
    multiply(
        membership.user,
        count,
        id=copies.number,
        email=f"'many' || n || '@{batch}.example.com'",
        public_id=copies.key("person"),
    )
    multiply(membership, count, id=member, user_id=copies.number)
    multiply(consent, count, id=copies.key("consent"), membership_id=member, granted_by_id=copies.number)


def grow_installations(installation, count, batch="apps"):
    """Have the account install `count` more apps like this one, each with credentials and consents of its own."""
    access, client, copies = installation.access, installation.app.client, Copies(batch)
    number, opened, installed = copies.number, copies.key("access"), copies.key("installation")
    name = "'Many ' || n"
    multiply(client, count, id=number, client_id=f"'{batch}' || n")
    for held in client.scopes.all():
        multiply(held, count, id=f"{number} + {held.pk} * 100000", client_id=number)
    multiply(installation.app, count, id=number, slug=f"'{batch}-' || n", client_id=number)
    multiply(installation.version, count, id=number, app_id=number, name=name)
    multiply(access, count, id=opened, client_id=number, app_name=name, installation_id=installed)
    multiply(installation, count, id=installed, app_id=number, version_id=number, access_id=opened)
    for row in access.consents.all():
        multiply(row, count, id=copies.key(row.pk), access_id=opened)


def grow_accounts(installation, admin, count, batch="accounts"):
    """Have `count` more accounts of the same admin use the app, each under an agreement of its own."""
    access, copies = installation.access, Copies(batch)
    number, opened, installed = copies.number, copies.key("access"), copies.key("installation")
    multiply(installation.account, count, id=number, slug=f"'{batch}-' || n", name="'Many ' || n")
    member = admin.memberships.get(account=installation.account)
    multiply(member, count, id=copies.key("member"), account_id=number)
    multiply(access, count, id=opened, account_id=number, installation_id=installed)
    multiply(installation, count, id=installed, account_id=number, access_id=opened)
    for row in access.consents.all():
        multiply(row, count, id=copies.key(row.pk), access_id=opened)


def grow_agreements(consent, count, batch="agreements"):
    """Have the same person agree to `count` more external apps like this one."""
    access, copies = consent.access, Copies(batch)
    number, opened = copies.number, copies.key("access")
    multiply(access.client, count, id=number, client_id=f"'{batch}' || n", name="'Many ' || n")
    for held in access.client.scopes.all():
        multiply(held, count, id=f"{number} + {held.pk} * 100000", client_id=number)
    multiply(access, count, id=opened, client_id=number, app_name="'Many ' || n")
    multiply(consent, count, id=copies.key("consent"), access_id=opened)
