"""axe finds nothing on staff's pages either: Django admin, and what the portal puts into it."""

import pytest
from django.contrib.admin import site

from credentials import actions as credentials
from credentials.models import Client, Endpoint, Product, Scope
from marketplace.models import Version
from portal.accounts.models import Account, Membership, Team, User

from .looking import covers

pytestmark = pytest.mark.django_db(transaction=True)


@covers("home", "admin:index", "admin:marketplace_version_changelist", "admin:marketplace_version_change",
        "admin:marketplace_version_press", "admin:marketplace_version_history")  # fmt: skip
def test_the_reviewers_queue_and_a_version(look, calm):
    rita = calm("reviewer@example.com")
    waiting = Version.objects.get(app__slug="shift-planner")
    updated = Version.objects.get(app__slug="ticket-insights", number="1.1")
    page = f"/admin/marketplace/version/{waiting.pk}/"
    for path in ("/", "/admin/", "/admin/marketplace/version/", f"/admin/marketplace/version/{updated.pk}/change/",
                 f"{page}change/", f"{page}history/", f"/admin/marketplace/version/{updated.pk}/press/take-down/",
                 f"{page}press/reject/"):  # fmt: skip
        rita.open(path)
        look(rita.page)
    rita.page.evaluate("for (const form of document.forms) form.noValidate = true")
    rita.press("Reject")
    look(rita.page)


@covers("admin:app_list", "admin:credentials_client_changelist", "admin:credentials_client_change",
        "admin:credentials_client_press", "admin:credentials_client_history")  # fmt: skip
def test_a_client_and_its_suspension(look, calm):
    rita = calm("reviewer@example.com")
    client = Client.objects.get(name="Ticket Insights")
    credentials.suspend_client(client, reason="A reason", by=User.objects.get(email="reviewer@example.com"))
    page = f"/admin/credentials/client/{client.pk}/"
    for path in ("/admin/credentials/", "/admin/credentials/client/", f"{page}change/", f"{page}history/",
                 f"{page}press/lift/"):  # fmt: skip
        rita.open(path)
        look(rita.page)
    rita.page.fill("[name=reason]", "Another")
    rita.press("Lift suspension")
    look(rita.page)


def pages(*models):
    """The names of the pages that each model has in the admin."""
    shown = ("changelist", "change", "history")
    return [f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}" for model in models for page in shown]


def walk(look, stan, model, *more):
    address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    row = f"{address}{model.objects.first().pk}/"
    for path in (address, f"{row}change/", f"{row}history/", *(path.format(list=address, row=row) for path in more)):
        stan.open(path)
        look(stan.page)


@covers(*pages(User), "admin:accounts_user_add", "admin:accounts_user_press")
def test_people(look, calm):
    stan = calm("staff@example.com")
    walk(look, stan, User, "{row}press/staff/", "{row}press/deactivate/", "{list}add/")
    stan.page.evaluate("for (const form of document.forms) form.noValidate = true")
    stan.press("Save")
    look(stan.page)


@covers(*pages(Account, Membership), "admin:accounts_account_add", "admin:accounts_membership_add",
        "admin:accounts_account_press", "admin:accounts_membership_press")  # fmt: skip
def test_accounts_and_members(look, calm):
    stan = calm("staff@example.com")
    walk(look, stan, Account, "{row}press/suspend/", "{list}add/")
    member = Membership.objects.get(account__slug="acme", user__email="agent@acme.example")
    walk(look, stan, Membership, f"{{list}}{member.pk}/press/end/", "{list}add/")


@covers(*pages(Team, Product), "admin:accounts_team_press", "admin:credentials_product_press")
def test_teams_and_products(look, calm):
    stan = calm("staff@example.com")
    team = Team.objects.filter(verified_at=None).first()
    walk(look, stan, Team, f"{{list}}{team.pk}/press/verify/")
    walk(look, stan, Product, "{row}press/secret/")
    stan.press("Create a new secret")
    look(stan.page)


@covers(*pages(Scope, Endpoint))
def test_scopes_and_endpoints(look, calm, monkeypatch):
    stan = calm("staff@example.com")
    for model in (Scope, Endpoint):
        # Pages of ten rows show all that those of a hundred do.
        monkeypatch.setattr(site.get_model_admin(model), "list_per_page", 10)
    walk(look, stan, Scope, "{list}?q=nothing")
    walk(look, stan, Endpoint)
