"""Is this access token good for this call? One statement, at each call (T2, T9)."""

from dataclasses import dataclass, replace

from django.conf import settings

from credentials.models import Product, Scope
from credentials.secrets import ACCESS_TOKEN, digest, is_well_formed

from .models import AccessToken, Consent, Why
from .pages import access_url
from .validity import why_scopes_lack, why_token_ended, with_validity

NO_TOKEN = "No access token was sent; add the header Authorization: Bearer"
NOT_OPEN = "This route is not open to OAuth clients"


@dataclass(frozen=True)
class Refusal(Exception):
    """A 401 of RFC 6750 section 3.1; without `error` the caller sent no token. Texts are ASCII, for developers.

    `scope` is what the call needs, where that is known. `why` and `token` are for the developers' log: of a genuine
    token only, and not in the answer.
    """

    error: str = ""
    description: str = ""
    scope: str = ""
    reauthorize_url: str = ""
    why: Why | None = None
    token: AccessToken | None = None

    def body(self):
        named = {
            "error": self.error,
            "error_description": self.description,
            "scope": self.scope if self.error == "insufficient_scope" else "",
            "reauthorize_url": self.reauthorize_url,
        }
        return {key: value for key, value in named.items() if value}

    def challenge(self, resource_metadata=""):
        """Return the WWW-Authenticate header (RFC 6750 section 3, RFC 9728 section 5.1).

        `resource_metadata` is the document of the API that was called (credentials/resources.py).
        """
        # Section 3.1: without a token there is no error. The scope is always named, since clients ask for it.
        told = self.body() if self.error else {}
        parameters = {"realm": "portal", **told, "scope": self.scope, "resource_metadata": resource_metadata}
        return "Bearer " + ", ".join(f'{key}="{value}"' for key, value in parameters.items() if value)


@dataclass(frozen=True)
class Bearer:
    """Whom a good access token speaks for. `agent` is an opaque, stable id; empty at account level."""

    token: AccessToken
    client_id: str
    account: str
    account_id: int
    agent: str
    installation: str
    scopes: frozenset[str]


def bearer_token(authorization: str) -> str | None:
    """Return the token of an Authorization header, or None where it has none (RFC 6750 section 2.1)."""
    kind, _, value = authorization.partition(" ")
    return value.strip() if kind.lower() == "bearer" and value.strip() else None


def reauthorize_url(consent: Consent) -> str:
    """Return the page of the portal on which a person can agree again."""
    return settings.BASE_URL + access_url(consent.access)


def read(value: str | None) -> Bearer:
    """Return whom a token speaks for, whatever the call. Raises Refusal: missing, unknown, expired or ended."""
    if not value:
        raise Refusal(description=NO_TOKEN)
    row = None
    if is_well_formed(value, ACCESS_TOKEN):
        row = with_validity(AccessToken.objects.filter(token_checksum=digest(value))).first()
    if row is None:
        raise Refusal("invalid_token", "The access token is malformed or unknown")
    ended = why_token_ended(row, row.now)
    url = reauthorize_url(row.consent) if ended and ended.can_reauthorize else ""
    if row.expires <= row.now:
        # What else ended, since refreshing would not help then.
        more = f". {ended.text}" if ended else ""
        why = ended.why if ended else Why.EXPIRED
        raise Refusal("invalid_token", f"The access token has expired{more}", reauthorize_url=url, why=why, token=row)
    if ended:
        raise Refusal("invalid_token", ended.text, reauthorize_url=url, why=ended.why, token=row)
    consent, access = row.consent, row.consent.access
    return Bearer(
        token=row,
        client_id=access.client.client_id,
        account=access.account.slug,
        account_id=access.account_id,
        agent=str(consent.membership_id or ""),
        installation=str(access.installation_id or ""),
        scopes=frozenset(row.scope.split()),
    )


def check(value: str | None, any_of: list[str]) -> Bearer:
    """Return whom a token speaks for, where it has one of the scopes that the route needs. Raises Refusal (T9).

    An empty `any_of` is a route that is not open to OAuth clients.
    """
    needed = " ".join(any_of)
    try:
        bearer = read(value)
    except Refusal as refusal:
        # RFC 6750 section 3: what the call needs, whatever is wrong with the token.
        raise replace(refusal, scope=needed) from None
    if not any_of:
        raise Refusal("insufficient_scope", NOT_OPEN, why=Why.NOT_OPEN, token=bearer.token)
    if bearer.scopes.isdisjoint(any_of):
        consent = bearer.token.consent
        lacking = why_scopes_lack(consent, any_of)
        raise Refusal(
            "insufficient_scope",
            "; ".join(filter(None, [f"This call needs the scope {' or '.join(any_of)}", lacking.text])),
            needed,
            reauthorize_url(consent) if lacking.can_reauthorize else "",
            why=lacking.why,
            token=bearer.token,
        )
    return bearer


def introspection(value: str, product: Product) -> dict:
    """Answer RFC 7662 section 2.2 for a product: of an active token, only the scopes that are the product's.

    Raises Refusal for one that is not active, whose reason is not the product's to know.
    """
    bearer = read(value)
    own = Scope.objects.filter(product=product, name__in=bearer.scopes).order_by("name").values_list("name", flat=True)
    answer = {
        "active": True,
        "scope": " ".join(own),
        "client_id": bearer.client_id,
        "account": bearer.account,
        "exp": int(bearer.token.expires.timestamp()),
        "iat": int((bearer.token.expires - settings.ACCESS_TOKEN_LIFETIME).timestamp()),
        "token_type": "Bearer",
    }
    if bearer.installation:
        answer["installation"] = bearer.installation
    if bearer.agent:
        answer["agent"] = answer["sub"] = bearer.agent
    return answer
