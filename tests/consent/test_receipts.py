"""Receipts show what was agreed to or ended, in the words read then, as a page and as a file (E2)."""

import json
import uuid

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import translation

from consent.actions import ending
from consent.events import Event
from consent.models import Consent, ShownText
from credentials.models import Scope
from credentials.registry import import_document
from docs.verify_receipt import text_hash
from marketplace.actions import installing, upgrading
from portal.ledger.actions import digest, record
from portal.ledger.models import Chain, Entry
from tests import factories
from tests.clock import advance
from tests.factories import DOCUMENT, EDIT, VIEW
from tests.oauth import shown
from tests.people.forms import receipt_in, text
from tests.portal.test_ledger import tamper
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def ada(browse, cast):
    return browse(cast.admin)


@shared
def agreed_app(installed, cast):
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin, chosen=[EDIT])
    installed.page = f"/installations/{installed.installation.pk}/"
    return installed


def reword_view_scope(sentence):
    """Publish the scope to view tickets again, with another sentence."""
    document = json.loads(json.dumps(DOCUMENT))
    flow = document["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    flow["scopes"][VIEW] = sentence
    import_document(factories.product(), document)
    assert Scope.objects.get(name=VIEW).sentence == sentence


def verify_receipt(receipt, tmp_path):
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt))
    call_command("verify_ledger", "--receipt", str(path), verbosity=0)


def test_a_text_is_stored_once_and_the_consent_names_the_one_read_last(agreed_app, installed, cast):
    first = agreed_app.consent.text
    assert first.pk == text_hash(first.words) and first.words["language"] == "en"
    assert [row[1] for row in first.words["new"]] == ["View tickets"]
    again = factories.agree(agreed_app.client, cast.acme, cast.admin, ask_again=True)
    assert ShownText.objects.count() == 2 and again.text.words["already"], (
        "the screen reads differently when all is already allowed"
    )
    factories.agree(agreed_app.client, cast.acme, cast.admin, ask_again=True)
    assert ShownText.objects.count() == 2
    reword_view_scope("See all tickets")
    consent = factories.agree(agreed_app.client, cast.acme, cast.admin, ask_again=True)
    assert ShownText.objects.count() == 3 and consent.text_id not in (first.pk, again.text_id)
    with translation.override("de"):
        assert factories.agree(agreed_app.client, cast.acme, cast.admin, ask_again=True).text.words["language"] == "de"
    assert Entry.objects.filter(event="consent.renewed").first().details["language"] == "de"


def test_accounts_that_read_the_same_text_share_its_row(agreed_app, cast):
    installing.install(agreed_app.version.app, cast.globex, by=cast.globex_admin)
    factories.agree(agreed_app.client, cast.globex, cast.globex_admin)
    assert ShownText.objects.count() == 1


def test_a_receipt_has_the_words_that_were_read_then(agreed_app, ada, tmp_path):
    entry = Entry.objects.get(event="consent.granted")
    reword_view_scope("See all tickets")
    page = ada.get(f"/receipts/{entry.pk}/")
    assert "Allowed Edit tickets" in text(page) and "View tickets" in text(page)
    assert "See all tickets" not in text(page)
    assert agreed_app.consent.text_id in text(page) and "Language en" in text(page) and entry.hash in text(page)
    receipt = ada.get(f"/receipts/{entry.pk}/?format=json").json()
    assert receipt["text"]["new"][0][1] == "View tickets"
    assert receipt["entry"]["details"]["text_hash"] == text_hash(receipt["text"])
    verify_receipt(receipt, tmp_path)


def test_verifying_a_receipt_with_altered_words_fails(agreed_app, ada, tmp_path):
    entry = Entry.objects.get(event="consent.granted")
    receipt = ada.get(f"/receipts/{entry.pk}/?format=json").json()
    receipt["text"]["new"][0][1] = "View nothing"
    with pytest.raises(CommandError, match=r"text.new\[0\]\[1\]: the file says \"View nothing\""):
        verify_receipt(receipt, tmp_path)


