"""Being an OAuth client of a vendor (RFC 6749, 7636, 7009, 9207): what is sent there, and what is made of the answers."""

import datetime as dt
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.common.urls import add_params_to_uri
from authlib.deprecate import AuthlibDeprecationWarning
from django.conf import settings
from django.utils.translation import gettext as _

from portal.egress import CLIENT_ERRORS, EgressError, Transport, send

from . import expressions
from .models import App
from .package import formats
from .package.documents import as_dict

with warnings.catch_warnings():
    # It says that httpx is to be followed by another package, to which nothing here is bound.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import OAuth2Client

# What a package's options say to the portal, and no vendor is sent.
OWN_OPTIONS = {"customHeaders", "pkce", "client_authentication", "issuer", "revocation_url", "optional_scope"}
SECONDS = 10
MAX_TOKEN = 16 * 1024
# After these a later try may succeed (RFC 6749, section 5.2, and what vendors add).
_PASSING = {"temporarily_unavailable", "server_error", "slow_down", "rate_limit_exceeded", "invalid_client"}


class VendorError(Exception):
    """A vendor did not do what was asked. `is_final`: asking again is of no use; a person has to connect anew."""

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


@dataclass(frozen=True)
class Tokens:
    """What a vendor issued; `expires_in` in seconds, None where it does not say."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None


def redirect_uri(app: App, integration: str) -> str:
    """Where a vendor sends people back to; one for each integration, the same for every version (RFC 9700, 4.4)."""
    return f"{settings.BASE_URL}/oauth/callback/{app.slug}/{integration}"


class Vendor:
    """One vendor integration of an app, with the `values` that somebody filled in for it."""

    def __init__(self, app: App, name: str, integration: formats.Integration, values: Mapping[str, str]) -> None:
        self.app, self.name, self.integration = app, name, integration
        # A field that nobody had to fill in is empty.
        given = {**dict.fromkeys(integration.oauth_iparams, ""), **values}
        self._values = {f"oauth_iparams.{key}": value for key, value in given.items()}
        self.options = integration.options

    def __repr__(self) -> str:
        return f"Vendor({self.app.slug}/{self.name})"

    def _fill(self, text: str) -> str:
        return expressions.parse(text).fill(self._values)

    def _url(self, text: str) -> str:
        """Fill in a URL; what was filled in can add no path, query or host to it."""
        return expressions.parse(text).fill(
            self._values, lambda value, _name: re.sub(r"[^A-Za-z0-9._~-]", _percent, value)
        )

    @property
    def client_id(self) -> str:
        return self._fill(self.integration.client_id)

    def _secret(self) -> str:
        if self.integration.client_secret is not None:
            return self._fill(self.integration.client_secret)
        kept = self.app.vendor_secrets.filter(integration=self.name).first()
        return kept.secret if kept else ""

    def _headers(self) -> dict[str, str]:
        own = {name.title(): self._fill(value) for name, value in as_dict(self.options.get("customHeaders")).items()}
        return {"Accept": "application/json", **own, "Content-Type": "application/x-www-form-urlencoded"}

    @property
    def uses_pkce(self) -> bool:
        return self.options.get("pkce", True) is not False

    def _client(self) -> OAuth2Client:
        secret = self._secret()
        # A package may bring its own way to say who it is; then that is the only one (RFC 6749, section 2.3).
        if not secret or "Authorization" in self._headers():
            method = "none"
        elif self.options.get("client_authentication") == "basic":
            method = "client_secret_basic"
        else:
            method = "client_secret_post"
        client = OAuth2Client(
            client_id=self.client_id,
            client_secret=secret,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
            redirect_uri=redirect_uri(self.app, self.name),
            code_challenge_method="S256",
            transport=Transport(within=SECONDS),
        )
        for hook in ("access_token_response", "refresh_token_response"):
            client.register_compliance_hook(hook, _as_json)
        return client

    def authorization_url(self, state: str, verifier: str) -> str:
        """Where to send a person, with all that the package's options add."""
        asked = {
            name: " ".join(self._fill(_text(each)) for each in (value if isinstance(value, list) else [value]))
            for name, value in self.options.items()
            if name not in OWN_OPTIONS
        }
        with self._client() as client:
            url, _state = client.create_authorization_url(
                self._url(self.integration.authorize_url),
                state=state,
                code_verifier=verifier if self.uses_pkce else None,
                scope=asked.pop("scope", None),
            )
        return add_params_to_uri(url, asked.items())

    def is_issuer(self, iss: str) -> bool:
        """True where an `iss` that came back is this vendor's (RFC 9207): as the package says, or of the same origin."""
        if issuer := self.options.get("issuer"):
            return iss == self._url(issuer)
        try:
            here, there = (urlsplit(url) for url in (self._url(self.integration.authorize_url), iss))
        except ValueError:
            return False
        return (here.scheme, here.netloc) == (there.scheme, there.netloc)

    def exchange(self, code: str, verifier: str) -> Tokens:
        """Redeem a code (RFC 6749, section 4.1.3). Raises VendorError."""
        more = {"code_verifier": verifier} if self.uses_pkce else {}
        return self._ask("fetch_token", code=code, **more)

    def refresh(self, refresh_token: str) -> Tokens:
        """Ask for the next tokens (RFC 6749, section 6). Raises VendorError."""
        return self._ask("refresh_token", refresh_token=refresh_token)

    def _ask(self, method: str, **sent: Any) -> Tokens:
        try:
            with self._client() as client:
                answer = getattr(client, method)(self._url(self.integration.token_url), headers=self._headers(), **sent)
        except EgressError as error:
            raise VendorError(str(error)) from None
        except AuthlibBaseError as error:
            final = error.error not in _PASSING
            # Some repeat what they refuse.
            hidden = (self._secret(), *sent.values())
            raise VendorError(said(error.error, error.description, hidden=hidden), is_final=final) from None
        except (*CLIENT_ERRORS, ValueError):
            raise VendorError(_("Its answer could not be read.")) from None
        return _tokens(answer)

    def revoke(self, tokens: Mapping[str, Any]) -> None:
        """Tell the vendor that its tokens are of no use any more (RFC 7009), where it can be told. Raises VendorError."""
        if not (url := self._revocation_url()):
            return
        # The refresh token first: with it, most vendors end the access token too.
        for kind in ("refresh_token", "access_token"):
            if not tokens.get(kind):
                continue
            try:
                with self._client() as client:
                    answer = client.revoke_token(url, token=tokens[kind], token_type_hint=kind, headers=self._headers())
            except EgressError as error:
                raise VendorError(str(error)) from None
            except (AuthlibBaseError, *CLIENT_ERRORS, ValueError):
                raise VendorError(_("Its answer could not be read.")) from None
            if answer.status_code >= 500 or answer.status_code == 429:
                raise VendorError(_("It answered %(status)d.") % {"status": answer.status_code})

    def _revocation_url(self) -> str | None:
        """As the package says, or as the vendor's own metadata does, on the origin that issued the tokens (RFC 8414)."""
        if given := self.options.get("revocation_url"):
            return self._url(given)
        token_url = urlsplit(self._url(self.integration.token_url))
        origin = f"{token_url.scheme}://{token_url.netloc}"
        for known in ("oauth-authorization-server", "openid-configuration"):
            try:
                answer = send("GET", f"{origin}/.well-known/{known}", headers={"Accept": "application/json"}, within=5)
                found = as_dict(json.loads(answer.body)) if answer.status == 200 else {}
            except (EgressError, ValueError, RecursionError):
                continue
            url = found.get("revocation_endpoint")
            if isinstance(url, str) and url.startswith(f"{origin}/"):
                return url
        return None


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def said(error: object, description: object, *, hidden: Iterable[str] = ()) -> str:
    """A vendor's words, cut short and without what no page should show; `hidden` are secrets that may be among them."""
    words = " ".join(str(part) for part in (error, description) if part)
    for secret in filter(None, hidden):
        words = words.replace(secret, "***")
    return re.sub(r"[^\x20-\x7e]|[<>]", " ", words)[:200].strip()


