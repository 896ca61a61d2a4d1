"""E2: checkpoints, receipts and exports reveal what is missing from a chain that is consistent in itself."""

import csv
import json

import pytest
from django.core.management import CommandError, call_command
from django.test import Client as Browser

from docs.verify_receipt import COLUMNS, entry_hash
from portal.accounts.actions import memberships
from portal.accounts.events import Event
from portal.ledger.actions import digest, record
from portal.ledger.checkpoints import read_checkpoints
from portal.ledger.models import Chain, Entry
from portal.ledger.tasks import checkpoint
from tests import factories
from tests.portal.test_ledger import tamper
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(settings, tmp_path):
    settings.CHECKPOINT_FILE = str(tmp_path / "checkpoints.jsonl")
    return tmp_path / "checkpoints.jsonl"


@shared
def chain(cast, installed, browse):
    """Acme's chain, with one consent in it."""
    installed.tokens_for(browse(cast.admin))
    return Chain.objects.get(name=cast.acme.chain_name)


def verify_ledger(*arguments):
    call_command("verify_ledger", *arguments)


def rehash(chain, *, without=None):
    """Rewrite a chain so that it is consistent in itself, as somebody with full access to the database could."""
    previous, number = "", 0
    for entry in list(chain.entries.order_by("sequence")):
        if entry.sequence == without:
            tamper("DELETE FROM ledger_entry WHERE id = %s", entry.pk)
            continue
        number += 1
        entry.sequence, entry.previous_hash = number, previous
        entry.hash = previous = digest(entry)
        tamper(
            "UPDATE ledger_entry SET sequence = %s, previous_hash = %s, hash = %s WHERE id = %s",
            entry.sequence, entry.previous_hash, entry.hash, entry.pk,
        )  # fmt: skip
    tamper("UPDATE ledger_chain SET length = %s, head = %s WHERE name = %s", number, previous, chain.name)


def test_a_checkpoint_is_written_hourly_for_each_chain_that_grew(chain, file, cast):
    checkpoint()
    seen = read_checkpoints(str(file))
    assert seen.keys() == {*Chain.objects.values_list("name", flat=True)}
    assert seen[chain.name] == {chain.length: chain.head}
    assert file.stat().st_mode & 0o022 == 0, "nobody else can write to it"
    lines = file.read_text().count("\n")
    checkpoint()
    assert file.read_text().count("\n") == lines, "no chain grew"
    memberships.change_role(cast.acme.memberships.get(user=cast.agent), role="admin", by=None)
    checkpoint()
    assert file.read_text().count("\n") == lines + 1
    verify_ledger()


def test_the_task_logs_a_missing_setting_and_goes_on(chain, settings, caplog):
    settings.CHECKPOINT_FILE = ""
    checkpoint()
    assert "checkpoint_file_not_set" in caplog.text


def test_a_chain_cut_at_the_end_or_rehashed_completely_is_detected(chain, file):
    checkpoint()
    second = chain.entries.get(sequence=2)
    for act, sequence in (
        (lambda: rehash(chain, without=chain.length), chain.length),
        (lambda: rehash(chain, without=2), 0),
    ):
        act()
        with pytest.raises(CommandError, match=rf"{chain.name} #{sequence or ''}"):
            verify_ledger()
    assert not Entry.objects.filter(pk=second.pk).exists()
    file.unlink()
    with pytest.raises(CommandError, match="not there"):
        verify_ledger()


def test_a_deleted_chain_is_detected(chain, file):
    checkpoint()
    tamper("DELETE FROM ledger_entry WHERE chain_id = %s", chain.name)
    tamper("DELETE FROM ledger_chain WHERE name = %s", chain.name)
    with pytest.raises(CommandError, match=f"{chain.name} #1: the entry is missing"):
        verify_ledger()


@pytest.mark.parametrize("change", ["length", "head", "chain", "at", "previous", "signature"])
def test_a_forged_checkpoint_is_reported_by_its_line(chain, file, change):
    checkpoint()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1][change] = 1 if change == "length" else "x"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(CommandError, match=f"line 2: {change}: "):
        verify_ledger()
    file.write_text("not json\n")
    with pytest.raises(CommandError, match="line 1: it is not JSON"):
        verify_ledger()


def test_old_checkpoints_stay_valid_when_keys_change(chain, file, settings):
    checkpoint()
    settings.LEDGER_KEYS = ["a new key", *settings.LEDGER_KEYS]
    verify_ledger()
    settings.LEDGER_KEYS = ["a new key"]
    with pytest.raises(CommandError, match=r"line 1: signature: its key .* is not among the published ones"):
        verify_ledger()


