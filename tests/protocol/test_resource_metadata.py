"""From a 401 to the scopes to ask for: each API names its own document (RFC 6750 section 3, RFC 9728)."""

import io
import json

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client as Browser

from consent import check as checking
from credentials import resources
from credentials.actions import AddressTaken, set_base_address
from credentials.models import Product, Scope
from credentials.registry import import_document
from portal.accounts.rights import NotStaff
from portal.ledger.models import Entry
from tests import factories
from tests.factories import CREATE, DELETE, DOCUMENT, EDIT, VIEW
from tests.protocol.asking import each, nothing_changed
from tests.rfc9728 import challenge, covers, discover, well_known
from tests.worlds import shared

pytestmark = pytest.mark.django_db

ROOT = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
API = "https://desk.example.com"
SANDBOX = f"{settings.BASE_URL}/sandbox/api/v2"


@shared
def product(cast):
    return set_base_address(Product.objects.get(), base_address=API, by=None)


@pytest.fixture
def crm(db):
    """Another product, with one route and a scope that no route needs."""
    made = Product.objects.create(slug="crm", name="CRM")
    scopes = {"crm.deals.view": "View deals", "crm.spare": "Do something else"}
    flows = {"authorizationCode": {"scopes": scopes}}
    import_document(
        made,
        {
            "paths": {"/deals": {"get": {"security": [{"oauth2": ["crm.deals.view"]}]}}},
            "components": {"securitySchemes": {"oauth2": {"type": "oauth2", "flows": flows}}},
        },
    )
    return made


def asked(client, method="GET", uri="/api/v2/tickets", product="freshservice", **headers):
    told = {"HTTP_X_ORIGINAL_METHOD": method, "HTTP_X_ORIGINAL_URI": uri}
    return client.get(f"/oauth/check/{product}", **told, **headers)


# --- what a client learns from a 401 ---


@each(
    ("method", "uri", "scopes"),
    [
        ("GET", "/api/v2/tickets", {VIEW}),
        ("POST", "/api/v2/tickets", {CREATE}),
        ("DELETE", "/api/v2/tickets/7", {DELETE}),
        ("GET", "/api/v2/tickets/filter", {EDIT, VIEW}),
    ],
)
def test_a_gateways_401_leads_to_the_document_of_its_product_and_to_the_scopes_of_the_route(
    client, product, method, uri, scopes
):
    """RFC 9728 sections 3.3 and 5.1; without a token too (RFC 6750 section 3)."""
    document, found = discover(client, asked(client, method, uri), API + uri)
    assert found == scopes
    assert document == {
        "resource": API,
        "resource_name": "Freshservice",
        "authorization_servers": [settings.BASE_URL],
        "scopes_supported": sorted([VIEW, EDIT, CREATE, DELETE]),
        "bearer_methods_supported": ["header"],
    }


def test_whatever_is_wrong_with_a_token_the_challenge_names_document_and_scope(client, product, tokens, external, cast):
    """RFC 6750 section 3, RFC 9728 section 5.1"""
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    unknown = {"HTTP_AUTHORIZATION": "Bearer x"}
    where = f"{settings.BASE_URL}{ROOT}/freshservice"
    none, bad, lacking = asked(client), asked(client, **unknown), asked(client, "DELETE", "/api/v2/tickets/7", **bearer)
    told = [challenge(response) for response in (none, bad, lacking)]
    assert [each.get("error") for each in told] == [None, "invalid_token", "insufficient_scope"]
    assert [each["scope"] for each in told] == [VIEW, VIEW, DELETE]
    assert {each["resource_metadata"] for each in told} == {where}
    assert none.json() == {"error_description": checking.NO_TOKEN}
    external.revoke(tokens["access_token"])
    ended = challenge(asked(client, **bearer))
    assert (ended["error"], ended["scope"], ended["resource_metadata"]) == ("invalid_token", VIEW, where)
    for closed in (asked(client, uri="/api/v2/closed", **unknown), asked(client, uri="/nowhere")):
        assert "scope" not in challenge(closed) and challenge(closed)["resource_metadata"] == where


def test_a_product_without_a_base_address_has_no_document_and_names_none(client, cast):
    """RFC 9728 section 2: `resource` is required, and nothing else would match the API that was called."""
    assert challenge(asked(client)) == {"realm": "portal", "scope": VIEW}
    assert client.get(f"{ROOT}/freshservice").status_code == 404
    assert challenge(asked(client, product="nowhere")) == {"realm": "portal"}


def test_in_python_a_product_names_its_document_too(client, product):
    with pytest.raises(checking.Refusal) as caught:
        checking.check(None, [VIEW])
    header = caught.value.challenge(resources.metadata_url_of(product))
    assert (
        header == f'Bearer realm="portal", scope="{VIEW}", resource_metadata="{settings.BASE_URL}{ROOT}/freshservice"'
    )


