"""Activity: one click of a person is one line, found by words, app, person, kind and date."""

import datetime as dt
import threading
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection, transaction

from consent.events import Event as ConsentEvent
from credentials import actions as credentials
from marketplace.events import Event as MarketplaceEvent
from portal.accounts.actions import memberships
from portal.accounts.models import User
from portal.ledger import filters
from portal.ledger.actions import actor_name, one_act, record, verify
from portal.ledger.events import Group, events_of
from portal.ledger.models import Chain, Entry
from tests import factories
from tests.backend.base import unguarded
from tests.credentials.test_pages import a_form
from tests.oauth import AppSide
from tests.servers import together
from tests.volume import multiply

pytestmark = pytest.mark.django_db
ENDED, UNINSTALLED = ConsentEvent.ACCESS_ENDED, MarketplaceEvent.INSTALLATION_UNINSTALLED


def text(response):
    return response.content.decode()


def lines(browser, address="/ledger/", **query):
    response = browser.get(address, query)
    assert response.status_code == 200
    return [*response.context["page_obj"]]


def events(found):
    return [entry.event for entry in found]


def shift(entry, at):
    """Record an entry's time anew, past the guards."""
    with connection.cursor() as cursor, unguarded(cursor, ["ledger_entry"]):
        cursor.execute("UPDATE ledger_entry SET at = %s WHERE id = %s", [at, entry.pk])


# --- lines ---


def test_one_click_is_one_line_with_its_parts_inside(installed, browse, cast):
    ada = browse(cast.admin)
    ada.post(f"/installations/{installed.installation.pk}/uninstall/")
    first, second = lines(ada)[:2]
    assert first.event == UNINSTALLED and events(first.parts) == [ENDED]
    assert second.event == "installation.installed" and not second.parts, "recorded by no click of this test"
    page = text(ada.get("/ledger/"))
    assert "and 1 more" in page and f"/receipts/{first.parts[0].pk}/" in page
    assert verify(Chain.objects.get(name=cast.acme.chain_name)) is None


def test_home_shows_the_line_once(installed, browse, cast):
    ada = browse(cast.admin)
    ada.post(f"/installations/{installed.installation.pk}/uninstall/")
    recent = ada.get("/").context["recent"]
    assert recent[0].event == UNINSTALLED and ENDED not in events(recent)


def test_two_clicks_are_two_lines(cast, browse):
    dev = browse(cast.dev)
    client, _secret = factories.client(cast.dev)
    for _number in range(2):
        dev.post(*a_form(dev, f"/credentials/{client.client_id}/secrets/", overlap_hours=0, confirmed="on"))
    rotated = [entry for entry in lines(dev) if entry.event == "client.secret_rotated"]
    assert len(rotated) == 2 and not any(entry.parts for entry in rotated)


@pytest.mark.django_db(transaction=True)
def test_only_what_one_transaction_records_shares_a_time():
    with one_act():
        for _number in range(2):
            with transaction.atomic():
                for subject in "ab":
                    record("account:new", ENDED, by=None, subject=subject)
    times = [entry.at for entry in Entry.objects.order_by("sequence")]
    assert times[0] == times[1] < times[2] == times[3]


@pytest.mark.django_db(transaction=True)
def test_no_chains_times_run_backwards_by_the_wait_for_its_lock_and_the_click_stays_one_line(cast, browse):
    """E2: somebody records in a chain for which the second half of a click has to wait."""
    ours, shared_chain = cast.acme.chain_name, cast.globex.chain_name
    holds, waits = threading.Event(), threading.Event()

    def click():
        with one_act(), transaction.atomic():
            record(ours, UNINSTALLED, by=cast.admin, subject="installation:x")
            waits.set()
            assert holds.wait(60)
            record(shared_chain, ENDED, by=cast.admin, subject="access:x")

    def another():
        with transaction.atomic():
            assert waits.wait(60)
            Chain.objects.select_for_update(no_key=True).get(name=shared_chain)
            holds.set()
            record(shared_chain, ENDED, by=cast.globex_admin, subject="access:y")

    assert together(click, another) == [None, None]
    for name in (ours, shared_chain):
        times = [*Chain.objects.get(name=name).entries.order_by("sequence").values_list("at", flat=True)]
        assert times == sorted(times)
        assert verify(Chain.objects.get(name=name)) is None
    memberships.add_member(cast.globex, cast.admin, role="admin", by=None)
    line = next(line for line in lines(browse(cast.admin)) if line.actor == actor_name(cast.admin))
    assert {line.event, *events(line.parts)} == {UNINSTALLED, ENDED}
    assert sum(each.actor == actor_name(cast.admin) for each in lines(browse(cast.admin))) == 1


