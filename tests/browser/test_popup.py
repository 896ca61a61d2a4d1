"""An app that opens the authorization request in a popup, and waits for its own page there to tell how it went."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

import pytest

from tests.oauth import pkce

from .conftest import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)
OPENER = "<button onclick=\"open(location.hash.slice(1), 'popup', 'width=600')\">Connect</button><script>onmessage = event => told = event.data; told = ''</script>"
CALLBACK = "<script>if (opener) opener.postMessage(location.search, location.origin)</script>"


@pytest.fixture
def app():
    """The app's own site, whose origin is not the portal's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page = (CALLBACK if self.path.startswith("/callback") else OPENER).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(("button", "said"), [("Agree", "code"), ("Cancel", "error")])
def test_the_page_that_opened_the_popup_hears_how_it_went(stranger, demo, app, button, said):
    """After signing in, with a look at signing up and at the forgotten password."""
    client = next(each for each in demo["clients"] if each["kind"] == "external" and each["level"] == "account")
    query = {
        "response_type": "code", "client_id": client["client_id"], "redirect_uri": f"{app}/callback", "state": "s",
        "code_challenge": pkce()[1], "code_challenge_method": "S256", "account": "acme",
    }  # fmt: skip
    stranger.goto(f"{app}/#{demo['url']}/oauth/authorize?{urlencode(query)}")
    with stranger.expect_popup() as opened:
        stranger.get_by_role("button", name="Connect").click()
    popup = opened.value
    popup.set_default_timeout(PATIENCE)
    popup.get_by_role("link", name="Forgot your password?").click()
    popup.get_by_role("link", name="Back to sign in").click()
    popup.locator("main").get_by_role("link", name="Sign up").click()
    popup.locator("main").get_by_role("link", name="Sign in").click()
    popup.fill("[name=login]", "admin@acme.example")
    popup.fill("[name=password]", next(p["password"] for p in demo["people"] if p["email"] == "admin@acme.example"))
    popup.locator("main button[type=submit]").click()
    popup.get_by_role("button", name=button, exact=True).click()
    stranger.wait_for_function("told")
    told = parse_qs(stranger.evaluate("told")[1:])
    assert said in told and told["state"] == ["s"]
