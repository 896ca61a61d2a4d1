"""The pages on which people see, revoke and renew what they agreed to (E1, T4)."""

import datetime as dt

import pytest
from django.test import Client as Browser
from django.urls import reverse

from consent.actions import ending
from consent.models import Access, Consent, RefreshToken
from consent.reasons import AccessEnd
from portal.ledger.models import Entry
from tests import factories
from tests.browsing import squeeze
from tests.clock import advance
from tests.factories import EDIT, VIEW
from tests.oauth import authorize_url, pkce, shown
from tests.people.forms import receipt_in
from tests.volume import grow_agents
from tests.worlds import shared

pytestmark = pytest.mark.django_db


def text(response):
    return squeeze(response.content.decode())


@shared
def external_app(external, browse, cast):
    """An external app that Acme's admin agreed to."""
    external.tokens = external.tokens_for(browse(cast.admin), account=cast.acme.slug)
    external.access = Access.objects.get()
    return external


@shared
def by_agent(installed_agent, browse, cast):
    installed_agent.tokens = installed_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    installed_agent.consent = Consent.objects.get()
    return installed_agent


def test_an_admin_sees_and_revokes_an_external_app(external_app, browse, cast):
    ada = browse(cast.admin)
    assert "Insights" in text(ada.get("/installations/"))
    page = text(ada.get(f"/authorizations/{external_app.access.pk}/"))
    assert "Ada" in page and "Revoke" in page
    url = f"/authorizations/{external_app.access.pk}/end/"
    assert ada.get(url).status_code == 200 and external_app.call(external_app.tokens["access_token"]).status_code == 200
    page = ada.post(url, follow=True)
    assert "no longer has access to Acme" in text(page) and "What ended" in text(ada.get(receipt_in(page)))
    assert external_app.call(external_app.tokens["access_token"]).status_code == 401
    assert "Insights" not in text(ada.get("/installations/"))
    assert "already ended" in text(ada.post(url, follow=True))


def test_agreeing_to_a_revoked_external_app_opens_a_new_access(external_app, browse, cast):
    """T4"""
    ending.end_access(external_app.access, by=cast.admin, reason=AccessEnd.REVOKED)
    external_app.tokens_for(browse(cast.admin), account=cast.acme.slug)
    assert Access.objects.count() == 2 and Access.objects.filter(ended_at=None).count() == 1


def test_an_agent_revokes_their_own_consent_and_the_app_reads_not_authorized(by_agent, browse, cast):
    axel = browse(cast.agent)
    assert "Insights" in text(axel.get("/authorizations/"))
    url = f"/consents/{by_agent.consent.pk}/revoke/"
    assert axel.get(url).status_code == 200
    axel.post(url)
    assert by_agent.call(by_agent.tokens["access_token"]).status_code == 401
    assert "Not authorized" in text(axel.get("/installations/"))
    assert "already ended" in text(axel.post(url, follow=True))
    assert Entry.objects.filter(event="consent.revoked").count() == 1


def test_an_admin_revokes_an_agents_consent(by_agent, browse, cast):
    ada = browse(cast.admin)
    assert ada.post(f"/consents/{by_agent.consent.pk}/revoke/").status_code == 302
    by_agent.consent.refresh_from_db()
    assert by_agent.consent.revoked_by == cast.admin


def test_a_401_leads_to_the_page_to_agree_again(by_agent, browse, cast):
    axel = browse(cast.agent)
    axel.post(f"/consents/{by_agent.consent.pk}/revoke/")
    url = by_agent.call(by_agent.tokens["access_token"]).json()["reauthorize_url"]
    assert url.endswith(f"/installations/{by_agent.installation.pk}/")
    assert "Reauthorize" in text(axel.get(url[url.index("/installations/") :]))


def test_reauthorizing_shows_the_screen_and_replaces_the_consent(by_agent, browse, cast):
    """T4: Agree revokes the old consent and makes the new one in one transaction."""
    axel = browse(cast.agent)
    url = f"/authorizations/{by_agent.consent.access_id}/reauthorize/"
    page = axel.get(url)
    assert "View tickets" in text(page) and Consent.objects.count() == 1
    assert by_agent.call(by_agent.tokens["access_token"]).status_code == 200, "the old one stays until Agree"
    done = axel.post(url, {"decision": "agree", "shown": shown(page)})
    assert done["Location"] == f"/installations/{by_agent.installation.pk}/connect/"
    old, new = Consent.objects.order_by("granted_at")
    assert old.revoked_at and new.revoked_at is None
    assert by_agent.call(by_agent.tokens["access_token"]).status_code == 401
    assert axel.post(url, {"decision": "agree", "shown": shown(page)}).status_code == 409, (
        "a page can be agreed to once"
    )
    assert Consent.objects.count() == 2


