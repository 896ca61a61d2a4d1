"""The pages on which people take back single scopes, and allow them again (T10)."""

import datetime as dt
import re

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from consent.actions import ending
from consent.models import Access, Consent
from credentials.actions import change_client, make_product_secret
from credentials.models import Product
from marketplace.actions import installing
from portal.accounts.actions import memberships
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance
from tests.factories import CREATE, EDIT, VIEW
from tests.oauth import agree, answer, authorize_url, basic, pkce, shown
from tests.people.forms import forms_of, receipt_in, text
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def ada(browse, cast):
    return browse(cast.admin)


@shared
def granted_app(installed, ada, cast):
    """A platform app with every scope granted: a required one and an optional one."""
    verifier, challenge = pkce()
    url = authorize_url(installed.client, challenge, account=cast.acme.slug)
    code = answer(agree(ada, url, optional=EDIT))["code"]
    installed.tokens = installed.exchange(code, verifier).json()
    installed.consent = Consent.objects.get()
    installed.trim, installed.widen = (f"/consents/{installed.consent.pk}/{what}/" for what in ("trim", "widen"))
    return installed


def edit_ticket(side, token=None):
    return side.call(
        token or side.tokens["access_token"],
        "put",
        "/sandbox/api/v2/tickets/1",
        data="{}",
        content_type="application/json",
    )


def press(browser, page, **more):
    """Submit the page's last form unchanged, and return the resulting page."""
    form = forms_of(page)[-1]
    fields = {name: field["options"] for name, field in form.fields.items() if field["kind"] == "hidden"}
    send = browser.post if form.method == "POST" else browser.get
    return send(form.action or page.request["PATH_INFO"], {**fields, **more}, follow=True)


def introspected_scope(side, client):
    secret = make_product_secret(Product.objects.get(), by=None)
    body = f"token={side.tokens['access_token']}"
    form = {"content_type": "application/x-www-form-urlencoded"}
    return client.post("/oauth/introspect", body, **form, **basic("freshservice", secret)).json()["scope"]


def test_taking_back_an_optional_scope_takes_it_from_every_token_at_once(granted_app, ada, client):
    page = ada.get(granted_app.trim)
    assert "View tickets" in text(page) and "Edit tickets" in text(page)
    confirm = press(ada, page, scope=EDIT)
    assert "Edit tickets" in text(confirm) and "may stop working" not in text(confirm)
    assert edit_ticket(granted_app).status_code == 404, "nothing is taken back yet"
    done = press(ada, confirm)
    assert "can no longer use this permission" in text(done) and "Allow again" in text(done)
    assert receipt_in(done) == f"/receipts/{Entry.objects.get(event='consent.trimmed').pk}/"
    receipt = ada.get(receipt_in(done))
    assert "Removed Edit tickets" in text(receipt) and "Allowed View tickets" in text(receipt)
    refused = edit_ticket(granted_app).json()
    assert (refused["error"], refused["scope"]) == ("insufficient_scope", EDIT)
    assert introspected_scope(granted_app, client) == VIEW
    assert granted_app.refresh(granted_app.tokens["refresh_token"]).json()["scope"] == VIEW
    assert {row.scope.name for row in granted_app.client.scopes.all()} == {VIEW, EDIT}, "the client is untouched"


def test_a_required_scope_is_taken_back_only_after_a_warning_of_what_stops(granted_app, ada):
    confirm = press(ada, ada.get(granted_app.trim), scope=VIEW)
    warning = text(confirm).partition("needs this, and may stop working without it: ")[2]
    assert warning.startswith("View tickets Why: We need it Every call that needs this will be refused immediately")
    assert text(confirm).count("Why: ") == 1
    for unwarned in ({"scope": VIEW}, {"scope": [VIEW, EDIT], "warned": EDIT}):
        page = ada.post(granted_app.trim, unwarned)
        assert page.status_code == 200 and "may stop working" in text(page)
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])
    press(ada, confirm)
    assert Consent.objects.get().granted == [EDIT]
    assert granted_app.call(granted_app.tokens["access_token"]).json()["scope"] == VIEW


