"""The tickets API: each call needs its scope, sees one account, and gets errors in JSON (T9)."""

import json
from urllib.parse import quote

import pytest

from portal.demo.sandbox.models import Ticket
from tests.conftest import _side
from tests.factories import CREATE, DELETE, EDIT, VIEW
from tests.worlds import shared

pytestmark = pytest.mark.django_db
TICKETS = "/sandbox/api/v2/tickets"


@shared
def side(cast, client, browse):
    from portal.accounts.actions import teams

    made = _side(cast, client, kind="external", scopes=[VIEW, EDIT, CREATE])
    teams.verify_team(made.client.team, by=None)
    from credentials.actions import add_scopes

    add_scopes(made.client, scopes={DELETE: "Why"}, by=cast.dev)
    made.bearer = made.tokens_for(browse(cast.admin), account=cast.acme.slug)["access_token"]
    return made


@shared
def ticket(cast):
    return Ticket.objects.create(account=cast.acme, subject="Printer", description="Jammed")


def send(side, method, path, data, token=None):
    if method == "get":
        return side.call(token or side.bearer, path=path)
    body = data if isinstance(data, (str, bytes)) else json.dumps(data)
    return side.call(token or side.bearer, method, path, data=body, content_type="application/json")


def test_a_ticket_is_created_read_changed_and_deleted(side, cast):
    made = send(side, "post", TICKETS, {"subject": "VPN drops", "priority": 3})
    assert made.status_code == 201
    path = made["Location"]
    assert side.call(side.bearer, path=path).json()["ticket"]["subject"] == "VPN drops"
    assert send(side, "put", path, {"status": 4}).json()["ticket"]["status"] == 4
    assert side.call(side.bearer).json()["total"] == 1
    assert side.call(side.bearer, "delete", path).status_code == 204
    assert side.call(side.bearer, path=path).status_code == 404


@pytest.mark.parametrize(
    ("method", "one", "scope"),
    [("get", False, VIEW), ("get", True, VIEW), ("post", False, CREATE), ("put", True, EDIT), ("delete", True, DELETE)],
)
def test_each_call_needs_its_scope_and_a_401_names_it(side, ticket, browse, cast, method, one, scope):
    others = {VIEW, EDIT, CREATE, DELETE} - {scope}
    token = side.tokens_for(browse(cast.admin), account=cast.acme.slug, scope=" ".join(sorted(others)))["access_token"]
    path = f"{TICKETS}/{ticket.pk}" if one else TICKETS
    refused = send(side, method, path, {"subject": "X"}, token)
    assert refused.status_code == 401
    body = refused.json()
    assert (body["error"], body["scope"]) == ("insufficient_scope", scope) and scope in body["error_description"]
    assert f'scope="{scope}"' in refused["WWW-Authenticate"] and 'error="insufficient_scope"' in refused["WWW-Authenticate"]  # fmt: skip
    assert Ticket.objects.filter(account=cast.acme).values_list("subject", flat=True).get() == "Printer"


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_another_accounts_ticket_is_not_found(side, cast, method):
    theirs = Ticket.objects.create(account=cast.globex, subject="Theirs")
    assert send(side, method, f"{TICKETS}/{theirs.pk}", {"subject": "Mine"}).status_code == 404
    assert Ticket.objects.filter(account=cast.globex).get().subject == "Theirs"


def test_an_account_named_in_the_body_is_ignored(side, cast):
    send(
        side,
        "post",
        TICKETS,
        {"subject": "X", "account": cast.globex.pk, "account_id": cast.globex.pk, "id": 7_000_000},
    )
    made = Ticket.objects.get(account=cast.acme)
    assert made.account == cast.acme and made.pk != 7_000_000


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "[]", "1", "null", b"\xff\xfe", '{"subject": "a\\u0000b"}', '{"subject": ""}', '{"subject": null}',
        '{"subject": "x", "status": 99}', '{"subject": "x", "status": "open"}', '{"subject": "x", "status": 1e400}',
        '{"subject": "x", "priority": [1]}', '{"subject": {"a": 1}, "status": {}}', "[" * 50000, '{"subject": "' + "x" * 9999 + '"}',
    ],
)  # fmt: skip
def test_a_mistake_is_a_400_in_json_that_changes_nothing(side, ticket, body):
    for method, path in (("post", TICKETS), ("put", f"{TICKETS}/{ticket.pk}")):
        answer = send(side, method, path, body)
        if method == "put" and answer.status_code == 200:
            # The JSON is valid for a ticket: fields not named stay unchanged.
            continue
        assert answer.status_code == 400 and answer.json()["error"], body[:40]
    assert Ticket.objects.filter(account__test_of_team=None).count() == 1


def test_other_methods_get_405_with_the_allowed_ones(side, ticket):
    answer = side.call(side.bearer, "patch")
    assert answer.status_code == 405 and answer["Allow"] == "GET, HEAD, POST"
    assert side.call(side.bearer, "post", f"{TICKETS}/{ticket.pk}")["Allow"] == "DELETE, GET, HEAD, PUT"


def test_the_list_is_paged_in_a_bounded_number_of_queries(side, cast, django_assert_max_num_queries):
    Ticket.objects.bulk_create(Ticket(account=cast.acme, subject=f"T{number}") for number in range(60))
    with django_assert_max_num_queries(4):
        first = side.call(side.bearer).json()
    second = side.call(side.bearer, path=f"{TICKETS}?page=2").json()
    assert first["total"] == 60 and len(first["tickets"]) == 25 and second["page"] == 2
    assert not {each["id"] for each in first["tickets"]} & {each["id"] for each in second["tickets"]}
    assert side.call(side.bearer, path=f"{TICKETS}?page=x").status_code == 200


def test_a_page_is_as_long_as_per_page_says_up_to_100(side, cast):
    Ticket.objects.bulk_create(Ticket(account=cast.acme, subject=f"T{number}") for number in range(101))
    for per_page, page, length in ((1, 1, 1), (40, 3, 21), (100, 1, 100), (100, 2, 1)):
        told = side.call(side.bearer, path=f"{TICKETS}?per_page={per_page}&page={page}").json()
        assert (len(told["tickets"]), told["per_page"], told["page"]) == (length, per_page, page)
    assert side.call(side.bearer).json()["per_page"] == 25


@pytest.mark.parametrize("given", ["0", "101", "-1", "ten", "", "1.5", "１０", "1_0", "+5", "9" * 400])
def test_any_other_per_page_is_refused_in_words(side, given):
    answer = side.call(side.bearer, path=f"{TICKETS}?per_page={quote(given)}")
    assert answer.status_code == 400 and answer.json() == {"error": "per_page must be a whole number from 1 to 100"}