def test_an_external_app_is_reauthorized_for_the_scopes_agreed_to_before(external_app, browse, cast):
    ada = browse(cast.admin)
    url = f"/authorizations/{external_app.access.pk}/reauthorize/"
    assert ada.post(url, {"decision": "agree", "shown": shown(ada.get(url))}).status_code == 302
    consent = Consent.objects.get(revoked_at=None)
    assert set(consent.granted) == {VIEW, EDIT}


def urls(side):
    access = Access.objects.get()
    consent = Consent.objects.get()
    return [
        f"/authorizations/{access.pk}/",
        f"/authorizations/{access.pk}/reauthorize/",
        f"/authorizations/{access.pk}/end/",
        f"/consents/{consent.pk}/revoke/",
    ]


def test_strangers_do_not_learn_that_an_access_exists(external_app, browse, cast):
    """E1"""
    for who in (cast.globex_admin, cast.globex_agent, cast.dev, factories.reviewer()):
        browser = browse(who)
        for url in urls(external_app):
            assert browser.get(url).status_code == 404, url
        for url in urls(external_app)[1:]:
            assert browser.post(url, {"decision": "agree", "shown": "0" * 64}).status_code == 404, url
        assert "Insights" not in text(browser.get("/authorizations/")) + text(browser.get("/installations/"))
    assert external_app.call(external_app.tokens["access_token"]).status_code == 200


def test_an_agent_can_neither_revoke_nor_renew_what_an_admin_agreed_to(external_app, browse, cast):
    axel = browse(cast.agent)
    view, renew, end, revoke = urls(external_app)
    assert "Revoke" not in text(axel.get(view))
    assert axel.get(end).status_code == axel.post(end).status_code == axel.post(revoke).status_code == 404
    assert "admin" in text(axel.get(renew, follow=True)).lower()
    assert axel.post(renew, {"decision": "agree", "shown": "0" * 64}).status_code == 302
    assert Consent.objects.get().revoked_at is None and Consent.objects.count() == 1


def test_an_agent_cannot_touch_another_agents_consent(by_agent, browse, cast):
    ana = browse(cast.agent2)
    assert ana.post(f"/consents/{by_agent.consent.pk}/revoke/").status_code == 404
    assert "Insights" not in text(ana.get("/authorizations/"))
    by_agent.consent.refresh_from_db()
    assert by_agent.consent.revoked_at is None


def test_an_admin_revokes_for_all_agents_at_once_and_each_can_authorize_again(by_agent, installed, browse, cast):
    other = by_agent.tokens_for(browse(cast.agent2), account=cast.acme.slug)
    factories.agree(installed.client, cast.acme, cast.admin)
    ada, url = browse(cast.admin), f"/authorizations/{by_agent.consent.access_id}/revoke-for-all/"
    for page in (f"/installations/{by_agent.installation.pk}/", "/installations/overview/"):
        assert url in text(ada.get(page)), page
    assert "2 agreements" in text(ada.get(url)) and by_agent.call(other["access_token"]).status_code == 200
    done = ada.post(url, follow=True)
    receipt = receipt_in(done)
    for tokens in (by_agent.tokens, other):
        assert by_agent.call(tokens["access_token"]).status_code == 401
        assert by_agent.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    page = text(ada.get(receipt))
    assert "2 agreements" in page and "2 by agents" in page and "2 access tokens" in page
    entry = Entry.objects.get(event="consent.revoked_for_all")
    assert entry.details["agents"] == 2 and receipt == f"/receipts/{entry.pk}/"
    # The app is still installed, and no other app lost anything.
    assert Access.objects.get(pk=by_agent.consent.access_id).ended_at is None
    assert Consent.objects.get(access__client=installed.client).revoked_at is None
    assert url not in text(ada.get(f"/installations/{by_agent.installation.pk}/"))
    assert "left to revoke" in text(ada.post(url, follow=True))
    again = by_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    assert by_agent.call(again["access_token"]).status_code == 200


@pytest.mark.parametrize("how", ["their own", "an admin", "for all"])
def test_a_revoked_row_says_whether_an_admin_did_it(by_agent, browse, cast, how):
    if how == "for all":
        ending.revoke_for_all(by_agent.consent.access, by=cast.admin)
    else:
        ending.revoke_consent(by_agent.consent, by=cast.agent if how == "their own" else cast.admin)
    for who in (cast.agent, cast.admin):
        for path in ("/authorizations/", f"/installations/{by_agent.installation.pk}/"):
            page = text(browse(who).get(path))
            assert (", by an admin</span>" in page) == (
                how != "their own" and (who == cast.agent or path != "/authorizations/")
            )


def test_a_replaced_consent_is_not_called_revoked(by_agent, browse, cast):
    factories.agree(by_agent.client, cast.acme, cast.agent, replace=True)
    page = text(browse(cast.agent).get("/authorizations/"))
    assert ">Replaced<" in page and ">Revoked<" not in page