def test_an_emptied_cut_or_missing_checkpoint_file_is_reported(chain, file, settings):
    checkpoint()
    lines = file.read_bytes().splitlines(keepends=True)
    verify_ledger()
    for number, kept in enumerate(([], lines[:-1], lines[:1])):
        file.write_bytes(b"".join(kept))
        with pytest.raises(CommandError) as error:
            verify_ledger()
        problems = str(error.value).splitlines()
        assert len(problems) == len(lines) - len(kept), number
        assert all("is missing: the file was emptied, cut or replaced" in line for line in problems)
    for kept in (lines[1:], [lines[0], *lines[2:]], [lines[1], lines[0], *lines[2:]]):
        file.write_bytes(b"".join(kept))
        with pytest.raises(CommandError, match=r"line \d: the line before it was removed or changed"):
            verify_ledger()
    file.unlink()
    with pytest.raises(CommandError, match="it is not there"):
        verify_ledger()
    settings.CHECKPOINT_FILE = ""
    with pytest.raises(CommandError, match="CHECKPOINT_FILE does not say where"):
        verify_ledger()


def test_each_line_of_the_checkpoint_file_follows_from_the_previous_one(chain, file, cast):
    checkpoint()
    for _time in range(3):
        record(chain.name, Event.MEMBER_ADDED, by=None, subject="x")
        checkpoint()
    verify_ledger()
    assert len(read_checkpoints(str(file))[chain.name]) == 4


def test_a_deleted_chain_is_detected_even_without_a_checkpoint(chain, cast):
    """Creating an account or a team is recorded in its chain."""
    for name in (chain.name, factories.team_of(cast.dev).chain_name):
        tamper("DELETE FROM ledger_entry WHERE chain_id = %s", name)
        tamper("DELETE FROM ledger_chain WHERE name = %s", name)
        with pytest.raises(CommandError, match=f"{name} #1: the entry is missing: the chain is gone"):
            verify_ledger("--chain", name)
    with pytest.raises(CommandError) as error:
        verify_ledger()
    assert str(error.value).count("the chain is gone") == 2


# --- receipts ---


@pytest.fixture
def receipt(chain, browse, cast, tmp_path):
    entry = chain.entries.get(event="consent.granted")
    page = browse(cast.admin).get(f"/receipts/{entry.pk}/?format=json")
    assert "attachment" in page["Content-Disposition"]
    path = tmp_path / "receipt.json"
    path.write_text(page.content.decode())
    return path


def test_a_receipt_is_checked_against_the_chain(receipt, chain, cast, browse, capsys):
    verify_ledger("--receipt", str(receipt))
    entry = chain.entries.get(event="consent.granted")
    receipt_line = f"The receipt is of entry #{entry.sequence} of {chain.name}, which is as it was recorded.\n"
    chain.refresh_from_db()
    assert capsys.readouterr().out == f"{receipt_line}1 chain, {chain.length} entries: intact.\n"
    assert json.loads(receipt.read_text())["entry"]["hash"] == entry.hash
    page = browse(cast.admin).get(f"/receipts/{entry.pk}/").content.decode()
    assert entry.hash in page and "?format=json" in page
    record(chain.name, Event.MEMBER_ADDED, by=None, subject="x")
    verify_ledger("--receipt", str(receipt))


def test_a_chain_rehashed_since_a_receipt_is_detected(receipt, chain):
    rehash(chain, without=2)
    with pytest.raises(CommandError, match=f"{chain.name} #"):
        verify_ledger("--receipt", str(receipt))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["entry"].update(actor="person:x"),
        lambda data: data["entry"]["details"].update(granted=[]),
        lambda data: data["checkpoint"].update(length=1),
        lambda data: data["checkpoint"].pop("at"),
        lambda data: data.pop("signature"),
        lambda data: data.pop("entry"),
        lambda data: data.update(entry=[]),
        lambda data: data["entry"].update(at="yesterday"),
    ],
)
def test_an_altered_or_made_up_receipt_is_refused(receipt, change):
    data = json.loads(receipt.read_text())
    change(data)
    receipt.write_text(json.dumps(data))
    with pytest.raises(CommandError, match=str(receipt)):
        verify_ledger("--receipt", str(receipt))


def test_every_receipt_names_its_entry_and_contains_a_signed_checkpoint(chain, browse, cast, installed, tmp_path):
    """For everything that an admin may read, agreements and endings."""
    ada, path = browse(cast.admin), tmp_path / "receipt.json"
    page = ada.post(f"/installations/{installed.installation.pk}/uninstall/", follow=True)
    ended = chain.entries.get(event="access.ended")
    assert f"/receipts/{ended.pk}/" in page.content.decode()
    events = []
    for entry in chain.entries.all():
        address = f"/receipts/{entry.pk}/"
        path.write_text(ada.get(f"{address}?format=json").content.decode())
        point = json.loads(path.read_text())["checkpoint"]
        assert (point["chain"], point["length"], point["head"]) == (chain.name, entry.sequence, entry.hash)
        verify_ledger("--receipt", str(path))
        text = ada.get(address).content.decode()
        assert entry.hash in text and f"{chain.name} #{entry.sequence}" in text
        events.append(entry.event)
    assert {"installation.installed", "consent.granted", "access.ended", "installation.uninstalled"} <= {*events}


