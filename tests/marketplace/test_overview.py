"""One page shows an account's admins everything with access: apps, external apps and each agent's authorizations."""

import datetime as dt
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from django.test import Client as Browser
from django.utils import timezone
from django.utils.formats import date_format

from consent.actions import ending, issuing, succeeding
from consent.actions.reminding import whom_to_tell
from consent.models import Access, AccessToken, Consent
from consent.reasons import AccessEnd
from consent.succession import statement_of
from credentials.actions import suspend_client
from marketplace.actions import installing, publishing
from portal.accounts.actions import memberships, people
from tests import factories
from tests.clock import advance
from tests.factories import EDIT, VIEW
from tests.marketplace import packages
from tests.people.forms import text
from tests.volume import grow_agents, grow_installations
from tests.worlds import shared

pytestmark = pytest.mark.django_db
URL = "/installations/overview/"


@shared
def everything(cast):
    """An app and an external app for the account, and an app and an external app that agents authorized."""
    clients = SimpleNamespace()
    for name, kind, level in (
        ("Insights", "platform", "account"), ("Helper", "platform", "agent"),
        ("Runner", "external", "account"), ("Pocket", "external", "agent"),
    ):  # fmt: skip
        client, _secret = factories.client(cast.dev, name=name, kind=kind, level=level)
        setattr(clients, name.lower(), client)
        if kind == "platform":
            draft = factories.app(
                cast.dev, client, name=name, optional_scopes=[EDIT], install_url="https://app.example/in"
            )
            publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
            setattr(clients, f"{name.lower()}_there", installing.install(draft.app, cast.acme, by=cast.admin))
    factories.agree(clients.insights, cast.acme, cast.admin, chosen=[EDIT])
    factories.agree(clients.runner, cast.acme, cast.admin, requested={VIEW})
    for agent in (cast.agent, cast.agent2):
        factories.agree(clients.helper, cast.acme, agent)
    factories.agree(clients.pocket, cast.acme, cast.agent, requested={VIEW})
    return clients


def rows(browser, **query):
    """Return the rows of the page's list as (app, kind, for whom)."""
    page = browser.get(URL, query)
    assert page.status_code == 200
    return [(row["name"], row["kind"], row["who"]) for row in page.context["page_obj"]]


ALL = [
    ("Helper", "app", ""), ("Helper", "agent", "Ana"), ("Helper", "agent", "Axel"), ("Insights", "app", ""),
    ("Pocket", "external", ""), ("Pocket", "agent", "Axel"), ("Runner", "external", ""),
]  # fmt: skip


def test_an_admin_sees_every_app_and_every_agents_authorization(everything, cast, browse):
    ada = browse(cast.admin)
    assert rows(ada) == ALL
    page = text(ada.get(URL))
    for words in ("by Ada", "by Axel", "View tickets", "Edit tickets", "2 agents authorized it", "The whole account", "None since the agreement", "until"):  # fmt: skip
        assert words in page, words


@pytest.mark.parametrize("kind", ["app", "external", "agent"])
def test_the_list_can_show_one_kind_only(everything, cast, browse, kind):
    assert rows(browse(cast.admin), kind=kind) == [row for row in ALL if row[1] == kind]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("help", [row for row in ALL if row[0] == "Helper"]),
        ("axel", [("Helper", "agent", "Axel"), ("Pocket", "agent", "Axel")]),
        ("ADA", [("Insights", "app", ""), ("Runner", "external", "")]),
        ("pocket", [row for row in ALL if row[0] == "Pocket"]),
        ("%", []),
    ],
)
def test_the_list_can_be_searched_by_app_or_person(everything, cast, browse, words, found):
    assert rows(browse(cast.admin), q=words) == found


def test_the_list_can_be_searched_by_mail_address_and_within_a_kind(everything, cast, browse):
    ada = browse(cast.admin)
    assert rows(ada, q=cast.agent2.email) == [("Helper", "agent", "Ana")]
    assert rows(ada, q="axel", kind="external") == []
    assert "Nothing found" in text(ada.get(URL, {"q": "axel", "kind": "external"}))
    assert len(rows(ada, kind="made-up")) == len(ALL)


AGENT_ENDINGS = {
    "revoked": lambda cast: ending.revoke_consent(Consent.objects.get(membership__user=cast.agent2), by=cast.admin),
    "removed": lambda cast: memberships.end_membership(cast.agent2.memberships.get(), by=cast.admin),
    "deactivated": lambda cast: people.deactivate_person(cast.agent2, by=None),
}


@pytest.mark.parametrize("how", AGENT_ENDINGS)
def test_ended_authorizations_are_not_listed(everything, cast, browse, how):
    AGENT_ENDINGS[how](cast)
    assert rows(browse(cast.admin)) == [row for row in ALL if row[2] != "Ana"]


def test_uninstalled_and_ended_apps_and_expired_agreements_are_not_listed(everything, cast, browse):
    ada = browse(cast.admin)
    installing.uninstall(everything.insights_there, by=cast.admin)
    ending.end_access(Access.objects.get(client=everything.runner), by=cast.admin, reason=AccessEnd.REVOKED)
    assert rows(ada) == [row for row in ALL if row[0] in ("Helper", "Pocket")]
    advance(dt.timedelta(days=365))
    assert not rows(ada)


def test_a_suspended_app_is_listed_and_can_be_revoked(everything, cast, browse):
    suspend_client(everything.helper, reason="Harm", by=factories.reviewer())
    page = browse(cast.admin).get(URL)
    assert rows(browse(cast.admin)) == ALL and "Suspended by staff" in text(page)
    assert "/revoke-for-all/" in page.content.decode()


