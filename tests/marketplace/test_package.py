"""The check of an app package reports every problem with its pointer and how to fix it."""

import json

import pytest
from django.conf import settings

from credentials.models import Kind, Level
from marketplace.package.checks import check
from marketplace.package.facts import Facts
from tests import factories
from tests.factories import DELETE, VIEW
from tests.marketplace.packages import OLD, VENDOR, as_bytes, good
from tests.worlds import shared

pytestmark = pytest.mark.django_db
OAUTH, REQUESTS, MANIFEST, IPARAMS = (
    "config/oauth_config.json", "config/requests.json", "manifest.json", "config/iparams.json",
)  # fmt: skip
OCTO, PORTAL = "/integrations/octo", "/integrations/portal"


@shared
def app(cast):
    client, _secret = factories.client(cast.dev)
    return factories.app(cast.dev, client).app


@shared
def files(app):
    return good(app.client)


def run(files, app=None):
    return check(as_bytes(files), Facts(app))


def places(report):
    """Return (level, file, pointer) of each problem."""
    return {(problem.level, problem.file, problem.pointer) for problem in report.problems}


def at(document, pointer):
    *parents, last = pointer.split("/")[1:]
    for part in parents:
        document = document[part]
    return document, last


def spoil(files, file, pointer, value):
    inside, last = at(files[file], pointer)
    if value is None:
        del inside[last]
    else:
        inside[last] = value


def test_a_valid_package_has_no_problems(files, app):
    report = run(files, app)
    assert report.problems == [] and report.valid and report.format == "3.x" and report.changes == []


