"""The Postman collection and environment of a client, and newman running them."""

import json
import subprocess

import pytest

from consent.postman import collection, environment
from consent.trying.snippets import POSTMAN_CALLBACK as CALLBACK
from credentials import actions
from credentials.models import Kind, Product
from credentials.registry import import_document
from tests import factories
from tests.factories import DOCUMENT, EDIT, VIEW
from tests.load import npm
from tests.oauth import AppSide
from tests.people.forms import forms_of
from tests.worlds import signed_in

DOWNLOADS = {"collection": collection, "environment": environment}


def requests_of(made):
    return {item["name"]: item["request"] for folder in made["item"] for item in folder["item"]}


@pytest.mark.django_db
def test_the_collection_has_a_request_for_each_operation_that_the_scopes_open(cast):
    row, _secret = factories.client(cast.dev)
    made = collection(row)
    assert made["info"]["schema"].endswith("/collection/v2.1.0/collection.json") and made["info"]["name"] == row.name
    assert [*requests_of(made)] == [
        "GET /api/v2/tickets", "GET /api/v2/tickets/filter", "GET /api/v2/tickets/{id}", "PUT /api/v2/tickets/{id}",
    ]  # fmt: skip
    url = requests_of(made)["PUT /api/v2/tickets/{id}"]["url"]
    assert url["raw"] == "{{freshservice_url}}/api/v2/tickets/:id" and url["variable"] == [{"key": "id", "value": "1"}]


@pytest.mark.django_db
def test_oauth_is_set_up_with_pkce_and_no_secret_is_in_a_file(cast, browse, settings):
    row, secret = factories.client(cast.dev)
    Product.objects.update(base_address="https://desk.example/v2")
    auth = {each["key"]: each["value"] for each in collection(row)["auth"]["oauth2"]}
    assert (auth["grant_type"], auth["challengeAlgorithm"]) == ("authorization_code_with_pkce", "S256")
    assert auth["redirect_uri"] == CALLBACK and auth["authUrl"] == "{{portal_url}}/oauth/authorize"
    values = {each["key"]: each for each in environment(row)["values"]}
    assert values["portal_url"]["value"] == settings.BASE_URL and values["client_id"]["value"] == row.client_id
    assert values["scope"]["value"] == "" and values["freshservice_url"]["value"] == "https://desk.example"
    external, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL)
    scopes = [each["value"] for each in environment(external)["values"] if each["key"] == "scope"]
    assert scopes == [f"{EDIT} {VIEW}"]
    for name in ("client_secret", "access_token"):
        assert (values[name]["type"], values[name]["value"]) == ("secret", "")
    for kind, make in DOWNLOADS.items():
        answer = browse(cast.dev).get(f"/credentials/{row.client_id}/postman/{kind}.json")
        assert answer.json() == make(row) and secret not in answer.content.decode()
        assert answer["Content-Disposition"] == f'attachment; filename="insights.postman_{kind}.json"'


@pytest.mark.django_db
def test_postmans_callback_is_added_with_one_press(cast, browse):
    row, _secret = factories.client(cast.dev)
    dev, page = browse(cast.dev), f"/credentials/{row.client_id}/test/?tab=postman"
    (form,) = [form for form in forms_of(dev.get(page)) if form.values.get("act") == "add-postman"]
    assert dev.post(page, form.values).status_code == 302
    row.refresh_from_db()
    assert row.redirect_uris.split() == [factories.REDIRECT_URI, CALLBACK]
    assert "add-postman" not in dev.get(page).content.decode()


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
def test_newman_runs_the_collection_with_a_token(live_server, settings, tmp_path):
    npm.install(npm.NEWMAN)
    settings.BASE_URL = live_server.url
    developer, account = factories.person("Dev"), factories.account("acme")
    admin = factories.member(account, "admin")
    # The sandbox stands for the product, at the portal's own address.
    product = factories.product()
    import_document(product, json.loads(json.dumps(DOCUMENT).replace("/api/v2", "/sandbox/api/v2")))
    actions.set_base_address(product, base_address=f"{live_server.url}/sandbox/api/v2", by=None)
    client, secret = factories.client(developer, kind=Kind.EXTERNAL, scopes=[VIEW])
    side = AppSide(signed_in(developer), client, secret)
    token = side.tokens_for(signed_in(admin), account=account.slug)["access_token"]
    for kind, make in DOWNLOADS.items():
        (tmp_path / f"{kind}.json").write_text(json.dumps(make(client)))
    report = tmp_path / "report.json"
    told = subprocess.run(
        [
            npm.NEWMAN / "node_modules/.bin/newman", "run", "collection.json", "-e", "environment.json",
            "--env-var", f"access_token={token}", "-r", "json", "--reporter-json-export", report,
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    ran = json.loads(report.read_text())["run"]["executions"]
    answered = {each["item"]["name"]: each["response"]["code"] for each in ran}
    assert answered["GET /sandbox/api/v2/tickets"] == 200
    # There is no ticket of this number; the token was good for the call.
    assert answered["GET /sandbox/api/v2/tickets/{id}"] == 404 and 401 not in answered.values()
