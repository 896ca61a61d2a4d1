"""E2: anyone with a receipt can verify it with the published keys, and only the portal can make one."""

import base64
import json
import os
import subprocess
import sys
import venv
from datetime import timedelta
from pathlib import Path

import cffi
import cryptography
import pytest
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import KeySet

from docs import verify_receipt
from portal.foundation.database import database_now
from portal.ledger.checkpoints import LENGTH, RECEIPT, _mac
from portal.ledger.keys import Signer, _derive, published, signer
from portal.ledger.models import Chain
from tests import factories
from tests.portal.test_ledger import tamper
from tests.worlds import shared

pytestmark = pytest.mark.django_db
KEYS, VERIFIER = "/.well-known/ledger-keys.json", "/receipts/verify_receipt.py"


@shared
def consent_entry(installed, cast):
    """The entry of Acme's consent."""
    factories.agree(installed.client, cast.acme, cast.admin)
    return Chain.objects.get(name=cast.acme.chain_name).entries.get(event="consent.granted")


@pytest.fixture
def downloads(consent_entry, browse, cast, tmp_path):
    """A folder of downloads: `receipt.json`, the keys and the script."""
    receipt = browse(cast.admin).get(f"/receipts/{consent_entry.pk}/?format=json")
    stranger = Browser()
    for name, answer in (
        ("receipt.json", receipt),
        ("ledger-keys.json", stranger.get(KEYS)),
        ("verify_receipt.py", stranger.get(VERIFIER)),
    ):
        assert answer.status_code == 200
        (tmp_path / name).write_bytes(answer.content)
    return tmp_path


def verify(folder, name="receipt.json", capsys=None):
    """Return (exit status, output)."""
    code = verify_receipt.main([str(folder / name), "--keys", str(folder / "ledger-keys.json")])
    return code, capsys.readouterr().out


def rewrite(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return data


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory):
    """The Python of an environment with only `cryptography` installed, where no process can open a connection."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    here = Path(cryptography.__file__).parent.parent
    for path in (here / "cryptography", Path(cffi.__file__).parent, *here.glob("_cffi_backend*")):
        (packages / path.name).symlink_to(path)
    (packages / "sitecustomize.py").write_text(
        "import sys\n"
        "def refuse(event, arguments):\n"
        "    if event.startswith('socket.'):\n"
        "        raise PermissionError(event)\n"
        "sys.addaudithook(refuse)\n"
    )
    return folder / "bin" / "python"


def test_a_receipt_is_verified_in_an_empty_environment(empty_environment, downloads):
    """Without Django, a database or a network."""

    def run(*arguments):
        done = subprocess.run(
            [empty_environment, "-I", "verify_receipt.py", *arguments],
            cwd=downloads, env={"PATH": os.defpath}, capture_output=True, text=True,
        )  # fmt: skip
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    for module in ("django", "joserfc", "psycopg"):
        assert subprocess.run([empty_environment, "-Ic", f"import {module}"], capture_output=True).returncode == 1
    receipt = ("receipt.json", "--keys", "ledger-keys.json")
    code, output = run(*receipt)
    assert code == 0 and output.startswith("Intact: consent.granted, account:acme"), output
    rewrite(downloads / "receipt.json", lambda data: data["entry"]["details"]["granted"].append("freshservice.x"))
    code, output = run(*receipt)
    assert code == 1 and output.startswith("Not intact: entry.details.granted: "), output
    assert run("nowhere.json", "--keys", "ledger-keys.json")[0] == 2


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from leaves(each, (*path, name))
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from leaves(each, (*path, number))
    else:
        yield path


def field_name(path):
    """Return the script's name for a field."""
    shown = [part if isinstance(part, int) or part.isidentifier() else json.dumps(part) for part in path]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in shown)[1:]


def test_every_tampered_field_is_named(downloads, capsys):
    original = json.loads((downloads / "receipt.json").read_text())
    paths = [path for path in leaves(original) if path != ("signature",)]
    assert {("entry", "actor"), ("entry", "at"), ("text", "new", 0, 1), ("checkpoint", "head")} <= {*paths}
    for path in paths:
        for how in ("change", "remove", "add"):

            def tamper_with(data, path=path, how=how):
                for part in path[:-1]:
                    data = data[part]
                if how == "change":
                    data[path[-1]] = 0 if data[path[-1]] is False else "tampered"
                elif how == "remove":
                    del data[path[-1]]
                elif isinstance(data, dict):
                    data["added"] = 1
                else:
                    data.append("added")

            (downloads / "receipt.json").write_text(json.dumps(original))
            rewrite(downloads / "receipt.json", tamper_with)
            code, output = verify(downloads, capsys=capsys)
            name = field_name(path) if how == "change" else field_name(path[:-1])
            assert code == 1 and f"Not intact: {name}" in output, (path, how, output)
    with pytest.raises(CommandError, match=r"receipt\.json: "):
        call_command("verify_ledger", "--receipt", str(downloads / "receipt.json"))


