"""The pages on which people take single scopes back, and allow them again (T10)."""

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
from tests.people.forms import forms_of, text
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def ada(browse, cast):
    return browse(cast.admin)


@shared
def used(installed, ada, cast):
    """A platform app that was allowed all that it asks for: one scope that it needs and one that it does not."""
    verifier, challenge = pkce()
    url = authorize_url(installed.client, challenge, account=cast.acme.slug)
    code = answer(agree(ada, url, optional=EDIT))["code"]
    installed.tokens = installed.exchange(code, verifier).json()
    installed.consent = Consent.objects.get()
    installed.trim, installed.widen = (f"/consents/{installed.consent.pk}/{what}/" for what in ("trim", "widen"))
    return installed


def edits(side, token=None):
    return side.call(
        token or side.tokens["access_token"],
        "put",
        "/sandbox/api/v2/tickets/1",
        data="{}",
        content_type="application/json",
    )


def press(browser, page, **more):
    """Send the page's last form as it stands, and return the page that it leads to."""
    form = forms_of(page)[-1]
    fields = {name: field["options"] for name, field in form.fields.items() if field["kind"] == "hidden"}
    send = browser.post if form.method == "POST" else browser.get
    return send(form.action or page.request["PATH_INFO"], {**fields, **more}, follow=True)


def introspected(side, client):
    secret = make_product_secret(Product.objects.get(), by=None)
    asked = f"token={side.tokens['access_token']}"
    form = {"content_type": "application/x-www-form-urlencoded"}
    return client.post("/oauth/introspect", asked, **form, **basic("freshservice", secret)).json()["scope"]


def test_an_optional_scope_is_taken_back_and_every_token_lacks_it_at_once(used, ada, client):
    page = ada.get(used.trim)
    assert "View tickets" in text(page) and "Edit tickets" in text(page)
    confirm = press(ada, page, scope=EDIT)
    assert "Edit tickets" in text(confirm) and "may stop working" not in text(confirm)
    assert edits(used).status_code == 404, "nothing is taken back yet"
    receipt = press(ada, confirm)
    assert receipt.request["PATH_INFO"] == f"/receipts/{Entry.objects.get(event='consent.trimmed').pk}/"
    assert "Taken back Edit tickets" in text(receipt) and "Allowed View tickets" in text(receipt)
    refused = edits(used).json()
    assert (refused["error"], refused["scope"]) == ("insufficient_scope", EDIT)
    assert introspected(used, client) == VIEW
    assert used.refresh(used.tokens["refresh_token"]).json()["scope"] == VIEW
    assert {row.scope.name for row in used.client.scopes.all()} == {VIEW, EDIT}, "the client is untouched"


def test_a_required_scope_is_taken_back_only_after_the_warning_of_what_stops(used, ada):
    confirm = press(ada, ada.get(used.trim), scope=VIEW)
    warning = text(confirm).partition("needs this to work. Without it the app may stop working: ")[2]
    assert warning.startswith("View tickets Why: We need it Every call that needs this is refused from this moment")
    assert text(confirm).count("Why: ") == 1
    for unwarned in ({"scope": VIEW}, {"scope": [VIEW, EDIT], "warned": EDIT}):
        page = ada.post(used.trim, unwarned)
        assert page.status_code == 200 and "may stop working" in text(page)
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])
    press(ada, confirm)
    assert Consent.objects.get().granted == [EDIT]
    assert used.call(used.tokens["access_token"]).json()["scope"] == VIEW


def test_nothing_chosen_is_told_and_what_is_not_granted_is_refused(used, ada):
    assert "Choose at least one" in text(ada.get(used.trim, {"choose": "1"}))
    for scopes in ([], [CREATE], ["\0"], [EDIT, "x" * 3000]):
        page = ada.post(used.trim, {"scope": scopes}, follow=True)
        assert page.status_code == 200 and "Choose among" in text(page)
        assert ada.get(used.trim, {"scope": scopes}).status_code in (200, 400)
    assert not Entry.objects.filter(event="consent.trimmed").exists()