def test_choosing_nothing_gets_a_message_and_scopes_not_granted_are_refused(granted_app, ada):
    assert "Choose at least one" in text(ada.get(granted_app.trim, {"choose": "1"}))
    for scopes in ([], [CREATE], ["\0"], [EDIT, "x" * 3000]):
        page = ada.post(granted_app.trim, {"scope": scopes}, follow=True)
        assert page.status_code == 200 and "Choose from the permissions that were agreed to." in text(page)
        assert ada.get(granted_app.trim, {"scope": scopes}).status_code in (200, 400)
    assert not Entry.objects.filter(event="consent.trimmed").exists()


def test_taking_back_twice_does_it_once(granted_app, ada):
    for _twice in range(2):
        page = ada.post(granted_app.trim, {"scope": EDIT}, follow=True)
    assert "Choose from the permissions that were agreed to." in text(page) and "Not allowed Edit tickets" in text(page)
    assert Entry.objects.filter(event="consent.trimmed").count() == 1


def test_a_taken_back_scope_is_asked_for_only_on_its_page_or_with_prompt_consent(granted_app, ada, cast):
    ada.post(granted_app.trim, {"scope": EDIT})
    url = authorize_url(
        granted_app.client,
        pkce()[1],
        account=cast.acme.slug,
        scope=f"{VIEW} {EDIT}",
        redirect_uri="https://app.example/cb",
    )
    change_client(granted_app.client, redirect_uris=["https://app.example/cb"], description="", by=cast.dev)
    assert "code" in answer(ada.get(url)), "no screen"
    assert "Edit tickets" in text(ada.get(f"{url}&prompt=consent"))
    assert "Allow more" in text(ada.get(granted_app.trim)) and "Edit tickets" in text(ada.get(granted_app.widen))


def test_required_scopes_are_marked_among_those_allowed_and_not_allowed(granted_app, ada):
    ada.post(granted_app.trim, {"scope": VIEW, "warned": VIEW})
    allowed, _, not_allowed = text(ada.get(granted_app.trim)).partition("Not allowed")
    assert "Edit tickets" in allowed and "needs this to work" not in allowed
    assert "View tickets" in not_allowed and "The app needs this to work." in not_allowed


def test_an_installation_without_a_required_scope_is_not_called_ready(granted_app, ada, browse, cast):
    page, lacks = f"/installations/{granted_app.installation.pk}/", "Permission removed"
    ada.post(granted_app.trim, {"scope": EDIT})
    for path in (page, "/installations/"):
        assert "Ready" in text(ada.get(path)) and lacks not in text(ada.get(path)), "an optional one"
    ada.post(granted_app.trim, {"scope": VIEW, "warned": VIEW})
    for path in (page, "/installations/"):
        response = ada.get(path)
        assert (
            lacks in text(response) and "Ready" not in text(response) and granted_app.trim in response.content.decode()
        ), path
        of_agent = browse(cast.agent).get(path)
        assert lacks in text(of_agent) and granted_app.trim not in of_agent.content.decode(), path
    ada.post(granted_app.widen, {"decision": "agree", "shown": shown(ada.get(granted_app.widen))})
    assert "Ready" in text(ada.get(page))


def test_pages_that_ask_again_mark_a_scope_as_taken_back(granted_app, ada, cast):
    for scope in (EDIT, VIEW):
        ada.post(granted_app.trim, {"scope": scope, "warned": VIEW})
    today = date_format(timezone.localtime())
    anew = authorize_url(granted_app.client, pkce()[1], account=cast.acme.slug, prompt="consent")
    for url in (anew, granted_app.widen, f"/authorizations/{granted_app.consent.access_id}/reauthorize/"):
        page = text(ada.get(url))
        marks = re.findall(r"(View|Edit) tickets .*?Removed on (\w+\.? \d+, \d+)\.", page)
        assert marks == [("View", today), ("Edit", today)], url
    ada.post(granted_app.widen, {"decision": "agree", "shown": shown(ada.get(granted_app.widen))})
    page = text(ada.get(granted_app.widen))
    assert page.count("Removed on") == 1, "only the scope that is not allowed"


