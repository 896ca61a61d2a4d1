"""E2: an export of any length is complete and takes no more of the server's memory."""

import os
from pathlib import Path

import pytest
from django.core.management import call_command

from portal.ledger.actions import verify
from portal.ledger.models import Chain
from tests.servers import Http, Server
from tests.volume import grow_chain

SIZES = [pytest.param(10_000, id="10000"), pytest.param(1_000_000, id="1000000", marks=pytest.mark.soak)]
# Held in memory, 10,000 entries take 20 MB and more.
FLAT = 10 * 1024


class Memory:
    """The peak memory of the server's processes since the last reading, in KiB."""

    def __init__(self, server):
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        self.folders = [Path(f"/proc/{pid}") for pid in [server.process.pid, *children]]

    def peak(self):
        total = 0
        for folder in self.folders:
            lines = (folder / "status").read_text().splitlines()
            total = max(total, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
            # Reset the peak (proc(5), clear_refs).
            (folder / "clear_refs").write_text("5")
        return total


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", SIZES)
def test_an_export_of_any_length_streams_in_constant_memory(cast, browse, tmp_path, size, settings, capsys):
    name, session = cast.acme.chain_name, browse(cast.admin).cookies["sessionid"].value
    server = Server().wait()
    try:
        memory = Memory(server)

        def export(kind, into=os.devnull):
            """Read an export piece by piece, and return its numbers of lines and bytes."""
            http = Http(server.port, timeout=180)
            http.connection.request(
                "GET", f"/ledger/export.{kind}?chain={name}", headers={"Cookie": f"sessionid={session}"}
            )
            answer = http.connection.getresponse()
            assert answer.status == 200
            lines = length = 0
            with open(into, "wb") as file:
                while piece := answer.read(65536):
                    file.write(piece)
                    lines, length = lines + piece.count(b"\n"), length + len(piece)
            return lines, length

        for kind in ("csv", "json"):
            export(kind)
        memory.peak()
        export("json")
        before = memory.peak()
        grow_chain(name, size)
        for kind, more in (("csv", 2), ("json", 2)):
            lines, length = export(kind, tmp_path / kind)
            assert lines == size + more and length > 250 * size
            after = memory.peak()
            assert after - before < FLAT, f"{kind}: {before} KiB before, {after} KiB for {size} entries"
    finally:
        server.stop()
    if size > 10_000:
        assert verify(Chain.objects.get(name=name)) is None
    else:
        settings.CHECKPOINT_FILE = ""
        for kind in ("json", "csv"):
            call_command("verify_ledger", "--export", str(tmp_path / kind))
            assert f"1 chain, {size} entries: intact" in capsys.readouterr().out