def test_taking_back_twice_does_it_once(used, ada):
    for _twice in range(2):
        page = ada.post(used.trim, {"scope": EDIT}, follow=True)
    assert "Choose among" in text(page) and "Not allowed Edit tickets" in text(page)
    assert Entry.objects.filter(event="consent.trimmed").count() == 1


def test_what_was_taken_back_is_asked_again_only_on_its_page_or_when_the_app_asks_anew(used, ada, cast):
    ada.post(used.trim, {"scope": EDIT})
    url = authorize_url(
        used.client,
        pkce()[1],
        account=cast.acme.slug,
        scope=f"{VIEW} {EDIT}",
        redirect_uri="https://app.example/cb",
    )
    change_client(used.client, redirect_uris=["https://app.example/cb"], description="", by=cast.dev)
    assert "code" in answer(ada.get(url)), "no screen"
    assert "Edit tickets" in text(ada.get(f"{url}&prompt=consent"))
    assert "Allow more" in text(ada.get(used.trim)) and "Edit tickets" in text(ada.get(used.widen))


def test_what_the_app_needs_is_said_of_what_is_allowed_and_of_what_is_not(used, ada):
    ada.post(used.trim, {"scope": VIEW, "warned": VIEW})
    allowed, _, not_allowed = text(ada.get(used.trim)).partition("Not allowed")
    assert "Edit tickets" in allowed and "needs this to work" not in allowed
    assert "View tickets" in not_allowed and "The app needs this to work." in not_allowed


def test_an_installation_that_lacks_what_it_needs_is_not_simply_ready(used, ada, browse, cast):
    page, lacks = f"/installations/{used.installation.pk}/", "Permission taken back"
    ada.post(used.trim, {"scope": EDIT})
    for path in (page, "/installations/"):
        assert "Ready" in text(ada.get(path)) and lacks not in text(ada.get(path)), "an optional one"
    ada.post(used.trim, {"scope": VIEW, "warned": VIEW})
    for path in (page, "/installations/"):
        told = ada.get(path)
        assert lacks in text(told) and "Ready" not in text(told) and used.trim in told.content.decode(), path
        of_agent = browse(cast.agent).get(path)
        assert lacks in text(of_agent) and used.trim not in of_agent.content.decode(), path
    ada.post(used.widen, {"decision": "agree", "shown": shown(ada.get(used.widen))})
    assert "Ready" in text(ada.get(page))


def test_what_was_taken_back_is_said_beside_it_wherever_it_is_asked_again(used, ada, cast):
    for scope in (EDIT, VIEW):
        ada.post(used.trim, {"scope": scope, "warned": VIEW})
    today = date_format(timezone.localtime())
    anew = authorize_url(used.client, pkce()[1], account=cast.acme.slug, prompt="consent")
    for url in (anew, used.widen, f"/authorizations/{used.consent.access_id}/reauthorize/"):
        page = text(ada.get(url))
        told = re.findall(r"(View|Edit) tickets .*?Taken back on (\w+\.? \d+, \d+)\.", page)
        assert told == [("View", today), ("Edit", today)], url
    ada.post(used.widen, {"decision": "agree", "shown": shown(ada.get(used.widen))})
    page = text(ada.get(used.widen))
    assert page.count("Taken back on") == 1, "only what is not allowed"


def test_an_agent_reads_that_they_took_it_back(installed_agent, browse, cast):
    consent, axel = factories.agree(installed_agent.client, cast.acme, cast.agent), browse(cast.agent)
    axel.post(f"/consents/{consent.pk}/trim/", {"scope": VIEW, "warned": VIEW})
    assert "You took this back on" in text(axel.get(f"/consents/{consent.pk}/widen/"))
    assert "took this back" not in text(axel.get(f"/consents/{consent.pk}/renew/")), "it is not asked there"