def test_a_line_is_shown_once_although_a_page_ends_within_it(cast, browse):
    ada, name = browse(cast.admin), cast.acme.chain_name
    with one_act():
        for _number in range(2):
            record(name, ENDED, by=cast.admin, subject="access:older")
    for _number in range(24):
        record(name, UNINSTALLED, by=cast.admin, subject="installation:newer")
    one, two = (lines(ada, chain=name, page=page) for page in (1, 2))
    assert len(one) == 25 and one[-1].event == ENDED and len(one[-1].parts) == 1
    assert ENDED not in events(two) and two


def test_a_page_within_one_act_is_not_empty(cast, browse):
    name = cast.acme.chain_name
    with one_act():
        for _number in range(60):
            record(name, ENDED, by=cast.admin, subject="access:many")
    assert events(lines(browse(cast.admin), chain=name, page=2)) == [ENDED]


def test_parts_are_only_what_the_reader_may_see(cast, browse):
    """E1"""
    with one_act():
        for name in (cast.acme.chain_name, cast.globex.chain_name):
            record(name, ENDED, by=cast.dev, subject="access:x", name="Shared")
    [line] = lines(browse(cast.admin), q="Shared")
    assert line.chain_id == cast.acme.chain_name and not line.parts


# --- filters ---


def test_words_find_apps_people_permissions_kinds_and_places(installed, browse, cast):
    installed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    memberships.change_role(cast.acme.memberships.get(user=cast.agent), role="admin", by=cast.admin)
    ada = browse(cast.admin)

    def found(q):
        return {*events(lines(ada, q=q))}

    everything = found("")
    assert {"consent.granted", "installation.installed"} <= found("insigh") < everything
    assert found("axel") == {"member.added", "member.role_changed"}
    assert "consent.granted" in found("tickets.view") < everything
    assert found("role CHANGED") == {"member.role_changed"}
    assert found(cast.acme.name) == everything
    assert found("ada role changed") == {"member.role_changed"} and found("axel insights") == set()
    assert found("%") == set(), "no word is a pattern"


def test_the_app_filter_finds_what_is_about_an_app_alone(installed, browse, cast):
    other = AppSide(installed.http, *factories.client(cast.dev, name="Acme Notes"))
    record(cast.acme.chain_name, ENDED, by=cast.admin, subject=f"client:{other.client.client_id}", name="Acme Notes")
    ada = browse(cast.admin)
    assert events(lines(ada, app="acme")) == [ENDED], "the account of that name is no app"
    assert ENDED not in events(lines(ada, app="Insights")) != []
    assert '<option value="Acme Notes">' in text(ada.get("/ledger/"))


def test_a_person_filters_only_those_who_may_see_them(installed, browse, cast):
    """E1"""
    ada, ann = browse(cast.admin), factories.member(cast.acme, "admin", "Anna")
    record(cast.acme.chain_name, ENDED, by=ann, subject="access:x")
    record(cast.acme.chain_name, ENDED, by=cast.globex_admin, subject="access:y")
    assert events(lines(ada, who=ann.public_id)) == [ENDED]
    assert "Anna" in text(ada.get("/ledger/")) and str(cast.globex_admin.public_id) not in text(ada.get("/ledger/"))
    everything = lines(ada)
    for unknown in (cast.globex_admin.public_id, uuid.uuid4(), "nobody"):
        assert lines(ada, who=unknown) == everything
    assert {entry.actor for entry in lines(ada, who="portal")} == {"system"}
    assert {entry.actor for entry in lines(ada, who="me")} <= {f"person:{cast.admin.public_id}"}


def test_who_left_can_still_be_chosen(cast, browse):
    memberships.end_membership(cast.acme.memberships.get(user=cast.agent), by=cast.admin)
    record(cast.acme.chain_name, ENDED, by=cast.agent, subject="access:x")
    assert events(lines(browse(cast.admin), who=cast.agent.public_id)) == [ENDED]


def test_many_people_are_searched_instead(cast, browse):
    for number in range(21):
        factories.member(cast.acme, "agent", f"Zed{number}")
    ada = browse(cast.admin)
    page = text(ada.get("/ledger/"))
    assert "Search people" in page and ">Zed7</option>" not in page
    zed = User.objects.get(name="Zed7")
    page = text(ada.get("/ledger/", {"find_person": "zed7", "event": "member.added"}))
    assert f"?event=member.added&amp;who={zed.public_id}" in page
    assert f'<option value="{zed.public_id}" selected>Zed7' in text(ada.get("/ledger/", {"who": zed.public_id}))


def test_dates_are_days_in_the_readers_time_zone(cast, browse):
    record(cast.acme.chain_name, ENDED, by=cast.admin, subject="access:x")
    # 23:30 of the 30th in Berlin.
    shift(Entry.objects.get(event=ENDED), dt.datetime(2026, 6, 30, 21, 30, tzinfo=dt.UTC))
    User.objects.filter(pk=cast.admin.pk).update(time_zone="Asia/Tokyo")
    ada = browse(cast.admin)
    assert events(lines(ada, since="2026-07-01", until="2026-07-01")) == [ENDED], "6:30 of the 1st in Tokyo"
    assert lines(ada, until="2026-06-30") == []
    User.objects.filter(pk=cast.admin.pk).update(time_zone="Europe/Berlin")
    assert events(lines(ada, since="2026-06-30", until="2026-06-30")) == [ENDED]