def test_an_agent_reads_that_they_took_a_scope_back(installed_agent, browse, cast):
    consent, axel = factories.agree(installed_agent.client, cast.acme, cast.agent), browse(cast.agent)
    axel.post(f"/consents/{consent.pk}/trim/", {"scope": VIEW, "warned": VIEW})
    assert "You removed this on" in text(axel.get(f"/consents/{consent.pk}/widen/"))
    assert "You removed this on" not in text(axel.get(f"/consents/{consent.pk}/renew/")), "it is not asked there"


def test_allowing_more_adds_the_scopes_shown_and_switched_on_and_revives_no_token(granted_app, ada):
    ada.post(granted_app.trim, {"scope": [VIEW, EDIT], "warned": VIEW})
    page = ada.get(granted_app.widen)
    switches = re.findall(r'role="switch"[^>]*value="([^"]+)"([^>]*)>', page.content.decode())
    assert switches == [(EDIT, "")], "the optional one is a switch, off; the required one has none"
    form = {"decision": "agree", "shown": shown(page)}
    done = ada.post(granted_app.widen, form)
    assert done["Location"] == f"/installations/{granted_app.installation.pk}/connect/"
    consent = Consent.objects.get()
    assert (consent.granted, consent.left_off, consent.trimmed) == ([VIEW], [EDIT], [EDIT])
    assert ada.post(granted_app.widen, form).status_code == 409, "a page can be agreed to once"
    ada.post(
        granted_app.widen, {"decision": "agree", "shown": shown(ada.get(granted_app.widen)), "optional": [EDIT, CREATE]}
    )
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])
    assert granted_app.call(granted_app.tokens["access_token"]).json()["error"] == "insufficient_scope"
    page_text = text(ada.get(f"/installations/{granted_app.installation.pk}/"))
    assert "You agreed. View receipt" in page_text


def test_a_page_shown_before_more_was_taken_back_is_stale(granted_app, ada):
    ada.post(granted_app.trim, {"scope": EDIT})
    page = ada.get(granted_app.widen)
    ada.post(granted_app.trim, {"scope": VIEW, "warned": VIEW})
    stale = ada.post(granted_app.widen, {"decision": "agree", "shown": shown(page), "optional": EDIT})
    assert (
        stale.status_code == 409
        and "Something changed while you were reading. Read this page again before you continue." in text(stale)
    )
    assert Consent.objects.get().granted == []


@pytest.mark.parametrize("decision", [None, "", "cancel"])
def test_only_agree_allows_more(granted_app, ada, decision):
    ada.post(granted_app.trim, {"scope": EDIT})
    form = {"shown": shown(ada.get(granted_app.widen)), "optional": EDIT} | ({"decision": decision} if decision else {})
    assert ada.post(granted_app.widen, form).status_code == 200
    assert Consent.objects.get().granted == [VIEW]


def test_an_external_app_can_be_allowed_only_what_was_taken_back(external, ada, cast):
    tokens = external.tokens_for(ada, account=cast.acme.slug, scope=EDIT)
    consent = Consent.objects.get()
    url = f"/authorizations/{consent.access_id}/"
    assert f"/consents/{consent.pk}/trim/" in ada.get(url).content.decode()
    ada.post(f"/consents/{consent.pk}/trim/", {"scope": EDIT})
    assert edit_ticket(external, tokens["access_token"]).status_code == 401
    page = ada.get(f"/consents/{consent.pk}/widen/")
    assert "Edit tickets" in text(page) and "View tickets" not in text(page)
    done = ada.post(f"/consents/{consent.pk}/widen/", {"decision": "agree", "shown": shown(page)}, follow=True)
    assert done.request["PATH_INFO"] == url and "View receipt" in text(done)
    assert Consent.objects.get().granted == [EDIT]