def _as_json(response: Any) -> Any:
    """Read an answer in whatever form it comes, and give it on as RFC 6749, section 5 has it. Raises VendorError."""
    found = _read(response)
    if found.get("error"):
        # Some say so with 200.
        error = {name: str(found.get(name, "")) for name in ("error", "error_description")}
        return _made(response, error, 400)
    if response.status_code >= 400:
        raise VendorError(_("It answered %(status)d.") % {"status": response.status_code})
    # What it means is read by _tokens; Authlib would count with `expires_in`.
    tokens = {name: found.get(name) for name in ("access_token", "refresh_token")}
    return _made(response, {**tokens, "expires_in": None, "portal_expires_in": str(found.get("expires_in"))}, 200)


def _made(response: Any, value: Any, status: int) -> Any:
    return type(response)(status, json=value, request=response.request)


def _read(response: Any) -> dict[str, Any]:
    # Whatever its headers say of its writing: some name what no decoder knows.
    text = response.content.decode(errors="replace")
    try:
        return as_dict(json.loads(text))
    except (ValueError, RecursionError):
        is_form = re.fullmatch(r"[\w.~%+-]+=[^\s<>]*", text.strip()) and len(text) < 64 * 1024
        return dict(parse_qsl(text.strip(), max_num_fields=50)) if is_form else {}


def _tokens(answer: Mapping[str, Any]) -> Tokens:
    access, refresh = answer.get("access_token"), answer.get("refresh_token")
    if not _is_token(access):
        raise VendorError(_("Its answer has no access token."))
    expires = answer.get("portal_expires_in")
    seconds = re.fullmatch(r"(\d{1,9})(\.\d+)?", str(expires))
    return Tokens(
        access_token=str(access),
        refresh_token=str(refresh) if _is_token(refresh) else None,
        expires_in=int(seconds[1]) if seconds else None,
    )


def _is_token(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and re.fullmatch(r"[\x21-\x7e]+", value) is not None


def when_to_refresh(expires_in: int | None, *, has_refresh_token: bool) -> dt.timedelta | None:
    """How long to wait before asking for the next access token: ahead of its end, by a tenth of its life or 5 minutes."""
    if expires_in is None or not has_refresh_token:
        return None
    return dt.timedelta(seconds=max(0, expires_in - min(300, max(30, expires_in // 10))))