MISTAKES = {
    "a key is missing": (OAUTH, f"{OCTO}/token_url", None, "is missing"),
    "a key is unknown": (OAUTH, f"{OCTO}/tokn_url", "https://octo.dev/", "Did you mean “token_url”?"),
    "an unknown level": (OAUTH, f"{OCTO}/token_type", "team", "“account”, “agent”"),
    "a bad name": (OAUTH, "/integrations/o o", VENDOR, "not a valid name"),
    "plain http to authorize": (OAUTH, f"{OCTO}/authorize_url", "http://octo.dev/authorize", "https"),
    "plain http for tokens": (OAUTH, f"{OCTO}/token_url", "http://octo.dev/token", "https"),
    "no URL": (OAUTH, f"{OCTO}/token_url", "octo.dev/token", "https://"),
    "a user in a URL": (OAUTH, f"{OCTO}/token_url", "https://me@octo.dev/token", "not a valid host"),
    "an address for tokens": (OAUTH, f"{OCTO}/token_url", "https://10.0.0.1/token", "address"),
    "an address as one number": (OAUTH, f"{OCTO}/token_url", "https://0x7f000001/token", "address"),
    "a name that is not public": (OAUTH, f"{OCTO}/token_url", "https://intranet/token", "” is not a public host name."),
    "an unknown field": (OAUTH, f"{OCTO}/client_id", "<%= oauth_iparams.idd %>", "Did you mean “oauth_iparams.id”?"),
    "a broken expression": (OAUTH, f"{OCTO}/client_id", "<%= oauth_iparams.id", "At character"),
    "code": (OAUTH, f"{OCTO}/client_id", "<% process.exit() %>", "” is supported, not code"),
    "a secure field where it is seen": (OAUTH, f"{OCTO}/authorize_url", "https://octo.dev/<%= oauth_iparams.secret %>", "visible"),
    "a parameter of the portal's": (OAUTH, f"{OCTO}/options/state", "mine", "sets “state” itself"),
    "a header of the connection's": (OAUTH, f"{OCTO}/options/customHeaders/Host", "octo.dev", "A package cannot set the header “"),
    "an optional scope of a vendor": (OAUTH, f"{OCTO}/options/optional_scope", "repo", "portal’s own"),
    "a placeholder": (OAUTH, f"{OCTO}/client_id", "YOUR_CLIENT_ID", "placeholder"),
    "a placeholder in brackets": (OAUTH, f"{OCTO}/client_id", "<your id>", "placeholder"),
    "crosses": (OAUTH, f"{OCTO}/client_id", "xxxx", "placeholder"),
    "example.com": (OAUTH, f"{OCTO}/token_url", "https://login.example.com/token", "placeholder"),
    "an empty text": (OAUTH, f"{OCTO}/client_id", "", "empty"),
    "a secret of the portal's own": (OAUTH, f"{PORTAL}/client_secret", "anything", "The portal’s own credentials do not need a secret in the package."),
    "another level than the client's": (OAUTH, f"{PORTAL}/token_type", "agent", "account"),
    "a scope that is misspelt": (OAUTH, f"{PORTAL}/options/scope", "freshservice.tickets.veiw", f"Did you mean “{VIEW}”?"),
    "a scope that the client lacks": (OAUTH, f"{PORTAL}/options/scope", f"{VIEW} {DELETE}", "Add it to the credentials"),
    "no scope": (OAUTH, f"{PORTAL}/options/scope", "", "empty"),
    "an optional scope not asked for": (OAUTH, f"{PORTAL}/options/optional_scope", DELETE, "List it in “scope” too"),
    "an unknown client of the portal": (OAUTH, f"{PORTAL}/client_id", "nobody", "This portal has no credentials with this client ID."),
    "an unknown method": (REQUESTS, "/issues/schema/method", "FETCH", "GET"),
    "a body": (REQUESTS, "/issues/schema/body", "{}", "Remove it. Whoever calls the template sends the body."),
    "an address as host": (REQUESTS, "/issues/schema/host", "169.254.169.254", "address"),
    "an IPv6 address": (REQUESTS, "/issues/schema/host", "[::1]", "not a valid host"),
    "a scheme in the host": (REQUESTS, "/issues/schema/host", "https://api.octo.dev", "not a valid host"),
    "a path in the host": (REQUESTS, "/issues/schema/host", "api.octo.dev/v1", "not a valid host"),
    "a first-party token to a chosen host": (REQUESTS, "/tickets/schema/host", "<%= iparam.owner %>", "choose"),
    "a chosen name under a public suffix": (REQUESTS, "/tickets/schema/host", "<%= iparam.owner %>.co.uk", "choose"),
    "two labels to choose": (REQUESTS, "/tickets/schema/host", "<%= iparam.owner %><%= iparam.owner %>.freshservice.com", "choose"),
    "a path without a slash": (REQUESTS, "/issues/schema/path", "repos", "start"),
    "a path that climbs": (REQUESTS, "/issues/schema/path", "/a/../b", "“..”"),
    "a path that climbs in code": (REQUESTS, "/issues/schema/path", "/a/%2e%2E/b", "“..”"),
    "a secure field in a path": (REQUESTS, "/issues/schema/path", "/<%= iparam.key %>", "only in headers"),
    "a token in a query": (REQUESTS, "/issues/schema/query/state", "<%= access_token %>", "only in headers"),
    "an undeclared field": (REQUESTS, "/issues/schema/path", "/<%= iparam.woner %>", "iparam.owner"),
    "too many attempts": (REQUESTS, "/issues/options/maxAttempts", 6, "5"),
    "too long a delay": (REQUESTS, "/issues/options/retryDelay", 1501, "1500"),
    "no such integration": (REQUESTS, "/issues/options/oauth", "otco", "Did you mean “octo”?"),
    "a route that needs another scope": (REQUESTS, "/tickets/schema/method", "DELETE", DELETE),
    "a template only declared": (MANIFEST, "/modules/common/requests/ghost", {}, "not in config/requests.json"),
    "The app does not belong to any product.": (MANIFEST, "/modules/service_ticket", None, "The app does not belong to any product."),
    "an unknown platform": (MANIFEST, "/platform-version", "4.0", ""),
    "a choice of nothing": (IPARAMS, "/owner/type", "dropdown", "options"),
}  # fmt: skip
# Where the problem is reported if not where the package was changed.
ELSEWHERE = {
    "no scope": f"{PORTAL}/options/scope",
    "a route that needs another scope": "/tickets/schema/path",
    "The app does not belong to any product.": "/modules",
    "a choice of nothing": "/owner",
    "an optional scope not asked for": f"{PORTAL}/options/optional_scope",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_an_error_with_its_place_and_how_to_fix_it(files, app, name):
    file, pointer, value, words = MISTAKES[name]
    spoil(files, file, pointer, value)
    report = run(files, app)
    at = ELSEWHERE.get(name, pointer)
    errors = [each for each in report.problems if each.pointer == at and each.level == "error"]
    assert errors and not report.valid, report.problems
    assert any(words in f"{each.message} {each.fix}" for each in errors), errors
    for each in report.problems:
        assert each.message and each.fix
        text = as_bytes(files)[each.file].decode().splitlines()
        last = each.pointer.rpartition("/")[2]
        if value is not None and each.pointer == pointer:
            assert f'"{last}"' in text[each.line - 1], "the line is that of the key"


def test_all_problems_are_reported_at_once(files, app):
    for name in (
        "a key is unknown",
        "an address as host",
        "a scope that is misspelt",
        "The app does not belong to any product.",
        "too many attempts",
    ):
        spoil(files, *MISTAKES[name][:3])
    files["config/iparams.json"] = b'{"owner": {"display_name": "O"}, "owner": {}, }'
    pointers = places(run(files, app))
    assert {
        ("error", OAUTH, f"{OCTO}/tokn_url"), ("error", REQUESTS, "/issues/schema/host"), ("error", OAUTH, f"{PORTAL}/options/scope"),
        ("error", MANIFEST, "/modules"), ("error", REQUESTS, "/issues/options/maxAttempts"), ("error", IPARAMS, "/owner"), ("error", IPARAMS, ""),
    } <= pointers  # fmt: skip


def test_the_example_in_the_readme_is_valid(files, app):
    readme = (settings.BASE_DIR / "README.md").read_text()
    example = readme[readme.index('    {"integrations"') :].partition("\n\n")[0].replace("<portal>", settings.BASE_URL)
    shown = json.loads(example)
    shown["integrations"]["portal"]["client_id"] = app.client.client_id
    kept = {
        "config/oauth_config.json": shown,
        "manifest.json": files["manifest.json"] | {"modules": {"service_ticket": {}}},
    }
    assert run(kept, app).problems == []


def test_a_misplaced_secret_hides_no_other_problem(files, app):
    """Nobody fills in the portal's own credentials, whatever their integration says."""
    spoil(files, OAUTH, f"{PORTAL}/client_secret", "<%= oauth_iparams.secret %>")
    spoil(files, REQUESTS, "/tickets/schema/host", "<%= iparam.owner %>")
    assert {
        ("error", OAUTH, f"{PORTAL}/client_secret"),
        ("error", REQUESTS, "/tickets/schema/host"),
    } <= places(run(files, app))


@pytest.mark.parametrize(
    ("file", "pointer", "template", "said"),
    [
        (REQUESTS, "/issues/schema/path", "/<%= iparams.owner %>", "Did you mean “iparam.owner”?"),
        # Even if the field cannot be used there, which is the next problem to fix.
        (REQUESTS, "/issues/schema/path", "/<%= iparams.key %>", "Did you mean “iparam.key”?"),
        (REQUESTS, "/issues/schema/path", "/<%= zip_code %>", "refer to it as “iparam.…”"),
        (OAUTH, f"{OCTO}/client_id", "<%= iparam.id %>", "Did you mean “oauth_iparams.id”?"),
        (OAUTH, f"{OCTO}/client_id", "<%= 'a' + plan %>", "refer to it as “oauth_iparams.…”"),
    ],
)
def test_a_name_with_a_wrong_prefix_is_suggested_with_the_right_one(files, app, file, pointer, template, said):
    spoil(files, file, pointer, template)
    assert said in next(problem.fix for problem in run(files, app).problems if problem.pointer == pointer)


def test_a_version_has_at_most_three_integrations_with_one_agent_level_and_one_of_the_portals(files, app):
    """M1."""
    integrations = files[OAUTH]["integrations"]
    integrations["octo"]["token_type"] = "agent"
    integrations |= {"second": {**VENDOR, "token_type": "agent"}, "third": {**integrations["portal"]}}
    messages = " ".join(problem.message for problem in run(files, app).problems if problem.pointer == "/integrations")
    assert "three integrations" in messages and "agent-level" in messages and "own credentials" in messages


def test_credentials_of_another_team_or_app_are_refused_without_details(cast, files, app):
    for developer in (cast.other_dev, cast.dev):
        client, _secret = factories.client(developer, level=Level.AGENT)
        factories.app(developer, client, install_url="https://app.example.org/")
        files[OAUTH]["integrations"]["portal"]["client_id"] = client.client_id
        report = run(files, app)
        assert [problem.pointer for problem in report.problems if problem.level == "error"] == [f"{PORTAL}/client_id"]
        assert "agent" not in report.problems[0].message


def test_credentials_of_an_external_app_are_refused(cast, files):
    client, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL)
    files[OAUTH]["integrations"]["portal"]["client_id"] = client.client_id
    assert ("error", OAUTH, f"{PORTAL}/client_id") in places(run(files))


