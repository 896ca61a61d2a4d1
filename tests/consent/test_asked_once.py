"""Agreeing on the portal's own pages and being taken through the app after it: nobody is asked the same twice."""

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
def agreed(installed, cast):
    """An app with an install URL of its own and a redirect URI on loopback, which a screen is always shown for."""
    factories.agree(installed.client, cast.acme, cast.admin)
    access, consent = installed.installation.access, Consent.objects.get()
    installed.page = f"/installations/{installed.installation.pk}/"
    installed.asks = {
        "reauthorize": f"/authorizations/{access.pk}/reauthorize/",
        "widen": f"/consents/{consent.pk}/widen/",
    }
    return installed


def authorize(side, **more):
    """The address to which the app sends on whom the portal sent to it."""
    return authorize_url(side.client, pkce()[1], installation=str(side.installation.pk), **more)


def agree_at(browser, side, how):
    url = side.asks[how]
    done = browser.post(url, {"decision": "agree", "shown": shown(browser.get(url)), "optional": EDIT})
    sent = browser.get(done["Location"])["Location"]
    assert sent.startswith("https://app.example/install?") and "account" in parse_qs(urlsplit(sent).query)


@pytest.mark.parametrize("how", ["reauthorize", "widen"])
@pytest.mark.parametrize("prompt", [None, "consent"])
def test_a_person_who_agreed_on_the_portals_page_is_not_asked_again_by_the_app(agreed, ada, how, prompt):
    assert "asks for access" in text(ada.get(authorize(agreed))), "loopback"
    agree_at(ada, agreed, how)
    consents = Consent.objects.count()
    assert "code" in answer(ada.get(authorize(agreed, prompt=prompt)))
    assert Consent.objects.count() == consents
    assert "asks for access" in text(ada.get(authorize(agreed, prompt=prompt))), "once"


def test_nothing_else_passes_without_a_screen(agreed, ada, browse, cast):
    agree_at(ada, agreed, "reauthorize")
    assert answer(ada.get(authorize(agreed, prompt="none")))["error"] == "interaction_required"
    other = factories.member(cast.acme, "admin", "Abe")
    assert "asks for access" in text(browse(other).get(authorize(agreed)))
    ending.trim_consent(Consent.objects.get(revoked_at=None), scopes={EDIT}, by=cast.admin)
    assert "asks for access" in text(ada.get(authorize(agreed))), "the agreement has changed"


def test_new_permissions_are_asked_for_even_right_after_agreeing(external, ada, cast):
    external.tokens_for(ada, account=cast.acme.slug, scope=VIEW)
    url = f"/authorizations/{Consent.objects.get().access_id}/reauthorize/"
    ada.post(url, {"decision": "agree", "shown": shown(ada.get(url))})
    add_scopes(external.client, scopes={CREATE: "Why"}, by=cast.dev)
    page = ada.get(authorize_url(external.client, pkce()[1], account=cast.acme.slug, scope=f"{VIEW} {CREATE}"))
    assert "the app also wants to Create tickets" in text(page)


def test_ten_minutes_later_the_screen_is_shown(agreed, ada):
    agree_at(ada, agreed, "reauthorize")
    advance(dt.timedelta(minutes=11))
    assert "asks for access" in text(ada.get(authorize(agreed)))


def test_what_was_agreed_is_said_on_the_apps_page_and_on_no_page_that_asks(agreed, ada):
    agree_at(ada, agreed, "reauthorize")
    for asking in (agreed.asks["reauthorize"], authorize(agreed, prompt="select_account"), "/marketplace/"):
        assert "You agreed again" not in text(ada.get(asking)), asking
    assert "You agreed again. See the receipt" in text(ada.get(agreed.page))
    assert "You agreed again" not in text(ada.get(agreed.page)), "once"


def test_signing_in_as_somebody_else_comes_back_to_the_same_request(agreed, browse, cast):
    """Not you? on every page that asks somebody to agree."""
    other = factories.member(cast.acme, "admin", "Abe")
    for url in (authorize(agreed), agreed.asks["reauthorize"]):
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
        assert back.redirect_chain[-1][0] == url and other.email in text(back) and "asks for access" in text(back)


def test_a_page_that_cannot_ask_them_lets_people_sign_in_as_somebody_else(agreed, browse, cast):
    for person, url, status in (
        (cast.agent, authorize(agreed), 403),
        (cast.admin, authorize(agreed, prompt="select_account"), 200),
    ):
        page = browse(person).get(url)
        (form,) = [form for form in forms_of(page) if form.action == "/accounts/logout/"]
        assert page.status_code == status and form.values["next"] == url
        assert f"signed in as {person.email}" in text(page)
