"""Agents see wherever they look that a version requests more than they allowed, and decide there."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from consent.actions import ending, granting
from consent.asking import undecided
from consent.models import Consent
from consent.screen import build_screen
from marketplace.actions import offering, publishing, upgrading
from portal.accounts.actions import accounts
from portal.foundation.database import database_now
from portal.ledger.models import Entry
from tests import factories
from tests.factories import CREATE, DELETE, EDIT, VIEW, version_fields
from tests.marketplace.versions import next_version
from tests.oauth import shown
from tests.people.forms import text
from tests.volume import grow_agents, grow_installations
from tests.worlds import shared

pytestmark = pytest.mark.django_db
ASKS = "Asks for more"


def update(side, cast, number="1.1", **fields):
    """Publish a version, and upgrade the installation to it as its admin."""
    unchanged = {"install_url": side.version.install_url}
    version = next_version(side.version.app, cast.dev, number, **unchanged, **fields)
    upgrading.upgrade(side.installation, version, by=cast.admin)


@shared
def agreed_app(installed_agent, cast):
    installed_agent.consent = factories.agree(installed_agent.client, cast.acme, cast.agent)
    installed_agent.page = f"/installations/{installed_agent.installation.pk}/"
    installed_agent.decide = f"/consents/{installed_agent.consent.pk}/renew/"
    return installed_agent


PLACES = ("/", "/installations/", "/authorizations/")


def pages_that_ask(browser, side):
    return [path for path in (*PLACES, side.page) if side.decide in browser.get(path).content.decode()]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"required_scopes": [VIEW]}, False),
        ({"required_scopes": [VIEW, CREATE]}, True),
        ({"required_scopes": [VIEW], "optional_scopes": [CREATE]}, True),
        ({"required_scopes": [VIEW], "optional_scopes": [EDIT]}, True),
    ],
)
def test_an_agent_is_asked_on_home_in_both_lists_and_on_the_apps_page(agreed_app, cast, browse, fields, asked):
    axel = browse(cast.agent)
    assert pages_that_ask(axel, agreed_app) == []
    update(agreed_app, cast, **fields)
    assert pages_that_ask(axel, agreed_app) == ([*PLACES, agreed_app.page] if asked else [])
    for path in PLACES[1:]:
        assert (ASKS in text(axel.get(path))) == asked, path
    assert ("Insights in Acme asks you for more" in text(axel.get("/"))) == asked


def test_nobody_else_is_asked(agreed_app, cast, browse):
    update(agreed_app, cast, required_scopes=[VIEW, CREATE])
    for who in (cast.admin, cast.agent2, cast.globex_admin, cast.globex_agent, cast.dev):
        browser = browse(who)
        for path in PLACES:
            page = browser.get(path)
            assert ASKS not in text(page) and agreed_app.decide not in page.content.decode(), (who, path)
        assert browser.get(agreed_app.decide).status_code == 404


def test_agents_are_asked_when_the_screen_shows_something_new(agreed_app, cast):
    """Whatever was granted, left off or taken back before."""
    factories.agree(agreed_app.client, cast.acme, cast.agent2)
    ending.trim_consent(Consent.objects.get(membership__user=cast.agent2), scopes={VIEW}, by=cast.agent2)
    steps = [
        {"required_scopes": [VIEW]},
        {"required_scopes": [VIEW], "optional_scopes": [EDIT, CREATE]},
        {"required_scopes": [VIEW, EDIT], "optional_scopes": [CREATE]},
        {"required_scopes": [VIEW, EDIT, CREATE, DELETE]},
        {"required_scopes": [EDIT]},
    ]
    seen = set()

    def compare():
        undecided_now = {*Consent.objects.filter(undecided()).values_list("pk", flat=True)}
        for row in Consent.objects.select_related("membership__user"):
            screen = build_screen(agreed_app.client, cast.acme, by=row.membership.user, now=database_now())
            assert screen.is_due == (row.pk in undecided_now)
            seen.add(screen.is_due)

    for number, fields in enumerate(steps, 1):
        update(agreed_app, cast, f"1.{number}", **fields)
        compare()
        factories.agree(agreed_app.client, cast.acme, cast.agent, chosen=[EDIT] if number == 2 else [])
        compare()
    assert seen == {True, False}


def test_agreeing_or_leaving_a_scope_off_settles_it(agreed_app, cast, browse):
    axel = browse(cast.agent)
    update(agreed_app, cast, required_scopes=[VIEW], optional_scopes=[EDIT])
    ending.trim_consent(agreed_app.consent, scopes={VIEW}, by=cast.agent)
    page = axel.get(agreed_app.decide)
    assert "Edit tickets" in text(page) and "View tickets" not in text(page)
    assert axel.post(agreed_app.decide, {"decision": "agree", "shown": shown(page)})["Location"] == agreed_app.page
    assert (Consent.objects.get().granted, Consent.objects.get().left_off) == ([], [EDIT])
    assert pages_that_ask(axel, agreed_app) == []
    update(agreed_app, cast, "1.2", required_scopes=[VIEW, CREATE], optional_scopes=[EDIT])
    page = axel.get(agreed_app.decide)
    assert "Create tickets" in text(page) and "Edit tickets" not in text(page)
    answer = axel.post(agreed_app.decide, {"decision": "agree", "shown": shown(page)})
    assert answer["Location"] == f"{agreed_app.page}connect/", "the app gets it with a new authorization"
    assert Consent.objects.get().granted == [CREATE] and pages_that_ask(axel, agreed_app) == []


def test_declining_is_recorded_and_changes_nothing(agreed_app, cast, browse):
    axel = browse(cast.agent)
    update(agreed_app, cast, required_scopes=[VIEW, CREATE])
    before = Consent.objects.values().get()
    page = axel.post(agreed_app.decide, {"decision": "cancel"}, follow=True)
    assert "Nothing changed. What you agreed to still applies." in text(page)
    assert Consent.objects.values().get() == before
    assert Entry.objects.filter(event="consent.declined").count() == 1
    assert pages_that_ask(axel, agreed_app) == [*PLACES[1:], agreed_app.page], (
        "home no longer asks, but they can still agree elsewhere"
    )
    update(agreed_app, cast, "1.2", required_scopes=[VIEW, CREATE, EDIT])
    assert pages_that_ask(axel, agreed_app) == [*PLACES, agreed_app.page], "a later version asks for something else"
    assert browse(cast.agent2).post(agreed_app.decide, {"decision": "cancel"}).status_code == 404


def test_a_call_that_needs_an_undecided_scope_is_refused_without_a_page_to_agree_again(agreed_app, cast, browse):
    token = agreed_app.tokens_for(browse(cast.agent), account=cast.acme.slug)["access_token"]
    update(agreed_app, cast, required_scopes=[VIEW, CREATE])
    refused = agreed_app.call(token, "post", "/sandbox/api/v2/tickets", data="{}", content_type="application/json")
    assert (refused.status_code, refused.json()["scope"]) == (401, CREATE)
    assert "reauthorize_url" not in refused.json()


def test_nothing_ended_or_suspended_asks_for_more(agreed_app, cast, browse):
    axel = browse(cast.agent)
    update(agreed_app, cast, required_scopes=[VIEW, CREATE])
    accounts.suspend_account(cast.acme, reason="Unpaid", by=None)
    assert pages_that_ask(axel, agreed_app) == []
    accounts.lift_account(cast.acme, reason="Paid", by=None)
    assert pages_that_ask(axel, agreed_app) == [*PLACES, agreed_app.page]
    ending.revoke_consent(agreed_app.consent, by=cast.agent)
    assert pages_that_ask(axel, agreed_app) == []


def test_home_names_three_apps_and_links_to_the_rest(agreed_app, cast, browse):
    update(agreed_app, cast, required_scopes=[VIEW, CREATE])
    grow_installations(agreed_app.installation, 3)
    axel = browse(cast.agent)
    assert text(axel.get("/")).count("asks you for more") == 3
    assert text(axel.get("/authorizations/")).count(ASKS) == 4


def answers(side, cast, browse):
    """Return what the developer reads about the agents' answers."""
    version = side.version.app.versions.order_by("-pk").first()
    page = text(browse(cast.dev).get(f"/apps/{side.version.app.slug}/versions/{version.pk}/changes/"))
    summary = page.partition("Agents where this version is installed ")[2]
    return summary[: re.search(r"Have not answered yet \d+", summary).end()] if summary else summary


