"""A large download of Activity is prepared by workers, its progress kept in the database; a short one streams at once."""

import json
import signal
import tracemalloc
import uuid
from datetime import timedelta
from urllib.parse import quote_plus

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from portal.accounts.actions import memberships
from portal.foundation.database import database_now
from portal.ledger import preparing, tasks, views
from portal.ledger.exports import KINDS
from portal.ledger.filters import Filters
from portal.ledger.models import Chain, Export, ExportPiece
from tests import factories
from tests.clock import eventually
from tests.people.forms import text
from tests.servers import start_worker
from tests.volume import grow_chain
from tests.worlds import shared

pytestmark = pytest.mark.django_db
WAITS, READY = "Your file is being prepared", "Your file is ready"


@shared
def ada(browse, cast):
    return browse(cast.admin)


@pytest.fixture
def small_pieces(installed, monkeypatch):
    """Acme's chain has several entries, and a piece holds two."""
    monkeypatch.setattr(preparing, "STEP", 2)


def ask(browser, kind="json", query=""):
    """Ask for a file, and return its page's address."""
    answer = browser.post(f"/ledger/exports/{query}", {"kind": kind})
    assert answer.status_code == 302
    return answer["Location"]


def pk_of(page):
    return page.strip("/").rpartition("/")[2]


def finish(page):
    while preparing.write_some(pk_of(page)):
        pass


def content(answer):
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def verify(path, written):
    path.write_text(written, newline="")
    call_command("verify_ledger", "--export", str(path))


def test_a_short_list_is_downloaded_at_once_and_a_long_one_is_prepared_first(installed, ada, cast, monkeypatch):
    page = ada.get("/ledger/").content.decode()
    assert "/ledger/export.json" in page and "/ledger/exports/" not in page
    monkeypatch.setattr(views, "MOST_COUNTED", 2)
    page = ada.get(f"/ledger/?chain={cast.acme.chain_name}").content.decode()
    asks = f'action="/ledger/exports/?chain={quote_plus(cast.acme.chain_name)}"'
    assert "/ledger/export.json" not in page and asks in page


@pytest.mark.parametrize("kind", KINDS)
def test_its_progress_survives_a_reload_and_ends_with_the_file_that_a_download_would_be(
    small_pieces, ada, cast, kind, tmp_path, capsys
):
    page = ask(ada, kind)
    whole = Export.objects.get().whole
    assert whole >= Chain.objects.get(pk=cast.acme.chain_name).length > 4
    for done in (0, 2):
        for path in (page, page, f"{page}progress/"):
            answer = ada.get(path)
            assert WAITS in text(answer) and f"{done} of {whole} entries checked" in text(answer)
            assert f'data-progress="{page}progress/"' in answer.content.decode() and "Check again" in text(answer)
        assert ada.get(f"{page}download/").status_code == 404 and WAITS in text(ada.get("/ledger/"))
        preparing._write_piece(pk_of(page))
    finish(page)
    for path in (f"{page}progress/", page):
        answer = ada.get(path)
        assert READY in text(answer) and "data-progress" not in answer.content.decode()
        assert f"{Export.objects.get().count} entries" in text(answer)
        assert f"{page}download/" in answer.content.decode()
    assert READY in text(ada.get("/ledger/"))
    answer = ada.get(f"{page}download/")
    assert answer["Content-Type"] == KINDS[kind].content_type and f"ledger.{kind}" in answer["Content-Disposition"]
    written = content(answer)
    assert int(answer["Content-Length"]) == len(written.encode())
    verify(tmp_path / kind, written)
    assert "1 chain" in (said := capsys.readouterr().out) and "intact" in said
    # Apart from the last line, which has the signature.
    streamed = content(ada.get(f"/ledger/export.{kind}"))
    assert written.splitlines()[:-1] == streamed.splitlines()[:-1]
    with pytest.raises(CommandError):
        verify(tmp_path / kind, written.replace("account", "another", 1))


def test_it_has_what_the_filters_leave_by_its_readers_days(small_pieces, ada, cast, browse):
    for query in ("?q=installation", "?who=me&event=installing", "?since=2099-01-01", f"?chain={cast.acme.chain_name}"):
        page = ask(ada, query=query)
        finish(page)
        written = json.loads(content(ada.get(f"{page}download/")))
        assert written["entries"] == json.loads(content(ada.get(f"/ledger/export.json{query}")))["entries"], query
    page = ask(browse(cast.agent))
    finish(page)
    assert json.loads(content(browse(cast.agent).get(f"{page}download/")))["entries"] == []


