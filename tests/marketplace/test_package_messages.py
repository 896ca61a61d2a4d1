"""A check's messages are in our own words, name the character or key concerned, and are true."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.package.archive import FILES
from marketplace.package.checking import check_values
from marketplace.package.facts import Facts
from tests.marketplace.test_package import (
    IPARAMS,
    MANIFEST,
    OAUTH,
    OCTO,
    PORTAL,
    REQUESTS,
    app,
    at,
    files,
    run,
    spoil,
)

pytestmark = pytest.mark.django_db
__all__ = ["app", "files"]
# The beginnings of pydantic's messages.
FOREIGN = (
    "Input should",
    "Value error",
    "String should",
    "Field required",
    "Extra inputs",
    "Unable to",
    "valid string",
)


@pytest.mark.parametrize(
    ("file", "pointer", "value", "message", "fix"),
    [
        # Of another type.
        (REQUESTS, "/issues/schema/host", ["a"], "“host” has the wrong type.", "a string in double quotes"),
        (REQUESTS, "/issues/schema", "a", "“schema” has the wrong type.", "an object: {…}"),
        (REQUESTS, "/issues/schema/headers", ["a"], "“headers” has the wrong type.", "an object: {…}"),
        (REQUESTS, "/issues/options/maxAttempts", "many", "“maxAttempts” has the wrong type.", "a whole number"),
        (REQUESTS, "/issues/options/maxAttempts", 1.5, "“maxAttempts” has the wrong type.", "a whole number"),
        (IPARAMS, "/owner/required", "maybe", "“required” has the wrong type.", "true or false"),
        (IPARAMS, "/owner/options", "a", "“options” has the wrong type.", "a list: […]"),
        (MANIFEST, "/modules", [], "“modules” has the wrong type.", "an object: {…}"),
        (MANIFEST, "/platform-version", "4.0", "” is not a version that the portal supports.", "Write “3.0”."),
        # Out of bounds.
        (REQUESTS, "/issues/options/maxAttempts", 0, "“maxAttempts” is out of range.", "from 1 to 5"),
        (REQUESTS, "/issues/options/retryDelay", -1, "“retryDelay” is out of range.", "from 0 to 1500"),
        (OAUTH, f"{OCTO}/display_name", "x" * 101, "“display_name” is longer than 100 characters.", "shorter"),
        (OAUTH, f"{OCTO}/display_name", "", "This is empty.", "Fill it in"),
        (IPARAMS, "/owner/display_name", "", "This is empty.", "Fill it in"),
        (OAUTH, f"{OCTO}/display_name", "a\u202eb", "U+202E", "Write it without"),
        # Known, but not allowed here.
        (REQUESTS, "/issues/schema/body", "{}", "A template cannot have a body.", "Remove it. Whoever calls the template sends the body."),
        (REQUESTS, "/issues/options/isOAuth", True, "“isOAuth” belongs to the 2.x format.", "Write “oauth”"),
        (REQUESTS, "/issues/options/host", "a", "“host” belongs in “schema”, not here.", "Move it"),
        (REQUESTS, "/issues/method", "GET", "“method” belongs in “schema”, not here.", "Move it"),
        (REQUESTS, "/issues/schema/oauth", "octo", "“oauth” belongs in “options”, not here.", "Move it"),
        (OAUTH, f"{OCTO}/scope", "repo", "“scope” belongs in “options”, not here.", "Move it"),
        (OAUTH, "/client_id", "a", "“client_id” belongs in “integrations/…”, not here.", "Move it"),
        (OAUTH, f"{OCTO}/response_type", "code", "The portal sends “response_type” itself.", "Remove it."),
        (OAUTH, f"{OCTO}/grant_type", "x", "The portal sends “grant_type” itself.", "Remove it."),
        (OAUTH, f"{OCTO}/redirect_uri", "x", "The portal sends “redirect_uri” itself.", "Remove it."),
        (OAUTH, f"{OCTO}/client_id", "<%= access_token %>", "“access_token” can be used only in request templates", "Remove"),
        (OAUTH, f"{OCTO}/client_id", "<%= context.id %>", "“context.id” can be used only in request templates", "Remove"),
        (OAUTH, f"{OCTO}/client_id", "<%= iparam.owner %>", "“iparam.owner” cannot be used in this file", "“oauth_iparams.owner”"),
        (REQUESTS, "/issues/schema/path", "/<%= oauth_iparams.id %>", "“oauth_iparams.id” cannot be used in this file", "“iparam.id”"),
        # Unknown.
        (OAUTH, f"{OCTO}/colour", "red", "The format does not allow “colour” here.", "Remove it."),
        (OAUTH, f"{OCTO}/tokenurl", "x", "The format does not allow “tokenurl” here.", "Did you mean “token_url”?"),
        (OAUTH, f"{PORTAL}/options/scope", "a.b,c.d", "There is no scope “a.b,c.d”.", "Separate scopes with spaces, not commas."),
        # Characters.
        (OAUTH, "/integrations/o o", {}, "“o o” is not a valid name: it contains a space (U+0020).", "letters, digits, “_” and “-”"),
        (OAUTH, "/integrations/ö", {}, "it contains “ö” (U+00F6)", "Start with a letter"),
        (OAUTH, "/integrations/1a", {}, "it does not start with a letter", "Start with a letter"),
        (OAUTH, "/integrations/" + "a" * 51, {}, "it is longer than 50 characters", "at most 50 letters"),
        (IPARAMS, "/a-b", {"display_name": "A"}, "“a-b” is not a valid name: it contains “-”.", "letters, digits and “_”"),
        (REQUESTS, "/issues/schema/path", "/a b", "not allowed in paths: a space (U+0020)", "Percent-encode it"),
        (REQUESTS, "/issues/schema/path", "/ä", "not allowed in paths: “ä” (U+00E4)", "Percent-encode it"),
        (REQUESTS, "/issues/schema/path", "/a\\b", "not allowed in paths: “\\”", "Percent-encode it"),
        (REQUESTS, "/issues/schema/path", "/a#b", "not allowed in paths: “#”", "never sent"),
        (REQUESTS, "/issues/schema/path", "/<%= context.x == 'a' ? 'b?' : 'c' %>", "not allowed in paths: “?”", "“query”"),
        (REQUESTS, "/issues/schema/host", "api_v2.octo.dev", "“api_v2.octo.dev” is not a valid host name: it contains “_”.", "Write a host name without a scheme, path or user."),
        (REQUESTS, "/issues/schema/host", "<%= iparam.owner %>_x.octo.dev", "that is not allowed in host names: “_”", "Write a host name without a scheme, path or user."),
        (REQUESTS, "/issues/schema/host", "bücher.de", "“bücher.de” is not an ASCII host name.", "Write “xn--bcher-kva.de”."),
        (OAUTH, f"{OCTO}/token_url", "https://bücher.de/token", "” is not an ASCII host name.", "“xn--bcher-kva.de”"),
        (REQUESTS, "/issues/schema/headers/X Y", "a", "is not a valid header name: it contains a space (U+0020)", "hyphens"),
        (REQUESTS, "/issues/schema/headers/X-Y", "a☃", "a character that is not allowed in headers: “☃” (U+2603)", "ASCII"),
        (REQUESTS, "/issues/schema/headers/X-Y", "a\nb", "a character that is not allowed in headers: a line break (U+000A)", "ASCII"),
        # Where a template cannot work.
        (REQUESTS, "/issues/schema/path", "/<%= encode(encode(context.x)) %>", "“encode(…)” is inside another “encode(…)”.", "Encode only once."),
        (REQUESTS, "/issues/schema/host", "<%= encode(iparam.owner) %>.octo.dev", "cannot be part of a host", "the value itself"),
    ],
)  # fmt: skip
def test_each_message_names_what_it_is_about(files, app, file, pointer, value, message, fix):
    spoil(files, file, pointer, value)
    problems = [each for each in run(files, app).problems if each.pointer == pointer]
    assert any(message in each.message and fix in each.fix for each in problems), problems
    if "wrong type" in message and value != 1.5:
        assert {each.level for each in problems} == {"error"}


@pytest.mark.parametrize(
    ("field", "host", "path", "level", "said"),
    [
        (
            {"type": "url", "required": True},
            "api.octo.dev",
            "/<%= iparam.owner %>",
            "error",
            "” has a type that cannot be used here.",
        ),
        (
            {"type": "url", "required": True},
            "<%= iparam.owner %>.octo.dev",
            "/",
            "error",
            "” has a type that cannot be used here.",
        ),
        (
            {"type": "email", "required": True},
            "<%= iparam.owner %>.octo.dev",
            "/",
            "error",
            "” has a type that cannot be used here.",
        ),
        ({"type": "domain", "required": True}, "<%= iparam.owner %>.octo.dev", "/", "warning", "only one label"),
        (
            {"type": "text"},
            "api.octo.dev",
            "/<%= iparam.owner %>",
            "warning",
            "” can be left empty, but this template cannot be sent without it.",
        ),
        (
            {"type": "text"},
            "<%= iparam.owner %>.octo.dev",
            "/",
            "warning",
            "” can be left empty, but this template cannot be sent without it.",
        ),
        (
            {"type": "dropdown", "required": True, "options": ["a", "b?"]},
            "api.octo.dev",
            "/<%= iparam.owner %>",
            "error",
            "The choice “b?” of “iparam.owner” cannot be used here: it contains “?”.",
        ),
        ({"type": "text", "required": True}, "<%= iparam.owner %>.octo.dev", "/<%= iparam.owner %>", None, ""),
        ({"type": "text"}, "api.octo.dev", "/<%= iparam.owner || 'me' %>", None, ""),
        ({"type": "email", "required": True}, "api.octo.dev", "/users/<%= iparam.owner %>", None, ""),
    ],
)
def test_a_template_that_cannot_work_is_reported(files, app, field, host, path, level, said):
    files[IPARAMS]["owner"] = {"display_name": "Owner", **field}
    files[REQUESTS] = {"issues": files[REQUESTS]["issues"]}
    files[REQUESTS]["issues"]["schema"] |= {"host": host, "path": path}
    files[MANIFEST]["modules"]["common"]["requests"] = {"issues": {}}
    problems = run(files, app).problems
    assert [each.level for each in problems] == ([level] if level else []), problems
    assert not level or (said in problems[0].message and problems[0].fix)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9999) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def pointers(value, pointer=""):
    yield pointer
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from pointers(inner, f"{pointer}/{key}")


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_message_uses_a_librarys_words(files, app, data):
    broken = json.loads(json.dumps(files))
    file = data.draw(st.sampled_from(FILES))
    pointer = data.draw(st.sampled_from([each for each in pointers(broken[file]) if each]))
    inside, last = at(broken[file], pointer)
    inside[last] = data.draw(values)
    for each in check_values(broken, Facts()).problems:
        assert each.message and each.fix
        assert not any(words in each.message + each.fix for words in FOREIGN), each
