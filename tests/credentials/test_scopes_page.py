"""Find the scope: what a pasted call needs, with nothing of it kept, and the catalogue."""

import io
import logging

import pytest
from django.utils.timezone import now

from credentials import registry
from credentials.finding import Call, UnreadableCall, find_operations, read_call
from credentials.models import Product, Scope
from tests import factories
from tests.factories import CREATE, DELETE, EDIT, VIEW

pytestmark = pytest.mark.django_db
TOKEN = "amp_at_" + "s3cretS3cret" * 4


@pytest.mark.parametrize(
    ("pasted", "call"),
    [
        ("/api/v2/tickets", Call("", "", "/api/v2/tickets")),
        ("GET /api/v2/tickets/7?token=x#y", Call("GET", "", "/api/v2/tickets/7")),
        ("post /api/v2/tickets HTTP/1.1\nHost: a.example\nAuthorization: Bearer x", Call("POST", "", "/api/v2/tickets")),
        ("DELETE /api/v2/tickets/{id}", Call("DELETE", "", "/api/v2/tickets/0")),
        ("GET /api/v2/tickets/:id", Call("GET", "", "/api/v2/tickets/0")),
        ("GET /api/v2/tickets/<id>", Call("GET", "", "/api/v2/tickets/0")),
        ("https://user:pw@Desk.example:8443/api/v2/tickets", Call("", "desk.example:8443", "/api/v2/tickets")),
        ("desk.example/api/v2/tickets", Call("", "desk.example", "/api/v2/tickets")),
        ("GET {{base}}/api/v2/tickets", Call("GET", "{{base}}", "/api/v2/tickets")),
        ("curl https://desk.example", Call("GET", "desk.example", "/")),
        ("$ curl -sS https://desk.example/a -H 'Authorization: Bearer x'", Call("GET", "desk.example", "/a")),
        ("curl -XDELETE desk.example/a/$ID", Call("DELETE", "desk.example", "/a/0")),
        ("curl -X PATCH -H 'Referer: https://no.example/b' --proxy http://no.example/c https://desk.example/a", Call("PATCH", "desk.example", "/a")),
        ("curl --request=PUT --url https://desk.example/a -d @b", Call("PUT", "desk.example", "/a")),
        ("curl 'https://desk.example/a' \\\n  --data-raw '{\"url\": \"https://no.example/b\"}'", Call("POST", "desk.example", "/a")),
        ("curl.exe ^\n --json '{}' https://desk.example/a", Call("POST", "desk.example", "/a")),
        ("curl -G -d q=1 https://desk.example/a", Call("GET", "desk.example", "/a")),
        ("curl -sSI https://desk.example/a", Call("HEAD", "desk.example", "/a")),
        ("curl -fsSLo out.json -T file https://desk.example/a", Call("PUT", "desk.example", "/a")),
        ("curl 'https://desk.example/a", Call("GET", "desk.example", "/a")),
    ],
)  # fmt: skip
def test_a_pasted_call_is_read_as_its_method_host_and_path(pasted, call):
    assert read_call(pasted) == call


@pytest.mark.parametrize("pasted", ["nothing", "curl", "curl -H", "GET", "https://[::1", "'", "curl -X POST -d /a"])
def test_what_has_no_route_is_refused(pasted):
    with pytest.raises(UnreadableCall):
        read_call(pasted)


def needed(pasted):
    return [(str(each.endpoint), [scope.name for scope in each.scopes]) for each in find_operations(read_call(pasted)).operations]  # fmt: skip


def test_the_operation_is_the_one_that_a_gateways_check_finds():
    factories.product()
    assert needed("GET /api/v2/tickets/7") == [("GET /api/v2/tickets/{id}", [VIEW])]
    assert needed("HEAD /api/v2/tickets/7") == [("GET /api/v2/tickets/{id}", [VIEW])]
    assert needed("GET /api/v2/tickets/filter") == [("GET /api/v2/tickets/filter", [EDIT, VIEW])]
    assert needed("/api/v2/tickets") == [("GET /api/v2/tickets", [VIEW]), ("POST /api/v2/tickets", [CREATE])]
    assert needed("GET /api/v2/closed") == [("GET /api/v2/closed", [])]
    assert needed("GET /api/v2/tickets/..%2f7") == needed("GET /nothing") == []