def test_every_act_leads_to_its_receipt_and_receipts_have_the_text(agreed_app, ada, cast, tmp_path):
    """Installing, granting, trimming, widening, reauthorizing, revoking and uninstalling."""
    trim, widen = (f"/consents/{agreed_app.consent.pk}/{what}/" for what in ("trim", "widen"))
    assert "Removed Edit tickets" in text(ada.get(receipt_in(ada.post(trim, {"scope": EDIT}, follow=True))))
    ada.post(widen, {"decision": "agree", "shown": shown(ada.get(widen)), "optional": EDIT})
    assert "You agreed. View receipt" in text(ada.get(agreed_app.page))
    again = f"/authorizations/{agreed_app.installation.access_id}/reauthorize/"
    ada.post(again, {"decision": "agree", "shown": shown(ada.get(again))})
    assert "You agreed again. View receipt" in text(ada.get(agreed_app.page))
    ending.revoke_consent(Consent.objects.get(revoked_at=None), by=cast.admin)
    factories.agree(agreed_app.client, cast.acme, cast.admin)
    uninstalled = ada.post(f"{agreed_app.page}uninstall/", follow=True)
    assert "Was allowed View tickets" in text(ada.get(receipt_in(uninstalled)))
    page = text(ada.get(agreed_app.page))
    listed = page[page.index("Receipts") :]
    events = {
        "access.opened": "App allowed to ask for permission",
        "installation.installed": "Installation started",
        "consent.granted": "Agreed to the app’s permissions",
        "consent.trimmed": "Permissions removed",
        "consent.widened": "More permissions allowed",
        "consent.replaced": "Agreed again, replacing the earlier agreement",
        "consent.revoked": "Agreement revoked",
        "access.ended": "All access ended",
        "installation.uninstalled": "App uninstalled",
    }
    for event, title in events.items():
        assert title in listed, event
        for entry in Entry.objects.filter(event=event, chain=cast.acme.chain_name):
            receipt = ada.get(f"/receipts/{entry.pk}/?format=json").json()
            assert ("text" in receipt) == (event.startswith("consent.") or event == "access.ended"), event
            verify_receipt(receipt, tmp_path)


def test_a_receipts_page_is_always_the_same_and_shows_what_to_compare(agreed_app, ada):
    url = f"/receipts/{Entry.objects.get(event='consent.granted').pk}/"
    first, second = text(ada.get(url)), text(ada.get(url))
    assert first == second and "verify_receipt.py" in first
    signed = ada.get(f"{url}?format=json").json()
    assert signed["entry"]["hash"] in first and f"{signed['entry']['chain']} #{signed['entry']['sequence']}" in first
    assert signed["signature"] not in first


def test_lists_say_whether_automatic_updates_were_turned_on_or_off(agreed_app, ada, cast):
    for on in (True, False):
        upgrading.set_upgrades_itself(agreed_app.installation, on=on, by=cast.admin)
        agreed_app.installation.refresh_from_db()
    for path in (agreed_app.page, "/ledger/"):
        page = text(ada.get(path))
        assert "Automatic updates turned on " in page and "Automatic updates turned off " in page, path


def test_a_hosted_apps_flow_ends_with_a_link_to_the_receipt(cast, ada, client):
    draft = factories.app(cast.dev, factories.client(cast.dev)[0])
    version = factories.publish(draft, cast.dev)
    installation = installing.install(version.app, cast.acme, by=cast.admin)
    url = ada.get(f"/installations/{installation.pk}/connect/")["Location"]
    answer = ada.post(url, {"decision": "agree", "shown": shown(ada.get(url))})["Location"]
    page = ada.get(answer[answer.index("/oauth/callback") :], follow=True)
    entry = Entry.objects.get(event="consent.granted")
    assert "The app is ready to use. View receipt" in text(page)
    assert page.content.decode().count(f"/receipts/{entry.pk}/") == 2, "in the message and in the list"


def test_an_agent_reads_the_receipts_of_their_own_consent_whoever_ended_it(installed_agent, browse, cast):
    """E1: and no other agent's."""
    for who in (cast.agent, cast.agent2):
        factories.agree(installed_agent.client, cast.acme, who)
    for consent in Consent.objects.all():
        ending.revoke_consent(consent, by=cast.admin)
    url = f"/installations/{installed_agent.installation.pk}/"
    subjects = [f"consent:{consent.pk}" for consent in Consent.objects.filter(membership__user=cast.agent)]
    axel, ada = browse(cast.agent), browse(cast.admin)
    for entry in Entry.objects.filter(subject__startswith="consent:"):
        mine = entry.subject in subjects
        assert axel.get(f"/receipts/{entry.pk}/").status_code == (200 if mine else 404)
        assert (f"/receipts/{entry.pk}/" in axel.get(url).content.decode()) == mine
        assert f"/receipts/{entry.pk}/" in ada.get(url).content.decode()
    assert "Installation started" not in text(axel.get(url))


def test_receipts_are_paged(external_agent, ada, browse, cast):
    """tests/test_lists.py counts the queries."""
    for _number in range(27):
        access = factories.agree(external_agent.client, cast.acme, cast.agent, ask_again=True).access
    url = f"/authorizations/{access.pk}/"
    for browser, more in ((ada, 3), (browse(cast.agent), 2)):
        assert browser.get(url).content.decode().count("/receipts/") == 25
        assert browser.get(f"{url}?receipts=2").content.decode().count("/receipts/") == more


def test_what_the_portal_did_by_itself_is_shown_as_its_act(agreed_app, ada):
    advance(settings.CONSENT_LIFETIME)
    ending.expire_consents()
    entry = Entry.objects.get(event="consent.expired")
    assert "Who The portal" in text(ada.get(f"/receipts/{entry.pk}/"))
    assert "The portal" in text(ada.get(agreed_app.page))