def test_a_literal_vendor_secret_is_only_a_warning(files, app):
    spoil(files, OAUTH, f"{OCTO}/client_secret", "s3cr3t-of-octo")
    report = run(files, app)
    assert ("warning", OAUTH, f"{OCTO}/client_secret") in places(report) and report.valid
    assert "s3cr3t" not in str(report.problems)


def test_an_admins_field_may_choose_where_the_admins_secret_goes_but_not_an_agents_token(files, app):
    vendor = files[OAUTH]["integrations"]["octo"]
    vendor["oauth_iparams"]["domain"] = {"display_name": "Domain"}
    vendor["token_url"] = "https://<%= oauth_iparams.domain %>/token"
    assert run(files, app).valid
    for key, value in (
        ("client_secret", "of-the-developer"), ("client_secret", "<%= oauth_iparams.secret || 'of-the-developer' %>"),
        ("client_secret", "<%= 'of-the-' + 'developer' %>"), ("token_type", "agent"),
    ):  # fmt: skip
        original, vendor[key] = vendor[key], value
        assert ("error", OAUTH, f"{OCTO}/token_url") in places(run(files, app))
        vendor[key] = original


@pytest.mark.parametrize(
    ("value", "may"),
    [
        ("Bearer <%= oauth_iparams.id %>", True),
        ("Zoho-oauthtoken <%= oauth_iparams.id %>", True),
        ("Token token=<%= oauth_iparams.id %>", True),
        ("Basic <%= encode(oauth_iparams.id + ':X') %>", True),
        ("<%= oauth_iparams.id == 'something' ? oauth_iparams.id : oauth_iparams.secret %>", True),
        ("Basic <%= encode(oauth_iparams.id + ':developers') %>", False),
        ("Bearer developers<%= oauth_iparams.id %>", False),
        ("<%= oauth_iparams.id || 'developers' %>", False),
        ("<%= oauth_iparams.id == '' ? 'developers' : oauth_iparams.id %>", False),
    ],
)
def test_a_secret_written_beside_a_field_still_counts_as_the_developers(files, app, value, may):
    files[OAUTH]["integrations"]["octo"] |= {
        "token_url": "https://<%= oauth_iparams.id %>/token",
        "options": {"scope": "repo", "customHeaders": {"Authorization": value}},
    }
    assert (("error", OAUTH, f"{OCTO}/token_url") in places(run(files, app))) is not may