def test_where_no_route_is_the_calls_the_nearest_are_told():
    factories.product()
    found = find_operations(read_call("GET https://gateway.example/desk/api/v2/tickets"))
    assert not found.operations and [str(each.endpoint) for each in found.nearest] == ["GET /api/v2/tickets"]
    found = find_operations(read_call("PATCH /api/v2/tickets"))
    assert [str(each.endpoint) for each in found.nearest] == ["GET /api/v2/tickets", "POST /api/v2/tickets"]


def test_a_url_names_its_product_by_the_base_address():
    factories.product()
    Product.objects.filter(slug="freshservice").update(base_address="https://desk.example")
    assert needed("GET https://desk.example/api/v2/tickets") and needed("GET https://other.example/api/v2/tickets")
    Product.objects.create(slug="other", name="Other", base_address="https://other.example")
    assert needed("GET https://desk.example/api/v2/tickets") and not needed("GET https://other.example/api/v2/tickets")


def test_nothing_of_what_was_pasted_is_shown_again_or_logged(browse, cast):
    """It may have a token; only the method and the path come back."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        for pasted in (
            f"curl -H 'Authorization: Bearer {TOKEN}' https://a.example/api/v2/tickets?k={TOKEN}",
            f"token {TOKEN}",
        ):
            for more in ({}, {"headers": {"Accept": "application/json"}}):
                answer = browse(cast.dev).post("/scopes/", {"pasted": pasted}, **more)
                assert answer.status_code == (200 if "curl" in pasted else 422)
                assert TOKEN not in answer.content.decode() and "no-store" in answer["Cache-Control"]
    finally:
        logging.getLogger().removeHandler(handler)
    assert TOKEN not in log.getvalue()


def test_the_answer_is_json_where_that_is_asked_for(browse, cast):
    dev, as_json = browse(cast.dev), {"Accept": "application/json"}
    told = dev.post("/scopes/", {"pasted": "PUT /api/v2/tickets/7"}, headers=as_json).json()
    scope = {"name": EDIT, "sentence": "Edit tickets", "risk": "medium"}
    operation = {"product": "freshservice", "method": "PUT", "path": "/api/v2/tickets/{id}", "any_of": [scope]}
    assert told == {"method": "PUT", "path": "/api/v2/tickets/7", "operations": [operation], "nearest": []}
    refused = dev.post("/scopes/", {"pasted": "x" * 20_001}, headers=as_json)
    assert refused.status_code == 422 and "pasted" in refused.json()["errors"]


def test_the_catalogue_is_searched_by_word_product_and_risk_and_tells_what_surprises(browse, cast):
    dev = browse(cast.dev)
    assert DELETE in (page := dev.get("/scopes/?q=restore+TICKETS&risk=high").content.decode()) and VIEW not in page
    assert "You have to say why" in page and "it does not let an app read" in page
    assert "Nothing found" in dev.get("/scopes/?q=nothing+like+it").content.decode()
    page = dev.get("/scopes/?q=freshservice.tickets.view").content.decode()
    assert "It only reads." in page and "1 of its operations can be called with another scope" in page
    Scope.objects.filter(name=VIEW).update(deprecated_at=now())
    assert "It can no longer be added." in dev.get("/scopes/?q=freshservice.tickets.view").content.decode()
    for odd in ("?q=%25", "?risk=none", "?page=99", "?q=" + "x" * 999):
        assert dev.get(f"/scopes/{odd}").status_code == 200


def test_the_page_takes_as_many_queries_for_any_number_of_scopes(browse, cast, django_assert_max_num_queries):
    dev = browse(cast.dev)
    product = Product.objects.get(slug="freshservice")
    Scope.objects.bulk_create(
        [Scope(product=product, name=f"freshservice.x{n}.view", sentence="View", risk="low") for n in range(60)]
    )
    dev.get("/scopes/")
    with django_assert_max_num_queries(12):
        dev.get("/scopes/")


def test_a_long_path_is_looked_up_a_bounded_number_of_times(monkeypatch):
    factories.product()
    asked = []
    monkeypatch.setattr(registry.Published, "resolve", lambda self, method, uri: asked.append(uri))
    find_operations(read_call("GET " + "/a" * 9000))
    assert 0 < len(asked) < 20
