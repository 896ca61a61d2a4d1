"""People at a browser, and an app with Authlib, over HTTP, without knowledge of the server."""

import re
from urllib.parse import parse_qs, urlsplit

import httpx
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import OAuth2Client

from tests.factories import PASSWORD

CALLBACK = "http://127.0.0.1:9999/callback"


def squeeze(html):
    """Return a page without invisible whitespace at the edges of its tags."""
    return re.sub(r"(<[a-z][^>]*>) | (?=</)", r"\1", re.sub(r"\s+", " ", html))


class Browser(httpx.Client):
    """A person at a browser without JavaScript, who follows redirects inside the portal and fills in forms."""

    def __init__(self, base_url, user=None):
        super().__init__(base_url=base_url, follow_redirects=False, timeout=180)
        if user:
            self.sign_in(user)

    def open(self, url):
        response = self.get(url)
        while response.is_redirect and self._here(response.headers["Location"]):
            response = self.get(response.headers["Location"])
        return response

    def _here(self, url):
        return url.startswith(("/", str(self.base_url).rstrip("/")))

    def submit(self, page, _follow=True, _action=None, **fields):
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
        forms = re.findall(r"<form.*?</form>", page.text, re.S)
        # The form that is sent to this address, if the page has one, without the fields of other forms.
        form = next((form for form in forms if _action and f'action="{_action}"' in form), page.text)
        hidden = dict(re.findall(r'<input type="hidden" name="(once|shown|account|next)" value="([^"]*)"', form))
        response = self.post(
            _action or str(page.url),
            data={**hidden, "csrfmiddlewaretoken": token, **fields},
            headers={"Referer": str(page.url)},
        )
        while _follow and response.is_redirect and self._here(response.headers["Location"]):
            response = self.get(response.headers["Location"])
        return response

    def sign_in(self, user):
        page = self.open("/accounts/login/")
        done = self.submit(page, login=user.email, password=PASSWORD)
        assert done.status_code == 200 and "Sign out" in done.text


def app_side(base, client_id, secret, scope):
    return OAuth2Client(
        client_id,
        secret,
        scope=scope,
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        token_endpoint=f"{base}/oauth/token",
        token_endpoint_auth_method="client_secret_basic",
    )


def begin(app, base, **hints):
    verifier = generate_token(48)
    url, state = app.create_authorization_url(f"{base}/oauth/authorize", code_verifier=verifier, **hints)
    return url, state, verifier


def finish(app, base, redirect, state, verifier):
    assert redirect.is_redirect, redirect.text[:500]
    location = redirect.headers["Location"]
    assert location.startswith(CALLBACK)
    assert parse_qs(urlsplit(location).query)["iss"] == [base]
    return app.fetch_token(f"{base}/oauth/token", authorization_response=location, state=state, code_verifier=verifier)