def test_an_app_that_requests_nothing_here_has_no_access(cast, browse):
    files = packages.planner(factories.client(cast.dev)[0])
    files["config/oauth_config.json"]["integrations"], files["config/requests.json"] = {}, {}
    files["manifest.json"]["modules"]["common"]["requests"] = {}
    client, _secret = factories.client(cast.dev)
    draft = factories.app(cast.dev, client)
    publishing.change_version(draft, by=cast.dev, required_scopes=[], package=files)
    publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    installing.install(draft.app, cast.acme, by=cast.admin)
    assert not rows(browse(cast.admin)) and "Nothing has access" in text(browse(cast.admin).get(URL))


def test_an_account_where_nothing_has_access_says_so(cast, browse):
    assert "Nothing has access" in text(browse(cast.admin).get(URL))


def test_only_an_admin_sees_the_page_of_their_own_account(everything, cast, browse):
    """E1"""
    assert browse(cast.agent).get(URL).status_code == 404
    assert Browser().get(URL).status_code == 302 and browse(cast.admin).post(URL).status_code == 405
    gus = browse(cast.globex_admin)
    assert rows(gus) == [] and gus.get(URL, {"account": cast.acme.slug}).status_code == 404
    memberships.add_member(cast.globex, cast.admin, role="admin", by=None)
    ada = browse(cast.admin)
    assert rows(ada, account=cast.globex.slug) == [] and rows(ada, account=cast.acme.slug) == ALL
    memberships.change_role(cast.admin.memberships.get(account=cast.globex), role="agent", by=None)
    assert ada.get(URL, {"account": cast.globex.slug}).status_code == 404


def test_the_page_names_who_agreed_and_who_confirmed(everything, cast, browse):
    nora = factories.member(cast.acme, "admin", "Nora")
    memberships.change_role(cast.admin.memberships.get(account=cast.acme), role="agent", by=nora)
    consent = Consent.objects.get(access__client=everything.insights)
    succeeding.confirm_consent(consent, by=nora, shown=statement_of(consent, nora).digest())
    page = text(browse(nora).get(URL))
    day = date_format(timezone.localtime())
    assert f"{day} by Ada confirmed {day} by Nora until" in page and page.count("by Nora") == 1


# --- the last token ---


def test_a_token_of_an_earlier_agreement_does_not_count_for_the_current_one(installed, cast, browse):
    ada = browse(cast.admin)
    installed.tokens_for(ada, account=cast.acme.slug)
    factories.agree(installed.client, cast.acme, cast.admin, replace=True)
    assert "None since the agreement" in text(ada.get(URL))


def last_issue():
    return Consent.objects.get().last_issued_at


def test_every_grant_updates_the_time_of_the_last_token_at_most_once_an_hour(installed, cast, browse):
    ada = browse(cast.admin)
    factories.agree(installed.client, cast.acme, cast.admin)
    assert last_issue() is None and "None since the agreement" in text(ada.get(URL))
    ways = {
        "code": lambda: installed.tokens_for(ada, account=cast.acme.slug),
        "refresh": lambda: installed.refresh(tokens["refresh_token"]).json(),
        "client credentials": lambda: installed.client_credentials(cast.acme.slug).json(),
    }
    tokens = ways["code"]()
    assert last_issue() and "None since the agreement" not in text(ada.get(URL))
    for way, ask in ways.items():
        advance(dt.timedelta(minutes=50))
        before = last_issue()
        assert "access_token" in ways["client credentials"]() and last_issue() == before, "not twice within an hour"
        advance(dt.timedelta(minutes=11))
        assert "access_token" in ask(), way
        assert timezone.now() - last_issue() < dt.timedelta(minutes=1), way


def test_a_refused_request_does_not_count_as_a_token(installed, cast):
    factories.agree(installed.client, cast.acme, cast.admin)
    assert installed.client_credentials("made-up").status_code == 400
    assert installed.refresh("amp_rt_x").status_code == 400
    assert last_issue() is None


def test_a_call_that_the_portal_makes_for_an_app_counts_as_a_token(installed, cast):
    consent = factories.agree(installed.client, cast.acme, cast.admin)
    with issuing.token_for_one_call(consent.access, None):
        pass
    assert last_issue()


def test_the_last_token_is_known_long_after_it_is_erased(installed, cast, browse):
    factories.agree(installed.client, cast.acme, cast.admin)
    installed.client_credentials(cast.acme.slug)
    advance(dt.timedelta(days=40))
    while ending.erase_batch(1000):
        pass
    assert not AccessToken.objects.exists()
    assert dt.timedelta(days=39) < timezone.now() - last_issue() < dt.timedelta(days=41)


# --- size ---


def test_the_pages_take_as_many_queries_for_10_as_for_1_000(everything, cast, browse, django_assert_max_num_queries):
    ada = browse(cast.admin)
    by_agent = Consent.objects.get(membership__user=cast.agent, access__client=everything.helper)
    searches = ({"page": 1}, {"page": 20}, {"q": "many", "kind": "agent"}, {"q": "1"})
    paths = [f"{URL}?{urlencode(query)}" for query in searches]
    paths += ["/authorizations/ending/?page=2", "/installations/", f"/installations/{by_agent.access.installation_id}/", "/"]  # fmt: skip
    advance(dt.timedelta(days=340))
    for count in (10, 1_000):
        grow_installations(everything.insights_there, count, f"a{count}")
        grow_agents(by_agent, count, f"b{count}")
        for path in paths:
            with django_assert_max_num_queries(27, info=path):
                assert ada.get(path).status_code == 200
    assert len(rows(ada, page=20)) == 25
    # One mail lists each agent's own, and one lists the account's for its admins.
    assert whom_to_tell().count() == 1_000 + 10 + 3