def test_a_developers_secret_in_a_header_goes_to_no_host_that_a_field_chooses(files, app):
    vendor = files[OAUTH]["integrations"]["octo"]
    vendor["oauth_iparams"]["domain"] = {"display_name": "Domain"}
    vendor["token_url"] = "https://<%= oauth_iparams.domain %>/token"
    vendor["options"]["customHeaders"]["Authorization"] = "<%= 'Basic ' + encode('id:of-the-developer') %>"
    assert {
        ("error", OAUTH, f"{OCTO}/token_url"),
        ("warning", OAUTH, f"{OCTO}/options/customHeaders/Authorization"),
    } <= places(run(files, app))
    schema = {
        "method": "GET",
        "host": "<%= iparam.owner %>",
        "headers": {"X-Key": "<%= iparam.key %>", "Accept": "text/plain"},
    }
    files[REQUESTS]["own"], files[MANIFEST]["modules"]["common"]["requests"]["own"] = {"schema": schema}, {}
    assert ("error", REQUESTS, "/own/schema/host") not in places(run(files, app))
    schema["headers"]["X-Key"] = "of-the-developer"
    assert ("error", REQUESTS, "/own/schema/host") in places(run(files, app))


def test_a_check_takes_as_many_queries_for_a_huge_package_as_for_a_small_one(files, app, django_assert_max_num_queries):
    integrations, requests = files[OAUTH]["integrations"], files[REQUESTS]
    integrations |= {f"more{number}": integrations["portal"] for number in range(100)}
    integrations["portal"]["options"]["scope"] = " ".join(f"freshservice.tickets.s{number}" for number in range(60))
    requests |= {f"more{number}": requests["tickets"] for number in range(100)}
    with django_assert_max_num_queries(5):
        run(files, app)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("pkce", "false", "true or false"),
        ("client_authentication", "both", "basic"),
        ("issuer", 7, "” must be a URL."),
        ("revocation_url", ["https://octo.dev/"], "” must be a URL."),
        ("revocation_url", "http://octo.dev/revoke", "This address does not use https."),
        ("revocation_url", "https://10.0.0.1/revoke", "an IP address"),
        ("revocation_url", "https://octo.dev:8443/revoke", "port 443"),
        ("prompt", {"a": "b"}, "An option must be a string, a number, true or false, or a list of strings."),
        ("prompt", None, "An option must be a string, a number, true or false, or a list of strings."),
        ("prompt", [["a"]], "An option must be a string, a number, true or false, or a list of strings."),
    ],
)
def test_options_for_the_portal_are_checked(files, app, option, value, said):
    files[OAUTH]["integrations"]["octo"]["options"][option] = value
    assert any(
        said in problem.message + problem.fix for problem in run(files, app).problems if problem.level == "error"
    )