def test_a_group_of_events_filters_by_all_of_them(installed, browse, cast):
    installed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    for place in ({}, {"chain": cast.acme.chain_name}, {"q": "insights"}, {"who": "me"}):
        found = {*events(lines(browse(cast.admin), event=Group.ACCESS, **place))}
        assert {"access.opened", "consent.granted"} <= found <= {*events_of(Group.ACCESS)}, place


def test_filters_survive_paging_and_can_be_cleared(cast, browse):
    name, ada = cast.acme.chain_name, browse(cast.admin)
    for _number in range(30):
        record(name, ENDED, by=cast.admin, subject="access:x", name="Notes")
    chosen = {
        "q": "notes", "chain": name, "event": "access", "who": "me", "app": "Note", "since": "2020-01-01",
        "until": "2999-01-01",
    }  # fmt: skip
    page = ada.get("/ledger/", chosen).context["page_obj"]
    assert {**parse_qs(urlsplit(page.next_url).query)} == {
        **{key: [value] for key, value in chosen.items()},
        "page": ["2"],
    }
    assert len([*ada.get(f"/ledger/{page.next_url}").context["page_obj"]]) == 5
    assert "Clear filters" in text(ada.get("/ledger/", chosen))
    assert "Clear filters" not in text(ada.get("/ledger/"))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"since": "yesterday"}, "Enter a valid date"),
        ({"since": "0001-01-01"}, "greater than or equal to 2000-01-01"),
        ({"until": "9999-12-31"}, "less than or equal to 2999-12-31"),
        ({"since": "2026-02-02", "until": "2026-02-01"}, "Choose the same day or a later one."),
        ({"q": "x" * 101}, "at most 100 characters"),
        ({"app": "x" * 101}, "at most 100 characters"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_at_its_field(cast, browse, query, said):
    ada = browse(cast.admin)
    response = ada.get("/ledger/", query)
    assert response.status_code == 422 and said in text(response) and "is-invalid" in text(response)
    assert ada.get("/ledger/export.csv", query).status_code == 422


def test_an_empty_list_says_what_to_do_next(cast, browse):
    assert "Nothing recorded yet" in text(browse(cast.agent).get("/ledger/"))
    page = text(browse(cast.agent).get("/ledger/", {"q": "nothing of the kind"}))
    assert "No entries match" in page and "Clear filters" in page


def test_up_to_a_thousand_entries_are_counted(cast, browse):
    ada, name = browse(cast.admin), cast.acme.chain_name
    record(name, ENDED, by=cast.admin, subject="access:x", name="Notes")
    [entry] = Entry.objects.filter(event=ENDED)
    copies = {"id": "gen_random_uuid()", "at": "at - n * interval '1 second'"}
    multiply(entry, 999, sequence="100000 + n", **copies)
    assert "1,000 entries" in text(ada.get("/ledger/", {"event": ENDED.value}))
    multiply(entry, 1, sequence="200000 + n", **copies)
    response = ada.get("/ledger/", {"event": ENDED.value})
    assert "More than 1,000 entries" in text(response)
    assert len(lines(ada, event=ENDED.value, page=41)) == 1


def test_a_search_looks_among_the_newest_and_says_so(cast, browse, monkeypatch):
    monkeypatch.setattr(filters, "SEARCHED", 3)
    ada, name = browse(cast.admin), cast.acme.chain_name
    for title in ("Old", "Notes", "Notes", "Notes"):
        record(name, ENDED, by=cast.admin, subject="access:x", name=title)
    response = ada.get("/ledger/", {"q": "old"})
    assert not response.context["page_obj"].object_list and "were searched. Choose dates" in " ".join(
        text(response).split()
    )
    assert len(lines(ada, q="notes")) == 3
    notes = Entry.objects.filter(details__name="Notes")
    for entry in notes:
        shift(entry, entry.at + dt.timedelta(days=2))
    today = dt.datetime.now(dt.UTC).date()
    assert events(lines(ada, q="old", until=today, since=today)) == [ENDED]


def test_an_export_has_what_the_filters_leave(installed, browse, cast):
    credentials.change_client(installed.client, redirect_uris=["https://a.example/"], description="", by=cast.dev)
    found = browse(cast.dev).get("/ledger/export.json", {"q": "changed", "app": "insights", "event": "credentials"})
    told = b"".join(found.streaming_content).decode()
    assert told.count('"event"') == 1 and "client.changed" in told and '"checkpoints": []' in told
