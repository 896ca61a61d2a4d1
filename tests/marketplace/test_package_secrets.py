"""A developer's secrets in a package are found wherever a template can hold one, and never repeated."""

import pytest

from marketplace.package.expressions import parse
from marketplace.package.written import looks_secret, secrets_of_url
from tests.marketplace.test_package import IPARAMS, OAUTH, OCTO, REQUESTS, app, files, places, run, spoil

pytestmark = pytest.mark.django_db
__all__ = ["app", "files"]
# In the formats of well-known vendors, and as usually sent.
TOKEN = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0k1L2"
MIXED, HEX = "T4x9Kq2LmZ8vR1wB6nYc", "0f3c" * 8


@pytest.mark.parametrize(
    ("file", "pointer", "value"),
    [
        (REQUESTS, "/issues/schema/headers/X-Api-Key", "of-the-developer-1"),
        (REQUESTS, "/issues/schema/headers/X-Auth-Token", "of-the-developer"),
        (REQUESTS, "/issues/schema/headers/apikey", "<%= 'of-the-' + 'developer' %>"),
        (REQUESTS, "/issues/schema/headers/X-Anything", TOKEN),
        (REQUESTS, "/issues/schema/headers/X-Anything", f"<%= context.key || '{TOKEN}' %>"),
        (REQUESTS, "/tickets/schema/headers/Proxy", HEX),
        (REQUESTS, "/issues/schema/query/api_key", "of-the-developer-1"),
        (REQUESTS, "/issues/schema/query/accessToken", "of-the-developer"),
        (REQUESTS, "/issues/schema/query/q", MIXED),
        (REQUESTS, "/issues/schema/path", f"/services/T01/B02/{MIXED}"),
        (REQUESTS, "/issues/schema/path", f"/bot12345678:{MIXED}/sendMessage"),
        (REQUESTS, "/issues/schema/path", "/a?client_secret=of-the-developer&b=<%= context.x %>"),
        (OAUTH, f"{OCTO}/options/customHeaders/X-Secret", "of-the-developer"),
        (OAUTH, f"{OCTO}/options/customHeaders/Authorization", "Basic <%= encode('id:of-the-developer') %>"),
        (OAUTH, f"{OCTO}/options/api_key", "of-the-developer-1"),
        (OAUTH, f"{OCTO}/options/hint", TOKEN),
        (OAUTH, f"{OCTO}/authorize_url", "https://octo.dev/authorize?api_key=of-the-developer-1"),
        (OAUTH, f"{OCTO}/token_url", f"https://octo.dev/{HEX}/token"),
        (OAUTH, f"{OCTO}/options/revocation_url", "https://octo.dev/revoke?token=of-the-developer"),
        (IPARAMS, "/key/default_value", "of-the-developer"),
    ],
)
def test_a_secret_is_found_wherever_it_can_be_written(files, app, file, pointer, value):
    spoil(files, file, pointer, value)
    report = run(files, app)
    problems = [
        each
        for each in report.problems
        if each.pointer == (pointer if "?client" not in value else "/issues/schema/path")
    ]
    problems = problems or [each for each in report.problems if each.pointer.startswith("/issues/schema/path")]
    assert any(each.level == "warning" and "package contains a secret" in each.message for each in problems), (
        report.problems
    )
    assert report.valid
    for secret in ("the-developer", TOKEN, MIXED, HEX):
        assert secret not in str(report.problems)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Accept", "application/vnd.github.v3+json"), ("X-GitHub-Api-Version", "2022-11-28"), ("Notion-Version", "2022-06-28"),
        ("Authorization", "Bearer <%= access_token %>"), ("Authorization", "Basic <%= encode(iparam.key + ':X') %>"),
        ("Authorization", "Token token=<%= iparam.key %>"), ("X-Requested-With", "XMLHttpRequest"), ("sort_key", "created_at"),
        ("order_by", "updated_at"), ("token_type", "account"), ("X-Api-Key", "<%= iparam.key %>"), ("key", "<%= iparam.key %>"),
        ("fields", "id,name,created_at,updated_at,description"), ("id", "550e8400-e29b-41d4-a716-446655440000"),
        ("q", "type:ticket status:open created>2024-01-01"), ("Content-Type", "application/x-www-form-urlencoded"),
        ("scope", "https://www.googleapis.com/auth/spreadsheets.readonly"), ("auth", ""), ("workspace", "1199978845655296"),
    ],
)  # fmt: skip
def test_other_values_are_not_called_secrets(name, text):
    assert not looks_secret(name, parse(text))


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/tickets/<%= context.id %>/conversations?include=requester", "/api/1.0/workspaces/1199978845655296/projects",
        "/v1/550e8400-e29b-41d4-a716-446655440000/items?token=<%= context.x %>", "/getAllConversationsOfAgentsV2/items",
    ],
)  # fmt: skip
def test_a_path_of_names_and_ids_holds_no_secret(path):
    assert [*secrets_of_url(parse(path))] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"query": {"api_key": "of-the-developer-1"}},
        {"path": f"/hooks/{MIXED}"},
        {"path": "/a?secret=of-the-developer"},
        {"headers": {"X-Anything": "of-the-developer"}},
    ],
)
def test_a_secret_anywhere_in_a_request_goes_to_no_host_that_a_field_chooses(files, app, schema):
    request = {
        "method": "GET",
        "host": "<%= iparam.owner %>",
        "query": {"order_by": "created_at"},
        "path": "/api/v2/tickets",
    }
    files[REQUESTS]["own"] = {"schema": request}
    assert ("error", REQUESTS, "/own/schema/host") not in places(run(files, app))
    files[REQUESTS]["own"] = {"schema": {**request, **schema}}
    assert ("error", REQUESTS, "/own/schema/host") in places(run(files, app))
