"""The one place that overrides django-oauth-toolkit and oauthlib: three grants, PKCE with S256, nothing else (T8)."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.oauth2_backends import OAuthLibCore
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import BaseScopes
from oauthlib.common import Request
from oauthlib.oauth2 import BearerToken
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.endpoints import AuthorizationEndpoint, RevocationEndpoint, TokenEndpoint
from oauthlib.oauth2.rfc6749.grant_types import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant

from credentials.models import Client, Scope

from . import parameters
from .actions.issuing import issue_tokens, revoke_token
from .steps import AUTHORIZE, CLIENT, CODE, CREDENTIALS, REFRESH, SCOPES, Attempt, find_client, run


class Scopes(BaseScopes):
    """The registry, as the toolkit asks for it."""

    def get_all_scopes(self) -> dict[str, Any]:
        return dict(Scope.objects.values_list("name", "sentence"))

    def get_available_scopes(
        self, application: Client | None = None, request: HttpRequest | None = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return sorted(application.scope_names()) if application else []

    def get_default_scopes(
        self, application: Any = None, request: HttpRequest | None = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return self.get_available_scopes(application)


def check_authorization_request(request: Request) -> dict[str, Any]:
    run(AUTHORIZE, request)
    return {}


def _access_token(request: Request) -> str:
    return request.issue.access_token


def _refresh_token(request: Request) -> str:
    return request.issue.refresh_token


class CodeGrant(AuthorizationCodeGrant):
    def validate_token_request(self, request: Request) -> None:
        run(CODE, request)


class RefreshGrant(RefreshTokenGrant):
    def validate_token_request(self, request: Request) -> None:
        run(REFRESH, request)


class StandingGrant(ClientCredentialsGrant):
    """Client credentials under the live consent of one account (RFC 6749 section 4.4)."""

    def validate_token_request(self, request: Request) -> None:
        run(CREDENTIALS, request)


class Server(AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint):
    """Authorization code, refresh token and client credentials; the stock server would also serve passwords."""

    def __init__(self, request_validator: OAuth2Validator, *args: Any, **kwargs: Any) -> None:
        code = CodeGrant(request_validator, pre_auth=[check_authorization_request])
        bearer = BearerToken(
            request_validator,
            _access_token,
            int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
            _refresh_token,
        )
        AuthorizationEndpoint.__init__(self, "code", bearer, {"code": code})
        TokenEndpoint.__init__(
            self,
            # An unknown or missing grant type falls to this one, which refuses it.
            "authorization_code",
            bearer,
            {
                "authorization_code": code,
                "refresh_token": RefreshGrant(request_validator),
                "client_credentials": StandingGrant(request_validator),
            },
        )
        RevocationEndpoint.__init__(self, request_validator)


class Core(OAuthLibCore):
    """Passes known parameters on to oauthlib, each once (consent/parameters.py)."""

    def validate_authorization_request(self, request: HttpRequest) -> Any:
        """Validate the URL alone: what a form posts can change nothing of it."""
        read = dict(parameters.values(request.GET, parameters.AUTHORIZE))
        if "\0" in read.get("state", ""):
            # No app can have meant this, nor should it get it back.
            del read["state"]
        # oauthlib refuses a repeated one of these on our page, since nobody can be sent anywhere (RFC 6749 4.1.2.1).
        trusted = [(name, request.GET.getlist(name)) for name in ("client_id", "redirect_uri")]
        query = urlencode({**read, **{name: every for name, every in trusted if len(every) > 1}}, doseq=True)
        # oauthlib builds its own request from address and headers.
        headers = {
            **self.extract_headers(request),
            "problem": parameters.problem(request.GET, parameters.AUTHORIZE),
        }
        try:
            return self.server.validate_authorization_request(f"{request.path}?{query}", headers=headers)
        except errors.FatalClientError as error:
            raise FatalClientError(error=error) from None
        except errors.OAuth2Error as error:
            raise OAuthToolkitError(error=error) from None

    def _get_escaped_full_path(self, request: HttpRequest) -> str:
        # oauthlib would read parameters from it.
        return request.path

    def extract_body(self, request: HttpRequest) -> list[tuple[str, str]]:
        return parameters.values(request.POST, parameters.PROGRAMS)

    def check_body(self, request: HttpRequest) -> str:
        """Return what is wrong with a POST body's form; empty if nothing is."""
        if request.content_type != "application/x-www-form-urlencoded":
            return "The body must be application/x-www-form-urlencoded"
        if (request.content_params or {}).get("charset", "utf-8").lower() != "utf-8":
            return "The body must be in UTF-8"
        if name := parameters.misplaced(request.GET):
            return f"{name} belongs in the body, not in the URL"
        return parameters.problem(request.POST, parameters.PROGRAMS, max_length=parameters.MAX_LENGTH)


class Validator(OAuth2Validator):
    """Answers oauthlib's questions from the actions. State lives on the request only: the validator is shared."""

    # --- clients ---

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        return True

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        run(CLIENT, request)
        return True

    def authenticate_client_id(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> bool:
        return False

    def _load_application(self, client_id: str, request: Request) -> Client | None:
        client = Attempt.of(request).client = find_client(client_id)
        request.client = client if client and not client.suspended_at else None
        return request.client

    # --- authorize ---

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        return True

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        return request.client.redirect_uri_allowed(redirect_uri)

    def get_default_scopes(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        return Scopes().get_available_scopes(request.client)

    def validate_scopes(
        self, client_id: str, scopes: Iterable[str], client: Client, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        run(SCOPES, request)
        return True

    # --- token ---

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        """Done by issue_tokens, under the lock."""

    def rotate_refresh_token(self, request: Request) -> bool:
        return True

    def save_bearer_token(self, token: dict[str, Any], request: Request, *args: Any, **kwargs: Any) -> None:
        issued = issue_tokens(request.issue, set(request.scopes), asked_at=request.client.now)
        access = request.issue.consent.access
        token["expires_in"] = max(0, int((issued.expires - issued.now).total_seconds()))
        token["scope"] = issued.scope
        token["account"] = access.account.slug
        if access.installation_id:
            token["installation"] = str(access.installation_id)
        if request.issue.consent.membership_id:
            token["agent"] = str(request.issue.consent.membership_id)

    # --- revoke ---

    def revoke_token(
        self, token: str, token_type_hint: str | None, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        revoke_token(request.client, token=token)
