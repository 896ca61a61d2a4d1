"""Is this access token good for this call? One statement, at each call (T2, T9).

The statement finds a good token and nothing else. For any other the steps below read its rows, and say why.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from django.conf import settings
from django.db.models import QuerySet

from credentials.secrets import ACCESS_TOKEN, digest, is_well_formed
from portal.foundation.statements import Parameter, Statement

from .models import AccessToken, Consent, Why
from .pages import access_url
from .validity import Ended, good_tokens, why_scopes_lack, why_token_ended, with_validity

NO_TOKEN = "No access token was sent; add the header Authorization: Bearer"
NOT_OPEN = "This route is not open to OAuth clients"


@dataclass(frozen=True)
class Refusal(Exception):
    """A 401 of RFC 6750 section 3.1. Without `error`, the caller sent no token. Texts are ASCII, for developers.

    `scope` is what the call needs, if known. `why` and `token` are for the developers' log: set for a genuine
    token only, and never in the answer.
    """

    error: str = ""
    description: str = ""
    scope: str = ""
    reauthorize_url: str = ""
    why: Why | None = None
    token: AccessToken | None = None

    def body(self) -> dict[str, Any]:
        named = {
            "error": self.error,
            "error_description": self.description,
            "scope": self.scope if self.error == "insufficient_scope" else "",
            "reauthorize_url": self.reauthorize_url,
        }
        return {key: value for key, value in named.items() if value}

    def challenge(self, resource_metadata: str = "") -> str:
        """Return the WWW-Authenticate header (RFC 6750 section 3, RFC 9728 section 5.1).

        `resource_metadata` is the document of the API that was called (credentials/resources.py).
        """
        # Section 3.1: without a token there is no error. The scope is always named, since clients request it.
        told = self.body() if self.error else {}
        parameters = {"realm": "portal", **told, "scope": self.scope, "resource_metadata": resource_metadata}
        return "Bearer " + ", ".join(f'{key}="{value}"' for key, value in parameters.items() if value)


@dataclass(frozen=True)
class Bearer:
    """Whom a good access token speaks for. `agent` is an opaque, stable id, empty at account level."""

    scopes: frozenset[str]
    expires: dt.datetime
    client_id: str
    account: str
    account_id: int
    agent: str
    installation: str


def bearer_token(authorization: str) -> str | None:
    """Return the token of an Authorization header, or None if it has none (RFC 6750 section 2.1)."""
    kind, _, value = authorization.partition(" ")
    return value.strip() if kind.lower() == "bearer" and value.strip() else None


def reauthorize_url(consent: Consent) -> str:
    """Return the page of the portal on which a person can agree again."""
    return settings.BASE_URL + access_url(consent.access)


@dataclass
class Call:
    """A token as it was sent, and the scopes of which the call needs one; what the steps read is kept for the next."""

    value: str | None
    any_of: list[str] = field(default_factory=list)
    # An AccessToken with `now`, once it was found.
    token: Any = None
    ended: Ended | None = None


def token_is_sent(call: Call) -> Refusal | None:
    return None if call.value else Refusal(description=NO_TOKEN)


def token_is_known(call: Call) -> Refusal | None:
    if is_well_formed(call.value, ACCESS_TOKEN):
        call.token = with_validity(AccessToken.objects.filter(token_checksum=digest(str(call.value)))).first()
    if call.token is None:
        return Refusal(description="The access token is malformed or unknown")
    call.ended = why_token_ended(call.token, call.token.now)
    return None


def token_has_not_expired(call: Call) -> Refusal | None:
    token, ended = call.token, call.ended
    if token.expires > token.now:
        return None
    # What else ended, since refreshing would not help then.
    more = f". {ended.text}" if ended else ""
    why = ended.why if ended else Why.EXPIRED
    return Refusal(
        description=f"The access token has expired{more}", reauthorize_url=_cure(call, ended), why=why, token=token
    )


def token_has_not_ended(call: Call) -> Refusal | None:
    if (ended := call.ended) is None:
        return None
    return Refusal(description=ended.text, reauthorize_url=_cure(call, ended), why=ended.why, token=call.token)


def route_is_open(call: Call) -> Refusal | None:
    return None if call.any_of else Refusal(description=NOT_OPEN, why=Why.NOT_OPEN, token=call.token)


def scope_suffices(call: Call) -> Refusal | None:
    if not set(call.token.scope.split()).isdisjoint(call.any_of):
        return None
    lacking = why_scopes_lack(call.token.consent, call.any_of)
    return Refusal(
        description="; ".join(filter(None, [f"This call needs the scope {' or '.join(call.any_of)}", lacking.text])),
        reauthorize_url=_cure(call, lacking),
        why=lacking.why,
        token=call.token,
    )


def _cure(call: Call, ended: Ended | None) -> str:
    return reauthorize_url(call.token.consent) if ended and ended.can_reauthorize else ""


Steps = tuple[tuple[Callable[[Call], Refusal | None], str], ...]
# Each step with the error of RFC 6750 section 3.1 that it refuses with. Without a token there is none.
READ: Steps = (
    (token_is_sent, ""),
    (token_is_known, "invalid_token"),
    (token_has_not_expired, "invalid_token"),
    (token_has_not_ended, "invalid_token"),
)
CHECK: Steps = (
    *READ,
    (route_is_open, "insufficient_scope"),
    (scope_suffices, "insufficient_scope"),
)


_TOLD = (
    "scope",
    "expires",
    "consent__access__client__client_id",
    "consent__access__account__slug",
    "consent__access__account",
    "consent__membership",
    "consent__access__installation",
)


def good_token(**more: Any) -> QuerySet[AccessToken, Any]:
    """Return a statement's queryset of the token with the checksum `checksum`, if it is good; `more` is read with it."""
    found = good_tokens().filter(token_checksum=Parameter("checksum")).annotate(**more)
    return found.values_list(*_TOLD, *more)


