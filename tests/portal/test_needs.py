"""Home lists what needs a person, the most urgent first, each with the button that leads to the act."""

import datetime as dt
import re

import pytest
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.html import escape

from consent.models import Consent, Failure, Where, Why
from credentials import actions as credentials
from credentials.models import Client, ClientSecret, Level
from marketplace.actions import installing, publishing
from marketplace.models import Version
from portal.accounts.models import Account
from tests import factories
from tests.factories import VIEW

pytestmark = pytest.mark.django_db


def needs(browser, path="/"):
    """Return the (label, title, address) of each need on Home or another page, in order."""
    page = browser.get(path).content.decode()
    found = re.findall(r'<li class="need">.*?</li>', page, re.S)
    rows = [re.search(r'href="([^"]*)"\s+aria-label="([^:]*): ([^"]*)"', each) for each in found]
    return [(row[2], row[3], row[1]) for row in rows if row]


def labels(browser, path="/"):
    return [label for label, _title, _url in needs(browser, path)]


def draft(cast, **fields):
    row, _secret = factories.client(cast.dev, name=f"App {Client.objects.count()}")
    return factories.app(cast.dev, row, **fields)


def review(cast, version, decide, **how):
    submitted = publishing.submit_version(version, by=cast.dev)
    decide(submitted, by=factories.reviewer(), **how)
    return submitted


# --- developers ---


def test_an_approved_version_waits_to_be_published(cast, browse):
    version = review(cast, draft(cast), publishing.approve_version)
    url = reverse("version-view", args=(version.app.slug, version.pk))
    assert needs(browse(cast.dev)) == [("Publish", "Insights 1.0 is approved", url)]
    publishing.publish_version(version, by=cast.dev)
    assert needs(browse(cast.dev)) == []


def test_a_rejected_version_says_why_until_a_later_one_follows(cast, browse):
    version = review(cast, draft(cast), publishing.reject_version, reason="It asks for too much")
    assert "It asks for too much" in browse(cast.dev).get("/").content.decode()
    assert labels(browse(cast.dev)) == ["Read the reason"]
    publishing.create_version(version.app, by=cast.dev, **factories.version_fields("1.1"))
    assert labels(browse(cast.dev)) == []


def test_suspended_credentials_come_before_everything_else(cast, browse):
    review(cast, draft(cast), publishing.approve_version)
    row, _secret = factories.client(cast.dev, name="Leaky")
    credentials.suspend_client(row, by=factories.reviewer(), reason="Leaked")
    assert labels(browse(cast.dev)) == ["See why", "Publish"]


def test_an_old_secret_that_is_still_used_is_named_and_an_unused_one_is_not(cast, browse):
    row, _secret = factories.client(cast.dev)
    credentials.rotate_secret(row, by=cast.dev, overlap_hours=24)
    assert labels(browse(cast.dev)) == []
    ClientSecret.objects.filter(client=row).exclude(expires_at=None).update(last_used_at=Now())
    assert labels(browse(cast.dev)) == ["See the secrets"]


def test_refusals_of_the_last_day_are_counted(cast, browse):
    row, _secret = factories.client(cast.dev)
    now = dt.datetime.now(dt.UTC)
    for hours, times in ((1, 3), (2, 4), (30, 100)):
        at = now - dt.timedelta(hours=hours)
        Failure.objects.create(
            client=row, hour=at, last_at=at, where=Where.TOKEN, why=Why.EXPIRED, error="invalid_grant", times=times
        )
    (label, title, url), *others = needs(browse(cast.dev))
    assert (label, url, others) == ("Open the log", reverse("failure-list", args=(row.client_id,)), [])
    assert title == "7 requests of Insights were refused in the last day"


def test_a_developer_reads_how_many_accounts_took_the_last_version(cast, browse, installed):
    installing.install(installed.version.app, cast.globex, by=cast.globex_admin)
    factories.agree(installed.client, cast.acme, cast.admin)
    factories.agree(installed.client, cast.globex, cast.globex_admin)
    assert labels(browse(cast.dev)) == [], "all have it"
    newer = publishing.create_version(installed.version.app, by=cast.dev, **factories.version_fields("1.1"))
    factories.publish(newer, cast.dev)
    (label, title, url), *others = needs(browse(cast.dev))
    assert (label, title, others) == ("See who has it", "0 of 2 accounts use Insights 1.1", [])
    assert url == reverse("version-changes", args=(newer.app.slug, newer.pk))