@each(
    ("method", "path", "scope"),
    [
        ("GET", "/tickets", VIEW),
        ("HEAD", "/tickets", VIEW),
        ("POST", "/tickets", CREATE),
        ("PUT", "/tickets/1", EDIT),
        ("DELETE", "/tickets/1", DELETE),
    ],
)
def test_the_sandbox_has_a_document_with_the_scopes_of_its_routes_alone(client, crm, cast, method, path, scope):
    response = client.generic(method, f"/sandbox/api/v2{path}")
    document, found = discover(client, response, SANDBOX + path)
    assert document["resource"] == SANDBOX and found == {scope}
    assert document["scopes_supported"] == sorted([VIEW, EDIT, CREATE, DELETE])


def test_the_root_lists_only_what_the_portal_itself_serves(client, product):
    """It protects /api/v1/, which needs a token of the installation and no scope."""
    url = "/api/v1/installations/0b9d2b5e-3f0e-4b8e-9f0e-2f4f0e5d6c7b/requests/x"
    document, found = discover(client, client.post(url, HTTP_AUTHORIZATION="Bearer x"), settings.BASE_URL + url)
    assert document["resource"] == settings.BASE_URL and found is None and "scopes_supported" not in document


# --- where documents are ---


def test_the_document_is_at_the_products_slug_or_at_its_path_on_the_portals_own_host(client, product, crm):
    """RFC 9728 section 3.1: inserted between host and path where the portal serves the host; never at both."""
    set_base_address(crm, base_address=f"{settings.BASE_URL}/apis/crm", by=None)
    document, _ = discover(client, asked(client, uri="/deals", product="crm"), f"{settings.BASE_URL}/apis/crm/deals")
    assert document["scopes_supported"] == ["crm.deals.view"], "not those that no route needs"
    assert challenge(asked(client, product="crm"))["resource_metadata"] == well_known(document["resource"])
    assert client.get(f"{ROOT}/freshservice").json()["resource"] == API
    for other in ("crm", "apis", "apis/crm/", "apis/crm/deals", "APIS/crm", "freshservice/", "", "/", "x" * 5000):
        response = client.get(f"{ROOT}/{other}")
        assert response.status_code == 404 and response.json()["error"] == "not_found", other


def test_a_deprecated_scope_is_not_offered(client, product):
    """C6: nobody could add it to a client."""
    Scope.objects.filter(name=DELETE).update(deprecated_at="2026-01-01T00:00Z")
    assert client.get(f"{ROOT}/freshservice").json()["scopes_supported"] == sorted([VIEW, EDIT, CREATE])


def test_covering_is_by_whole_segments():
    """The checker of these tests is itself one that refuses."""
    assert covers(API, API + "/x") and covers(API + "/v2", API + "/v2") and covers(API + "/v2", API + "/v2/x")
    for url in (API, API + "/v20", "https://desk.example.com.evil.example/v2", "http://desk.example.com/v2"):
        assert not covers(API + "/v2", url)


# --- who says where an API is ---


def test_staff_set_the_base_address_and_it_is_recorded(cast, browse):
    product = Product.objects.get()
    sue, rita = browse(factories.person("Sue", is_staff=True, is_superuser=True)), browse(factories.reviewer())
    url = f"/admin/credentials/product/{product.pk}/press/base_address/"
    assert "Base address" in sue.get(url).content.decode()
    assert sue.post(url, {"base_address": "https://Desk.Example.com:443/v2/"}).status_code == 302
    product.refresh_from_db()
    assert product.base_address == "https://desk.example.com/v2"
    entry = Entry.objects.get(event="product.base_address_set")
    assert entry.chain_id == "portal" and entry.subject == "product:freshservice"
    assert entry.details["base_address"] == product.base_address
    with nothing_changed():
        assert sue.post(url, {"base_address": product.base_address}).status_code == 302
        page = sue.post(url, {"base_address": "ftp://x"}).content.decode()
        assert "does not start with https://" in page
        assert rita.post(url, {"base_address": API}).status_code == 403
    assert resources.metadata_url_of(product) in sue.get(url.replace("press/base_address", "change")).content.decode()
    assert sue.post(url, {"base_address": ""}).status_code == 302
    product.refresh_from_db()
    assert product.base_address == ""


