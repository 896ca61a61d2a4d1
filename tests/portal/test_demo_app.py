"""The demo's Reply Helper: the pages of an app with an install URL."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import call_command
from django.test import Client as Browser

from consent.validity import live_consents
from marketplace.actions import installing
from marketplace.models import App
from portal.accounts.models import Account, User
from tests.oauth import shown, sign_in
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def agent():
    call_command("seed_demo", verbosity=0)
    admin = User.objects.get(email="admin@acme.example")
    installing.install(App.objects.get(slug="reply-helper"), Account.objects.get(slug="acme"), by=admin)
    browser = Browser()
    sign_in(browser, User.objects.get(email="agent@acme.example"))
    return browser


def path(url):
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def begin(agent):
    """Go from the installation's button to the consent screen."""
    installation = App.objects.get(slug="reply-helper").installations.get()
    sent = agent.get(f"/installations/{installation.pk}/connect/")["Location"]
    page = agent.get(path(sent)).content.decode()
    return re.search(r'href="(/oauth/authorize\?[^"]+)"', page)[1].replace("&amp;", "&")


def test_an_agent_who_agrees_sees_how_the_app_gets_its_tokens(agent, client):
    url = begin(agent)
    back = agent.post(url, {"decision": "agree", "shown": shown(agent.get(url))})["Location"]
    page = agent.get(path(back)).content.decode()
    code, verifier = parse_qs(urlsplit(back).query)["code"][0], re.search(r"code_verifier=(\S+)", page)[1]
    assert code in page
    row = App.objects.get(slug="reply-helper").client
    from credentials.actions import rotate_secret
    from tests.oauth import AppSide

    secret = rotate_secret(row, overlap_hours=0, by=row.user)[1]
    redirect_uri = re.search(r"redirect_uri=(\S+?)<", page)[1]
    tokens = AppSide(client, row, secret).exchange(code, verifier, redirect_uri=redirect_uri)
    assert tokens.status_code == 200, tokens.content
    assert "does not belong" in agent.get(path(back)).content.decode(), "an answer works once"


def test_an_agent_who_cancels_is_told_that_nothing_happened(agent):
    url = begin(agent)
    for consents in (0, 1):
        if consents:
            agent.post(url, {"decision": "agree", "shown": shown(agent.get(url))})
            url = f"{begin(agent)}&prompt=consent"
        back = agent.post(url, {"decision": "cancel"})["Location"]
        page = agent.get(path(back)).content.decode()
        assert "nothing was changed" in page and "can do nothing" not in page
        assert live_consents().filter(membership__isnull=False).count() == consents


def test_an_unsolicited_answer_is_not_shown(agent):
    page = agent.get("/sandbox/app/callback?code=amp_ac_stolen&state=x").content.decode()
    assert "does not belong" in page and "amp_ac_stolen" not in page


def test_the_app_exists_only_in_the_demo(agent, settings):
    settings.DEMO = False
    assert agent.get("/sandbox/app/install").status_code == 404
    assert agent.get("/sandbox/app/callback").status_code == 404
    settings.DEMO = True
    assert agent.post("/sandbox/app/install").status_code == 405
