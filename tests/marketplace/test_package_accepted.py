"""Whatever the platform accepts is accepted here too, with the same meaning."""

import pytest

from marketplace.package.accepted import split_query
from marketplace.package.contents import Contents
from tests.marketplace.packages import OLD
from tests.marketplace.test_package import IPARAMS, MANIFEST, OAUTH, OCTO, REQUESTS, app, at, files, places, run, spoil

pytestmark = pytest.mark.django_db
__all__ = ["app", "files"]


@pytest.mark.parametrize(
    ("file", "pointer", "written", "read"),
    [
        (REQUESTS, "/issues/schema/query/state", 7, "7"),
        (REQUESTS, "/issues/schema/query/state", 1.5, "1.5"),
        (REQUESTS, "/issues/schema/query/state", True, "true"),
        (REQUESTS, "/issues/schema/headers/X-Version", 2, "2"),
        (REQUESTS, "/issues/schema/headers/X-Flag", False, "false"),
        (REQUESTS, "/issues/schema/method", "get", "GET"),
        (REQUESTS, "/issues/schema/protocol", "HTTPS", "https"),
        (REQUESTS, "/issues/options/maxAttempts", "3", 3),
        (REQUESTS, "/issues/options/maxAttempts", 3.0, 3),
        (REQUESTS, "/issues/options/retryDelay", "500", 500),
        (OAUTH, f"{OCTO}/token_type", "Account", "account"),
        (OAUTH, f"{OCTO}/client_id", 1234567, "1234567"),
        (OAUTH, f"{OCTO}/display_name", 365, "365"),
        (OAUTH, f"{OCTO}/options/customHeaders/X-Version", 2, "2"),
        (OAUTH, f"{OCTO}/oauth_iparams/id/required", "true", True),
        (OAUTH, f"{OCTO}/oauth_iparams/secret/secure", "TRUE", True),
        (OAUTH, f"{OCTO}/oauth_iparams/id/type", "Text", "text"),
        (IPARAMS, "/owner/required", "True", True),
        (IPARAMS, "/key/secure", "true", True),
        (IPARAMS, "/owner/type", "TEXT", "text"),
        (IPARAMS, "/owner/display_name", 1, "1"),
        (IPARAMS, "/owner/description", 1, "1"),
        (MANIFEST, "/platform-version", 3.0, "3.0"),
        (MANIFEST, "/platform-version", 3, "3.0"),
        (MANIFEST, "/engines/node", 18, "18"),
    ],
)
def test_a_value_of_another_type_or_letter_case_is_read_as_intended(files, app, file, pointer, written, read):
    spoil(files, file, pointer, written)
    # So that no field is unused.
    spoil(files, OAUTH, f"{OCTO}/options/id", "<%= oauth_iparams.id %>")
    report = run(files, app)
    assert report.valid and report.problems == [], report.problems
    inside, last = at(report.files[file], pointer)
    assert inside[last] == read and type(inside[last]) is type(read)
    contents = Contents(report.files, app.client.client_id)
    assert contents.integrations and contents.templates and contents.fields


def test_numeric_choices_become_texts(files, app):
    files[IPARAMS]["owner"] |= {"type": "Dropdown", "options": [1, 2.5, True]}
    report = run(files, app)
    assert report.problems == [] and report.files[IPARAMS]["owner"]["options"] == ["1", "2.5", "true"]


def test_a_secure_field_may_spell_true_in_any_way(files, app):
    """A field read as a secret follows the rules for secrets."""
    spoil(files, IPARAMS, "/key/secure", "true")
    spoil(files, REQUESTS, "/issues/schema/query/key", "<%= iparam.key %>")
    assert ("error", REQUESTS, "/issues/schema/query/key") in places(run(files, app))


def test_other_values_are_not_read_as_true_or_false(files, app):
    for value in ("yes", 1, None):
        spoil(files, IPARAMS, "/key/secure", "x")
        files[IPARAMS]["key"]["secure"] = value
        assert ("error", IPARAMS, "/key/secure") in places(run(files, app))


