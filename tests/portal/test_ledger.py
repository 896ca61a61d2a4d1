"""E2: ledger entries cannot be changed or removed, and the hash chain reveals it if somebody does."""

import threading
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client as Browser

from consent.events import Event
from credentials import actions as credentials
from portal.accounts.actions import memberships
from portal.ledger.actions import PORTAL, digest, record, verify
from portal.ledger.models import Chain, Entry
from tests import factories
from tests.backend.base import guards_off
from tests.factories import DELETE
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def chain(cast):
    """A team's chain with five entries."""
    row, _secret = factories.client(cast.dev)
    credentials.add_scopes(row, scopes={DELETE: "Why"}, by=cast.dev)
    for _number in range(2):
        credentials.rotate_secret(row, overlap_hours=0, by=cast.dev)
    return Chain.objects.get(name=row.team.chain_name)


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger_entry SET event = 'x'",
        "UPDATE ledger_entry SET hash = hash",
        "DELETE FROM ledger_entry",
        "TRUNCATE ledger_entry",
        "TRUNCATE ledger_chain CASCADE",
        "DELETE FROM ledger_chain",
        "UPDATE ledger_chain SET name = 'x'",
    ],
)
def test_the_database_refuses_to_change_or_remove_entries(chain, sql, role):
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL session_replication_role = {role}")
        cursor.execute(sql)
    assert verify(chain) is None


def test_the_orm_cannot_change_an_entry(chain):
    entry = chain.entries.first()
    entry.event = "x"
    for act in (entry.save, entry.delete, Entry.objects.all().delete, lambda: Entry.objects.update(event="x")):
        with pytest.raises(DatabaseError), transaction.atomic():
            act()


def tamper(sql, *arguments):
    with transaction.atomic(), connection.cursor() as cursor, guards_off(cursor):
        cursor.execute(sql, arguments)


def remove_entry(chain):
    tamper("DELETE FROM ledger_entry WHERE chain_id = %s AND sequence = 3", chain.name)


def alter_entry(chain):
    tamper("UPDATE ledger_entry SET details = '{}' WHERE chain_id = %s AND sequence = 3", chain.name)


def change_actor(chain):
    tamper("UPDATE ledger_entry SET actor = 'person:x' WHERE chain_id = %s AND sequence = 3", chain.name)


def swap_entries(chain):
    for old, new in ((3, 99), (4, 3), (99, 4)):
        tamper("UPDATE ledger_entry SET sequence = %s WHERE chain_id = %s AND sequence = %s", new, chain.name, old)


def alter_and_rehash(chain):
    """Alter an entry and give it a matching hash; the next entry no longer follows."""
    alter_entry(chain)
    entry = chain.entries.get(sequence=3)
    tamper("UPDATE ledger_entry SET hash = %s WHERE id = %s", digest(entry), entry.pk)


def add_entry(chain):
    entry = chain.entries.get(sequence=chain.length)
    Entry.objects.create(
        chain=chain, sequence=chain.length + 1, at=entry.at, actor="x", event="x", subject="x", previous_hash=entry.hash, hash="0" * 64
    )  # fmt: skip


def cut_end(chain):
    tamper("DELETE FROM ledger_entry WHERE chain_id = %s AND sequence = %s", chain.name, chain.length)


def append_like_record(chain):
    """Append an entry like record(), without updating the chain's row."""
    entry = chain.entries.get(sequence=chain.length)
    entry.pk, entry.sequence, entry.previous_hash = uuid.uuid4(), chain.length + 1, entry.hash
    entry.hash = digest(entry)
    entry.save(force_insert=True)


def insert_entry(chain):
    """Insert an entry between two others, renumbering those that follow."""
    tamper("UPDATE ledger_entry SET sequence = 100 + sequence WHERE chain_id = %s AND sequence >= 3", chain.name)
    entry = chain.entries.get(sequence=2)
    entry.pk, entry.sequence, entry.previous_hash = uuid.uuid4(), 3, entry.hash
    entry.hash = digest(entry)
    entry.save(force_insert=True)
    tamper("UPDATE ledger_entry SET sequence = sequence - 99 WHERE chain_id = %s AND sequence > 100", chain.name)


def remove_first(chain):
    tamper("DELETE FROM ledger_entry WHERE chain_id = %s AND sequence = 1", chain.name)


@pytest.mark.parametrize(
    ("act", "sequence"), [(remove_entry, 3), (alter_entry, 3), (change_actor, 3), (swap_entries, 3), (alter_and_rehash, 4), (add_entry, -1), (cut_end, 0), (append_like_record, -1), (insert_entry, 4),
                       (remove_first, 1)]
)  # fmt: skip
def test_verify_ledger_names_the_first_bad_entry(chain, act, sequence, capsys):
    call_command("verify_ledger")
    assert "intact" in capsys.readouterr().out
    number = sequence if sequence > 0 else chain.length - sequence
    act(chain)
    with pytest.raises(CommandError) as fault:
        call_command("verify_ledger")
    assert f"{chain.name} #{number}:" in str(fault.value)
    with pytest.raises(CommandError):
        call_command("verify_ledger", chain=chain.name)
    other = Chain.objects.exclude(name=chain.name).first()
    call_command("verify_ledger", chain=other.name)
    assert "1 chain," in capsys.readouterr().out


