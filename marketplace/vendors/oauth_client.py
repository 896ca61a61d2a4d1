"""The OAuth client for vendors (RFC 6749, 7636, 7009, 9207): what it sends, and how it reads the answers."""

import base64
import datetime as dt
import json
import re
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.common.urls import add_params_to_uri
from authlib.deprecate import AuthlibDeprecationWarning
from django.conf import settings
from django.utils.translation import gettext as _

from portal.foundation.egress import CLIENT_ERRORS, EgressError, Transport, send

from ..models import App
from ..package import expressions, formats, hosts
from ..package.documents import as_dict
from ..package.hosts import Misplaced

with warnings.catch_warnings():
    # It announces that httpx will be replaced, which does not concern this project.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import OAuth2Client

# Options of a package that are for the portal, and are not sent to vendors.
OWN_OPTIONS = {"customHeaders", "pkce", "client_authentication", "issuer", "revocation_url", "optional_scope"}
SECONDS = 10
# For all addresses together where an issuer's metadata may be; a person waits for it.
LOOK_UP_SECONDS = 8
MAX_TOKEN = 16 * 1024
# After these errors a later try may succeed (RFC 6749, section 5.2, and what vendors add).
_PASSING = {"temporarily_unavailable", "server_error", "slow_down", "rate_limit_exceeded", "invalid_client"}


class VendorError(Exception):
    """A vendor refused or failed. If `is_final`, trying again is of no use; a person has to connect again."""

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