# --- members of an account ---


def test_an_installation_that_nobody_agreed_to_is_to_be_finished_by_an_admin(cast, browse, installed):
    url = reverse("installation-view", args=(installed.installation.pk,))
    title = f"The installation of Insights in {cast.acme} is not finished"
    assert needs(browse(cast.admin)) == [("Finish installing", title, url)]
    assert needs(browse(cast.agent)) == needs(browse(cast.globex_admin)) == []
    factories.agree(installed.client, cast.acme, cast.admin)
    assert needs(browse(cast.admin)) == []


def test_an_agent_is_asked_to_authorize_what_is_installed_for_agents(cast, browse, installed_agent):
    url = reverse("installation-connect", args=(installed_agent.installation.pk,))
    assert needs(browse(cast.agent)) == [("Authorize", f"Insights is installed in {cast.acme}", url)]
    assert needs(browse(cast.globex_agent)) == []
    factories.agree(installed_agent.client, cast.acme, cast.agent)
    assert needs(browse(cast.agent)) == [] and labels(browse(cast.agent2)) == ["Authorize"]


def test_agreements_that_end_or_ended_are_to_be_renewed_by_whoever_can(cast, browse, installed):
    consent = factories.agree(installed.client, cast.acme, cast.admin)
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=5)
    Consent.objects.filter(pk=consent.pk).update(expires_at=soon)
    assert labels(browse(cast.admin)) == ["Agree again"] and labels(browse(cast.agent)) == []
    Consent.objects.filter(pk=consent.pk).update(expires_at=Now() - dt.timedelta(minutes=1))
    assert labels(browse(cast.admin)) == ["Reauthorize"] and labels(browse(cast.agent)) == []


def test_a_version_that_asks_for_more_waits_for_an_admin(cast, browse, installed):
    factories.agree(installed.client, cast.acme, cast.admin)
    fields = factories.version_fields("1.1", required_scopes=[VIEW, factories.EDIT])
    factories.publish(publishing.create_version(installed.version.app, by=cast.dev, **fields), cast.dev)
    url = reverse("installation-upgrade", args=(installed.installation.pk,))
    assert needs(browse(cast.admin)) == [("Review update", f"Insights 1.1 is available for {cast.acme}", url)]
    assert needs(browse(cast.agent)) == []


def test_a_withdrawn_version_is_to_be_viewed_and_the_reason_is_the_developers(cast, browse, installed):
    factories.agree(installed.client, cast.acme, cast.admin)
    publishing.withdraw_version(installed.version, reason="It lost data", by=cast.dev)
    url = reverse("installation-view", args=(installed.installation.pk,))
    assert needs(browse(cast.admin)) == [("View", f"Version 1.0 of Insights in {cast.acme} was withdrawn", url)]
    assert "The developer’s reason: It lost data" in browse(cast.admin).get("/").content.decode()


def test_an_offer_of_a_suspended_app_is_no_need(cast, browse, installed):
    factories.agree(installed.client, cast.acme, cast.admin)
    fields = factories.version_fields("1.1", required_scopes=[VIEW, factories.EDIT])
    factories.publish(publishing.create_version(installed.version.app, by=cast.dev, **fields), cast.dev)
    assert labels(browse(cast.admin)) == ["Review update"]
    credentials.suspend_client(installed.client, by=factories.reviewer(), reason="Leaked")
    assert labels(browse(cast.admin)) == []


def test_a_version_for_chosen_accounts_counts_nobody_elses(cast, browse, installed):
    factories.agree(installed.client, cast.acme, cast.admin)
    newer = publishing.create_version(installed.version.app, by=cast.dev, **factories.version_fields("1.1"))
    publishing.publish_custom(newer, accounts={cast.globex.slug}, by=cast.dev)
    assert labels(browse(cast.dev)) == []


def test_nothing_of_a_suspended_account_is_asked_for(cast, browse, installed, installed_agent):
    Account.objects.filter(pk=cast.acme.pk).update(suspended_at=Now())
    assert needs(browse(cast.admin)) == needs(browse(cast.agent)) == []


# --- reviewers ---