# --- whose permissions they are ---


@shared
def by_agent(installed_agent, browse, cast):
    installed_agent.tokens = installed_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    installed_agent.consent = Consent.objects.get(membership__user=cast.agent)
    return installed_agent


def test_only_the_agent_takes_back_and_allows_their_own_permissions(by_agent, browse, cast):
    """E1: even an admin, who may revoke the consent, cannot."""
    urls = [f"/consents/{by_agent.consent.pk}/{what}/" for what in ("trim", "widen")]
    for who in (cast.agent2, cast.admin, cast.globex_admin, cast.dev, factories.reviewer()):
        browser = browse(who)
        for url in urls:
            assert browser.get(url).status_code == 404
            assert browser.post(url, {"scope": VIEW, "warned": VIEW, "decision": "agree"}).status_code == 404
    assert Consent.objects.get().granted == [VIEW]
    axel = browse(cast.agent)
    for page in ("/authorizations/", f"/installations/{by_agent.installation.pk}/"):
        assert urls[0] in axel.get(page).content.decode()
    assert urls[0] not in browse(cast.admin).get(f"/installations/{by_agent.installation.pk}/").content.decode()
    page = axel.post(urls[0], {"scope": VIEW, "warned": VIEW}, follow=True)
    assert "Allow again" in text(page) and "Removed View tickets" in text(axel.get(receipt_in(page)))
    assert by_agent.call(by_agent.tokens["access_token"]).status_code == 401
    axel.post(urls[1], {"decision": "agree", "shown": shown(axel.get(urls[1]))})
    assert Consent.objects.get().granted == [VIEW]


def test_an_agent_cannot_take_back_what_the_account_allowed(granted_app, browse, cast):
    axel = browse(cast.agent)
    for url in (granted_app.trim, granted_app.widen):
        assert axel.get(url).status_code == axel.post(url, {"scope": EDIT}).status_code == 404
    assert "Permissions" not in text(axel.get(f"/installations/{granted_app.installation.pk}/"))


def test_somebody_who_left_or_was_demoted_gets_404(granted_app, by_agent, browse, cast):
    axel, ada = browse(cast.agent), browse(cast.admin)
    memberships.add_member(cast.acme, factories.person("Amy", team=False), role="admin", by=None)
    memberships.change_role(cast.admin.memberships.get(), role="agent", by=None)
    memberships.end_membership(cast.agent.memberships.get(), by=None)
    for browser, consent in ((ada, granted_app.consent), (axel, by_agent.consent)):
        for what in ("trim", "widen"):
            assert browser.get(f"/consents/{consent.pk}/{what}/").status_code == 404


def test_signed_out_people_sign_in_first_and_other_methods_are_refused(granted_app, cast):
    for url in (granted_app.trim, granted_app.widen):
        assert Browser().get(url)["Location"].startswith("/accounts/login/?next=")
        assert Browser().post(url, {"scope": EDIT})["Location"].startswith("/accounts/login/?next=")
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(cast.admin, backend="allauth.account.auth_backends.AuthenticationBackend")
    for url in (granted_app.trim, granted_app.widen):
        assert strict.post(url, {"scope": EDIT}).status_code == 403
        assert strict.put(url).status_code in (403, 405)
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])


@pytest.mark.parametrize("end", ["revoked", "uninstalled", "expired"])
def test_an_ended_consent_is_neither_narrowed_nor_widened(granted_app, ada, cast, end):
    if end == "revoked":
        ending.revoke_consent(granted_app.consent, by=cast.admin)
    elif end == "uninstalled":
        installing.uninstall(granted_app.installation, by=cast.admin)
    else:
        advance(dt.timedelta(days=366))
    for url in (granted_app.trim, granted_app.widen):
        assert "already ended" in text(ada.get(url, follow=True))
        assert "already ended" in text(ada.post(url, {"scope": EDIT, "decision": "agree"}, follow=True))
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])