def test_a_field_does_not_choose_where_tokens_are_revoked(files, app):
    """The client secret goes there too; if it is the admin's own, their field may choose."""
    vendor = files[OAUTH]["integrations"]["octo"]
    vendor["oauth_iparams"]["host"] = {"display_name": "Host"}
    vendor["options"]["revocation_url"] = "https://<%= oauth_iparams.host %>/revoke"
    assert run(files, app).valid
    vendor["client_secret"] = "a-literal-one"
    [found] = [problem for problem in run(files, app).problems if problem.level == "error"]
    assert found.pointer == "/integrations/octo/options/revocation_url"


@pytest.mark.parametrize("key", ["client_id", "authorize_url", "token_url", "options"])
@pytest.mark.parametrize("token_type", ["account", "agent"])
def test_fields_of_the_client_secret_are_not_allowed_in_urls(files, app, key, token_type):
    """Agents' browsers are sent there too, and agents must not see an admin's secret, even one not marked “secure”."""
    vendor = files[OAUTH]["integrations"]["octo"]
    vendor["token_type"], vendor["oauth_iparams"]["secret"]["secure"] = token_type, False
    assert run(files, app).valid
    seen = "<%= oauth_iparams.secret %>"
    vendor[key] = {"scope": "repo", "hint": seen} if key == "options" else f"{vendor[key]}/{seen}"
    [found] = [problem for problem in run(files, app).problems if problem.level == "error"]
    assert "a secure field would be visible here." in found.message and found.pointer.startswith(
        f"/integrations/octo/{key}"
    )


