"""What of a value goes where in a request template: in its place, or nowhere."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.package import formats
from marketplace.package.contents import Contents
from marketplace.vendors import filling
from tests.marketplace.connected import run_template

pytestmark = pytest.mark.django_db


def filled(schema, values=None, fields=None, **sent):
    """A template filled in, without sending it."""
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
    """Whatever it is: it arrives as it was, in its place, or is refused."""
    try:
        request = filled(SCHEMA, x=value)
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
    """Whoever is called would read the path as another: at its end, as that of the whole collection."""
    with pytest.raises(filling.BadInput):
        filled({"path": path}, x=value)


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
def test_a_setting_of_the_admins_keeps_its_slashes_in_a_path(value, path):
    url = filled({"path": "/repos/<%= iparam.repo %>/issues"}, {"repo": value}, REPO).url
    assert url == f"https://api.octo.dev{path}"
    # Wherever in an expression it stands.
    url = filled({"path": "/repos/<%= context.other || iparam.repo %>/issues"}, {"repo": value}, REPO).url
    assert url == f"https://api.octo.dev{path}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (".", "“.” or “..”"), ("..", "“.” or “..”"), ("octo/../admin", "“.” or “..”"), ("./octo", "“.” or “..”"),
        ("octo/.", "“.” or “..”"), ("octo/%2e%2E/admin", "“%2e”"), ("octo/.%2e", "“%2e”"), ("octo/%252e%252e", "“%252e”"),
        ("octo%2f..", "“%2f”"), ("octo%5C..", "“%5C”"), ("octo%3Fadmin=1", "“%3F”"), ("octo%23", "“%23”"), ("octo%00", "“%00”"),
        ("octo%0d%0aX: 1", "“%0d”"), ("octo%7f", "“%7f”"), ("octo\\..\\admin", "“\\”"), ("octo?admin=1", "“?”"), ("octo#x", "“#”"),
        ("octo\tx", "a tab"), ("octo\nx", "a line break"), ("octo\0", "NUL"), ("octo\x1b", "U+001B"), ("octo\x7f", "U+007F"),
        ("/octo", "begins or ends with “/”"), ("octo/", "begins or ends with “/”"), ("octo//hello", "begins or ends with “/”"),
    ],
)  # fmt: skip
def test_a_setting_that_would_lead_elsewhere_is_refused_by_its_name(value, said):
    with pytest.raises(filling.BadInput) as refused:
        filled({"path": "/repos/<%= iparam.repo %>/issues"}, {"repo": value}, REPO)
    assert "“iparam.repo”" in str(refused.value) and said in str(refused.value)


def test_what_a_caller_sends_stays_one_segment_beside_a_setting():
    path = "/<%= iparam.repo %>/<%= context.x %>/<%= encode(context.x) %>"
    url = filled({"path": path}, {"repo": "a/b"}, REPO, x="c/d?e>>>").url
    assert url == "https://api.octo.dev/a/b/c%2Fd%3Fe%3E%3E%3E/Yy9kP2U%2BPj4%3D"
    # Nor is it a setting because it is called so.
    with pytest.raises(filling.BadInput, match=r"iparam\.other"):
        filled({"path": "/<%= iparam.other %>"}, {"repo": "a/b"}, REPO, **{"iparam.other": "a/b"})


@pytest.mark.parametrize("value", ["a.b", "evil.dev/", "a:80", "", "a b"])
def test_what_a_caller_sends_is_one_label_of_the_vendors_domain(value):
    for host in ("<%= context.shop %>.octo.dev", "<%= context.shop || iparam.repo %>.octo.dev"):
        with pytest.raises(filling.BadInput):
            filled({"host": host}, {"repo": value}, REPO, shop=value)
        assert filled({"host": host}, {}, REPO, shop="acme").url.startswith("https://acme.octo.dev/")


@pytest.mark.parametrize("part", ["path", "query", "headers"])
def test_a_name_that_nobody_sent_is_named_and_not_taken_for_empty(part):
    def schema(template):
        return {"path": f"/a/{template}"} if part == "path" else {"path": "/", part: {"X": template}}

    for sent in ({}, {"x": None}, {"x": {}}):
        with pytest.raises(filling.BadInput, match=r"context\.x"):
            filled(schema("<%= context.x %>"), **sent)
    filled(schema("<%= context.x || '' %>"))
    assert filled({"path": "/", "query": {"x": "<%= context.x %>"}}, x="").url.endswith("?x=")


def test_a_field_that_nobody_had_to_fill_in_is_empty_where_that_changes_no_path():
    fields = {"tag": {"display_name": "Tag"}}
    assert filled({"query": {"tag": "<%= iparam.tag %>"}}, fields=fields).url.endswith("?tag=")
    with pytest.raises(filling.BadInput, match=r"iparam\.tag"):
        filled({"path": "/tags/<%= iparam.tag %>"}, fields=fields)


def test_a_secret_that_the_developer_wrote_is_not_shown_where_the_request_is():
    schema = {"headers": {"X-Api-Key": "of-octo-0123456789"}, "query": {"api_key": "of octo 0123456789", "page": "2"}}
    request = filled(schema)
    assert "of-octo" in request.headers["X-Api-Key"] and "of+octo" in request.url
    shown = request.mask(f"{request.url} {request.headers}")
    assert "octo-0123456789" not in shown and "octo+0123456789" not in shown and "page=2" in shown


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "☃"])
def test_a_value_adds_no_header(value):
    with pytest.raises(filling.BadInput):
        filled({"headers": {"X-Value": "<%= context.x %>"}}, x=value)


@pytest.mark.parametrize(
    "value", ["evil.dev/", "evil.dev#", "a.b", "a@evil.dev", "a:80", "", "-", "a b", "127.0.0.1", "a%2e"]
)
def test_a_field_is_one_label_of_the_vendors_domain(value):
    fields = {"shop": {"display_name": "Shop"}}
    with pytest.raises(filling.BadInput):
        filled({"host": "<%= iparam.shop %>.octo.dev"}, {"shop": value}, fields)
    assert filled({"host": "<%= iparam.shop %>.octo.dev"}, {"shop": "acme"}, fields).url.startswith(
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
def test_a_context_that_cannot_be_used_is_refused(connected, context):
    with pytest.raises(filling.BadInput):
        run_template(connected, context=context)


def test_a_body_is_sent_as_it_was_given(connected, cast, vendors):
    files = connected.version.package
    template = formats.RequestTemplate.model_validate(
        files["config/requests.json"]["events"]
        | {"schema": {**files["config/requests.json"]["events"]["schema"], "method": "POST"}}
    )
    contents = Contents(files)
    for body, kind, arrived in (({"a": 1}, "application/json", '{"a": 1}'), ("plain ☃", "text/plain", "plain ☃")):
        request = filling.fill(contents, template, {}, {"context.id": "7"}, "t", body)
        assert request.body.decode() == arrived and request.headers["Content-Type"].startswith(kind)
    with pytest.raises(filling.BadInput, match="has no body"):
        run_template(connected, body={"a": 1})


def test_a_body_that_could_just_be_read_and_not_be_written_is_refused(connected):
    body = []
    for _level in range(2000):
        body = [body]
    with pytest.raises(filling.BadInput, match="nested"):
        filling._body("POST", body)