def test_allowing_more_adds_what_was_shown_and_switched_on_and_revives_no_token(used, ada):
    ada.post(used.trim, {"scope": [VIEW, EDIT], "warned": VIEW})
    page = ada.get(used.widen)
    switches = re.findall(r'role="switch"[^>]*value="([^"]+)"([^>]*)>', page.content.decode())
    assert switches == [(EDIT, "")], "the optional one is a switch, off; the required one has none"
    form = {"decision": "agree", "shown": shown(page)}
    done = ada.post(used.widen, form)
    assert done["Location"] == f"/installations/{used.installation.pk}/connect/"
    consent = Consent.objects.get()
    assert (consent.granted, consent.left_off, consent.trimmed) == ([VIEW], [EDIT], [EDIT])
    assert ada.post(used.widen, form).status_code == 409, "what was shown is agreed to once"
    ada.post(used.widen, {"decision": "agree", "shown": shown(ada.get(used.widen)), "optional": [EDIT, CREATE]})
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])
    assert used.call(used.tokens["access_token"]).json()["error"] == "insufficient_scope"
    told = text(ada.get(f"/installations/{used.installation.pk}/"))
    assert "You agreed. See the receipt" in told


def test_a_page_that_was_shown_before_more_was_taken_back_is_stale(used, ada):
    ada.post(used.trim, {"scope": EDIT})
    page = ada.get(used.widen)
    ada.post(used.trim, {"scope": VIEW, "warned": VIEW})
    stale = ada.post(used.widen, {"decision": "agree", "shown": shown(page), "optional": EDIT})
    assert stale.status_code == 409 and "read this page again" in text(stale)
    assert Consent.objects.get().granted == []


@pytest.mark.parametrize("decision", [None, "", "cancel"])
def test_only_agree_allows_more(used, ada, decision):
    ada.post(used.trim, {"scope": EDIT})
    form = {"shown": shown(ada.get(used.widen)), "optional": EDIT} | ({"decision": decision} if decision else {})
    assert ada.post(used.widen, form).status_code == 200
    assert Consent.objects.get().granted == [VIEW]


def test_an_external_app_is_allowed_again_what_it_was_once_and_no_more(external, ada, cast):
    tokens = external.tokens_for(ada, account=cast.acme.slug, scope=EDIT)
    consent = Consent.objects.get()
    url = f"/authorizations/{consent.access_id}/"
    assert f"/consents/{consent.pk}/trim/" in ada.get(url).content.decode()
    ada.post(f"/consents/{consent.pk}/trim/", {"scope": EDIT})
    assert edits(external, tokens["access_token"]).status_code == 401
    page = ada.get(f"/consents/{consent.pk}/widen/")
    assert "Edit tickets" in text(page) and "View tickets" not in text(page)
    done = ada.post(f"/consents/{consent.pk}/widen/", {"decision": "agree", "shown": shown(page)}, follow=True)
    assert done.request["PATH_INFO"] == url and "See the receipt" in text(done)
    assert Consent.objects.get().granted == [EDIT]


# --- whose ---


@shared
def by_agent(installed_agent, browse, cast):
    installed_agent.tokens = installed_agent.tokens_for(browse(cast.agent), account=cast.acme.slug)
    installed_agent.consent = Consent.objects.get(membership__user=cast.agent)
    return installed_agent


def test_an_agent_takes_back_and_allows_their_own_alone(by_agent, browse, cast):
    """E1: not the admin's either, who may revoke it."""
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
    receipt = axel.post(urls[0], {"scope": VIEW, "warned": VIEW}, follow=True)
    assert "Taken back View tickets" in text(receipt)
    assert by_agent.call(by_agent.tokens["access_token"]).status_code == 401
    axel.post(urls[1], {"decision": "agree", "shown": shown(axel.get(urls[1]))})
    assert Consent.objects.get().granted == [VIEW]


def test_an_agent_cannot_take_back_what_the_account_allowed(used, browse, cast):
    axel = browse(cast.agent)
    for url in (used.trim, used.widen):
        assert axel.get(url).status_code == axel.post(url, {"scope": EDIT}).status_code == 404
    assert "Permissions" not in text(axel.get(f"/installations/{used.installation.pk}/"))


