"""The ledger records an app's events, each with a title; code never compares reasons or events as text."""

import ast
import re
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from consent.events import Event
from marketplace.events import Event as MarketplaceEvent
from portal.ledger.actions import PORTAL, record
from portal.ledger.events import Group, LedgerEvent, events_of, known_events, register
from portal.ledger.models import Entry
from portal.ledger.reading import with_names
from tests.test_architecture import BASE, FILES

# Names of the demo's apps, not reasons.
NAMES = {"Desk Companion", "Reply Helper"}


def nodes(path, kind):
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kind))


def literals(node):
    """Return the literal texts in an expression."""
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def function_name(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def test_code_names_events_by_their_enumeration():
    for path in FILES:
        for call in nodes(path, ast.Call):
            if function_name(call) == "record" and len(call.args) > 1:
                assert not literals(call.args[1]), f"{path}:{call.lineno}: record() takes a member of the app's Event"
        if path.name != "events.py":
            for constant in nodes(path, ast.Constant):
                assert constant.value not in known_events(), f"{path}:{constant.lineno}: use the member of Event"


def test_code_names_reasons_by_their_enumeration():
    for path in FILES:
        for comparison in nodes(path, ast.Compare):
            sides, where = [comparison.left, *comparison.comparators], f"{path}:{comparison.lineno}"
            words = {text for side in sides for text in literals(side)}
            assert not {text for text in words if " " in text} - NAMES, f"{where} compares a sentence"
            if any(getattr(side, "attr", "").endswith("reason") for side in sides):
                assert not words, f"{where} compares a reason with a text: use its enumeration"
        for call in nodes(path, ast.Call):
            for keyword in call.keywords:
                if re.fullmatch(r"(\w+__)?reason(__\w+)?", keyword.arg or ""):
                    assert not any(literals(keyword.value)), (
                        f"{path}:{call.lineno}: take the reason from its enumeration"
                    )


def test_no_template_compares_a_reason_or_an_event_with_text():
    for path in (BASE / "templates").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"""\b(reason|event)\s*[!=]=\s*["']""", text), path
            assert not [name for name in known_events() if f'"{name}"' in text or f"'{name}'" in text], path


def test_every_app_has_events_with_lazily_translated_titles():
    modules = {type(event).__module__ for event in known_events().values()}
    assert modules >= {"portal.accounts.events", "credentials.events", "consent.events", "marketplace.events"}
    for name, event in known_events().items():
        assert isinstance(event.label, Promise) and re.fullmatch(r"[a-z_]+\.[a-z_]+", name), name


def test_two_apps_cannot_have_the_same_event():
    class Other(LedgerEvent):
        GRANTED = "consent.granted", _("Granted")

    with pytest.raises(ImproperlyConfigured, match=r"consent\.granted"):
        register(consent=Group.ACCESS)(Other)
    assert known_events()["consent.granted"] is Event.CONSENT_GRANTED


@pytest.mark.django_db
@pytest.mark.parametrize("event", ["consent.granted", "made.up", ""])
def test_only_an_apps_events_can_be_recorded(event):
    with pytest.raises(TypeError, match="no event of an app"):
        record(PORTAL, event, by=None, subject="x")
    assert not Entry.objects.filter(chain=PORTAL).exists()


@pytest.mark.django_db
def test_an_entry_gets_its_title_from_its_app_whenever_it_was_recorded():
    def title_of(event, **details):
        (entry,) = with_names([SimpleNamespace(event=event, details=details, actor="x", subject="x", chain_id=PORTAL)])
        return str(entry.title)

    assert title_of("access.ended") == str(Event.ACCESS_ENDED.label)
    itself = str(MarketplaceEvent.INSTALLATION_UPGRADES_ITSELF_CHANGED)
    assert title_of(itself, upgrades_itself=True) == "Automatic updates turned on"
    assert title_of(itself, upgrades_itself=False) == "Automatic updates turned off"
    assert title_of("connection.connected", vendor="Octo") == "Connected to a vendor: Octo"
    assert title_of("of.another_day") == "of.another_day", "an event that no app has any more is shown by its name"


@pytest.mark.django_db
def test_the_page_filters_by_the_events_of_all_apps_in_groups(cast, browse):
    groups = browse(cast.admin).get("/ledger/").context["groups"]
    assert [group for group, _events in groups] == [*Group]
    assert {name: event for _group, events in groups for name, event in events.items()} == known_events()
    assert {event.group for event in events_of(Group.INSTALLING).values()} == {Group.INSTALLING}


def test_an_event_without_a_group_cannot_be_registered():
    class Other(LedgerEvent):
        MADE = "novelty.made", _("Made")

    with pytest.raises(ImproperlyConfigured, match=r"novelty\.made has no group"):
        register(consent=Group.ACCESS)(Other)
    assert "novelty.made" not in known_events()