def test_the_developer_reads_how_many_agents_agreed_declined_and_have_not_answered(agreed_app, cast, browse):
    more = [factories.agree(agreed_app.client, cast.acme, factories.member(cast.acme)) for _number in range(4)]
    consents = [agreed_app.consent, *more]
    # Declining before there is anything to decline is no answer to later requests.
    granting.decline_consent(agreed_app.client, cast.acme, by=consents[0].granted_by)
    update(agreed_app, cast, required_scopes=[VIEW, CREATE], optional_scopes=[EDIT])
    assert answers(agreed_app, cast, browse) == "Agreed to all required scopes 0 Declined 0 Have not answered yet 5"
    for row, chosen in zip(consents[:3], ([], [EDIT], []), strict=True):
        factories.agree(agreed_app.client, cast.acme, row.granted_by, chosen=chosen)
    ending.trim_consent(Consent.objects.get(pk=consents[2].pk), scopes={CREATE}, by=consents[2].granted_by)
    granting.decline_consent(agreed_app.client, cast.acme, by=consents[3].granted_by)
    granting.decline_consent(agreed_app.client, cast.acme, by=consents[3].granted_by)
    expected = "Agreed to all required scopes 2 · 1 of them did not agree to every optional scope Declined 1 · 1 more removed a required scope Have not answered yet 1"  # fmt: skip
    assert answers(agreed_app, cast, browse) == expected
    ending.revoke_for_all(agreed_app.installation.access, by=cast.admin)
    assert answers(agreed_app, cast, browse) == "Agreed to all required scopes 0 Declined 0 Have not answered yet 0"


def test_a_developer_reads_of_agents_only_for_published_versions_that_ask_them(agreed_app, installed, cast, browse):
    draft = publishing.create_version(agreed_app.version.app, by=cast.dev, **version_fields("9.0"))
    assert answers(agreed_app, cast, browse) == ""
    assert answers(installed, cast, browse) == ""
    changes = f"/apps/{agreed_app.version.app.slug}/versions/{draft.pk}/changes/"
    for who in (cast.admin, cast.agent, cast.other_dev):
        assert browse(who).get(changes).status_code == 404


def test_counting_answers_takes_one_query_for_any_number_of_agents(agreed_app, cast):
    update(agreed_app, cast, required_scopes=[VIEW, CREATE])
    version = agreed_app.version.app.versions.order_by("-pk").first()
    with CaptureQueriesContext(connection) as queries:
        assert offering.agents_answers(version)["waiting"] == 1
    assert len(queries) == 1
    grow_agents(agreed_app.consent, 1000)
    with CaptureQueriesContext(connection) as queries:
        assert offering.agents_answers(version)["waiting"] == 1001
    assert len(queries) == 1