def test_an_altered_entry_gets_no_receipt(chain, browse, cast, caplog):
    entry = chain.entries.get(event="consent.granted")
    tamper("UPDATE ledger_entry SET actor = 'person:x' WHERE id = %s", entry.pk)
    for query in ("", "?format=json"):
        answer = browse(cast.admin).get(f"/receipts/{entry.pk}/{query}")
        assert answer.status_code == 409 and "does not match what was recorded" in answer.content.decode()
    assert "ledger_entry_altered" in caplog.text


# --- exports ---


def export(browser, kind="json", query=""):
    answer = browser.get(f"/ledger/export.{kind}{query}")
    assert answer.status_code == 200 and answer["Cache-Control"] == "no-store"
    assert answer["Content-Disposition"] == f'attachment; filename="ledger.{kind}"'
    return b"".join(answer.streaming_content).decode()


def rehash_export(data, *, without=None):
    """Alter the first entry, leave one out, and give all of them matching hashes."""
    entries = [each for each in data["entries"] if each["sequence"] != without]
    entries[0]["actor"], previous = "person:x", ""
    for number, entry in enumerate(entries, 1):
        entry["sequence"], entry["previous_hash"] = number, previous
        entry["hash"] = previous = entry_hash(entry)
    data["entries"] = entries


def test_an_export_is_complete_and_a_cut_or_altered_one_is_detected(chain, browse, cast, tmp_path, capsys):
    path = tmp_path / "ledger.json"
    whole = json.loads(export(browse(cast.admin)))
    assert [entry["sequence"] for entry in whole["entries"]] == list(range(1, chain.length + 1))

    def refusal_of(change):
        data = json.loads(json.dumps(whole))
        change(data)
        path.write_text(json.dumps(data))
        with pytest.raises(CommandError) as error:
            verify_ledger("--export", str(path))
        return str(error.value)

    path.write_text(json.dumps(whole))
    verify_ledger("--export", str(path))
    assert f"1 chain, {chain.length} entries: intact" in capsys.readouterr().out
    assert f"#{chain.length}: the entry is missing" in refusal_of(lambda data: data["entries"].pop())
    assert "#2: the entry is missing" in refusal_of(lambda data: data["entries"].pop(1))
    assert "#3: the entry was altered" in refusal_of(lambda data: data["entries"][2].update(actor="x"))
    assert "checkpoints[0].length: the file says 2" in refusal_of(lambda data: data["checkpoints"][0].update(length=2))
    assert "checkpoints: the file says []" in refusal_of(lambda data: data.update(checkpoints=[]))
    assert "note: it was added" in refusal_of(lambda data: data.update(note="x"))
    assert "#2: the entry was altered" in refusal_of(lambda data: data["entries"][1].update(note="x"))
    assert "in another order" in refusal_of(lambda data: data["entries"].reverse())
    assert "signature: it is missing" in refusal_of(lambda data: data.pop("signature"))
    assert "not an export" in refusal_of(lambda data: data.update(entries=[1]))
    assert "not an export" in refusal_of(lambda data: [data.pop(name) for name in [*data]])
    # A receipt of an earlier entry is signed too, even today, but says nothing about the chain's length.
    receipt = json.loads(browse(cast.admin).get(f"/receipts/{whole['entries'][-2]['id']}/?format=json").content)
    shorter = {"entries": whole["entries"][:-1], "checkpoints": [receipt["checkpoint"]]}
    assert "not a signature of a ledger’s export" in refusal_of(
        lambda data: data.update(shorter, signature=receipt["signature"])
    )
    # Rehashed completely, it is consistent in itself, but its own checkpoint reveals it.
    assert f"#{chain.length}: the entry is not the one that a checkpoint saw" in refusal_of(rehash_export)
    assert "the entry is missing" in refusal_of(lambda data: rehash_export(data, without=2))
    assert "the entry is missing" in refusal_of(lambda data: rehash_export(data, without=chain.length))