def test_who_left_or_was_demoted_finds_the_page_no_more(used, by_agent, browse, cast):
    axel, ada = browse(cast.agent), browse(cast.admin)
    memberships.add_member(cast.acme, factories.person("Amy", team=False), role="admin", by=None)
    memberships.change_role(cast.admin.memberships.get(), role="agent", by=None)
    memberships.end_membership(cast.agent.memberships.get(), by=None)
    for browser, consent in ((ada, used.consent), (axel, by_agent.consent)):
        for what in ("trim", "widen"):
            assert browser.get(f"/consents/{consent.pk}/{what}/").status_code == 404


def test_signed_out_people_sign_in_first_and_other_methods_are_refused(used, cast):
    for url in (used.trim, used.widen):
        assert Browser().get(url)["Location"].startswith("/accounts/login/?next=")
        assert Browser().post(url, {"scope": EDIT})["Location"].startswith("/accounts/login/?next=")
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(cast.admin, backend="allauth.account.auth_backends.AuthenticationBackend")
    for url in (used.trim, used.widen):
        assert strict.post(url, {"scope": EDIT}).status_code == 403
        assert strict.put(url).status_code in (403, 405)
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])


@pytest.mark.parametrize("end", ["revoked", "uninstalled", "expired"])
def test_what_has_ended_is_neither_narrowed_nor_widened(used, ada, cast, end):
    if end == "revoked":
        ending.revoke_consent(used.consent, by=cast.admin)
    elif end == "uninstalled":
        installing.uninstall(used.installation, by=cast.admin)
    else:
        advance(dt.timedelta(days=366))
    for url in (used.trim, used.widen):
        assert "ended already" in text(ada.get(url, follow=True))
        assert "ended already" in text(ada.post(url, {"scope": EDIT, "decision": "agree"}, follow=True))
    assert Consent.objects.get().granted == sorted([VIEW, EDIT])


# --- where people find it, and how to agree again ---


def test_an_installations_page_leads_to_its_permissions_and_to_reauthorizing(used, ada):
    page = ada.get(f"/installations/{used.installation.pk}/").content.decode()
    assert used.trim in page and f"/authorizations/{used.installation.access_id}/reauthorize/" in page


def test_an_agents_list_offers_to_reauthorize_the_latest_that_ended(by_agent, browse, cast):
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


def test_the_page_of_a_401_has_the_button_whoever_has_to_press_it(used, by_agent, external, ada, browse, cast):
    """T9: of a platform app for an account, of one for agents, and of an external one; revoked, expired or trimmed."""
    external.tokens = external.tokens_for(ada, account=cast.acme.slug)
    sides = [(used, ada), (by_agent, browse(cast.agent)), (external, ada)]
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


def test_installing_again_says_what_was_agreed_to_before_and_when(used, ada, cast):
    ending.trim_consent(used.consent, scopes={EDIT}, by=cast.admin)
    installing.uninstall(used.installation, by=cast.admin)
    installing.install(used.version.app, cast.acme, by=cast.admin)
    page = ada.get(authorize_url(used.client, pkce()[1], account=cast.acme.slug))
    assert "Acme agreed to this app before, on" in text(page) and "by Ada;" in text(page)
    assert text(page).count("Agreed to before, on") == 1, "the one that had been taken back is not among them"
    # Of another account, or another agent, nothing is told.
    installing.install(used.version.app, cast.globex, by=cast.globex_admin)
    gus = Browser()
    gus.force_login(cast.globex_admin, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert "before, on" not in text(gus.get(authorize_url(used.client, pkce()[1], account=cast.globex.slug)))


def test_an_agent_who_comes_back_reads_what_they_alone_agreed_to(by_agent, browse, cast):
    memberships.end_membership(cast.agent.memberships.get(), by=None)
    memberships.add_member(cast.acme, cast.agent, role="agent", by=None)
    url = authorize_url(by_agent.client, pkce()[1], account=cast.acme.slug)
    assert "You agreed to this app before, on" in text(browse(cast.agent).get(url))
    assert "agreed to this app before" not in text(browse(cast.agent2).get(url))
    browse(cast.agent).post(url, {"decision": "agree", "shown": shown(browse(cast.agent).get(url))})
    assert Access.objects.get().consents.count() == 2
