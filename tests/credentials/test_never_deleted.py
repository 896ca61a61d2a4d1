"""C1 and C2: credentials are never deleted and their scopes only grow, at every level."""

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError, connection, transaction
from django.db.models import PROTECT, ProtectedError

from credentials.models import Client, ClientScope, ClientSecret
from tests import factories
from tests.factories import CREATE, EDIT, VIEW
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def client_row(cast):
    return factories.client(cast.dev)[0]


def run(sql, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)


def refused(act):
    """True where the database or Django refuses; what was done is undone."""
    # First what the rows still have to be checked for: that would refuse whatever removes them before their commit.
    run("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    try:
        with transaction.atomic():
            act()
            # As the commit does.
            run("SET CONSTRAINTS ALL IMMEDIATE")
    except (DatabaseError, ProtectedError):
        return True
    return False


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM credentials_client",
        "TRUNCATE credentials_client CASCADE",
        "UPDATE credentials_client SET id = id + 1000",
        "UPDATE credentials_client SET client_id = 'other'",
        "DELETE FROM credentials_clientscope",
        "TRUNCATE credentials_clientscope",
        "UPDATE credentials_clientscope SET justification = 'other'",
        "UPDATE credentials_clientscope SET scope_id = scope_id + 1",
        "UPDATE credentials_clientscope SET client_id = client_id + 1",
    ],
)
def test_sql_cannot_remove_or_change_clients_and_their_scopes(client_row, sql, role):
    """C1, C2: also with session_replication_role = replica, which switches ordinary triggers off."""

    def act():
        run(f"SET LOCAL session_replication_role = {role}")
        run(sql)

    assert refused(act)
    client_row.refresh_from_db()
    assert client_row.scope_names() == {VIEW, EDIT}


@pytest.mark.parametrize("model", [Client, ClientScope])
def test_no_way_of_the_orm_deletes_one(client_row, model):
    row = model.objects.first()
    assert refused(row.delete)
    assert refused(model.objects.all().delete)
    assert refused(lambda: model.objects.filter(pk=row.pk)._raw_delete("default"))
    assert refused(lambda: model._base_manager.all().delete())
    assert model.objects.filter(pk=row.pk).exists()


def test_no_way_of_the_orm_changes_a_scope_of_a_client(client_row):
    row = ClientScope.objects.first()
    row.justification = "Other"
    assert refused(row.save)
    assert refused(lambda: ClientScope.objects.update(justification="Other"))
    assert refused(lambda: client_row.scopes.all().delete())


def test_deleting_the_creator_or_the_team_is_refused(cast, client_row):
    assert refused(cast.dev.delete)
    assert refused(lambda: type(cast.dev).objects.filter(pk=cast.dev.pk)._raw_delete("default"))
    assert refused(client_row.team.delete)
    for person_or_team in (cast.dev, client_row.team):
        with pytest.raises(ProtectedError) as refusal:
            person_or_team.delete()
        assert client_row in refusal.value.protected_objects
    assert refused(lambda: run("DELETE FROM accounts_user WHERE id = %s", cast.dev.pk))
    assert refused(lambda: run("DELETE FROM accounts_team WHERE id = %s", client_row.team_id))
    assert Client.objects.filter(pk=client_row.pk).exists()


@pytest.mark.parametrize("model", [Client, ClientScope, ClientSecret])
def test_nothing_that_is_deleted_takes_one_along(model):
    """C1, C2: neither a team, a person, a product's scope nor the client itself."""
    refers = {field.name: field.remote_field.on_delete for field in model._meta.get_fields() if field.many_to_one}
    assert refers and set(refers.values()) == {PROTECT}, refers


def test_the_page_has_no_delete_and_says_why(cast, client_row, browse):
    browser = browse(cast.dev)
    url = f"/credentials/{client_row.client_id}/"
    page = browser.get(url).content.decode()
    assert "never deleted" in page and "delete/" not in page
    assert browser.delete(url).status_code == 405
    assert browser.post(f"{url}delete/").status_code == 404
    assert browser.post(url, {"action": "delete", "redirect_uris": factories.REDIRECT_URI}).status_code == 302
    assert Client.objects.filter(pk=client_row.pk).exists()


def test_no_form_of_the_pages_takes_a_scope_away_or_changes_one(cast, client_row, browse):
    """C2: those that a client has are not among the picker's; posted all the same, or left out, they stay as they are."""
    dev, url = browse(cast.dev), f"/credentials/{client_row.client_id}/"
    page = dev.get(url).content.decode()
    assert f'value="{VIEW}"' not in page and f'value="{CREATE}"' in page
    before = list(client_row.scopes.order_by("pk").values())
    less = {"scope": [VIEW], f"why:{VIEW}": "Another reason"}
    dev.post(f"{url}scopes/", less)
    dev.post(f"{url}scopes/", {})
    dev.post(url, {"redirect_uris": factories.REDIRECT_URI, "scopes": "", "scope-DELETE": EDIT, **less})
    assert list(client_row.scopes.order_by("pk").values()) == before
    dev.post(f"{url}scopes/", {"scope": [CREATE], "confirmed": "1"})
    assert client_row.scope_names() == {VIEW, EDIT, CREATE}


@pytest.mark.parametrize("who", [factories.reviewer, lambda: factories.person("Sue", is_staff=True, is_superuser=True)])
def test_the_admin_has_no_delete(client_row, browse, who):
    browser = browse(who())
    base = "/admin/credentials/client/"
    assert browser.post(f"{base}{client_row.pk}/delete/", {"post": "yes"}).status_code == 403
    browser.post(base, {"action": "delete_selected", "_selected_action": [client_row.pk], "post": "yes"})
    assert Client.objects.filter(pk=client_row.pk).exists()
    # Nor does the form of the window change anything, scopes included (C2).
    before, scopes = Client.objects.values().get(), list(ClientScope.objects.values())
    posted = {"name": "Other", "description": "Other", "scopes-TOTAL_FORMS": "0", "scopes-0-DELETE": "on"}
    assert browser.post(f"{base}{client_row.pk}/change/", posted).status_code == 403
    assert browser.post(f"{base}add/", posted).status_code == 403
    assert Client.objects.values().get() == before and list(ClientScope.objects.values()) == scopes
    for model in ("clientscope", "clientsecret"):
        assert browser.get(f"/admin/credentials/{model}/").status_code == 404


@pytest.mark.parametrize("changed", [{"name": "Other"}, {"kind": "external"}, {"level": "agent"}])
def test_name_kind_and_level_never_change(cast, client_row, browse, changed):
    """C4: they are what people agreed to."""
    posted = {"redirect_uris": factories.REDIRECT_URI, "description": "New", **changed}
    assert browse(cast.dev).post(f"/credentials/{client_row.client_id}/", posted).status_code == 302
    (name,) = changed
    assert getattr(Client.objects.get(pk=client_row.pk), name) != changed[name]
    assert refused(lambda: Client.objects.filter(pk=client_row.pk).update(**changed))
    assert refused(lambda: run(f"UPDATE credentials_client SET {name} = %s", changed[name]))


def test_a_client_has_no_field_in_which_a_secret_could_lie_in_clear():
    with pytest.raises(FieldDoesNotExist):
        Client._meta.get_field("client_secret")
