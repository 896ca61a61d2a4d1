"""A value in a request template stays in its place or is refused."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.package import formats
from marketplace.package.contents import Contents
from marketplace.vendors import filling
from tests.marketplace.connected import run_template

pytestmark = pytest.mark.django_db


def fill(schema, values=None, fields=None, **sent):
    """Fill in a template, without sending it."""
    template = formats.RequestTemplate.model_validate({"schema": {"method": "POST", "host": "api.octo.dev", **schema}})
    contents = Contents({"config/iparams.json": fields or {}})
    return filling.fill(contents, template, values or {}, filling.texts_of(sent), "token-0123456789", None)


SCHEMA = {
    "path": "/a/<%= context.x %>/b",
    "query": {"q": "<%= context.x %>", "fixed": "1"},
    "headers": {"X-Value": "<%= encode(context.x) %>", "Authorization": "Bearer <%= access_token %>"},
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_a_value_adds_no_segment_no_parameter_no_header_and_no_host(value):
    """Any value arrives unchanged in its place, or is refused."""
    try:
        request = fill(SCHEMA, x=value)
    except filling.BadInput:
        assert value in ("", ".", "..") or "\0" in value
        return
    url = urlsplit(request.url)
    assert (url.scheme, url.netloc, url.fragment) == ("https", "api.octo.dev", "")
    assert [unquote(part) for part in url.path.split("/")] == ["", "a", value, "b"]
    assert parse_qsl(url.query, keep_blank_values=True) == [("q", value), ("fixed", "1")]
    assert request.headers.keys() == {"X-Value", "Authorization"}
    assert not any(character in header for header in request.headers.values() for character in "\r\n\0")


@pytest.mark.parametrize("value", ["", ".", ".."])
@pytest.mark.parametrize("path", ["/a/<%= context.x %>/b", "/a/<%= context.x %>"])
def test_a_value_removes_no_segment(value, path):
    """Otherwise the vendor would read another path, such as that of the whole collection."""
    with pytest.raises(filling.BadInput):
        fill({"path": path}, x=value)


REPO = {"repo": {"display_name": "Repository"}}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("octo/hello", "/repos/octo/hello/issues"),
        ("group/sub group/hello", "/repos/group/sub%20group/hello/issues"),
        ("octo/café@2.0", "/repos/octo/caf%C3%A9%402.0/issues"),
        ("...", "/repos/.../issues"),
        ("a/.b/c.d", "/repos/a/.b/c.d/issues"),
        ("50%", "/repos/50%25/issues"),
    ],
)
def test_an_admins_setting_keeps_its_slashes_in_a_path(value, path):
    url = fill({"path": "/repos/<%= iparam.repo %>/issues"}, {"repo": value}, REPO).url
    assert url == f"https://api.octo.dev{path}"
    # Anywhere in an expression.
    url = fill({"path": "/repos/<%= context.other || iparam.repo %>/issues"}, {"repo": value}, REPO).url
    assert url == f"https://api.octo.dev{path}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (".", "“.” or “..”"), ("..", "“.” or “..”"), ("octo/../admin", "“.” or “..”"), ("./octo", "“.” or “..”"),
        ("octo/.", "“.” or “..”"), ("octo/%2e%2E/admin", "“%2e”"), ("octo/.%2e", "“%2e”"), ("octo/%252e%252e", "“%252e”"),
        ("octo%2f..", "“%2f”"), ("octo%5C..", "“%5C”"), ("octo%3Fadmin=1", "“%3F”"), ("octo%23", "“%23”"), ("octo%00", "“%00”"),
        ("octo%0d%0aX: 1", "“%0d”"), ("octo%7f", "“%7f”"), ("octo\\..\\admin", "“\\”"), ("octo?admin=1", "“?”"), ("octo#x", "“#”"),
        ("octo\tx", "a tab"), ("octo\nx", "a line break"), ("octo\0", "NUL"), ("octo\x1b", "U+001B"), ("octo\x7f", "U+007F"),
        ("/octo", "it starts or ends with “/”, or has two in a row."), ("octo/", "it starts or ends with “/”, or has two in a row."), ("octo//hello", "it starts or ends with “/”, or has two in a row."),
    ],
)  # fmt: skip
def test_a_setting_that_would_lead_elsewhere_is_refused_and_named(value, said):
    with pytest.raises(filling.BadInput) as refused:
        fill({"path": "/repos/<%= iparam.repo %>/issues"}, {"repo": value}, REPO)
    assert "“iparam.repo”" in str(refused.value) and said in str(refused.value)


def test_a_callers_value_stays_one_segment_beside_a_setting():
    path = "/<%= iparam.repo %>/<%= context.x %>/<%= encode(context.x) %>"
    url = fill({"path": path}, {"repo": "a/b"}, REPO, x="c/d?e>>>").url
    assert url == "https://api.octo.dev/a/b/c%2Fd%3Fe%3E%3E%3E/Yy9kP2U%2BPj4%3D"
    # Nor does it become a setting by its name.
    with pytest.raises(filling.BadInput, match=r"iparam\.other"):
        fill({"path": "/<%= iparam.other %>"}, {"repo": "a/b"}, REPO, **{"iparam.other": "a/b"})


@pytest.mark.parametrize("value", ["a.b", "evil.dev/", "a:80", "", "a b"])
def test_a_callers_value_is_one_label_of_the_vendors_domain(value):
    for host in ("<%= context.shop %>.octo.dev", "<%= context.shop || iparam.repo %>.octo.dev"):
        with pytest.raises(filling.BadInput):
            fill({"host": host}, {"repo": value}, REPO, shop=value)
        assert fill({"host": host}, {}, REPO, shop="acme").url.startswith("https://acme.octo.dev/")


@pytest.mark.parametrize("part", ["path", "query", "headers"])
def test_a_missing_value_is_named_and_not_treated_as_empty(part):
    def schema(template):
        return {"path": f"/a/{template}"} if part == "path" else {"path": "/", part: {"X": template}}

    for sent in ({}, {"x": None}, {"x": {}}):
        with pytest.raises(filling.BadInput, match=r"context\.x"):
            fill(schema("<%= context.x %>"), **sent)
    fill(schema("<%= context.x || '' %>"))
    assert fill({"path": "/", "query": {"x": "<%= context.x %>"}}, x="").url.endswith("?x=")


def test_an_optional_field_left_empty_is_empty_except_in_a_path():
    fields = {"tag": {"display_name": "Tag"}}
    assert fill({"query": {"tag": "<%= iparam.tag %>"}}, fields=fields).url.endswith("?tag=")
    with pytest.raises(filling.BadInput, match=r"iparam\.tag"):
        fill({"path": "/tags/<%= iparam.tag %>"}, fields=fields)


def test_a_developers_secret_is_masked_where_the_request_is_shown():
    schema = {"headers": {"X-Api-Key": "of-octo-0123456789"}, "query": {"api_key": "of octo 0123456789", "page": "2"}}
    request = fill(schema)
    assert "of-octo" in request.headers["X-Api-Key"] and "of+octo" in request.url
    shown = request.mask(f"{request.url} {request.headers}")
    assert "octo-0123456789" not in shown and "octo+0123456789" not in shown and "page=2" in shown


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "☃"])
def test_a_value_adds_no_header(value):
    with pytest.raises(filling.BadInput):
        fill({"headers": {"X-Value": "<%= context.x %>"}}, x=value)


@pytest.mark.parametrize(
    "value", ["evil.dev/", "evil.dev#", "a.b", "a@evil.dev", "a:80", "", "-", "a b", "127.0.0.1", "a%2e"]
)
def test_a_field_is_one_label_of_the_vendors_domain(value):
    fields = {"shop": {"display_name": "Shop"}}
    with pytest.raises(filling.BadInput):
        fill({"host": "<%= iparam.shop %>.octo.dev"}, {"shop": value}, fields)
    assert fill({"host": "<%= iparam.shop %>.octo.dev"}, {"shop": "acme"}, fields).url.startswith(
        "https://acme.octo.dev/"
    )


@pytest.mark.parametrize(
    "context",
    [
        [],
        "x",
        {"a": []},
        {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
        {"a": "x" * 2001},
        {str(n): n for n in range(101)},
        {"a": "\ud800"},
        {"a": "\0"},
    ],
)
def test_an_invalid_context_is_refused(connected_app, context):
    with pytest.raises(filling.BadInput):
        run_template(connected_app, context=context)


def test_a_body_is_sent_unchanged(connected_app, cast, vendors):
    files = connected_app.version.package
    template = formats.RequestTemplate.model_validate(
        files["config/requests.json"]["events"]
        | {"schema": {**files["config/requests.json"]["events"]["schema"], "method": "POST"}}
    )
    contents = Contents(files)
    for body, kind, arrived in (({"a": 1}, "application/json", '{"a": 1}'), ("plain ☃", "text/plain", "plain ☃")):
        request = filling.fill(contents, template, {}, {"context.id": "7"}, "t", body)
        assert request.body.decode() == arrived and request.headers["Content-Type"].startswith(kind)
    with pytest.raises(filling.BadInput, match="cannot have a body"):
        run_template(connected_app, body={"a": 1})


def test_a_body_that_can_be_read_but_not_written_is_refused(connected_app):
    body = []
    for _level in range(2000):
        body = [body]
    with pytest.raises(filling.BadInput, match="nested"):
        filling._body("POST", body)