def test_a_reviewer_reads_how_many_versions_wait_and_since_when_the_oldest_does(cast, browse):
    reviewer = factories.reviewer()
    assert needs(browse(reviewer)) == []
    for _number in range(2):
        publishing.submit_version(draft(cast), by=cast.dev)
    Version.objects.filter(pk=Version.objects.earliest("pk").pk).update(submitted_at=Now() - dt.timedelta(days=3))
    page = browse(reviewer).get("/").content.decode()
    assert "2 versions are waiting for review" in page and "3\xa0days ago" in page
    assert labels(browse(reviewer)) == ["Review"] and labels(browse(cast.admin)) == []


# --- many ---


def test_three_of_a_kind_are_shown_with_a_link_to_the_others(cast, browse, django_assert_max_num_queries):
    for _number in range(3):
        review(cast, draft(cast), publishing.approve_version)
    browser = browse(cast.dev)
    assert "See all of these" not in browser.get("/").content.decode()
    with django_assert_max_num_queries(60) as few:
        assert labels(browser) == ["Publish"] * 3
    taken = len(few)
    review(cast, draft(cast), publishing.approve_version)
    with django_assert_max_num_queries(taken):
        assert labels(browser) == ["Publish"] * 3
    assert "See all of these" in browser.get("/").content.decode()


def test_the_link_to_all_of_a_kind_leads_to_exactly_these(cast, browse):
    for _number in range(4):
        review(cast, draft(cast), publishing.approve_version)
    review(cast, draft(cast), publishing.reject_version, reason="It asks for too much")
    dev = browse(cast.dev)
    [url] = re.findall(r'href="([^"]*)">See all of these', dev.get("/").content.decode())
    assert url == "/needs/approved/"
    assert needs(dev, url) == [
        ("Publish", f"{version} is approved", reverse("version-view", args=(version.app.slug, version.pk)))
        for version in Version.objects.filter(status="approved").order_by("-submitted_at")
    ]
    assert labels(dev, "/needs/rejected/") == ["Read the reason"]
    assert labels(browse(cast.other_dev), url) == [] and browse(cast.dev).get("/needs/nothing/").status_code == 404


@pytest.mark.parametrize("what", ["apps", "credentials"])
def test_what_is_beyond_the_newest_that_home_looks_at_is_said(cast, browse, installed, monkeypatch, what):
    note = "This page covers only the newest 1 apps and credentials of"
    who, whose = (cast.admin, cast.acme) if what == "apps" else (cast.dev, factories.team_of(cast.dev))
    note_of_them = f"{note} {escape(whose)}"
    assert note not in browse(who).get("/").content.decode()
    for module in ("needs", "views"):
        monkeypatch.setattr(f"portal.{module}.LOOKED_AT", 1)
    assert note not in browse(cast.globex_admin).get("/").content.decode()
    newer = factories.publish(draft(cast), cast.dev)
    assert labels(browse(cast.admin)) == ["Finish installing"]
    installation = installing.install(newer.app, cast.acme, by=cast.admin)
    assert note_of_them in " ".join(browse(who).get("/").content.decode().split())
    assert needs(browse(cast.admin))[0][2] == reverse("installation-view", args=(installation.pk,))
    assert labels(browse(cast.admin)) == ["Finish installing"]


def test_of_more_accounts_than_are_counted_none_is_said_to_lack_a_version(cast, browse, installed, monkeypatch):
    monkeypatch.setattr("portal.needs.MOST_COUNTED", 1)
    monkeypatch.setattr("portal.foundation.pages.MOST_COUNTED", 1)
    installing.install(installed.version.app, cast.globex, by=cast.globex_admin)
    for account, admin in ((cast.acme, cast.admin), (cast.globex, cast.globex_admin)):
        factories.agree(installed.client, account, admin)
    assert [title for _label, title, _url in needs(browse(cast.dev))] == ["More than 1 accounts use Insights 1.0"]


def test_somebody_with_nothing_to_do_is_told_so_and_how_to_start(cast, browse):
    page = browse(factories.person("Nia")).get("/").content.decode()
    assert "Nothing. What needs a decision from you will be listed here." in page
    assert "Quick start" in page and reverse("client-create") in page
    assert Level.AGENT not in labels(browse(cast.agent))
