"""The one place that overrides django-oauth-toolkit and oauthlib: three grants, PKCE with S256, nothing else (T8)."""

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.oauth2_backends import OAuthLibCore
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.scopes import BaseScopes
from oauthlib.oauth2 import BearerToken
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.endpoints import AuthorizationEndpoint, RevocationEndpoint, TokenEndpoint
from oauthlib.oauth2.rfc6749.grant_types import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant

from credentials.authentication import MalformedBasic, check_client_secret, read_basic, touch
from credentials.models import Client, Scope
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import spend

from . import parameters
from .actions.issuing import InvalidGrant, issue_tokens, redeem_code, revoke_token, rotate, standing_consent
from .asking import beyond_client
from .models import Consent, Why
from .validity import suspension, why_scopes_lack

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_NEEDED = {
    "authorization_code": ["code", "code_verifier"],
    "refresh_token": ["refresh_token"],
    "client_credentials": ["account"],
}


@dataclass
class Attempt:
    """What is found out about an authorization or token request that is then refused, for the log of its client.

    `client` is the one that was named; `consent` the one that the request was for, where it is the client's.
    The texts are the portal's own: nothing that was sent stands in them.
    """

    client: Client | None = None
    consent: Consent | None = None
    why: Why | None = None
    text: str = ""
    can_reauthorize: bool = False
    parameter: str = ""

    @classmethod
    def of(cls, request):
        """oauthlib makes a request of its own, of headers and body alone, so it travels among the headers."""
        return request.headers.get("attempt") or cls()

    def refused(self, why, text, consent=None, *, can_reauthorize=False, parameter=""):
        self.why, self.text, self.consent = why, text, consent
        self.can_reauthorize, self.parameter = can_reauthorize, parameter


class Scopes(BaseScopes):
    """The registry, as the toolkit asks for it."""

    def get_all_scopes(self):
        return dict(Scope.objects.values_list("name", "sentence"))

    def get_available_scopes(self, application=None, request=None, *args, **kwargs):
        return sorted(application.scope_names()) if application else []

    def get_default_scopes(self, application=None, request=None, *args, **kwargs):
        return self.get_available_scopes(application)


def _invalid(request, parameter, problem, kind=errors.InvalidRequestError):
    """Return what refuses one parameter, and note it for the client's log."""
    text = f"{parameter} {problem}"
    Attempt.of(request).refused(Why.REQUEST, text, parameter=parameter)
    return kind(description=text, request=request)


def check_authorization_request(request):
    """Refuse, by redirect, what the RFCs let a server refuse (RFC 6749 section 4.1.2.1, RFC 7636 section 4.4.1)."""
    if problem := request.headers.get("problem"):
        raise _invalid(request, *problem.split(" ", 1))
    if request.response_type is None:
        raise _invalid(request, "response_type", "is missing")
    if request.response_type != "code":
        raise _invalid(request, "response_type", "must be code", errors.UnsupportedResponseTypeError)
    # oauthlib overwrites response_mode for its own use, so it is read from the address.
    if dict(request.uri_query_params).get("response_mode", "query") != "query":
        raise _invalid(request, "response_mode", "must be query")
    if request.code_challenge is None:
        raise _invalid(request, "code_challenge", "is missing; PKCE is required")
    if request.code_challenge_method != "S256":
        raise _invalid(request, "code_challenge_method", "must be S256")
    if not _CHALLENGE.fullmatch(request.code_challenge):
        raise _invalid(request, "code_challenge", "must be 43 characters of base64url")
    return {}


def check_token_request(request):
    """Refuse a token request whose parameters cannot be meant (RFC 6749 sections 3.2 and 5.2)."""
    for name in _NEEDED.get(request.grant_type, []):
        if not getattr(request, name, None):
            raise _invalid(request, name, "is missing")
    if request.grant_type == "authorization_code" and not _VERIFIER.fullmatch(request.code_verifier):
        raise _invalid(request, "code_verifier", "must be 43 to 128 unreserved characters")


def use_scopes_of_repeated(request):
    """A repeated refresh carries the scopes of the first reply, whatever is asked this time (T6)."""
    if request.issue.repeated:
        request.scopes = request.issue.repeated.scope.split()