# --- where people find it, and how to agree again ---


def test_an_installations_page_leads_to_its_permissions_and_to_reauthorizing(granted_app, ada):
    page = ada.get(f"/installations/{granted_app.installation.pk}/").content.decode()
    assert granted_app.trim in page and f"/authorizations/{granted_app.installation.access_id}/reauthorize/" in page


def test_an_agents_list_offers_to_reauthorize_the_latest_ended_consent(by_agent, browse, cast):
    axel = browse(cast.agent)
    again = reverse("authorization-reauthorize", args=[by_agent.consent.access_id])
    ending.revoke_consent(by_agent.consent, by=cast.admin)
    page = axel.get("/authorizations/")
    assert page.content.decode().count(again) == 1 and "Permissions" not in text(page)
    assert "Reauthorize" in text(axel.get("/installations/"))
    axel.post(again, {"decision": "agree", "shown": shown(axel.get(again))})
    page = axel.get("/authorizations/").content.decode()
    assert page.count(again) == 1 and page.count("/trim/") == 1 and page.count("/revoke/") == 1
    installing.uninstall(by_agent.installation, by=cast.admin)
    assert again not in axel.get("/authorizations/").content.decode()


def test_the_page_linked_from_a_401_has_the_button_for_whoever_must_press_it(
    granted_app, by_agent, external, ada, browse, cast
):
    """T9: platform apps for an account or for agents, and external apps; revoked or trimmed."""
    external.tokens = external.tokens_for(ada, account=cast.acme.slug)
    sides = [(granted_app, ada), (by_agent, browse(cast.agent)), (external, ada)]
    for consent in Consent.objects.all():
        by = consent.membership.user if consent.membership else cast.admin
        ending.trim_consent(consent, scopes={VIEW}, by=by)
    for end in (None, lambda: [ending.revoke_consent(each, by=cast.admin) for each in Consent.objects.all()]):
        if end:
            end()
        for side, browser in sides:
            url = side.call(side.tokens["access_token"]).json()["reauthorize_url"]
            page = browser.get(url[url.index("/", len("https://")) :])
            assert page.status_code == 200 and "Reauthorize" in text(page), url


def test_installing_again_shows_what_was_agreed_to_before_and_when(granted_app, ada, cast):
    ending.trim_consent(granted_app.consent, scopes={EDIT}, by=cast.admin)
    installing.uninstall(granted_app.installation, by=cast.admin)
    installing.install(granted_app.version.app, cast.acme, by=cast.admin)
    page = ada.get(authorize_url(granted_app.client, pkce()[1], account=cast.acme.slug))
    assert "Ada agreed to this app for Acme before, on" in text(page)
    assert text(page).count("Agreed to before, on") == 1, "the taken-back scope is not among them"
    # Other accounts' agreements are not shown.
    installing.install(granted_app.version.app, cast.globex, by=cast.globex_admin)
    gus = Browser()
    gus.force_login(cast.globex_admin, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert "before, on" not in text(gus.get(authorize_url(granted_app.client, pkce()[1], account=cast.globex.slug)))


def test_an_agent_who_returns_reads_only_their_own_earlier_agreement(by_agent, browse, cast):
    memberships.end_membership(cast.agent.memberships.get(), by=None)
    memberships.add_member(cast.acme, cast.agent, role="agent", by=None)
    url = authorize_url(by_agent.client, pkce()[1], account=cast.acme.slug)
    assert "You agreed to this app before, on" in text(browse(cast.agent).get(url))
    assert "agreed to this app before" not in text(browse(cast.agent2).get(url))
    browse(cast.agent).post(url, {"decision": "agree", "shown": shown(browse(cast.agent).get(url))})
    assert Access.objects.get().consents.count() == 2
