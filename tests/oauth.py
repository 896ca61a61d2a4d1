"""An app's side of OAuth, as a test client speaks it: authorize, exchange, refresh, call."""

import base64
import hashlib
import re
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

from consent.actions.issuing import issue_code
from consent.models import Consent
from tests.factories import PASSWORD, REDIRECT_URI


def pkce():
    verifier = secrets.token_urlsafe(48)
    return verifier, base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def basic(client_id, secret):
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def sign_in(browser, user):
    browser.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")


def authorize_url(client, challenge, **more):
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": REDIRECT_URI,
        "state": "xyz",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **more,
    }
    return "/oauth/authorize?" + urlencode({name: value for name, value in query.items() if value is not None})


def shown(page):
    """The digest in a consent page's form."""
    return re.search(r'name="shown" value="([0-9a-f]+)"', page.content.decode())[1]


def agree(browser, url, **more):
    """Open the page and press Agree, or Continue where it asks nothing; return the redirect."""
    page = browser.get(url)
    assert page.status_code == 200, (page.status_code, page.headers.get("Location"), page.content[:500])
    decision = "continue" if b'value="continue"' in page.content else "agree"
    return browser.post(url, {"decision": decision, "shown": shown(page), **more})


def answer(response):
    """The parameters with which the browser is sent back to the app."""
    assert response.status_code in (302, 303), (response.status_code, response.content[:800])
    return {name: values[0] for name, values in parse_qs(urlsplit(response["Location"]).query).items()}


class AppSide:
    """An app with its credentials and tokens."""

    def __init__(self, http, client, secret):
        self.http, self.client, self.secret = http, client, secret

    def token(self, **parameters):
        return self.http.post(
            "/oauth/token",
            urlencode(parameters),
            content_type="application/x-www-form-urlencoded",
            **basic(self.client.client_id, self.secret),
        )

    def exchange(self, code, verifier, **more):
        return self.token(
            **{
                "grant_type": "authorization_code",
                "code": code,
                "code_verifier": verifier,
                "redirect_uri": REDIRECT_URI,
                **more,
            }
        )

    def refresh(self, refresh_token, **more):
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **more)

    def client_credentials(self, account, **more):
        return self.token(grant_type="client_credentials", account=account, **more)

    def code_for(self, browser, **more):
        """Have the signed-in person agree; return code and verifier."""
        verifier, challenge = pkce()
        url = authorize_url(self.client, challenge, **more)
        return answer(agree(browser, url))["code"], verifier

    def code_without_page(self):
        """Issue a code under the client's latest consent; return code and verifier."""
        consent = Consent.objects.filter(access__client=self.client).latest("granted_at")
        verifier, challenge = pkce()
        code = issue_code(
            consent,
            by=consent.granted_by,
            scopes={*consent.granted},
            redirect_uri=REDIRECT_URI,
            code_challenge=challenge,
        )
        return code, verifier

    def tokens_for(self, browser, **more):
        response = self.exchange(*self.code_for(browser, **more))
        assert response.status_code == 200, response.content
        return response.json()

    def revoke(self, token):
        return self.http.post(
            "/oauth/revoke",
            urlencode({"token": token}),
            content_type="application/x-www-form-urlencoded",
            **basic(self.client.client_id, self.secret),
        )

    def call(self, access_token, method="get", path="/sandbox/api/v2/tickets", **more):
        return getattr(self.http, method)(path, HTTP_AUTHORIZATION=f"Bearer {access_token}", **more)


__all__ = ["PASSWORD", "AppSide", "agree", "answer", "authorize_url", "basic", "pkce", "shown", "sign_in"]
