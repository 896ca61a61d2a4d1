"""A double click in a real browser: one act, one result, and the secret that is shown works."""

import pytest
from authlib.integrations.base_client import OAuthError

from credentials.models import Client, ClientSecret
from marketplace import actions as marketplace
from marketplace.models import App
from portal.accounts.models import User
from portal.ledger.models import Entry
from tests.browsing import app_side
from tests.factories import version_fields


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
    dev.page.get_by_role("button", name="Rotate the secret").dblclick()
    dev.sees("New secret of Twice")
    assert proves_itself(demo, made.client_id, dev.page.input_value("#client-secret"))
    assert ClientSecret.objects.filter(client=made).count() == 2


def test_going_back_and_pressing_again_leads_to_what_came_of_the_first_press(demo, sit_down):
    developer, app = User.objects.get(email="dev@example.com"), App.objects.get(slug="ticket-insights")
    draft = marketplace.create_version(app, by=developer, **version_fields("9.0"))
    dev = sit_down("dev@example.com")
    dev.open(f"/apps/{app.slug}/versions/{draft.pk}/")
    page = dev.page.content()
    dev.press("Submit for review")
    dev.sees("A reviewer reads it next")
    # As a browser that kept the page does.
    dev.page.route("**/versions/*/", lambda route: route.fulfill(body=page, content_type="text/html"), times=1)
    dev.page.go_back()
    dev.press("Submit for review")
    dev.sees("A reviewer reads it next")
    assert "cannot be done" not in dev.page.content()
    assert Entry.objects.filter(event="version.submitted", subject=f"version:{draft.pk}").count() == 1