def test_revoking_for_all_takes_few_queries_for_any_number_of_agents(by_agent, cast, django_assert_max_num_queries):
    grow_agents(by_agent.consent, 2000)
    with django_assert_max_num_queries(20):
        entry = ending.revoke_for_all(by_agent.consent.access, by=cast.admin)
    assert entry.details["agents"] == 2001 and not Consent.objects.filter(revoked_at=None).exists()
    # Nor is anything left to stamp after the worker's part.
    ending.revoke_tokens(by_agent.consent.access)
    assert not ending.access_to_revoke().exists()


def test_revoking_for_all_leaves_expired_consents_expired(by_agent, cast):
    advance(dt.timedelta(days=365))
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    ending.revoke_for_all(by_agent.consent.access, by=cast.admin)
    ending.expire_consents()
    by_agent.consent.refresh_from_db()
    assert by_agent.consent.reason == "expired"


def test_a_marketplace_app_is_uninstalled_not_ended(installed, browse, cast):
    installed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    access = Access.objects.get()
    ada = browse(cast.admin)
    assert ada.post(f"/authorizations/{access.pk}/end/").status_code == 404
    assert ada.get(f"/authorizations/{access.pk}/")["Location"] == f"/installations/{installed.installation.pk}/"
    access.refresh_from_db()
    assert access.ended_at is None


def test_signed_out_people_sign_in_first_and_changes_are_posts(external_app, cast):
    for url in ["/authorizations/", *urls(external_app)]:
        assert Browser().get(url)["Location"].startswith("/accounts/login/?next=")
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(cast.admin, backend="allauth.account.auth_backends.AuthenticationBackend")
    for url in urls(external_app)[1:]:
        assert strict.post(url).status_code == 403
        assert strict.delete(url).status_code in (403, 405)
    assert RefreshToken.objects.get().ended_at is None


def test_only_those_who_may_read_the_entry_see_its_receipt(external_app, browse, cast):
    entry = ending.end_access(external_app.access, by=cast.admin, reason=AccessEnd.REVOKED)
    url = f"/receipts/{entry.pk}/"
    page = text(browse(cast.admin).get(url))
    assert "What ended" in page and entry.hash[:12] in page
    for who in (cast.agent, cast.globex_admin, cast.dev):
        assert browse(who).get(url).status_code == 404
    assert Browser().get(url).status_code == 302 and browse(cast.admin).post(url).status_code == 405
    assert browse(cast.admin).get("/receipts/00000000-0000-0000-0000-000000000000/").status_code == 404


def test_the_admin_reads_of_token_reuse_until_somebody_reauthorizes(cast, installed, external, browse):
    """T6"""
    ada = browse(cast.admin)
    for side, more in ((installed, {}), (external, {"account": cast.acme.slug})):
        row = side.client
        url = reverse("installation-view", args=[side.installation.pk]) if side is installed else None
        first = side.tokens_for(ada, **more)["refresh_token"]
        url = url or f"/authorizations/{Access.objects.get(client=row).pk}/"
        assert "a second time" not in text(ada.get(url))
        second = side.refresh(first).json()["refresh_token"]
        assert side.refresh(second).status_code == 200
        advance(dt.timedelta(minutes=2))
        assert side.refresh(first).json()["error"] == "invalid_grant"
        assert "a second time" in text(ada.get(url))
        again = f"/authorizations/{Access.objects.get(client=row).pk}/reauthorize/"
        ada.post(again, {"decision": "agree", "shown": shown(ada.get(again))})
        assert "a second time" not in text(ada.get(url))


def test_the_admin_reads_of_an_agents_token_reuse_and_other_agents_do_not(by_agent, browse, cast):
    """T6: one agent's family ends; another agent's stays valid."""
    other = by_agent.tokens_for(browse(cast.agent2), account=cast.acme.slug)
    first = by_agent.tokens["refresh_token"]
    new = by_agent.refresh(first).json()
    advance(dt.timedelta(minutes=2))
    assert by_agent.refresh(first).json()["error"] == "invalid_grant"
    assert by_agent.call(new["access_token"]).status_code == 401
    assert by_agent.call(other["access_token"]).status_code == 200
    assert by_agent.refresh(other["refresh_token"]).status_code == 200
    url = reverse("installation-view", args=[by_agent.installation.pk])
    assert "a second time" in text(browse(cast.admin).get(url))
    assert "a second time" not in text(browse(cast.agent2).get(url))
    assert "Token used twice" in text(browse(cast.admin).get("/ledger/"))


@pytest.mark.parametrize("decision", [None, "", "zzz"])
def test_only_the_agree_button_agrees(installed, cast, browse, decision):
    factories.agree(installed.client, cast.acme, cast.admin)
    before, ada = Consent.objects.values().get(), browse(cast.admin)
    authorize = authorize_url(installed.client, pkce()[1], account=cast.acme.slug, prompt="consent")
    for url in (f"/authorizations/{installed.installation.access_id}/reauthorize/", authorize):
        form = {"shown": shown(ada.get(url))} | ({} if decision is None else {"decision": decision})
        page = ada.post(url, form)
        assert page.status_code == 200 and b"Agree" in page.content
    assert Consent.objects.values().get() == before