def test_a_bad_choice_is_refused_in_words(installed, ada):
    for query, kind, says in (("", "xml", "Choose CSV or JSON"), ("?since=2026-02-02&until=2026-02-01", "csv", "day")):
        answer = ada.post(f"/ledger/exports/{query}", {"kind": kind})
        assert answer.status_code == 422 and says in answer.content.decode()
    assert ada.get("/ledger/exports/").status_code == 405 and not Export.objects.exists()


def test_what_a_killed_worker_left_is_found_and_finished_by_the_next(small_pieces, ada, monkeypatch, tmp_path):
    page, queued = ask(ada), []
    monkeypatch.setattr(tasks.prepare_export, "delay", queued.append)
    preparing._write_piece(pk_of(page))
    before = Export.objects.values().get()
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):

        def dies(*_arguments, **_more):
            raise KeyboardInterrupt

        killed.setattr(preparing.zlib, "compress", dies)
        preparing._write_piece(pk_of(page))
    assert Export.objects.values().get() == before, "a piece is written with the position behind it, or not at all"
    tasks.sweep_exports()
    assert queued == [], "somebody may still be writing it"
    Export.objects.update(worked_at=Now() - timedelta(seconds=preparing.IDLE + 1))
    tasks.sweep_exports()
    assert queued == [pk_of(page)]
    finish(queued[0])
    assert not preparing.write_some(queued[0]), "a second run changes nothing"
    verify(tmp_path / "file", content(ada.get(f"{page}download/")))


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
def test_a_real_worker_is_killed_in_the_middle_and_another_goes_on(cast, ada, tmp_path):
    grow_chain(cast.acme.chain_name, 30_000)
    first = start_worker()
    page = ask(ada)
    eventually(lambda: Export.objects.get().looked_at)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert Export.objects.get().done_at is None
    Export.objects.update(worked_at=Now() - timedelta(seconds=preparing.IDLE + 1))
    second = start_worker()
    try:
        tasks.sweep_exports.delay()
        eventually(lambda: Export.objects.get().done_at)
    finally:
        second.terminate()
        second.wait(180)
    verify(tmp_path / "file", content(ada.get(f"{page}download/")))


def test_who_may_no_longer_read_what_is_in_it_no_longer_finds_it(small_pieces, ada, cast):
    """E1, whether the file is complete or not; whoever may read more than before keeps it."""
    mine = cast.acme.memberships.get(user=cast.admin)
    factories.member(cast.acme, "admin", "Other")
    for is_done in (False, True):
        page = ask(ada)
        if is_done:
            finish(page)
        memberships.change_role(mine, role="agent", by=None)
        for part in ("", "progress/", "download/"):
            assert ada.get(f"{page}{part}").status_code == 404
        assert WAITS not in text(ada.get("/ledger/")) and READY not in text(ada.get("/ledger/"))
        memberships.change_role(mine, role="admin", by=None)
    memberships.add_member(factories.account("initech"), cast.admin, role="admin", by=None)
    assert ada.get(f"{page}download/").status_code == 200


def test_nobody_else_finds_it(small_pieces, ada, cast, browse):
    factories.member(cast.acme, "admin", "Other")
    other = browse(cast.acme.memberships.get(user__name="Other").user)
    page = ask(ada)
    finish(page)
    for part in ("", "progress/", "download/"):
        assert other.get(f"{page}{part}").status_code == 404
        assert ada.get(page.replace(pk_of(page), str(uuid.uuid4())) + part).status_code == 404


def test_the_next_one_replaces_it_and_after_a_day_it_is_gone(small_pieces, ada, cast):
    first, page = ask(ada), ask(ada, "csv")
    assert ada.get(first).status_code == 404 and not preparing.write_some(pk_of(first))
    tasks.sweep_exports()
    assert Export.objects.count() == 1
    finish(page)
    Export.objects.update(asked_at=database_now() - preparing.KEPT_FOR)
    assert ada.get(f"{page}download/").status_code == 404, "also before it is erased"
    tasks.sweep_exports()
    assert not Export.objects.exists() and not ExportPiece.objects.exists()


def test_a_large_one_is_written_and_read_in_constant_memory(installed, cast, monkeypatch):
    """Held in memory, 10,000 entries take 20 MB and more."""
    monkeypatch.setattr(preparing, "STEP", 500)
    grow_chain(cast.acme.chain_name, 10_000)
    export = preparing.ask(Filters(cast.admin), "csv")
    tracemalloc.start()
    try:
        while preparing.write_some(str(export.pk)):
            pass
        size = sum(map(len, preparing.pieces_of(export)))
        assert tracemalloc.get_traced_memory()[1] < 10 * 1024**2
    finally:
        tracemalloc.stop()
    assert size == Export.objects.get().size > 250 * 10_000
