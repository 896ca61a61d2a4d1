"""A double click in a real browser: one act, one result, and the secret that is shown works."""

import pytest
from authlib.integrations.base_client import OAuthError

from consent.models import Consent
from credentials import actions as credentials
from credentials.models import Client, ClientSecret
from marketplace.actions import publishing
from marketplace.models import App
from portal.accounts.models import User
from portal.ledger.models import Entry
from tests.browsing import app_side, begin
from tests.factories import VIEW, version_fields


def proves_itself(demo, client_id, secret):
    """Whether the token endpoint knows the secret: to who has it, it says that nobody agreed to anything yet."""
    with app_side(demo["url"], client_id, secret, "") as app, pytest.raises(OAuthError) as refused:
        app.fetch_token(grant_type="client_credentials", account="acme")
    assert refused.value.error in ("invalid_grant", "invalid_client")
    return refused.value.error == "invalid_grant"


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "without"])
def test_a_double_click_makes_one_set_of_credentials_whose_secret_works(demo, sit_down, javascript):
    dev = sit_down("dev@example.com", javascript=javascript)
    dev.open("/credentials/new/")
    dev.page.fill("[name=name]", "Twice")
    dev.page.fill("[name=redirect_uris]", "https://app.example/callback")
    dev.page.check("[name=kind][value=external]")
    dev.page.check("[name=level][value=account]")
    dev.page.get_by_role("button", name="Create Credentials").dblclick()
    dev.sees("Twice is ready")
    made = Client.objects.get(name="Twice")
    secret = dev.page.input_value("#client-secret")
    assert dev.page.input_value("#client-id") == made.client_id
    assert proves_itself(demo, made.client_id, secret) and not proves_itself(demo, made.client_id, secret[:-1] + "x")
    # Sent once more by reloading the answer.
    dev.page.reload()
    dev.sees("Twice is ready")
    assert dev.page.input_value("#client-secret") == secret and Client.objects.filter(name="Twice").count() == 1
    dev.open(f"/credentials/{made.client_id}/")
    dev.page.get_by_role("button", name="Rotate secret").dblclick()
    dev.sees("New secret for Twice")
    assert proves_itself(demo, made.client_id, dev.page.input_value("#client-secret"))
    assert ClientSecret.objects.filter(client=made).count() == 2


def test_going_back_and_pressing_again_leads_to_what_came_of_the_first_press(demo, sit_down):
    developer, app = User.objects.get(email="dev@example.com"), App.objects.get(slug="ticket-insights")
    draft = publishing.create_version(app, by=developer, **version_fields("9.0"))
    dev = sit_down("dev@example.com")
    dev.open(f"/apps/{app.slug}/versions/{draft.pk}/submit/")
    page = dev.page.content()
    dev.press("Submit")
    dev.sees("A reviewer will read it next")
    # As a browser that kept the page does.
    dev.page.route("**/versions/*/submit/", lambda route: route.fulfill(body=page, content_type="text/html"), times=1)
    dev.page.go_back()
    dev.press("Submit")
    dev.sees("A reviewer will read it next")
    assert "cannot be done" not in dev.page.content()
    assert Entry.objects.filter(event="version.submitted", subject=f"version:{draft.pk}").count() == 1


def test_a_double_click_on_agree_reaches_the_app_with_a_code_that_works(demo, sit_down):
    """The first press's answer is lost with its page, and a code is kept nowhere: the second gets one of its own."""
    dev, uri = User.objects.get(email="dev@example.com"), "http://127.0.0.1:9000/callback"
    client, secret = credentials.create_client(
        dev.team_memberships.first().team, name="Twice", redirect_uris=[uri], scopes={VIEW: ""}, kind="external",
        level="account", by=dev,
    )  # fmt: skip
    with app_side(demo["url"], client.client_id, secret, VIEW) as app:
        app.redirect_uri = uri
        url, state, verifier = begin(app, demo["url"], account="acme")
        ada, reached = sit_down("admin@acme.example"), []
        ada.page.on("request", lambda request: reached.append(request.url) if request.url.startswith(uri) else None)
        ada.open(url)
        ada.is_sent_to(uri, lambda: ada.page.get_by_role("button", name="Agree").dblclick())
        token = app.fetch_token(authorization_response=reached[-1], state=state, code_verifier=verifier)
        assert token["scope"] == VIEW
    assert Consent.objects.filter(access__client=client).count() == 1
