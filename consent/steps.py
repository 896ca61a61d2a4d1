"""The checks of authorization and token requests, in their order, each with the error that it refuses with.

server.py has oauthlib run these lists. A step takes oauthlib's request and the error beside it, which it raises.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from oauthlib.common import Request
from oauthlib.oauth2.rfc6749 import errors

from credentials.authentication import MalformedBasic, check_client_secret, read_basic, touch
from credentials.models import Client, Scope
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import Mark, TooMany, spend

from .actions.issuing import InvalidGrant, Issue, redeem_code, rotate, standing_consent
from .asking import beyond_client
from .models import Consent, Why
from .validity import suspension, why_scopes_lack

# Where the environ has a Counted of the fast lane.
COUNTED = "consent.counted"
Error = type[errors.OAuth2Error]
Steps = tuple[tuple[Callable[[Request, Error], None], Error], ...]

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
# What each grant must send; looked at before who asks.
NEEDED = {
    "authorization_code": ["code", "code_verifier"],
    "refresh_token": ["refresh_token"],
    "client_credentials": ["account"],
}


def run(steps: Steps, request: Request) -> None:
    for step, error in steps:
        step(request, error)


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
    def of(cls, request: Request) -> "Attempt":
        """oauthlib makes a request of its own, of headers and body alone, so it travels among the headers."""
        return request.headers.get("attempt") or cls()

    def refused(
        self, why: Why, text: str, consent: Consent | None = None, *, can_reauthorize: bool = False, parameter: str = ""
    ) -> None:
        self.why, self.text, self.consent = why, text, consent
        self.can_reauthorize, self.parameter = can_reauthorize, parameter


def find_client(client_id: str) -> Client | None:
    """Return the client as it is now, by the database's clock, suspended or not."""
    if len(client_id) > 100 or "\0" in client_id:
        return None
    return Client.objects.annotate(now=Now()).filter(client_id=client_id).first()


def _invalid(request: Request, error: Error, parameter: str, problem: str) -> errors.OAuth2Error:
    """Return what refuses one parameter, and note it for the client's log."""
    text = f"{parameter} {problem}"
    Attempt.of(request).refused(Why.REQUEST, text, parameter=parameter)
    return error(description=text, request=request)


# --- authorization (RFC 6749 section 4.1.2.1, RFC 7636 section 4.4.1) ---


def parameters_can_be_read(request: Request, error: Error) -> None:
    if problem := request.headers.get("problem"):
        parameter, _space, text = problem.partition(" ")
        raise _invalid(request, error, parameter, text)


def response_type_is_sent(request: Request, error: Error) -> None:
    if request.response_type is None:
        raise _invalid(request, error, "response_type", "is missing")


def response_type_is_code(request: Request, error: Error) -> None:
    if request.response_type != "code":
        raise _invalid(request, error, "response_type", "must be code")


def response_mode_is_query(request: Request, error: Error) -> None:
    # oauthlib overwrites response_mode for its own use, so it is read from the address.
    if dict(request.uri_query_params).get("response_mode", "query") != "query":
        raise _invalid(request, error, "response_mode", "must be query")


def code_challenge_is_sent(request: Request, error: Error) -> None:
    if request.code_challenge is None:
        raise _invalid(request, error, "code_challenge", "is missing; PKCE is required")


def code_challenge_method_is_s256(request: Request, error: Error) -> None:
    if request.code_challenge_method != "S256":
        raise _invalid(request, error, "code_challenge_method", "must be S256")


def code_challenge_is_well_formed(request: Request, error: Error) -> None:
    if not _CHALLENGE.fullmatch(request.code_challenge):
        raise _invalid(request, error, "code_challenge", "must be 43 characters of base64url")


def scopes_are_the_clients(request: Request, error: Error) -> None:
    if beyond := beyond_client(request.client, request.scopes):
        known = Scope.objects.filter(name__in=beyond).order_by("name").values_list("name", flat=True)
        text = f"These scopes are not the client's: {' '.join(known)}" if known else "No product publishes this scope"
        Attempt.of(request).refused(Why.SCOPE, text, parameter="scope")
        raise error(description=f"These scopes are not the client's: {' '.join(beyond)}", request=request)