@dataclass(frozen=True)
class Tokens:
    """What a vendor issued. `expires_in` is in seconds, or None if the vendor does not say."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None
    # The requested scopes that were not granted, or None if the vendor does not say (RFC 6749, section 5.1).
    missing_scopes: list[str] | None = None


def redirect_uri(app: App, integration: str) -> str:
    """Return the redirect URI of an integration, the same for every version (RFC 9700, 4.4)."""
    return f"{settings.BASE_URL}/oauth/callback/{app.slug}/{integration}"


class Vendor:
    """A vendor integration of an app, with the `values` that somebody filled in."""

    def __init__(self, app: App, name: str, integration: formats.Integration, values: Mapping[str, str]) -> None:
        self.app, self.name, self.integration = app, name, integration
        # Optional fields may be empty.
        given = {**dict.fromkeys(integration.oauth_iparams, ""), **values}
        self._values = {f"oauth_iparams.{key}": value for key, value in given.items()}
        self.options = integration.options

    def __repr__(self) -> str:
        return f"Vendor({self.app.slug}/{self.name})"

    def _fill(self, text: str) -> str:
        return expressions.parse(text).fill(self._values)

    def _url(self, text: str) -> str:
        """Fill in a URL. Values can add no path, query or host to it, nor lead to another path.

        Raises VendorError.
        """
        url = expressions.parse(text).fill(
            self._values, lambda value, _name: re.sub(r"[^A-Za-z0-9._~-]", _percent, value)
        )
        path = re.split(r"[?#]", url.partition("://")[2])[0]
        if {".", ".."} & {*path.split("/")}:
            raise VendorError(_("“.” or “..” cannot be a path segment of the vendor’s address."), is_final=True)
        return url

    def _is_written_out(self, text: str) -> bool:
        """Tell whether the package itself names the host of a URL, rather than a field that somebody fills in."""
        try:
            return hosts.split_url(expressions.parse(text))[1].is_literal
        except Misplaced:
            return False

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
        # A package may authenticate in its own way, which is then the only one (RFC 6749, section 2.3).
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
        client.register_client_auth_method(("client_secret_basic", _basic))
        for hook in ("access_token_response", "refresh_token_response"):
            client.register_compliance_hook(hook, _as_json)
        return client

    def _option(self, value: Any) -> str:
        return " ".join(self._fill(_text(each)) for each in (value if isinstance(value, list) else [value]))

    def authorization_url(self, state: str, verifier: str) -> str:
        """Return the URL to send a person to, with what the package's options add. Raises VendorError."""
        asked = {name: self._option(value) for name, value in self.options.items() if name not in OWN_OPTIONS}
        with self._client() as client:
            url, _state = client.create_authorization_url(
                self._url(self.integration.authorize_url),
                state=state,
                code_verifier=verifier if self.uses_pkce else None,
                scope=asked.pop("scope", None),
            )
        return add_params_to_uri(url, asked.items())

    def is_issuer(self, iss: str) -> bool:
        """Tell whether a returned `iss` is this vendor's (RFC 9207): as the package says, or of the same origin."""
        if issuer := self.options.get("issuer"):
            return iss == self._url(issuer)
        try:
            here, there = (urlsplit(url) for url in (self._url(self.integration.authorize_url), iss))
        except ValueError:
            return False
        return (here.scheme, here.netloc) == (there.scheme, there.netloc)

    def exchange(self, code: str, verifier: str) -> Tokens:
        """Exchange a code (RFC 6749, section 4.1.3). Raises VendorError."""
        more = {"code_verifier": verifier} if self.uses_pkce else {}
        return self._ask("fetch_token", code=code, **more)

    def refresh(self, refresh_token: str) -> Tokens:
        """Refresh the tokens (RFC 6749, section 6). Raises VendorError."""
        return self._ask("refresh_token", refresh_token=refresh_token)

    def _ask(self, method: str, **sent: Any) -> Tokens:
        try:
            with self._client() as client:
                answer = getattr(client, method)(self._url(self.integration.token_url), headers=self._headers(), **sent)
        except EgressError as error:
            raise VendorError(str(error)) from None
        except AuthlibBaseError as error:
            final = error.error not in _PASSING
            # Some vendors repeat what they refuse.
            hidden = (self._secret(), *sent.values())
            raise VendorError(said(error.error, error.description, hidden=hidden), is_final=final) from None
        except (*CLIENT_ERRORS, ValueError):
            raise VendorError(_("The vendor’s response could not be read.")) from None
        return _tokens(answer, _scopes(self._option(self.options.get("scope", ""))))

    def revoke(self, tokens: Mapping[str, Any], url: str) -> None:
        """Revoke the tokens (RFC 7009). Raises VendorError."""
        # The refresh token first: most vendors then end the access token too.
        for kind in ("refresh_token", "access_token"):
            if not tokens.get(kind):
                continue
            try:
                with self._client() as client:
                    answer = client.revoke_token(url, token=tokens[kind], token_type_hint=kind, headers=self._headers())
            except EgressError as error:
                raise VendorError(str(error)) from None
            except (AuthlibBaseError, *CLIENT_ERRORS, ValueError):
                raise VendorError(_("The vendor’s response could not be read.")) from None
            if answer.status_code >= 500 or answer.status_code == 429:
                raise VendorError(_("The vendor responded with status %(status)d.") % {"status": answer.status_code})

    def revocation_url(self, iss: str = "") -> str:
        """Return the vendor's revocation endpoint, or "" if it names none.

        The package says it, or the metadata of the vendor's issuer (RFC 8414): the package's `issuer`, the `iss` that came
        back with the code (RFC 9207), or else the origin of the token endpoint.
        """
        if given := self.options.get("revocation_url"):
            return self._url(given)
        token_url = self._url(self.integration.token_url)
        origin = _origin(token_url)
        # The client secret goes there too, which the person who fills in the fields may not know.
        urls = (self.integration.authorize_url, self.options.get("issuer") or "")
        trusted = {origin, *(_origin(self._url(url)) for url in urls if self._is_written_out(url))}
        deadline = time.monotonic() + LOOK_UP_SECONDS
        for issuer in dict.fromkeys(filter(None, [self._url(self.options.get("issuer") or ""), iss, origin])):
            for address in _metadata_urls(issuer):
                if (left := deadline - time.monotonic()) <= 0:
                    return ""
                try:
                    answer = send("GET", address, headers={"Accept": "application/json"}, within=min(5, left))
                    found = as_dict(json.loads(answer.body)) if answer.status == 200 else {}
                except (EgressError, ValueError, RecursionError):
                    continue
                url = found.get("revocation_endpoint")
                # Metadata of another issuer (RFC 8414, 3.3), or of one that issued none of these tokens, does not count.
                is_theirs = found.get("issuer") == issuer and found.get("token_endpoint", token_url) == token_url
                if is_theirs and isinstance(url, str) and _origin(url) in trusted & {origin, _origin(issuer)}:
                    return url
        return ""


def _origin(url: str) -> str:
    """Return the scheme and host of a URL, or "" if it is not a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _metadata_urls(issuer: str) -> list[str]:
    """Return where an issuer's metadata may be (RFC 8414, 3.1 and 5; OpenID Connect appends instead of inserting)."""
    origin = _origin(issuer)
    path = issuer.removeprefix(origin).rstrip("/")
    inserted = [f"{origin}/.well-known/{name}{path}" for name in ("oauth-authorization-server", "openid-configuration")]
    return [*inserted, f"{origin}{path}/.well-known/openid-configuration"] if path else inserted


