"""The registry: what a product publishes, and which endpoint a call is for (C6)."""

import copy
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from credentials.models import Endpoint, Product, Scope
from credentials.registry import MalformedDocument, import_document, published
from tests import factories
from tests.factories import DELETE, DOCUMENT, EDIT, VIEW

pytestmark = pytest.mark.django_db


def resolve(product, method, uri):
    product.refresh_from_db()
    return published(product.slug, product.published).resolve(method, uri)


@pytest.fixture
def product():
    return factories.product()


def changed(change):
    document = copy.deepcopy(DOCUMENT)
    change(document, document["components"]["securitySchemes"]["oauth2"])
    return document


def scopes_of(scheme):
    return scheme["flows"]["authorizationCode"]["scopes"]


def test_importing_twice_changes_nothing(product):
    before = list(Scope.objects.values()), list(Endpoint.objects.order_by("pk").values())
    assert import_document(product, DOCUMENT) == {"added": [], "deprecated": []}
    assert (list(Scope.objects.values()), list(Endpoint.objects.order_by("pk").values())) == before


def test_a_scope_no_longer_listed_is_deprecated_and_comes_back_when_listed_again(product):
    def drop(document, scheme):
        del scopes_of(scheme)[DELETE]
        del document["paths"]["/api/v2/tickets/{id}"]["delete"]

    assert import_document(product, changed(drop)) == {"added": [], "deprecated": [DELETE]}
    assert Scope.objects.get(name=DELETE).deprecated_at
    assert resolve(product, "DELETE", "/api/v2/tickets/1") is None
    import_document(product, DOCUMENT)
    assert Scope.objects.get(name=DELETE).deprecated_at is None


@pytest.mark.parametrize(
    "change",
    [
        lambda document, scheme: document.pop("paths"),
        lambda document, scheme: document.update(paths=[]),
        lambda document, scheme: document.pop("components"),
        lambda document, scheme: scheme.update(flows=None),
        lambda document, scheme: scopes_of(scheme).update({"with space": "x"}),
        lambda document, scheme: scopes_of(scheme).update({"x" * 121: "x"}),
        lambda document, scheme: scopes_of(scheme).update({"x.y": ""}),
        lambda document, scheme: scheme["x-scope-risk"].update({VIEW: "enormous"}),
        lambda document, scheme: document["paths"]["/api/v2/closed"]["get"].update(security=[{"oauth2": ["made.up"]}]),
    ],
)
def test_a_malformed_document_is_refused_and_changes_nothing(product, change):
    before = Scope.objects.count(), Endpoint.objects.count()
    with pytest.raises(MalformedDocument):
        import_document(product, changed(change))
    assert (Scope.objects.count(), Endpoint.objects.count()) == before


def test_a_scope_of_another_product_cannot_be_taken(product):
    other = Product.objects.create(slug="freshchat", name="Freshchat")
    with pytest.raises(MalformedDocument, match="another product"):
        import_document(other, DOCUMENT)


@pytest.mark.parametrize(
    ("method", "uri", "scopes"),
    [
        ("GET", "/api/v2/tickets", [VIEW]),
        ("HEAD", "/api/v2/tickets", [VIEW]),
        ("get", "/api/v2/tickets?page=2", [VIEW]),
        ("GET", "/api/v2/tickets/", [VIEW]),
        ("PUT", "/api/v2/tickets/17", [EDIT]),
        ("GET", "/api/v2/tickets/filter", [EDIT, VIEW]),
        ("GET", "/api/v2/closed", []),
    ],
)
def test_a_call_is_for_the_endpoint_whose_path_fits_best(product, method, uri, scopes):
    assert resolve(product, method, uri).scopes == scopes


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("PATCH", "/api/v2/tickets"),
        ("GET", "/api/v2/unknown"),
        ("GET", "/api/v2/tickets/1/2"),
        ("GET", "/API/v2/tickets"),
        ("GET", "/api/v2/closed/../tickets"),
        ("GET", "/api/v2/./tickets"),
        ("GET", "/api/v2//tickets"),
        ("GET", "/api/v2/tickets%2f1"),
        ("GET", "/api/v2/ticket%73"),
        ("GET", "/api/v2/tickets/..;/closed"),
        ("GET", "/api/v2/tickets\\..\\closed"),
        ("GET", "//api/v2/tickets"),
        ("GET", "https://evil.example/api/v2/tickets"),
        ("GET", "/api/v2/tickets\n"),
        ("GET", "/api/v2/tick\tets"),
        ("GET", "/api/v2/tickets#x"),
        ("GET", ""),
        ("", "/api/v2/tickets"),
    ],
)
def test_a_call_that_two_systems_could_read_differently_is_nobodys(product, method, uri):
    assert resolve(product, method, uri) is None


def test_import_scopes_reads_a_file(tmp_path, capsys):
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(DOCUMENT))
    Product.objects.create(slug="freshservice", name="Freshservice")
    call_command("import_scopes", str(path), product="freshservice")
    assert Scope.objects.count() == 4 and "4" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"paths": 1}', "\x00"])
def test_import_scopes_says_what_is_wrong_with_a_file(tmp_path, product, content):
    path = tmp_path / "openapi.json"
    path.write_text(content)
    with pytest.raises(CommandError):
        call_command("import_scopes", str(path), product="freshservice")


def test_import_scopes_says_when_there_is_no_such_file(tmp_path, product):
    with pytest.raises(CommandError):
        call_command("import_scopes", str(tmp_path / "none.json"), product="freshservice")