def bearer_of(found: Sequence[Any]) -> Bearer:
    scope, expires, client_id, account, account_id, membership, installation = found
    agent, installation = str(membership or ""), str(installation or "")
    return Bearer(frozenset(scope.split()), expires, client_id, account, account_id, agent, installation)


_GOOD = Statement(good_token)


def find_good(value: str | None) -> Bearer | None:
    """Return whom a good token speaks for, or None for any other."""
    found = _GOOD.row(checksum=digest(str(value))) if is_well_formed(value, ACCESS_TOKEN) else None
    return bearer_of(found) if found else None


def _refuse(steps: Steps, call: Call) -> NoReturn:
    """Raise the Refusal of the first step that refuses."""
    # A token that was held back for a moment is refused, since only the statement says yes.
    last = Refusal(description="The access token was not good a moment ago; send the call again"), "invalid_token"
    found = ((refusal, error) for step, error in steps if (refusal := step(call)))
    refusal, error = next(found, last)
    # RFC 6750 section 3: what the call needs, whatever is wrong with the token.
    raise replace(refusal, error=error, scope=" ".join(call.any_of))


def read(value: str | None) -> Bearer:
    """Return whom a token speaks for, whatever the call. Raises Refusal: missing, unknown, expired or ended."""
    return find_good(value) or _refuse(READ, Call(value))


def check(value: str | None, any_of: list[str]) -> Bearer:
    """Return whom a token speaks for, where it has one of the scopes that the route needs. Raises Refusal (T9).

    An empty `any_of` is a route that is not open to OAuth clients.
    """
    bearer = find_good(value)
    if bearer and not bearer.scopes.isdisjoint(any_of):
        return bearer
    _refuse(CHECK, Call(value, any_of))


def introspection(bearer: Bearer, scopes: Iterable[str]) -> dict[str, Any]:
    """Return what a product is told of an active token (RFC 7662 section 2.2); `scopes` are the product's own."""
    answer = {
        "active": True,
        "scope": " ".join(name for name in scopes if name in bearer.scopes),
        "client_id": bearer.client_id,
        "account": bearer.account,
        "exp": int(bearer.expires.timestamp()),
        "iat": int((bearer.expires - settings.ACCESS_TOKEN_LIFETIME).timestamp()),
        "token_type": "Bearer",
    }
    if bearer.installation:
        answer["installation"] = bearer.installation
    if bearer.agent:
        answer["agent"] = answer["sub"] = bearer.agent
    return answer


def told_to_gateway(bearer: Bearer, scopes: Iterable[str]) -> dict[str, str]:
    """Return the headers of a call that a gateway may let through; `scopes` are the product's own."""
    return {
        "X-Portal-Client": bearer.client_id,
        "X-Portal-Account": bearer.account,
        "X-Portal-Agent": bearer.agent,
        "X-Portal-Scope": " ".join(name for name in scopes if name in bearer.scopes),
    }


# The headers in which gateways describe a call: nginx and Envoy; Traefik and Caddy.
_TOLD_BY_GATEWAY = (
    ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_ORIGINAL_URI"),
    ("HTTP_X_FORWARDED_METHOD", "HTTP_X_FORWARDED_URI"),
)
_OVERRIDES = ("HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE")


def original_call(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the method and URI of a gateway's call, or empty ones if the product could read the call differently."""
    told = {(meta.get(method, ""), meta.get(uri, "")) for method, uri in _TOLD_BY_GATEWAY} - {("", "")}
    # If headers disagree, the caller sent one of them: a gateway overwrites only those that it knows.
    method, uri = told.pop() if len(told) == 1 else ("", "")
    overridden = any(meta.get(name, method).upper() != method.upper() for name in _OVERRIDES)
    return ("", "") if overridden else (method, uri)