def _basic(client: OAuth2Client, method: str, uri: str, headers: dict[str, str], body: Any) -> tuple[str, Any, Any]:
    """Send id and secret in HTTP Basic, each form-encoded first (RFC 6749, 2.3.1), which Authlib leaves out.

    A space is sent as %20, which servers that do not know "+" read too.
    """
    pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
    return uri, {**headers, "Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, body


def _scopes(text: str) -> frozenset[str]:
    """Return the scopes in a text; some vendors separate them by commas."""
    return frozenset(re.split(r"[\s,]+", text.strip())) - {""}


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def said(error: object, description: object, *, hidden: Iterable[str] = ()) -> str:
    """Return a vendor's words, shortened and without what no page should show. `hidden` are secrets to take out."""
    words = " ".join(str(part) for part in (error, description) if part)
    for secret in filter(None, hidden):
        words = words.replace(secret, "***")
    return re.sub(r"[^\x20-\x7e]|[<>]", " ", words)[:200].strip()


def words_of(problem: object, *, depth: int = 3) -> str:
    """Return the text in a vendor's error, which may be an object or a list, or "" if there is none."""
    if isinstance(problem, str | int) and not isinstance(problem, bool):
        return str(problem)
    if isinstance(problem, list):
        return words_of(problem[0], depth=depth) if problem else ""
    found = as_dict(problem)
    for name in (
        "message",
        "error_description",
        "description",
        "detail",
        "title",
        "reason",
        "error",
        "errors",
        "status",
    ):
        if depth and (text := words_of(found.get(name), depth=depth - 1)):
            return text
    return ""


def _as_json(response: Any) -> Any:
    """Read an answer of any form, and convert it to that of RFC 6749, section 5. Raises VendorError."""
    found = _read(response)
    if found.get("error"):
        # Some report errors with 200, and some as an object with words and a code of their own.
        told = found["error"]
        code = told if isinstance(told, str) else as_dict(told).get("status") or as_dict(told).get("code") or ""
        about = found.get("error_description") or ("" if isinstance(told, str) else told)
        return _made(response, {"error": str(code) or "error", "error_description": words_of(about)}, 400)
    if response.status_code >= 400:
        status, words = response.status_code, said(words_of(found), "")
        text = (
            _("The vendor responded with status %(status)d: %(words)s")
            if words
            else _("The vendor responded with status %(status)d.")
        )
        raise VendorError(text % {"status": status, "words": words})
    # _tokens reads it; Authlib would calculate with `expires_in`.
    tokens = {name: found.get(name) for name in ("access_token", "refresh_token")}
    more = {"portal_expires_in": str(found.get("expires_in")), "portal_scope": found.get("scope")}
    return _made(response, {**tokens, "expires_in": None, **more}, 200)


def _made(response: Any, value: Any, status: int) -> Any:
    return type(response)(status, json=value, request=response.request)


def _read(response: Any) -> dict[str, Any]:
    # Whatever its headers say about its encoding: some name one that does not exist.
    text = response.content.decode(errors="replace")
    try:
        return as_dict(json.loads(text))
    except (ValueError, RecursionError):
        is_form = re.fullmatch(r"[\w.~%+-]+=[^\s<>]*", text.strip()) and len(text) < 64 * 1024
        return dict(parse_qsl(text.strip(), max_num_fields=50)) if is_form else {}


def _tokens(answer: Mapping[str, Any], asked: frozenset[str]) -> Tokens:
    access, refresh = answer.get("access_token"), answer.get("refresh_token")
    if not _is_token(access):
        raise VendorError(_("The vendor’s response has no access token."))
    expires = answer.get("portal_expires_in")
    seconds = re.fullmatch(r"(\d{1,9})(\.\d+)?", str(expires))
    return Tokens(
        access_token=str(access),
        refresh_token=str(refresh) if _is_token(refresh) else None,
        expires_in=int(seconds[1]) if seconds else None,
        missing_scopes=sorted(asked - granted) if (granted := _granted(answer.get("portal_scope"))) else None,
    )


def _granted(scope: object) -> frozenset[str] | None:
    if isinstance(scope, list):
        scope = " ".join(str(each) for each in scope)
    return _scopes(scope) if isinstance(scope, str) and scope.strip() else None


def _is_token(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and re.fullmatch(r"[\x21-\x7e]+", value) is not None


def when_to_refresh(expires_in: int | None, *, has_refresh_token: bool) -> dt.timedelta | None:
    """Return how long to wait before refreshing an access token: until a tenth of its life, or 5 minutes, before its end."""
    if expires_in is None or not has_refresh_token:
        return None
    return dt.timedelta(seconds=max(0, expires_in - min(300, max(30, expires_in // 10))))