def _resign(data, header, *, statement=None):
    """Replace a signature's header or statement, but keep its bytes."""

    def encode(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    protected, payload, mark = data["signature"].split(".")
    data["signature"] = ".".join([encode(header) if header else protected, statement or payload, mark])


FORGED = {
    "no signature": lambda data: data.pop("signature"),
    "an empty one": lambda data: data.update(signature=""),
    "no text": lambda data: data.update(signature=[1]),
    "one that is cut": lambda data: data.update(signature=data["signature"][:-3]),
    "one with other bytes": lambda data: data.update(signature=data["signature"][:-4] + "AAAA"),
    "the same bytes, written otherwise": lambda data: data.update(signature=data["signature"] + "="),
    "no algorithm": lambda data: _resign(data, {"alg": "none", "kid": "x"}),
    "another algorithm": lambda data: _resign(data, {"alg": "HS256", "kid": "x"}),
    "an unknown key": lambda data: _resign(data, {"alg": "Ed25519", "kid": "x"}),
    "another's statement": lambda data: _resign(data, None, statement="e30"),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_signature_is_refused(downloads, capsys, how):
    rewrite(downloads / "receipt.json", FORGED[how])
    code, output = verify(downloads, capsys=capsys)
    assert code == 1 and output.startswith("Not intact: signature: "), output


def test_a_signature_for_another_purpose_is_refused(downloads, consent_entry, capsys):
    """A checkpoint's or an export's signature does not sign a receipt."""
    for purpose in ("checkpoint", "export"):

        def resign(data, purpose=purpose):
            del data["signature"]
            data["signature"] = signer().sign(purpose, data)

        rewrite(downloads / "receipt.json", resign)
        code, output = verify(downloads, capsys=capsys)
        assert code == 1 and "is not a signature of a ledger’s receipt" in output


@pytest.mark.parametrize(
    "text",
    [
        "", "not json", "[]", "{}", "null", '{"entries": 1, "checkpoints": []}', '{"entries": []}', "at,what\n",
        '{"entry": NaN, "signature": ""}', "[" * 100_000, '{"entry": ' + "1" * 5000 + "}",
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_receipt_is_unreadable(downloads, capsys, text):
    (downloads / "receipt.json").write_text(text)
    code, output = verify(downloads, capsys=capsys)
    assert code == 2 and output.startswith("Cannot be checked: ") and output.count("\n") == 1
    with pytest.raises(CommandError, match=r"receipt\.json"):
        call_command("verify_ledger", "--receipt", str(downloads / "receipt.json"))


def test_a_missing_or_binary_file_and_invalid_keys_are_unreadable(downloads, capsys):
    (downloads / "binary").write_bytes(b"\x00\xff\xfe")
    for name in ("nowhere.json", "binary", "."):
        assert verify(downloads, name, capsys)[0] == 2
    for text in ("", "{}", '{"keys": [{}]}', '{"keys": [{"kid": "x", "x": "AA", "periods": []}]}', '{"keys": 1}'):
        (downloads / "ledger-keys.json").write_text(text)
        assert verify(downloads, capsys=capsys)[0] == 2


def test_a_name_that_appears_twice_is_reported(downloads, capsys):
    """JSON parsers differ in which of the two they use."""
    path = downloads / "receipt.json"
    path.write_text(path.read_text().replace('{"entry":', '{"entry": {"event": "consent.declined"}, "entry":', 1))
    code, output = verify(downloads, capsys=capsys)
    assert code == 1 and output == "Not intact: entry: it appears twice\n"


def test_nothing_in_a_file_can_forge_what_the_script_prints(downloads, capsys):
    """A terminal obeys escape sequences, and a line break would let the file print lines of its own."""
    lie = "\x1b[2K\x1b[1A\nIntact: consent.granted"
    for text in (
        json.dumps({lie: 1})[:-1] + f", {json.dumps(lie)}: 2}}",
        json.dumps({"entries": [], "checkpoints": [], "signature": "", lie: 1}),
    ):
        (downloads / "receipt.json").write_text(text)
        code, output = verify(downloads, capsys=capsys)
        assert code == 1 and output.startswith("Not intact: ") and output.count("\n") == 1 and "\x1b" not in output


@pytest.mark.parametrize("details", [[], "text", 1, None])
def test_an_entry_whose_details_are_not_an_object_is_refused(downloads, capsys, details):
    def change(data):
        del data["signature"]
        data["entry"]["details"] = details
        data["entry"]["hash"] = "0"

    rewrite(downloads / "receipt.json", change)
    assert verify(downloads, capsys=capsys) == (1, "Not intact: entry: its hash does not match its content\n")


# --- the keys ---


def test_the_keys_are_published_for_everybody(downloads, client):
    for browser in (client, Browser(enforce_csrf_checks=True)):
        answer = browser.get(KEYS)
        assert answer.status_code == 200 and answer["Access-Control-Allow-Origin"] == "*"
        assert answer["Content-Type"] == "application/json" and answer["Cache-Control"] == "public, max-age=300"
        assert not answer.cookies
        assert browser.head(KEYS).status_code == 200
        for method in ("post", "put", "patch", "delete"):
            refused = getattr(browser, method)(KEYS)
            assert refused.status_code == 405 and refused["Allow"] == "GET, HEAD, OPTIONS"
            assert refused.json()["error"] == "invalid_request"
        assert browser.get(VERIFIER).content == Path(verify_receipt.__file__).read_bytes()
        assert browser.post(VERIFIER).status_code in (403, 405)
    (key,) = client.get(KEYS).json()["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "use", "alg", "periods"}, "no private part"
    (period,) = key["periods"]
    assert period["until"] is None


def test_keys_downloaded_before_the_first_receipt_verify_it(consent_entry, browse, cast, tmp_path, settings, capsys):
    """A page links to the keys before any receipt, and a new key in LEDGER_KEYS is published before it signs."""
    for values in (settings.LEDGER_KEYS, ["a new key", *settings.LEDGER_KEYS]):
        settings.LEDGER_KEYS = values
        for _time in range(2):
            (tmp_path / "ledger-keys.json").write_bytes(Browser().get(KEYS).content)
        receipt = browse(cast.admin).get(f"/receipts/{consent_entry.pk}/?format=json")
        (tmp_path / "receipt.json").write_bytes(receipt.content)
        assert verify(tmp_path, capsys=capsys)[0] == 0


def test_any_jws_library_verifies_a_receipt(downloads):
    data = json.loads((downloads / "receipt.json").read_text())
    keys = KeySet.import_key_set(json.loads((downloads / "ledger-keys.json").read_text()))
    statement = json.loads(jws.deserialize_compact(data.pop("signature"), keys, algorithms=["Ed25519"]).payload)
    assert statement["content"] == data and statement["purpose"] == "receipt"


def test_a_receipts_page_offers_the_script_and_the_keys(consent_entry, browse, cast):
    page = browse(cast.admin).get(f"/receipts/{consent_entry.pk}/").content.decode()
    assert f'href="{VERIFIER}"' in page and f'href="{KEYS}"' in page and "?format=json" in page


def test_a_receipt_signed_outside_its_keys_period_is_refused(downloads, settings, capsys):
    (downloads / "ledger-keys.json").write_text(json.dumps(published()))
    assert verify(downloads, capsys=capsys)[0] == 0
    at = database_now()
    for begin, until in ((at, None), (at - timedelta(hours=2), at - timedelta(hours=1))):
        tamper("UPDATE ledger_keyperiod SET from_at = %s, until_at = %s", begin, until)
        (downloads / "ledger-keys.json").write_text(json.dumps(published()))
        code, output = verify(downloads, capsys=capsys)
        assert code == 1 and "did not sign" in output
        with pytest.raises(CommandError, match="did not sign"):
            call_command("verify_ledger", "--receipt", str(downloads / "receipt.json"))


def test_a_new_key_takes_over_and_the_old_ones_signatures_stay_valid(
    downloads, settings, browse, cast, consent_entry, capsys
):
    old = settings.LEDGER_KEYS[0]
    settings.LEDGER_KEYS = ["a new key", old]
    assert len(published()["keys"]) == 1, "a key that never signed is not published"
    (downloads / "newer.json").write_bytes(browse(cast.admin).get(f"/receipts/{consent_entry.pk}/?format=json").content)
    (downloads / "ledger-keys.json").write_bytes(Browser().get(KEYS).content)
    periods = {key["kid"]: key["periods"] for key in published()["keys"]}
    (first,), (second,) = (periods[_derive(value).thumbprint()] for value in (old, "a new key"))
    assert first["until"] and first["until"] <= second["from"] and second["until"] is None
    for name in ("receipt.json", "newer.json"):
        assert verify(downloads, name, capsys)[0] == 0
        call_command("verify_ledger", "--receipt", str(downloads / name))
    # The old key can no longer sign with today's date.
    data = json.loads((downloads / "receipt.json").read_text())
    del data["signature"]
    data["signature"] = Signer(_derive(old), database_now()).sign("receipt", data)
    (downloads / "receipt.json").write_text(json.dumps(data))
    code, output = verify(downloads, capsys=capsys)
    assert code == 1 and "did not sign" in output
    # A key removed from LEDGER_KEYS is no longer published.
    settings.LEDGER_KEYS = ["a new key"]
    assert [key["kid"] for key in published()["keys"]] == [_derive("a new key").thumbprint()]


# --- earlier files ---


def _make_earlier(settings, data):
    """Turn a receipt into one from before public keys signed them."""
    del data["signature"]
    data["checkpoint"]["mac"] = _mac(settings.LEDGER_KEYS[0], data["checkpoint"], RECEIPT)


def test_an_earlier_receipt_is_read_and_marked_as_verifiable_only_by_the_operator(downloads, settings, capsys):
    path = downloads / "receipt.json"
    data = rewrite(path, lambda data: _make_earlier(settings, data))
    settings.LEDGER_KEYS = ["a new key", *settings.LEDGER_KEYS]
    assert verify(downloads, capsys=capsys) == (
        2,
        f"Cannot be checked: {path}: it was made before receipts were signed with public keys: "
        "only whoever runs the portal can verify it, with `manage.py verify_ledger`\n",
    )
    call_command("verify_ledger", "--receipt", str(path))
    output = capsys.readouterr().out
    assert "which is as it was recorded" in output and "only whoever runs the portal can verify it" in output
    for change in (
        lambda data: data["entry"].update(actor="person:x"),
        lambda data: data["text"].update(app="Another"),
        lambda data: data["checkpoint"].update(mac="0" * 64),
        lambda data: data["checkpoint"].update(length=1),
    ):
        path.write_text(json.dumps(data))
        rewrite(path, change)
        with pytest.raises(CommandError, match=r"receipt\.json: "):
            call_command("verify_ledger", "--receipt", str(path))
    path.write_text(json.dumps({**data, "entry": {**data["entry"], "actor": "x"}}))
    assert verify(downloads, capsys=capsys)[0] == 1, "anyone can tell that an entry does not match its own hash"


def test_earlier_checkpoints_and_exports_are_still_verified(consent_entry, browse, cast, settings, tmp_path, capsys):
    text = b"".join(browse(cast.admin).get("/ledger/export.json").streaming_content)
    path = tmp_path / "ledger.json"
    path.write_bytes(text)

    def earlier(data):
        del data["signature"]
        for point in data["checkpoints"]:
            point["mac"] = _mac(settings.LEDGER_KEYS[0], point, LENGTH)

    data = rewrite(path, earlier)
    call_command("verify_ledger", "--export", str(path))
    assert "only whoever runs the portal" in capsys.readouterr().out
    settings.CHECKPOINT_FILE = str(tmp_path / "checkpoints.jsonl")
    Path(settings.CHECKPOINT_FILE).write_text("".join(json.dumps(point) + "\n" for point in data["checkpoints"]))
    call_command("verify_ledger")
    from portal.ledger.tasks import checkpoint

    checkpoint()
    call_command("verify_ledger")
    rewrite(path, lambda data: data["entries"].pop())
    with pytest.raises(CommandError, match="the entry is missing"):
        call_command("verify_ledger", "--export", str(path))


# --- the script ---


@given(st.text(st.sampled_from("'=+-@＝;|\t\r\nx")) | st.text())
def test_escaping_for_spreadsheets_is_reversible(text):
    cell = verify_receipt.escape(text)
    assert verify_receipt.unescape(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n"))


def test_the_script_needs_only_the_standard_library_and_cryptography():
    import ast

    imported = set()
    for node in ast.walk(ast.parse(Path(verify_receipt.__file__).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - {*sys.stdlib_module_names} == {"cryptography"}
    assert not imported & {"socket", "ssl", "urllib", "http", "subprocess", "os"}