def test_altered_words_are_shown_to_nobody_and_reported_by_verify_ledger(agreed_app, ada, capsys):
    """E2: no receipt shows a sentence with another sentence's hash."""
    entry = Entry.objects.get(event="consent.granted")
    url, words = f"/receipts/{entry.pk}/", agreed_app.consent.text.words
    false = json.loads(json.dumps(words).replace("View tickets", "Look at the weather"))
    tamper("UPDATE consent_showntext SET words = %s", json.dumps(false))
    for query in ("", "?format=json"):
        answer = ada.get(f"{url}{query}")
        assert answer.status_code == 409 and "does not match what was recorded" in answer.content.decode()
        assert "weather" not in answer.content.decode()
    message = (
        f"{entry.chain_id} #{entry.sequence}: the words that were read, {agreed_app.consent.text_id}, were altered"
    )
    for arguments in ([], ["--chain", entry.chain_id]):
        with pytest.raises(CommandError, match=message):
            call_command("verify_ledger", *arguments)
    call_command("verify_ledger", "--chain", "portal")
    tamper("UPDATE consent_showntext SET words = %s", json.dumps(words))
    call_command("verify_ledger")
    assert ada.get(url).status_code == 200


def test_swapped_or_removed_words_are_reported_by_verify_ledger(agreed_app, cast, ada):
    reword_view_scope("See all tickets")
    factories.agree(agreed_app.client, cast.acme, cast.admin, ask_again=True)
    first, second = Entry.objects.filter(event__in=["consent.granted", "consent.renewed"]).order_by("sequence")
    tamper("UPDATE consent_showntext SET words = (SELECT words FROM consent_showntext WHERE id = %s)", second.details["text_hash"])  # fmt: skip
    assert [ada.get(f"/receipts/{entry.pk}/").status_code for entry in (first, second)] == [409, 200]
    tamper("UPDATE consent_consent SET text_id = NULL")
    tamper("DELETE FROM consent_showntext")
    with pytest.raises(CommandError) as error:
        call_command("verify_ledger")
    assert str(error.value).count("are missing") == 2
    page = ada.get(f"/receipts/{first.pk}/")
    assert page.status_code == 200 and first.details["text_hash"] in text(page) and "View tickets" not in text(page)


def test_an_entry_added_or_changed_by_hand_gets_no_receipt(agreed_app, ada, cast):
    """Its own hash is correct, but the chain does not contain it."""
    chain = Chain.objects.get(name=cast.acme.chain_name)
    last = chain.entries.get(sequence=chain.length)
    forged = chain.entries.get(sequence=chain.length)
    forged.pk, forged.sequence, forged.previous_hash = uuid.uuid4(), chain.length + 1, last.hash
    forged.details = {**forged.details, "granted": [VIEW, EDIT, "freshservice.everything"]}
    forged.hash = digest(forged)
    forged.save(force_insert=True)
    entry = Entry.objects.get(event="consent.granted", details__granted=[EDIT, VIEW])
    entry.actor = "person:x"
    tamper("UPDATE ledger_entry SET actor = %s, hash = %s WHERE id = %s", entry.actor, digest(entry), entry.pk)
    for pk in (forged.pk, entry.pk):
        assert [ada.get(f"/receipts/{pk}/{query}").status_code for query in ("", "?format=json")] == [409, 409]
    assert ada.get(f"/receipts/{chain.entries.get(sequence=1).pk}/").status_code == 200


def test_a_receipt_shows_as_recorded_only_what_the_hash_covers(agreed_app, ada, cast):
    """Current names stand beside the recorded identifiers, and later events in a section of their own."""
    ada.post(f"{agreed_app.page}uninstall/", follow=True)
    url = f"/receipts/{Entry.objects.get(event='access.ended').pk}/"
    recorded, since = text(ada.get(url)).split("Since then")
    assert "Cleanup" in since and "Cleanup" not in recorded
    assert f"person:{cast.admin.public_id}" in recorded and "access:" in recorded
    tamper("UPDATE credentials_scope SET sentence = 'Look at the weather', risk = 'low'")
    tamper("UPDATE consent_access SET app_name = 'Another', reason = 'other', revoked_at = now(), revoked_counts = %s", json.dumps({"refresh_tokens": 99, "access_tokens": 99}))  # fmt: skip
    tamper("UPDATE consent_consent SET granted = '{}', trimmed = '{}', reason = 'other'")
    again, since = text(ada.get(url)).split("Since then")
    assert again == recorded and "99 authorizations" in since


def test_a_scope_without_recorded_words_is_shown_by_name(agreed_app, ada, cast):
    with transaction.atomic():
        entry = record(cast.acme.chain_name, Event.CONSENT_TRIMMED, by=cast.admin, subject="consent:x", trimmed=[VIEW])
    page = text(ada.get(f"/receipts/{entry.pk}/"))
    assert f"Removed {VIEW}" in page and "View tickets" not in page