# After client_id and redirect_uri, whose errors never redirect; scopes come last, once oauthlib has filled in the default.
AUTHORIZE: Steps = (
    (parameters_can_be_read, errors.InvalidRequestError),
    (response_type_is_sent, errors.InvalidRequestError),
    (response_type_is_code, errors.UnsupportedResponseTypeError),
    (response_mode_is_query, errors.InvalidRequestError),
    (code_challenge_is_sent, errors.InvalidRequestError),
    (code_challenge_method_is_s256, errors.InvalidRequestError),
    (code_challenge_is_well_formed, errors.InvalidRequestError),
)
SCOPES: Steps = ((scopes_are_the_clients, errors.InvalidScopeError),)


# --- the client (RFC 6749 section 2.3.1) ---


def authorization_header_can_be_read(request: Request, error: Error) -> None:
    try:
        request.basic = read_basic(request.headers.get("HTTP_AUTHORIZATION", ""))
    except MalformedBasic:
        raise error(description="The Authorization header is malformed", request=request) from None


def client_is_named_once(request: Request, error: Error) -> None:
    basic, secret = request.basic, getattr(request, "client_secret", None)
    if basic and (secret or getattr(request, "client_id", None) not in (None, "", basic[0])):
        problem = "Use one way of client authentication" if secret else "Two different clients are named"
        Attempt.of(request).refused(Why.REQUEST, problem, parameter="client_secret" if secret else "client_id")
        raise error(description=problem, request=request)


@dataclass(frozen=True)
class Counted:
    """Under which marks the lane counted a request, or what refused it."""

    marks: frozenset[Mark] = frozenset()
    refusal: TooMany | None = None


def _count(request: Request, *marks: tuple[str, str]) -> None:
    """Count a request, unless the fast lane did. Raises TooMany."""
    counted = request.headers.get(COUNTED)
    if counted is None:
        spend(*marks)
    elif counted.refusal:
        raise counted.refusal


def _count_failure(request: Request, who: str, client_id: str | None) -> None:
    """Count a request that did not prove whose it is, and give back what the lane counted for the client. Raises TooMany."""
    marks, of_lane = {("token by address", who)}, request.headers.get(COUNTED, Counted()).marks
    failed = [("token failed by address", who), ("token failed by address and client", who, client_id or "")]
    spend(*(marks - of_lane), *failed, back=of_lane - marks)


def client_proves_itself(request: Request, error: Error) -> None:
    body = getattr(request, "client_id", None) or "", getattr(request, "client_secret", None)
    client_id, secret = request.basic or body
    who = address_of(request.headers)
    client = find_client(client_id) if client_id else None
    row = check_client_secret(client, secret) if client else None
    attempt = Attempt.of(request)
    attempt.client = client
    if row is None:
        attempt.refused(Why.SECRET, "")
        # Only failed attempts are counted and refused: a secret has 256 bits, so nothing is
        # won by turning the right one away, and a stale worker would shut out its own client.
        _count_failure(request, who, client_id)
        named = client_id and secret
        problem = f"The client {'is unknown or suspended, or its secret is wrong' if named else 'has to authenticate'}"
        raise error(description=problem, request=request)
    _count(request, ("token by address", who), ("token by client", client_id))
    request.client, request.client_id, request.secret_row = client, client_id, row


def client_is_not_suspended(request: Request, error: Error) -> None:
    row = request.secret_row
    if suspended := suspension(request.client):
        Attempt.of(request).refused(Why.SUSPENDED, suspended.text)
        raise error(description=suspended.text, request=request)
    transaction.on_commit(lambda: touch(row), robust=True)


CLIENT: Steps = (
    (authorization_header_can_be_read, errors.InvalidClientError),
    (client_is_named_once, errors.InvalidRequestError),
    (client_proves_itself, errors.InvalidClientError),
    (client_is_not_suspended, errors.InvalidClientError),
)