def test_an_export_contains_exactly_what_the_page_shows(chain, browse, cast):
    """E1"""
    for who in (cast.admin, cast.agent, cast.globex_admin, cast.dev):
        browser = browse(who)
        rows = json.loads(export(browser))["entries"]
        assert len(rows) == browser.get("/ledger/").context["page_obj"].paginator.count
        assert (chain.name in {row["chain"] for row in rows}) == (who == cast.admin)
    some = json.loads(export(browse(cast.admin), query="?event=consent.granted&chain=portal&who=x"))
    assert {row["event"] for row in some["entries"]} == {"consent.granted"} and not some["checkpoints"]
    empty = json.loads(export(browse(cast.agent), query="?who=me"))
    assert (empty["entries"], empty["checkpoints"]) == ([], [])
    for kind in ("csv", "json"):
        assert "/accounts/login/" in Browser().get(f"/ledger/export.{kind}")["Location"]
        assert browse(cast.admin).post(f"/ledger/export.{kind}").status_code == 405
    assert browse(cast.admin).get("/ledger/export.xml").status_code == 404


def test_a_filtered_export_is_verified_without_a_complete_chain(chain, browse, cast, tmp_path, capsys):
    for kind in ("json", "csv"):
        path = tmp_path / f"ledger.{kind}"
        path.write_text(export(browse(cast.admin), kind, "?who=me"), newline="")
        verify_ledger("--export", str(path))
        output = capsys.readouterr().out
        assert "entries, no complete chain: intact" in output, output


def test_a_csv_export_is_verified_like_a_json_one(chain, browse, cast, tmp_path, capsys):
    """Each change is reported: in recorded data by its entry, in current names by their column."""
    record(chain.name, Event.MEMBER_ADDED, by=cast.admin, subject="x;=1;'=2", name="=cmd|'/C calc'!A0\r\n'+1", count=0)
    chain.refresh_from_db()
    path = tmp_path / "ledger.csv"
    whole = list(csv.reader(export(browse(cast.admin), "csv").splitlines(keepends=True)))
    assert tuple(whole[0]) == COLUMNS and len(whole) == chain.length + 2

    def write(rows):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    def refusal_of(change):
        rows = [list(row) for row in whole]
        change(rows)
        write(rows)
        with pytest.raises(CommandError) as error:
            verify_ledger("--export", str(path))
        return str(error.value)

    path.write_text(export(browse(cast.admin), "csv"), newline="")
    verify_ledger("--export", str(path))
    assert f"1 chain, {chain.length} entries: intact" in capsys.readouterr().out
    write(whole)
    verify_ledger("--export", str(path))

    def change(row, column, value="x"):
        return lambda rows: rows[row].__setitem__(COLUMNS.index(column), value)

    recorded = {"event", "subject", "actor", "id"}
    for column in recorded:
        assert "#2: the entry was altered" in refusal_of(change(2, column)), column
    assert "#2: the entry was altered" in refusal_of(change(2, "details", "{}"))
    assert "#2: the entry was altered" in refusal_of(change(2, "at", whole[1][0]))
    for value in ("x", " 2", "2_", "0_2", "２"):
        assert "line 3: it is not an entry" in refusal_of(change(2, "sequence", value))
    assert "a spreadsheet could read a formula in it" in refusal_of(change(-2, "subject", "x;=1;'=2"))
    assert "#2: the entry does not follow" in refusal_of(change(2, "previous_hash"))
    for column in ("what", "about", "who", "where"):
        assert refusal_of(change(2, column)).endswith(f"{column}: a cell of this column was changed"), column
    assert f"#{chain.length}: the entry is missing" in refusal_of(lambda rows: rows.pop(-2))
    assert "#2: the entry is missing" in refusal_of(lambda rows: rows.pop(2))
    assert "in another order" in refusal_of(lambda rows: rows.insert(1, rows.pop(3)))
    assert "signature: it is missing" in refusal_of(lambda rows: rows.pop())
    assert "it is not a row of the export" in refusal_of(lambda rows: rows.append(rows[1]))
    assert "holds more than the signature" in refusal_of(change(-1, "who"))
    assert "signature: " in refusal_of(change(-1, "details", "x"))
    assert "not a CSV export" in refusal_of(change(0, "hash"))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_a_csv_export_is_a_formula(cast, browse, start):
    cast.admin.name = f"{start}HYPERLINK()"
    cast.admin.save()
    record(cast.acme.chain_name, Event.MEMBER_ADDED, by=cast.admin, subject=f"{start}1+1", name=f'{start}cmd|"')
    rows = list(csv.reader(export(browse(cast.admin), "csv").splitlines(keepends=True)))
    assert len({len(row) for row in rows}) == 1
    cells = [cell for row in rows for cell in row]
    assert f"'{start}1+1" in cells and not [cell for cell in cells if cell.startswith(start)]


def test_no_cell_is_a_formula_when_semicolons_separate(cast, browse):
    record(cast.acme.chain_name, Event.MEMBER_ADDED, by=None, subject="x;=cmd|'/C calc'!A0;y", name="＝1+1")
    text = export(browse(cast.admin), "csv")
    cells = [cell for row in csv.reader(text.splitlines(keepends=True), delimiter=";") for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "＝"))] and "'＝1+1" in text