def _access_token(request):
    return request.issue.access_token


def _refresh_token(request):
    return request.issue.refresh_token


def _found(request, action, **arguments):
    try:
        return action(request.client, **arguments)
    except InvalidGrant as refusal:
        cure = refusal.can_reauthorize
        Attempt.of(request).refused(refusal.why, str(refusal), refusal.consent, can_reauthorize=cure)
        raise errors.InvalidGrantError(description=str(refusal), request=request) from None


def _too_wide(request, text):
    """Return what refuses scopes beyond a consent; of those that once were its own it says until when."""
    lacking = why_scopes_lack(request.issue.consent, request.scopes)
    text = f"{text}; {lacking.text}" if lacking.text else text
    cure = lacking.can_reauthorize
    Attempt.of(request).refused(lacking.why, text, request.issue.consent, can_reauthorize=cure)
    return errors.InvalidScopeError(description=text, request=request)


class StandingGrant(ClientCredentialsGrant):
    """Client credentials under the live consent of one account (RFC 6749 section 4.4)."""

    def validate_scopes(self, request):
        request.issue = _found(request, standing_consent, account=request.account)
        request.scopes = request.scopes or sorted(request.issue.scopes)
        if not set(request.scopes) <= request.issue.scopes:
            raise _too_wide(request, "The scope goes beyond the consent")


class Server(AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint):
    """Authorization code, refresh token and client credentials; the stock server would also serve passwords."""

    def __init__(self, request_validator, *args, **kwargs):
        code = AuthorizationCodeGrant(
            request_validator, pre_auth=[check_authorization_request], pre_token=[check_token_request]
        )
        refresh = RefreshTokenGrant(
            request_validator, pre_token=[check_token_request], post_token=[use_scopes_of_repeated]
        )
        credentials = StandingGrant(request_validator, pre_token=[check_token_request])
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
            {"authorization_code": code, "refresh_token": refresh, "client_credentials": credentials},
        )
        RevocationEndpoint.__init__(self, request_validator)


class Core(OAuthLibCore):
    """Passes known parameters on to oauthlib, each once (consent/parameters.py)."""

    def validate_authorization_request(self, request):
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

    def _get_escaped_full_path(self, request):
        # oauthlib would read parameters from it.
        return request.path

    def extract_body(self, request):
        return parameters.values(request.POST, parameters.PROGRAMS)

    def check_body(self, request):
        """Return what is wrong with a POST body's form; empty if nothing is."""
        if request.content_type != "application/x-www-form-urlencoded":
            return "The body must be application/x-www-form-urlencoded"
        if request.content_params.get("charset", "utf-8").lower() != "utf-8":
            return "The body must be in UTF-8"
        if name := parameters.misplaced(request.GET):
            return f"{name} belongs in the body, not in the URL"
        return parameters.problem(request.POST, parameters.PROGRAMS, max_length=parameters.MAX_LENGTH)


def _basic(request):
    """Return client id and secret of HTTP Basic, or None where the header is absent."""
    try:
        return read_basic(request.headers.get("HTTP_AUTHORIZATION", ""))
    except MalformedBasic:
        raise errors.InvalidClientError(description="The Authorization header is malformed", request=request) from None


def find_client(client_id):
    """Return the client as it is now, by the database's clock, suspended or not."""
    if len(client_id) > 100 or "\0" in client_id:
        return None
    return Client.objects.annotate(now=Now()).filter(client_id=client_id).first()