# --- token (RFC 6749 sections 3.2 and 5.2) ---


def grant_type_is_code(request: Request, error: Error) -> None:
    """Refuse an unknown or missing grant type, which oauthlib sends here too."""
    if request.grant_type != "authorization_code":
        raise error(request=request)


def needed_parameters_are_sent(request: Request, error: Error) -> None:
    for name in NEEDED[request.grant_type]:
        if not getattr(request, name, None):
            raise _invalid(request, error, name, "is missing")


def code_verifier_is_well_formed(request: Request, error: Error) -> None:
    if not VERIFIER.fullmatch(request.code_verifier):
        raise _invalid(request, error, "code_verifier", "must be 43 to 128 unreserved characters")


def client_is_account_level(request: Request, error: Error) -> None:
    if not request.client.allows_grant_type(Client.GRANT_CLIENT_CREDENTIALS):
        text = "Client credentials are for account-level clients; an agent has to authorize this one"
        raise error(description=text, request=request)


def _issue(request: Request, error: Error, action: Callable[..., Issue], **arguments: Any) -> Issue:
    try:
        return action(request.client, **arguments)
    except InvalidGrant as refusal:
        cure = refusal.can_reauthorize
        Attempt.of(request).refused(refusal.why, str(refusal), refusal.consent, can_reauthorize=cure)
        raise error(description=str(refusal), request=request) from None


def code_is_good(request: Request, error: Error) -> None:
    """The code fits its client, its code_verifier and, where it is sent, its redirect_uri (OAuth 2.1 section 10.2)."""
    sent = {"code": request.code, "redirect_uri": request.redirect_uri, "verifier": request.code_verifier}
    request.issue = _issue(request, error, redeem_code, **sent)
    request.scopes = sorted(request.issue.scopes)


def refresh_token_is_good(request: Request, error: Error) -> None:
    request.issue = _issue(request, error, rotate, refresh_token=request.refresh_token)


def account_agreed(request: Request, error: Error) -> None:
    request.issue = _issue(request, error, standing_consent, account=request.account)


def _guard_scopes(request: Request, error: Error, text: str) -> None:
    """Refuse scopes beyond what was granted; of those that once were its own, say until when."""
    request.scopes = request.scopes or sorted(request.issue.scopes)
    if set(request.scopes) <= request.issue.scopes:
        return
    lacking = why_scopes_lack(request.issue.consent, request.scopes)
    text = f"{text}; {lacking.text}" if lacking.text else text
    cure = lacking.can_reauthorize
    Attempt.of(request).refused(lacking.why, text, request.issue.consent, can_reauthorize=cure)
    raise error(description=text, request=request)


def scopes_are_the_familys(request: Request, error: Error) -> None:
    _guard_scopes(request, error, "A refresh cannot widen the scope")
    if request.issue.repeated:
        # A repeated refresh carries the scopes of the first reply, whatever is asked this time (T6).
        request.scopes = request.issue.repeated.scope.split()


def scopes_are_the_consents(request: Request, error: Error) -> None:
    _guard_scopes(request, error, "The scope goes beyond the consent")


CODE: Steps = (
    (grant_type_is_code, errors.UnsupportedGrantTypeError),
    (needed_parameters_are_sent, errors.InvalidRequestError),
    (code_verifier_is_well_formed, errors.InvalidRequestError),
    *CLIENT,
    (code_is_good, errors.InvalidGrantError),
)
REFRESH: Steps = (
    (needed_parameters_are_sent, errors.InvalidRequestError),
    *CLIENT,
    (refresh_token_is_good, errors.InvalidGrantError),
    (scopes_are_the_familys, errors.InvalidScopeError),
)
CREDENTIALS: Steps = (
    (needed_parameters_are_sent, errors.InvalidRequestError),
    *CLIENT,
    (client_is_account_level, errors.UnauthorizedClientError),
    (account_agreed, errors.InvalidGrantError),
    (scopes_are_the_consents, errors.InvalidScopeError),
)
