"""What of a value goes where in a request template: in its place, or nowhere."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace import filling
from marketplace.package import Contents, formats
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


@pytest.mark.parametrize("place", ["path", "query", "headers"])
def test_a_name_that_nobody_sent_is_named_and_not_taken_for_empty(place):
    def schema(template):
        return {"path": f"/a/{template}"} if place == "path" else {"path": "/", place: {"X": template}}

    for sent in ({}, {"x": None}, {"x": {}}):
        with pytest.raises(filling.BadInput, match="context.x"):
            filled(schema("<%= context.x %>"), **sent)
    filled(schema("<%= context.x || '' %>"))
    assert filled({"path": "/", "query": {"x": "<%= context.x %>"}}, x="").url.endswith("?x=")


def test_a_field_that_nobody_had_to_fill_in_is_empty_where_that_changes_no_path():
    fields = {"tag": {"display_name": "Tag"}}
    assert filled({"query": {"tag": "<%= iparam.tag %>"}}, fields=fields).url.endswith("?tag=")
    with pytest.raises(filling.BadInput, match="iparam.tag"):
        filled({"path": "/tags/<%= iparam.tag %>"}, fields=fields)


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