class Validator(OAuth2Validator):
    """Answers oauthlib's questions from the actions. State lives on the request only: the validator is shared."""

    # --- clients ---

    def client_authentication_required(self, request, *args, **kwargs):
        return True

    def authenticate_client(self, request, *args, **kwargs):
        basic = _basic(request)
        body_id, body_secret = getattr(request, "client_id", None), getattr(request, "client_secret", None)
        if basic and (body_secret or body_id not in (None, "", basic[0])):
            problem = "Use one way of client authentication" if body_secret else "Two different clients are named"
            Attempt.of(request).refused(Why.REQUEST, problem, parameter="client_secret" if body_secret else "client_id")
            raise errors.InvalidRequestError(description=problem, request=request)
        client_id, secret = basic or (body_id, body_secret)
        who = address_of(request.headers)
        client = find_client(client_id) if client_id else None
        row = check_client_secret(client, secret) if client else None
        attempt = Attempt.of(request)
        attempt.client = client
        if row is None:
            attempt.refused(Why.SECRET, "")
            # Only failed attempts are counted and refused: a secret has 256 bits, so nothing is
            # won by turning the right one away, and a stale worker would shut out its own client.
            failed = [("token failed by address", who), ("token failed by address and client", who, client_id or "")]
            spend(("token by address", who), *failed)
            named = client_id and secret
            problem = (
                f"The client {'is unknown or suspended, or its secret is wrong' if named else 'has to authenticate'}"
            )
            raise errors.InvalidClientError(description=problem, request=request)
        spend(("token by address", who), ("token by client", client_id))
        if client.suspended_at:
            problem = suspension(client).text
            attempt.refused(Why.SUSPENDED, problem)
            raise errors.InvalidClientError(description=problem, request=request)
        request.client, request.client_id = client, client_id
        transaction.on_commit(lambda: touch(row), robust=True)
        return True

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        if not super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs):
            raise errors.UnauthorizedClientError(
                description="Client credentials are for account-level clients; an agent has to authorize this one",
                request=request,
            )
        return True

    def authenticate_client_id(self, client_id, request, *args, **kwargs):
        return False

    def _load_application(self, client_id, request):
        client = Attempt.of(request).client = find_client(client_id)
        request.client = client if client and not client.suspended_at else None
        return request.client

    # --- authorize ---

    def is_pkce_required(self, client_id, request):
        return True

    def validate_redirect_uri(self, client_id, redirect_uri, request, *args, **kwargs):
        return request.client.redirect_uri_allowed(redirect_uri)

    def get_default_scopes(self, client_id, request, *args, **kwargs):
        return Scopes().get_available_scopes(request.client)

    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs):
        beyond = beyond_client(client, scopes)
        if beyond:
            known = Scope.objects.filter(name__in=beyond).order_by("name").values_list("name", flat=True)
            text = (
                f"These scopes are not the client's: {' '.join(known)}" if known else "No product publishes this scope"
            )
            Attempt.of(request).refused(Why.SCOPE, text, parameter="scope")
            raise errors.InvalidScopeError(
                description=f"These scopes are not the client's: {' '.join(beyond)}", request=request
            )
        return True

    # --- token ---

    def validate_code(self, client_id, code, client, request, *args, **kwargs):
        request.issue = _found(
            request, redeem_code, code=code, redirect_uri=request.redirect_uri, verifier=request.code_verifier
        )
        request.user = None
        request.scopes = sorted(request.issue.scopes)
        # It may be left out, since PKCE binds the code to its request (OAuth 2.1 section 10.2), but must match if it is sent.
        request.redirect_uri = request.issue.code.redirect_uri
        return True

    def get_code_challenge(self, code, request):
        return request.issue.code.code_challenge

    def get_code_challenge_method(self, code, request):
        return request.issue.code.code_challenge_method

    def confirm_redirect_uri(self, client_id, code, redirect_uri, client, *args, **kwargs):
        return True

    def invalidate_authorization_code(self, client_id, code, request, *args, **kwargs):
        """Done by issue_tokens, under the lock."""

    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs):
        request.issue = _found(request, rotate, refresh_token=refresh_token)
        request.user = None
        return True

    def get_original_scopes(self, refresh_token, request, *args, **kwargs):
        return sorted(request.issue.scopes)

    def is_within_original_scope(self, request_scopes, refresh_token, request, *args, **kwargs):
        raise _too_wide(request, "A refresh cannot widen the scope")

    def rotate_refresh_token(self, request):
        return True

    def save_bearer_token(self, token, request, *args, **kwargs):
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

    def revoke_token(self, token, token_type_hint, request, *args, **kwargs):
        revoke_token(request.client, token=token)