def test_a_field_may_choose_one_label_of_a_vendors_domain(files, app):
    vendor = files[OAUTH]["integrations"]["octo"]
    vendor["client_secret"] = "of-the-developer"
    for host, allowed in (
        ("<%= oauth_iparams.id %>.octo.dev", True), ("<%= oauth_iparams.id %>.api.octo.dev", True), ("{{ oauth_iparams.id }}.octo.dev", True),
        ("<%= oauth_iparams.id %>.github.io", False), ("<%= oauth_iparams.id %>octo.dev", False), ("<%= oauth_iparams.id %>.dev", False),
        ("api.<%= oauth_iparams.id %>", False),
    ):  # fmt: skip
        vendor["token_url"] = f"https://{host}/token"
        assert run(files, app).valid == allowed, host


def test_loopback_is_allowed_only_in_tests_and_the_demo(files, app, settings):
    spoil(files, REQUESTS, "/issues/schema/host", "127.0.0.1:9000")
    spoil(files, REQUESTS, "/issues/schema/protocol", "http")
    assert run(files, app).valid
    settings.EGRESS_ALLOW_LOOPBACK = False
    assert ("error", REQUESTS, "/issues/schema/host") in places(run(files, app))


def test_an_old_package_is_converted_and_says_what_changed(app):
    report = run(OLD, app)
    assert report.format == "2.x" and report.valid, report.problems
    integration = report.files[OAUTH]["integrations"]["octo"]
    assert integration["display_name"] == "Octo" and integration["token_url"] == VENDOR["token_url"]
    assert report.files[REQUESTS]["issues"]["options"] == {"oauth": "octo"}
    assert report.files[MANIFEST]["modules"]["common"]["requests"] == {"issues": {}}
    assert report.files[MANIFEST]["modules"]["service_ticket"] == {
        "location": {"ticket_sidebar": {"url": "index.html"}}
    }
    assert len(report.changes) == 3
    again = run(report.files, app)
    assert again.format == "3.x" and again.problems == report.problems


def test_problems_of_an_old_package_are_reported_at_their_place_in_its_files(app):
    old = {**OLD, OAUTH: {**OLD[OAUTH], "token_url": "http://octo.dev/", "oops": 1}}
    old[MANIFEST] = {**OLD[MANIFEST], "product": {"freshservice": {"requests": {"issues": {}, "ghost": {}}}}}
    report = run(old, app)
    assert {
        ("error", OAUTH, "/token_url"),
        ("error", OAUTH, "/oops"),
        ("error", MANIFEST, "/product/freshservice/requests/ghost"),
    } <= places(report)
    lines = as_bytes(old)[OAUTH].decode().splitlines()
    assert all(problem.pointer[1:] in lines[problem.line - 1] for problem in report.problems if problem.file == OAUTH)


def test_an_old_package_with_invalid_products_is_reported(app):
    old = {**OLD, MANIFEST: {**OLD[MANIFEST], "product": {"a": {"requests": 5}, "b": {"requests": {"ghost": {}}}}}}
    assert ("error", MANIFEST, "/product/b/requests/ghost") in places(run(old, app))


@pytest.mark.parametrize(
    ("file", "pointer", "ours"),
    [
        (REQUESTS, "/issues/schema", "request"),
        (REQUESTS, "/issues/options/maxAttempts", "max_attempts"),
        (REQUESTS, "/issues/options/retryDelay", "retry_delay"),
        (MANIFEST, "/platform-version", "platform_version"),
    ],
)
def test_a_key_has_only_one_name_so_that_nothing_escapes_the_check(files, app, file, pointer, ours):
    inside, name = at(files[file], pointer)
    inside[ours] = inside.pop(name)
    assert not run(files, app).valid


def test_a_package_without_a_manifest_says_so(files, app):
    del files[MANIFEST]
    assert ("error", MANIFEST, "") in places(run(files, app))


def test_the_owner_of_credentials_is_not_checked_without_an_app(files, app):
    assert run(files).problems == []
