"""Somebody who agreed on the portal's own page is not asked again when the app sends them through authorization."""

import datetime as dt
from urllib.parse import parse_qs, urlsplit

import pytest

from consent.actions import ending
from consent.models import Consent
from credentials.actions import add_scopes
from tests import factories
from tests.clock import advance
from tests.factories import CREATE, EDIT, PASSWORD, VIEW
from tests.oauth import answer, authorize_url, pkce, shown
from tests.people.forms import forms_of, text
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def ada(browse, cast):
    return browse(cast.admin)


@shared
def agreed_app(installed, cast):
    """An app with its own install URL and a loopback redirect URI, which always requires a screen."""
    factories.agree(installed.client, cast.acme, cast.admin)
    access, consent = installed.installation.access, Consent.objects.get()
    installed.page = f"/installations/{installed.installation.pk}/"
    installed.asks = {
        "reauthorize": f"/authorizations/{access.pk}/reauthorize/",
        "widen": f"/consents/{consent.pk}/widen/",
    }
    return installed


def authorize(side, **more):
    """Return the authorize URL to which the app redirects somebody whom the portal sent to it."""
    return authorize_url(side.client, pkce()[1], installation=str(side.installation.pk), **more)


def agree_on_page(browser, side, how):
    url = side.asks[how]
    response = browser.post(url, {"decision": "agree", "shown": shown(browser.get(url)), "optional": EDIT})
    target = browser.get(response["Location"])["Location"]
    assert target.startswith("https://app.example/install?") and "account" in parse_qs(urlsplit(target).query)


@pytest.mark.parametrize("how", ["reauthorize", "widen"])
@pytest.mark.parametrize(("prompt", "page"), [(None, "Continue to Insights"), ("consent", "asks for access")])
def test_somebody_who_agreed_on_the_portals_page_is_not_asked_again_by_the_app(agreed_app, ada, how, prompt, page):
    assert page in text(ada.get(authorize(agreed_app, prompt=prompt))), "loopback"
    agree_on_page(ada, agreed_app, how)
    consents = Consent.objects.count()
    assert "code" in answer(ada.get(authorize(agreed_app, prompt=prompt)))
    assert Consent.objects.count() == consents
    assert page in text(ada.get(authorize(agreed_app, prompt=prompt))), "once"


def test_everything_else_requires_a_page(agreed_app, ada, browse, cast):
    agree_on_page(ada, agreed_app, "reauthorize")
    assert answer(ada.get(authorize(agreed_app, prompt="none")))["error"] == "interaction_required"
    other = factories.member(cast.acme, "admin", "Abe")
    assert "Continue to Insights" in text(browse(other).get(authorize(agreed_app)))
    ending.trim_consent(Consent.objects.get(revoked_at=None), scopes={EDIT}, by=cast.admin)
    assert "Continue to Insights" in text(ada.get(authorize(agreed_app))), "the agreement has changed"


def test_new_permissions_are_asked_for_even_right_after_agreeing(external, ada, cast):
    external.tokens_for(ada, account=cast.acme.slug, scope=VIEW)
    url = f"/authorizations/{Consent.objects.get().access_id}/reauthorize/"
    ada.post(url, {"decision": "agree", "shown": shown(ada.get(url))})
    add_scopes(external.client, scopes={CREATE: "Why"}, by=cast.dev)
    page = ada.get(authorize_url(external.client, pkce()[1], account=cast.acme.slug, scope=f"{VIEW} {CREATE}"))
    assert "the app also wants to Freshservice Change data Create tickets" in text(page)


def test_ten_minutes_later_a_page_is_shown(agreed_app, ada):
    agree_on_page(ada, agreed_app, "reauthorize")
    advance(dt.timedelta(minutes=11))
    assert "Continue to Insights" in text(ada.get(authorize(agreed_app)))


def test_the_apps_page_confirms_an_agreement_and_pages_that_ask_do_not(agreed_app, ada):
    agree_on_page(ada, agreed_app, "reauthorize")
    for asking in (agreed_app.asks["reauthorize"], authorize(agreed_app, prompt="select_account"), "/marketplace/"):
        assert "You agreed again" not in text(ada.get(asking)), asking
    assert "You agreed again. View receipt" in text(ada.get(agreed_app.page))
    assert "You agreed again" not in text(ada.get(agreed_app.page)), "once"


def test_signing_in_as_somebody_else_returns_to_the_same_request(agreed_app, browse, cast):
    """Every page that asks somebody to agree offers "Not you?"."""
    other = factories.member(cast.acme, "admin", "Abe")
    for url, asks in (
        (authorize(agreed_app), "Continue to Insights"),
        (authorize(agreed_app, prompt="consent"), "asks for access"),
        (agreed_app.asks["reauthorize"], "asks for access"),
    ):
        browser = browse(cast.admin)
        (form,) = [form for form in forms_of(browser.get(url)) if form.action == "/accounts/logout/"]
        gone = browser.post(form.action, form.values)
        assert gone.status_code == 302 and gone["Location"] == url == form.values["next"]
        entrance = browser.get(url)
        assert entrance["Location"].startswith("/accounts/login/?next=")
        (form,) = [form for form in forms_of(browser.get(entrance["Location"])) if "password" in form.fields]
        back = browser.post(
            "/accounts/login/", {**form.values, "login": other.email, "password": PASSWORD}, follow=True
        )
        assert back.redirect_chain[-1][0] == url and other.email in text(back) and asks in text(back)


def test_a_page_that_cannot_ask_this_person_lets_them_sign_in_as_somebody_else(agreed_app, browse, cast):
    for person, url, status in (
        (cast.agent, authorize(agreed_app), 403),
        (cast.admin, authorize(agreed_app, prompt="select_account"), 200),
    ):
        page = browse(person).get(url)
        (form,) = [form for form in forms_of(page) if form.action == "/accounts/logout/"]
        assert page.status_code == status and form.values["next"] == url
        assert f"Signed in as {person.name} {person.email}" in text(page)