@pytest.mark.parametrize("old", [False, True])
def test_a_query_in_a_path_is_split_off(files, app, old):
    files = {**OLD, REQUESTS: {"issues": files[REQUESTS]["issues"]}} if old else files
    path = "/a/<%= context.x %>?b=c%20d+e&at=<%= context.y || '?&=' %>&full={{iparam.owner}}-<%= context.z %>&flag&"
    spoil(files, REQUESTS, "/issues/schema/path", path)
    report = run(files, app)
    assert report.valid and report.problems == [], report.problems
    schema = report.files[REQUESTS]["issues"]["schema"]
    assert schema["path"] == "/a/<%= context.x %>"
    assert schema["query"] == {
        "state": "<%= context.state == 'all' ? 'all' : 'open' %>",
        "b": "c d e",
        "at": "<%= context.y || '?&=' %>",
        "full": "{{iparam.owner}}-<%= context.z %>",
        "flag": "",
    }
    assert any("the query of “issues”" in change for change in report.changes)


def test_a_mistake_in_a_paths_query_is_reported_at_the_path(files, app):
    spoil(files, REQUESTS, "/issues/schema/path", "/a?b=<%= iparam.nobody %>&key=<%= iparam.key %>")
    errors = [each for each in run(files, app).problems if each.level == "error"]
    assert [each.pointer for each in errors] == ["/issues/schema/path"] * 2
    assert {each.message.partition(": ")[2] for each in errors} == {
        "there is no “iparam.nobody”.",
        "a secure field can be used only in headers.",
    }


@pytest.mark.parametrize(
    "path", ["/a?<%= context.q %>", "/a?<%= context.q %>=1", "/a?b=1&b=2", "/a?state=1", "/a?b=1#c", "/a?b=%3C%25=1"]
)
def test_a_query_that_cannot_be_split_off_is_an_error_with_its_character(files, app, path):
    spoil(files, REQUESTS, "/issues/schema/path", path)
    problems = [each for each in run(files, app).problems if each.pointer == "/issues/schema/path"]
    assert [each.level for each in problems] == ["error"] and (
        "“?”" in problems[0].message or "“#”" in problems[0].message
    )


def test_a_path_without_a_query_is_unchanged():
    for path in ("/a", "/a<%= '?b=1' %>", "/a?<%= broken", ""):
        assert split_query(path) is None


@pytest.mark.parametrize(
    ("host", "may"),
    [
        ("<%= context.shop %>.octo.dev", True),
        ("{{ context.shop }}.api.octo.dev", True),
        ("<%= context.shop || iparam.owner %>.octo.dev", True),
        ("<%= context.shop %>", False),
        ("<%= iparam.owner || context.shop %>", False),
        ("api.<%= context.shop %>", False),
        ("<%= context.shop %>.co.uk", False),
        ("<%= context.shop %>.github.io", False),
        ("<%= context.shop %><%= context.x %>.octo.dev", False),
        ("<%= context.shop %>octo.dev", False),
    ],
)
def test_a_caller_may_choose_one_label_of_a_literal_domain(files, app, host, may):
    """Even if nothing secret goes there and the admin could choose all of it."""
    for template in ("issues", "own"):
        files[REQUESTS]["own"] = {"schema": {"method": "GET", "host": "api.octo.dev"}}
        files[MANIFEST]["modules"]["common"]["requests"]["own"] = {}
        spoil(files, REQUESTS, f"/{template}/schema/host", host)
        problems = [each for each in run(files, app).problems if each.pointer == f"/{template}/schema/host"]
        assert ([each.level for each in problems] == []) is may, problems
        if not may:
            assert "This would let the caller choose who receives what the template sends." in problems[0].message
        spoil(files, REQUESTS, f"/{template}/schema/host", "api.octo.dev")


def test_keys_of_the_platforms_own_files_cause_no_warnings(files, app):
    files[MANIFEST] |= {
        "whitelisted-domains": ["https://octo.dev"],
        "dependencies": {"a": "1"},
        "app": {"tracking_id": ""},
    }
    more = {"events": [], "type_attributes": {"product": "freshdesk"}, "visible": True, "regex": {}, "data-bind": "x"}
    files[IPARAMS]["owner"] |= more | {"default_value": "me"}
    files[OAUTH]["integrations"]["octo"]["oauth_iparams"]["id"] |= more | {"type": "dropdown", "options": ["a"]}
    assert run(files, app).problems == []
    files[OAUTH]["integrations"]["octo"]["oauth_iparams"]["id"]["colour"] = "red"
    assert places(run(files, app)) == {("warning", OAUTH, f"{OCTO}/oauth_iparams/id/colour")}


def test_a_template_missing_from_the_manifest_is_a_warning(files, app):
    del files[MANIFEST]["modules"]["common"]["requests"]["issues"]
    report = run(files, app)
    assert places(report) == {("warning", REQUESTS, "/issues")} and report.valid