@each(
    "address",
    [
        "http://desk.example.com", "ftp://desk.example.com", "desk.example.com", "//desk.example.com", "https://", "https:///v2",
        "https://desk.example.com?x=1", "https://desk.example.com/?", "https://desk.example.com#", "https://ada@desk.example.com",
        "https://ada:secret@desk.example.com", "https://desk.example.com:0", "https://desk.example.com:99999", "https://desk example.com",
        "https://desk.example.com/../x", "https://desk.example.com/%2e%2e/x", "https://desk.example.com/a//b", "https://desk.example.com/a%2fb",
        "https://desk.example.com/\\x", "https://desk.example.com/é", "https://desk.example.com/a;b", "https://\0", "javascript:alert(1)",
        "http://127.0.0.1.example.com", "https://desk.example.com/" + "x" * 200, settings.BASE_URL, settings.BASE_URL + "/",
    ],
)  # fmt: skip
def test_an_address_that_clients_could_read_differently_is_refused(cast, address):
    """RFC 9728 section 1.2: https, no fragment; loopback for tests. A query would have no place in the metadata's URL."""
    with nothing_changed(), pytest.raises(ValidationError):
        set_base_address(Product.objects.get(), base_address=address, by=None)


@each(
    "address",
    ["http://127.0.0.1:8123", "http://localhost:8123/api", "http://[::1]:8123", "https://a.example:8443/v2.1/x_~-"],
)
def test_a_base_address_may_be_loopback_and_have_a_port_or_a_path(cast, address):
    assert set_base_address(Product.objects.get(), base_address=f" {address}/ ", by=None).base_address == address


def test_two_products_never_share_a_metadata_address(cast, product, crm, tmp_path):
    own = f"{settings.BASE_URL}/"
    for taken in (API, API + "/", "HTTPS://DESK.EXAMPLE.COM", own + "freshservice"):
        with nothing_changed(), pytest.raises(AddressTaken):
            set_base_address(crm, base_address=taken, by=None)
    assert set_base_address(crm, base_address=own + "crm", by=None), "its own slug is its own"
    set_base_address(crm, base_address=own + "later", by=None)
    (tmp_path / "api.json").write_text(json.dumps(DOCUMENT))
    for slug in ("later", "No Slug"):
        with nothing_changed(), pytest.raises(CommandError):
            call_command("import_scopes", tmp_path / "api.json", product=slug, stdout=io.StringIO())


def test_only_staff_say_where_an_api_is(cast):
    for who in (cast.dev, cast.admin, cast.agent):
        with nothing_changed(), pytest.raises(NotStaff):
            set_base_address(Product.objects.get(), base_address=API, by=who)


# --- who may read it, and how ---


@each("path", [SERVER, ROOT, f"{ROOT}/freshservice", f"{ROOT}/sandbox/api/v2", "/.well-known/ledger-keys.json"])
def test_a_script_of_any_site_reads_public_metadata(product, path):
    """RFC 9728 section 3.1; a preflight comes before any header of the client's own, such as a protocol version."""
    strict = Browser(enforce_csrf_checks=True)
    origin = {"HTTP_ORIGIN": "https://inspector.example"}
    got = strict.get(path, **origin)
    assert got.status_code == 200 and got["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in got and not got.cookies
    preflight = strict.options(
        path,
        **origin,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="mcp-protocol-version",
    )
    assert preflight.status_code == 204 and preflight["Access-Control-Allow-Origin"] == "*"
    assert "GET" in preflight["Access-Control-Allow-Methods"] and preflight["Access-Control-Allow-Headers"] == "*"
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        refused = strict.generic(method, path, "x=1", content_type="application/x-www-form-urlencoded", **origin)
        assert refused.status_code == 405 and refused["Allow"] == "GET, HEAD, OPTIONS"
        assert refused["Content-Type"] == "application/json" and refused.json()["error"] == "invalid_request"


@each(
    "path",
    [
        "/.well-known/openid-configuration", "/.well-known/", "/.well-known/oauth-authorization-server/", "/.well-known/x/y", "/api/",
        "/api/v1/nowhere", "/api/v1/packages/check/", "/oauth/nowhere", "/sandbox/api/v2/nowhere",
    ],
)  # fmt: skip
@each("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_an_address_for_programs_that_does_not_exist_answers_json(cast, method, path):
    response = Browser(enforce_csrf_checks=True).generic(method, path, HTTP_ACCEPT="text/html")
    assert response.status_code == 404, path
    assert response["Content-Type"] == "application/json"
    assert method == "HEAD" or response.json()["error"] == "not_found"
    assert response.has_header("Access-Control-Allow-Origin") is path.startswith("/.well-known/")


def test_a_page_for_people_that_does_not_exist_is_a_page(cast, client):
    for path in ("/nowhere/", "/sandbox/app/nowhere", "/apis", "/well-known/"):
        response = client.get(path)
        assert response.status_code == 404 and "Page not found" in response.content.decode()
        assert "Access-Control-Allow-Origin" not in response
