"""docs/interface.md names every address that is served, every command, every variable, and nothing else."""

import re

from django.core.management import get_commands, load_command_class

from consent import check, steps
from consent.parameters import AUTHORIZE
from consent.views import authorize, endpoints
from consent.views.endpoints import GRANT_TYPES
from tests.layers import APPS, BASE
from tests.test_architecture import addresses

PAGE = (BASE / "docs/interface.md").read_text()
ADDRESSES = PAGE[PAGE.index("## Addresses") : PAGE.index("## Authorize")]
ENVIRONMENT = PAGE[PAGE.index("## Environment") :]
# Of other packages, each named as a whole.
WHOLE = ("/accounts/", "/admin/")


def as_written(pattern):
    """Return a pattern of the URL conf as the page writes it: without the kinds of its parts."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", pattern)


def options_of(app, command):
    return {*load_command_class(app, command).create_parser("manage.py", command)._option_string_actions}


def test_the_page_has_every_address_that_is_served_and_no_other():
    served = {as_written(pattern) for pattern, _view in addresses()}
    named = set(re.findall(r"`(/[^`\s]*)`", re.sub(r"^(?!\|).*$|\|[^|]*\|$", "", ADDRESSES, flags=re.M)))
    assert {f"{whole}…" for whole in WHOLE} <= named
    served, named = ({each for each in found if not each.startswith(WHOLE)} for found in (served, named))
    assert served - named == set() and named - served == set()


def test_the_page_has_every_command_with_its_options_and_no_other():
    ours = {name: app for name, app in get_commands().items() if app.split(".")[0] in APPS}
    commands = PAGE[PAGE.index("## Commands") : PAGE.index("## Environment")]
    told = dict(re.findall(r"^\| `(\w+)([^`]*)` \|", commands, re.M))
    assert told.keys() == ours.keys()
    usual = options_of("django.contrib.sessions", "clearsessions")
    for name, app in ours.items():
        assert options_of(app, name) - usual == {*re.findall(r"--[\w-]+", told[name])}, name


def test_the_page_has_every_variable_that_is_read_and_no_other():
    text = "".join((BASE / path).read_text() for path in ("portal/settings.py", "portal/demo/environment.py"))
    read = set(re.findall(r'(?:env\.\w+|_required|_keys|_is_on|os\.environ\.get)\(\s*"([A-Z_]+)"', text))
    told = {name for row in re.findall(r"^\| (`.*?) \|", ENVIRONMENT, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert told == read


def test_the_page_has_every_parameter_of_authorize_and_every_grant():
    authorize = PAGE[PAGE.index("## Authorize") : PAGE.index("## Token")]
    token = PAGE[PAGE.index("## Token") : PAGE.index("## Revoke")]
    assert [name for name in AUTHORIZE if not re.search(rf"`{name}\b", authorize)] == []
    assert {*GRANT_TYPES} <= {*re.findall(r"^\| `(\w+)` \|", token, re.M)}


def error_of(error):
    """Name the errors beside a step: a word of an RFC, or one of oauthlib's classes that stands for it."""
    if isinstance(error, dict):
        return " or ".join(f"`{each}`" for each in dict.fromkeys(error.values()))
    return f"`{getattr(error, 'error', error)}`" if error else "no error"


def listed(steps, indent=""):
    for step, error in steps:
        if isinstance(error, tuple):
            yield f"{indent}1. `{step.__name__}`, which has the error of"
            yield from listed(error, f"{indent}   ")
        else:
            yield f"{indent}1. `{step.__name__}`: {error_of(error)}"


def test_the_page_lists_the_checks_of_each_endpoint_in_the_order_in_which_they_run():
    lists = {
        "Authorize": authorize.AUTHORIZE,
        "Token": endpoints.TOKEN,
        "Token, `authorization_code`": steps.CODE,
        "Token, `refresh_token`": steps.REFRESH,
        "Token, `client_credentials`": steps.CREDENTIALS,
        "Check": check.CHECK,
    }
    text = "\n\n".join(f"{title}:\n\n" + "\n".join(listed(ordered)) for title, ordered in lists.items())
    assert f"\n{text}\n" in PAGE, text
