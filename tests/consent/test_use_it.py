"""Use it: each program on the page is run as it is shown, and each field fits what the portal answers to."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from consent.trying.snippets import LOCAL_CALLBACK, PORT, POSTMAN_CALLBACK, TABS
from credentials.models import Kind, Level
from tests import factories
from tests.browsing import Browser
from tests.factories import VIEW, team_of
from tests.load import npm
from tests.people.forms import text

pytestmark = pytest.mark.django_db(transaction=True)


def shown(person, client, tab):
    """The program on a tab, as a person would copy it."""
    page = person.open(f"/credentials/{client.client_id}/test/?tab={tab}")
    return unescape(re.search(r'<pre class="code"\s+id="program"[^>]*>(.*?)</pre>', page.text, re.S)[1])


def tickets(output):
    return json.loads(output[output.index('{"tickets"') :])["tickets"]


def runs(program, command, person, secret, **more):
    """Run a program, agree to what it asks for, hand it the code as a person or a browser does; return what it prints."""
    environ = {**os.environ, "CLIENT_SECRET": secret}
    process = subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )
    try:
        asked = re.search(r"https?://\S+", process.stdout.readline())
        assert asked, process.communicate(timeout=20)
        page = person.open(asked[0])
        decision = "continue" if 'value="continue"' in page.text else "agree"
        back = person.submit(page, _follow=False, decision=decision).headers["Location"]
        assert back.startswith(LOCAL_CALLBACK)
        if "read -r CODE" in program:
            output, errors = process.communicate(parse_qs(urlsplit(back).query)["code"][0] + "\n", timeout=60)
        else:
            assert httpx.get(back).text.startswith("Done.")
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return output
    finally:
        with suppress(ProcessLookupError):
            process.kill()


@pytest.fixture
def person(live_server, cast, settings):
    settings.BASE_URL = live_server.url
    return Browser(live_server.url, cast.dev)


def made(cast, **more):
    return factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=[VIEW], uris=[LOCAL_CALLBACK], **more)


def test_curl_python_and_a_workflow_run_as_they_are_shown(person, cast):
    client, secret = made(cast)
    program = shown(person, client, "curl")
    assert len(tickets(runs(program, ["bash", "-c", program], person, secret))) == 20
    workflow = shown(person, client, "workflows")
    ran = subprocess.run(
        ["bash", "-c", workflow],
        env={**os.environ, "CLIENT_SECRET": secret},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(tickets(ran.stdout)) == 20
    program = shown(person, client, "python")
    assert len(tickets(runs(program, [sys.executable, "-c", program], person, secret))) == 20


@pytest.mark.soak
def test_javascript_runs_as_it_is_shown(person, cast):
    npm.install(npm.PEER)
    client, secret = made(cast)
    program = shown(person, client, "javascript")
    command = ["node", "--input-type=module", "-e", program]
    assert len(tickets(runs(program, command, person, secret, cwd=npm.PEER))) == 20


def test_values_hold_nothing_that_ends_a_program_early(cast, browse):
    """A redirect URL may have characters that a shell reads."""
    uri = "http://localhost/cb;$(touch%20x)&'a'"
    client, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL, uris=[uri])
    page = browse(cast.dev).get(f"/credentials/{client.client_id}/test/?tab=curl")
    program = unescape(re.search(r'id="program"[^>]*>(.*?)</pre>', page.content.decode(), re.S)[1])
    assert f"http://localhost:{PORT}" in program
    sh = subprocess.run(["bash", "-n", "-c", program], capture_output=True, text=True, check=False)
    assert sh.returncode == 0, sh.stderr
    assert "'http://localhost:8400/cb;$(touch%20x)&'\"'\"'a'\"'\"''" in program


def test_every_tab_has_this_clients_own_values_and_what_is_missing_is_added_by_one_press(cast, browse):
    client, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL)
    agents, _secret = factories.client(cast.dev, kind=Kind.EXTERNAL, level=Level.AGENT)
    slug = team_of(cast.dev).test_account.slug
    dev, url = browse(cast.dev), f"/credentials/{client.client_id}/test/"
    for tab in TABS:
        page = text(dev.get(f"{url}?tab={tab.name}"))
        assert client.client_id in page and slug in page and "PKCE is required" in page
    assert POSTMAN_CALLBACK in text(dev.get(f"{url}?tab=postman"))
    dev.post(url, {"act": "add-postman"})
    client.refresh_from_db()
    assert POSTMAN_CALLBACK in client.redirect_uris.split()
    workflows = text(dev.get(f"{url}?tab=workflows"))
    assert "Grant Type PKCE" in workflows and '{"account": ' in workflows and "client_credentials" in workflows
    assert "every authorization needs a person" in text(dev.get(f"/credentials/{agents.client_id}/test/?tab=workflows"))
    assert dev.get(f"{url}?tab=made-up").status_code == 200
