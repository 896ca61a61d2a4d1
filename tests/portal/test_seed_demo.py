"""The demo's data: what it contains, that seeding again changes nothing, and that its printed secrets work."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from consent.models import Access
from credentials.models import Client, ClientSecret, Kind, Level, Scope
from marketplace.models import App, Offer, OfferKind, Status, Version
from portal.accounts.actions import notifying
from portal.accounts.models import Account, Membership, Notice, User
from portal.demo.sandbox.models import Ticket
from portal.ledger.models import Entry
from tests.factories import agree
from tests.oauth import AppSide, basic
from tests.test_settings import production, settings_with
from tests.worlds import shared

pytestmark = pytest.mark.django_db


def seed(**options):
    out = io.StringIO()
    call_command("seed_demo", json=True, stdout=out, **options)
    return json.loads(out.getvalue())


@shared
def demo():
    return seed()


def test_nothing_is_seeded_outside_the_demo(settings):
    settings.DEMO = settings_with(production())["DEMO"]
    with pytest.raises(CommandError, match="DEMO"):
        seed()
    assert not User.objects.exists()


def test_the_demos_mail_is_only_what_visitors_cause(demo):
    assert Notice.objects.exists() and not notifying.notices_to_mail().exists()


def test_the_demos_json_is_as_designed(demo):
    assert demo.keys() == {"people", "clients", "products"}
    assert all(each.keys() == {"email", "password", "roles", "accounts"} for each in demo["people"])
    keys = {"name", "client_id", "client_secret", "kind", "level", "redirect_uris", "scopes"}
    assert all(each.keys() == keys for each in demo["clients"])
    assert [each.keys() for each in demo["products"]] == [{"slug", "secret"}]
    roles = {role for each in demo["people"] for role in each["roles"]}
    assert roles == {"developer", "reviewer", "staff", "admin", "agent"}


def test_seeding_again_changes_nothing_and_prints_no_secret(demo):
    counted = [User, Client, ClientSecret, App, Version, Ticket, Entry, Membership]
    before = [model.objects.count() for model in counted]
    again = seed()
    assert [model.objects.count() for model in counted] == before
    assert {each["client_secret"] for each in again["clients"]} == {None} and again["products"][0]["secret"] is None
    assert all(each["client_secret"].startswith("amp_cs_") for each in demo["clients"])


def test_rotating_creates_new_secrets_that_work_and_ends_the_old_ones(demo, client):
    new = seed(rotate=True)
    by_name = {each["name"]: each for each in demo["clients"]}
    for each in new["clients"]:
        old = by_name[each["name"]]["client_secret"]
        assert each["client_secret"] and each["client_secret"] != old
        row = Client.objects.get(client_id=each["client_id"])
        for secret, status in ((old, 401), (each["client_secret"], 400)):
            assert AppSide(client, row, secret).client_credentials("none").status_code == status
    secrets = (demo["products"][0]["secret"], 401), (new["products"][0]["secret"], 200)
    for secret, status in secrets:
        answer = client.post("/oauth/introspect", {"token": "x"}, **basic("freshservice", secret))
        assert answer.status_code in (status, 400) and (answer.status_code == 401) == (status == 401)


def test_the_demo_has_what_the_story_needs(demo):
    assert set(Account.objects.filter(test_of_team=None).values_list("slug", flat=True)) == {"acme", "globex"}
    both = [each for each in demo["people"] if len(each["accounts"]) == 2]
    assert len(both) == 1
    insights = Version.objects.filter(app__slug="ticket-insights", status=Status.PUBLISHED).order_by("published_at")
    first, second = insights
    assert first.scopes < second.scopes and first.app.client.level == Level.ACCOUNT
    waiting = Offer.objects.pending().get()
    assert waiting.kind == OfferKind.ASK and waiting.version == second and waiting.installation.version == first
    assert waiting.installation.account.test_of_team_id, "customers' accounts begin with nothing installed"
    published = Version.objects.filter(status=Status.PUBLISHED)
    assert published.filter(audience="public", app__client__level=Level.AGENT).count() == 1
    assert published.filter(audience="custom").count() == 1
    assert Version.objects.filter(status=Status.IN_REVIEW).count() == 1
    assert Client.objects.filter(kind=Kind.EXTERNAL).exists()
    assert Scope.objects.count() == 167 and Ticket.objects.count() >= 40
    assert Scope.objects.filter(risk="high").exists()


def test_everybody_can_sign_in(demo, client):
    for each in demo["people"]:
        client.logout()
        answer = client.post("/accounts/login/", {"login": each["email"], "password": each["password"]})
        assert answer.status_code == 302 and answer["Location"] == "/", each["email"]


def test_the_demos_external_app_works_with_the_printed_secret(demo, client):
    printed = next(each for each in demo["clients"] if each["kind"] == "external" and each["level"] == "account")
    row = Client.objects.get(client_id=printed["client_id"])
    agree(row, Account.objects.get(slug="acme"), User.objects.get(email="admin@acme.example"), requested=set(printed["scopes"]))  # fmt: skip
    side = AppSide(client, row, printed["client_secret"])
    token = side.client_credentials("acme").json()["access_token"]
    assert side.call(token).json()["total"] > 0 and Access.objects.filter(client=row).count() == 1