# What somebody could write there by hand, in SQL.
ALTERATIONS = {
    "id": "gen_random_uuid()",
    "at": "at + interval '1 microsecond'",
    "actor": "'person:x'",
    "event": "'consent.granted'",
    "subject": "subject || ' '",
    "details": """details || '{"x": 1}'""",
    "previous_hash": "hash",
    "hash": "previous_hash",
}


@pytest.mark.parametrize("column", ALTERATIONS)
def test_altering_any_column_of_an_entry_is_detected(chain, column):
    tamper(f"UPDATE ledger_entry SET {column} = {ALTERATIONS[column]} WHERE chain_id = %s AND sequence = 3", chain.name)
    assert verify(chain).sequence == 3


def test_every_column_is_tested_here(chain):
    """Another test covers the two that give an entry's position: a moved entry is missing from its place."""
    # The database keeps a generated column equal to what it is made of.
    columns = {field.name for field in Entry._meta.fields if not field.generated}
    # The click that an entry belongs to only groups lines of the page: no file or receipt has it.
    assert ALTERATIONS.keys() | {"chain", "sequence"} == columns - {"act_at"}
    other = Chain.objects.exclude(name=chain.name).exclude(length=0).first()
    sequence = other.length + 1
    tamper("UPDATE ledger_entry SET chain_id = %s, sequence = %s WHERE chain_id = %s AND sequence = 3", other.name, sequence, chain.name)  # fmt: skip
    assert (verify(chain).sequence, verify(other).sequence) == (3, sequence)


def test_verify_ledger_reports_an_unknown_chain(chain):
    with pytest.raises(CommandError, match="no chain named"):
        call_command("verify_ledger", chain="team:none")


def test_recording_requires_the_transaction_of_its_act(transactional_db):
    with pytest.raises(transaction.TransactionManagementError):
        record(PORTAL, Event.CONSENT_GRANTED, by=None, subject="x")


@pytest.mark.django_db(transaction=True)
def test_eight_connections_writing_to_one_chain_leave_no_gaps():
    def write():
        try:
            for number in range(10):
                with transaction.atomic():
                    record("account:new", Event.CONSENT_GRANTED, by=None, subject=str(number))
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = Chain.objects.get(name="account:new")
    assert chain.length == 80 and verify(chain) is None
    assert list(chain.entries.order_by("sequence").values_list("sequence", flat=True)) == list(range(1, 81))


def test_entries_name_people_only_by_opaque_ids(installed, browse, cast):
    """E2: a person can then be erased, and the chain still verifies."""
    installed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    memberships.end_membership(cast.acme.memberships.get(user=cast.agent), by=cast.admin)
    stored = str(list(Entry.objects.values()))
    for who in (cast.dev, cast.admin, cast.agent):
        assert who.email not in stored and f"'{who.name}" not in stored and f"person:{who.public_id}" in stored


# --- the page ---


def text(response):
    return response.content.decode()


def test_people_read_their_own_entries_newest_first(installed, browse, cast):
    """E1"""
    installed.tokens_for(browse(cast.admin), account=cast.acme.slug)

    def events(who):
        page = browse(who).get("/ledger/")
        assert page.status_code == 200
        return [entry.event for entry in page.context["page_obj"]]

    assert events(cast.admin)[:3] == ["consent.granted", "installation.installed", "access.opened"]
    assert {event.partition(".")[0] for event in events(cast.admin)} <= {"account", "access", "consent", "installation", "member"}  # fmt: skip
    assert {"client.created", "version.published"} <= {*events(cast.dev)} and "consent.granted" not in events(cast.dev)
    assert events(cast.agent) == []
    for who in (cast.globex_admin, cast.other_dev):
        assert not {"consent.granted", "version.published", "client.created"} & {*events(who)}
    assert "/accounts/login/" in Browser().get("/ledger/")["Location"]
    assert browse(cast.admin).post("/ledger/").status_code == 405


def test_an_agent_reads_their_own_acts(installed_agent, browse, cast):
    installed_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    installed_agent.tokens_for(browse(cast.agent2), account=cast.acme.slug)
    page = browse(cast.agent).get("/ledger/")
    assert [entry.event for entry in page.context["page_obj"]] == ["consent.granted"]


def test_a_former_member_reads_nothing_of_the_account_not_even_their_own_acts(installed_agent, browse, cast):
    """E1"""
    installed_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    receipt = f"/receipts/{Entry.objects.get(event='consent.granted').pk}/"
    axel = browse(cast.agent)
    assert axel.get(receipt).status_code == 200
    memberships.end_membership(cast.acme.memberships.get(user=cast.agent), by=cast.admin)
    assert not axel.get("/ledger/").context["page_obj"].object_list
    assert axel.get(receipt).status_code == 404


def test_filters_narrow_and_never_widen(installed, browse, cast):
    installed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    ada = browse(cast.admin)

    def events(query):
        page = ada.get(f"/ledger/{query}")
        assert page.status_code == 200
        return {entry.event for entry in page.context["page_obj"]}

    assert events("?event=consent.granted") == {"consent.granted"}
    everything = events("")
    assert events(f"?chain={cast.acme.chain_name}") == everything
    assert events(f"?chain={cast.globex.chain_name}") == everything, "somebody else's chain does not filter"
    assert "member.added" not in events("?who=me")
    for bad in ("?page=x&event=%00", "?page=-1", "?page=99999999999999999999", "?who=%F0%9F&chain=x"):
        assert ada.get(f"/ledger/{bad}").status_code in (200, 400)
