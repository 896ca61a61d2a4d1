"""The pages of the marketplace and of installations: who may see them, signed out, wrong method, replay."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.test import Client as Browser

from consent.actions import granting
from consent.models import AuthorizationCode, Consent
from credentials.models import Level
from marketplace.actions import installing, publishing
from marketplace.models import Installation
from portal.accounts.actions import memberships
from tests import factories
from tests.browsing import squeeze
from tests.factories import version_fields
from tests.marketplace.versions import next_version
from tests.oauth import agree, answer, shown
from tests.people.forms import receipt_in

pytestmark = pytest.mark.django_db


def text(response):
    return squeeze(response.content.decode())


def test_what_ends_an_app_stands_apart_after_everything_else(cast, ada, browse, installed):
    path = f"/installations/{installed.installation.pk}/"
    assert text(ada.get(path)).partition('class="apart')[2].count("Discard") == 1
    factories.agree(installed.client, cast.acme, cast.admin)
    before, _apart, after = text(ada.get(path)).partition('class="apart')
    assert "Uninstall" in after and "Receipts" in before and "btn-outline-danger" not in before
    assert 'class="apart' not in text(browse(cast.agent).get(path))


# --- the marketplace ---


def test_the_marketplace_can_be_browsed_and_searched(cast, ada, published_version):
    assert "Insights" in text(ada.get("/marketplace/"))
    assert "Insights" in text(ada.get("/marketplace/?q=INSIGHT&category=other"))
    for nothing in ("?q=nothing-like-it", "?category=hr", "?q=%25"):
        assert "Insights" not in text(ada.get(f"/marketplace/{nothing}"))
    assert ada.get("/marketplace/?category=made-up&page=999").status_code == 200


def test_a_listing_shows_what_the_app_will_be_able_to_do(ada, published_version):
    page = text(ada.get(f"/marketplace/{published_version.app.slug}/"))
    for words in ("View tickets", "Low risk", "Edit tickets", "A <strong>good</strong> app", "Dev", "1.0"):
        assert words in page


def test_only_published_versions_are_listed_and_custom_ones_only_for_their_accounts(cast, browse, draft):
    url = f"/marketplace/{draft.app.slug}/"
    assert {browse(who).get(url).status_code for who in (cast.dev, cast.admin, cast.globex_admin)} == {404}
    publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    for who, status in ((cast.admin, 200), (cast.agent, 200), (cast.globex_admin, 404), (cast.other_dev, 404)):
        browser = browse(who)
        assert browser.get(url).status_code == browser.get(f"{url}install/").status_code == status
        assert ("Insights" in text(browser.get("/marketplace/"))) is (status == 200)


def test_an_unreviewed_version_says_so_before_it_is_installed(cast, browse, published_version):
    """Even if a reviewed one was listed under the same name before, and still is for other accounts."""
    url, said = (
        f"/marketplace/{published_version.app.slug}/",
        "This version was not reviewed. Its developer published it for chosen accounts, including yours.",
    )
    next_version(published_version.app, cast.dev, custom={cast.acme.slug})
    assert said in text(browse(cast.admin).get(url))
    assert said not in text(browse(cast.globex_admin).get(url))


# --- installing ---


def test_an_admin_chooses_one_of_the_accounts_they_administer(cast, browse, published_version):
    url = f"/marketplace/{published_version.app.slug}/install/"
    memberships.add_member(cast.globex, cast.admin, role="agent", by=None)
    ada = browse(cast.admin)
    page = text(ada.get(url))
    assert "Install in Acme" in page and "Globex" not in page
    for slug in (cast.globex.slug, "made-up", ""):
        assert ada.post(url, {"account": slug}).status_code == 404
    assert browse(cast.agent).post(url, {"account": cast.acme.slug}).status_code == 404
    assert not Installation.objects.exists()
    response = ada.post(url, {"account": cast.acme.slug})
    assert response["Location"] == f"/installations/{Installation.objects.get().pk}/connect/"
    assert "is already in this account" in text(ada.post(url, {"account": cast.acme.slug}))
    assert Installation.objects.count() == 1


def test_an_admin_is_sent_to_the_install_url_with_hints(installed, ada):
    sent = ada.get(f"/installations/{installed.installation.pk}/connect/")["Location"]
    assert sent.startswith("https://app.example/install?")
    hints = parse_qs(urlsplit(sent).query)
    assert hints == {"account": [installed.installation.account.slug], "installation": [str(installed.installation.pk)]}


def connect(browser, installation):
    return browser.get(f"/installations/{installation.pk}/connect/")["Location"]


def test_without_an_install_url_the_portal_builds_the_authorize_url(ada, hosted_installation):
    query = {name: values[0] for name, values in parse_qs(urlsplit(connect(ada, hosted_installation)).query).items()}
    assert query["redirect_uri"] == f"{settings.BASE_URL}/oauth/callback" and query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43 and len(query["state"]) >= 32
    assert query["installation"] == str(hosted_installation.pk) and query["account"] == hosted_installation.account.slug


def test_a_hosted_app_is_finished_by_agreeing_and_its_code_is_used_up(ada, hosted_installation):
    page = f"/installations/{hosted_installation.pk}/"
    assert "Not finished" in text(ada.get(page))
    back = agree(ada, connect(ada, hosted_installation))["Location"]
    path = back.removeprefix(settings.BASE_URL)
    assert ada.get(path)["Location"] == page
    assert AuthorizationCode.objects.get().used_at and "Ready" in text(ada.get(page))
    assert ada.get(path).status_code == 400, "a state works once"


def test_cancel_leaves_an_installation_to_resume_or_discard(cast, ada, hosted_installation):
    url = connect(ada, hosted_installation)
    form = ada.get(url)
    refused = ada.post(url, {"decision": "cancel", "account": cast.acme.slug, "shown": shown(form)})
    assert answer(refused)["error"] == "access_denied"
    page = text(ada.get(refused["Location"].removeprefix(settings.BASE_URL), follow=True))
    assert "Not finished" in page and "Read again what the app asks for" in page and "Discard" in page
    assert ">Finish installing</a>" in page and ">Agree</a>" not in page
    assert "Optional: it can be left out." in page
    assert not Consent.objects.exists() and not AuthorizationCode.objects.exists()
    done = ada.post(f"/installations/{hosted_installation.pk}/discard/", follow=True)
    assert "Discarded." in text(done) and ada.get(receipt_in(done)).status_code == 200
    hosted_installation.refresh_from_db()
    assert hosted_installation.uninstalled_at


@pytest.mark.parametrize(
    "changed", [{"state": "made-up"}, {"iss": "https://evil.example"}, {"iss": None}, {"state": None}]
)
def test_the_callback_refuses_an_unsolicited_answer(ada, hosted_installation, changed):
    """RFC 9700 section 4.4, RFC 9207"""
    state = parse_qs(urlsplit(connect(ada, hosted_installation)).query)["state"][0]
    sent = {"state": state, "code": "x", "iss": settings.BASE_URL, **changed}
    sent = {name: value for name, value in sent.items() if value is not None}
    assert ada.get("/oauth/callback", sent).status_code == 400


def test_the_callback_refuses_somebody_elses_answer(cast, ada, browse, hosted_installation):
    back = agree(ada, connect(ada, hosted_installation))["Location"].removeprefix(settings.BASE_URL)
    assert browse(cast.agent).get(back).status_code == 400
    assert AuthorizationCode.objects.get().used_at is None


# --- an account's apps ---


def test_an_installation_shows_who_agreed_and_what_it_may_do(cast, ada, hosted_installation):
    agree(ada, connect(ada, hosted_installation))
    page = text(ada.get(f"/installations/{hosted_installation.pk}/"))
    for words in ("Ready", "authorized by Ada", "View tickets", "Reauthorize", "Uninstall", "1.0"):
        assert words in page


def test_a_newer_version_is_announced_and_changes_nothing(cast, ada, hosted_installation):
    newer = publishing.create_version(hosted_installation.app, by=cast.dev, **version_fields("2.0"))
    factories.publish(newer, cast.dev)
    assert "Version 2.0 is available." in text(ada.get(f"/installations/{hosted_installation.pk}/"))
    hosted_installation.refresh_from_db()
    assert hosted_installation.version.number == "1.0"


def test_the_uninstall_page_shows_what_will_end_and_then_a_receipt(cast, ada, installed):
    tokens = installed.tokens_for(ada)
    url = f"/installations/{installed.installation.pk}/uninstall/"
    assert "Uninstall" in text(ada.get(url)) and installed.call(tokens["access_token"]).status_code == 200
    page = ada.post(url, follow=True)
    again = f"/marketplace/{installed.installation.app.slug}/install/?account={cast.acme.slug}"
    assert "no longer has access to Acme" in text(page) and f'href="{again}">Install again' in page.content.decode()
    assert "What ended" in text(ada.get(receipt_in(page)))
    assert installed.call(tokens["access_token"]).status_code == 401
    assert "This app is already uninstalled." in text(ada.post(url, follow=True))


def test_agents_see_apps_and_authorize_agent_level_ones_for_themselves(cast, browse, installed_agent):
    axel = browse(cast.agent)
    page = text(axel.get("/installations/"))
    assert "Not authorized" in page and "Authorize" in page
    installed_agent.tokens_for(axel, account=cast.acme.slug)
    assert "Ready" in text(axel.get("/installations/"))
    assert "Not authorized" in text(browse(cast.agent2).get("/installations/"))
    page = text(axel.get(f"/installations/{installed_agent.installation.pk}/"))
    assert "Uninstall" not in page and "Reauthorize" in page and "Revoke" in page


def test_an_admin_sees_which_agents_authorized_and_an_agent_only_themself(cast, browse, installed_agent):
    for who in (cast.agent, cast.agent2):
        installed_agent.tokens_for(browse(who), account=cast.acme.slug)
    url = f"/installations/{installed_agent.installation.pk}/"
    page = text(browse(cast.admin).get(url))
    assert "Axel" in page and "Ana" in page
    page = text(browse(cast.agent).get(url))
    assert "Axel" in page and "Ana" not in page


def test_strangers_do_not_learn_that_an_installation_exists(cast, browse, hosted_installation):
    """E1: nor do the developer and a former member."""
    urls = [f"/installations/{hosted_installation.pk}/{page}" for page in ("", "connect/", "uninstall/", "discard/")]
    left = factories.member(cast.acme, "admin", "Lee")
    memberships.end_membership(cast.acme.memberships.get(user=left), by=cast.admin)
    for who in (cast.globex_admin, cast.globex_agent, cast.dev, left, factories.reviewer()):
        browser = browse(who)
        assert {browser.get(url).status_code for url in urls} == {404}
        assert {browser.post(url).status_code for url in urls[2:]} == {404}
        assert "Insights" not in text(browser.get(f"/installations/?account={cast.acme.slug}"))
    agent = browse(cast.agent)
    assert agent.get(urls[0]).status_code == 200
    assert {agent.post(url).status_code for url in urls[2:]} == {404}
    hosted_installation.refresh_from_db()
    assert hosted_installation.uninstalled_at is None


# --- every page ---


def test_signed_out_people_sign_in_first(draft, hosted_installation, developer_urls):
    reads, posts = developer_urls
    base = f"/installations/{hosted_installation.pk}/"
    reads += ["/apps/", "/apps/new/", "/installations/", base]
    reads += [f"{base}connect/", f"{base}uninstall/", f"{base}discard/", "/oauth/callback?state=x"]
    reads += [f"/marketplace/{draft.app.slug}/install/"]
    for browse_to, urls in ((Browser().get, reads), (Browser().post, posts)):
        for url in urls:
            response = browse_to(url)
            assert response.status_code == 302 and response["Location"].startswith("/accounts/login/?next="), url


def test_changes_are_posts(cast, browse, draft, hosted_installation, developer_urls):
    _reads, posts = developer_urls
    dev = browse(cast.dev)
    assert dev.get(posts[-1]).status_code == 405
    # The others ask first, where there is something to do.
    assert {dev.get(url).status_code for url in posts[:-1]} == {302}
    for url in ("/apps/", "/marketplace/", f"/marketplace/{draft.app.slug}/", "/installations/", "/oauth/callback", f"/installations/{hosted_installation.pk}/"):  # fmt: skip
        assert browse(cast.admin).post(url).status_code == 405
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(cast.admin, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert strict.post(f"/installations/{hosted_installation.pk}/uninstall/").status_code == 403


def test_an_agent_level_app_is_installed_without_a_consent(cast, ada):
    client, _secret = factories.client(cast.dev, level=Level.AGENT)
    draft = factories.app(cast.dev, client, install_url="https://app.example/install")
    version = factories.publish(draft, cast.dev)
    page = ada.post(f"/marketplace/{version.app.slug}/install/", {"account": cast.acme.slug}, follow=True)
    assert (
        "Installed. Each agent can now authorize the app for themselves." in text(page) and not Consent.objects.exists()
    )


def test_external_apps_beyond_the_first_page_can_be_reached(cast, browse):
    for number in range(26):
        row = factories.client(cast.dev, kind="external", name=f"Tool {number:02}")[0]
        granting.open_access(row, cast.acme, by=cast.admin)
    ada = browse(cast.admin)
    page = ada.get("/installations/").content.decode()
    assert "Tool 24" in page and "Tool 25" not in page
    assert 'href="?external=2"' in page
    assert "Tool 25" in ada.get("/installations/?external=2").content.decode()


def test_a_hosted_app_that_was_agreed_to_asks_nothing_more(cast, browse):
    version = factories.publish(factories.app(cast.dev, factories.client(cast.dev)[0]), cast.dev)
    installation = installing.install(version.app, cast.acme, by=cast.admin)
    factories.agree(installation.access.client, cast.acme, cast.admin)
    ada = browse(cast.admin)
    again = f"/authorizations/{installation.access_id}/reauthorize/"
    done = ada.post(again, {"decision": "agree", "shown": shown(ada.get(again))}, follow=True)
    assert done.redirect_chain[-1][0] == f"/installations/{installation.pk}/" and "You agreed again." in text(done)


def test_an_agent_reads_that_only_others_have_authorized_an_app(installed_agent, cast, browse):
    page = f"/installations/{installed_agent.installation.pk}/"
    assert "Nobody yet" in text(browse(cast.admin).get(page))
    factories.agree(installed_agent.client, cast.acme, cast.agent2)
    seen = text(browse(cast.agent).get(page))
    assert "Nobody yet" not in seen and "You have not authorized this app." in seen


def test_the_list_says_which_apps_have_a_newer_version(installed, cast, browse):
    assert "is available" not in text(browse(cast.admin).get("/installations/"))
    draft = publishing.create_version(installed.version.app, by=cast.dev, **version_fields("2.0"))
    factories.publish(draft, cast.dev)
    assert "2.0 is available" in text(browse(cast.admin).get("/installations/"))
