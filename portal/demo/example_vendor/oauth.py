"""The vendor's OAuth server on Authlib: what Authlib asks a server to store, and where switches change its behaviour."""

import hmac
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, parse_qsl

from authlib.oauth2 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749 import ClientMixin, InvalidRequestError, InvalidScopeError, OAuth2Payload, TokenMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from pydantic import BaseModel, ConfigDict

from .serving import Answer, Call

if TYPE_CHECKING:
    from .vendor import Vendor

CODE_SECONDS = 60
AUTH_METHODS = {"basic": ["client_secret_basic"], "post": ["client_secret_post"]}
AUTH_METHODS["either"] = AUTH_METHODS["basic"] + AUTH_METHODS["post"]
# Authlib splits scopes at spaces. Swapped with commas both ways, a space becomes part of a scope, which is then unknown.
SWAP = str.maketrans(", ", " ,")


class Client(BaseModel, ClientMixin):
    model_config = ConfigDict(extra="forbid")

    client_id: str
    client_secret: str
    redirect_uris: list[str]

    def get_default_redirect_uri(self) -> str | None:
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method != "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


@dataclass
class Code:
    value: str
    client_id: str
    person: str
    scope: str
    redirect_uri: str | None
    code_challenge: str | None
    code_challenge_method: str | None
    expires_at: float

    def get_redirect_uri(self) -> str | None:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token(TokenMixin):
    """An access or refresh token; those of one consent share a grant. Revoked tokens are removed."""

    kind: Literal["access", "refresh"]
    value: str
    grant: str
    client_id: str
    person: str
    scope: str
    expires_at: float | None = None

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return self.expires_at is not None and time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        return False


class Payload(OAuth2Payload):
    data: dict[str, str] = {}
    datalist: dict[str, list[str]] = {}
    comma = False

    @property
    def scope(self) -> str | None:
        scope = self.data.get("scope")
        return scope.translate(SWAP) if scope and self.comma else scope


class Request(OAuth2Request):
    args: dict[str, str] = {}
    form: dict[str, str] = {}

    def __init__(self, call: Call, base: str, comma: bool) -> None:
        super().__init__(call.method, base + call.target, headers=call.headers)
        self.args, self.form = (dict(parse_qsl(text, keep_blank_values=True)) for text in (call.query, call.form))
        self.payload = Payload()
        self.payload.data = self.args | self.form
        self.payload.datalist = parse_qs("&".join(filter(None, [call.query, call.form])), keep_blank_values=True)
        self.payload.comma = comma


class CodeGrant(AuthorizationCodeGrant):
    def save_authorization_code(self, code: str, request: Request) -> None:
        vendor, data = self.server.vendor, request.payload.data
        granted = vendor.switches.granted
        vendor.codes[code] = Code(
            value=code,
            client_id=request.client.client_id,
            person=request.user,
            scope=request.scope if granted is None else " ".join(granted),
            redirect_uri=request.payload.redirect_uri,
            code_challenge=data.get("code_challenge"),
            code_challenge_method=data.get("code_challenge_method"),
            expires_at=time.time() + CODE_SECONDS,
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found = self.server.vendor.codes.get(code)
        return found if found and found.client_id == client.client_id and found.expires_at > time.time() else None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        del self.server.vendor.codes[authorization_code.value]

    def authenticate_user(self, authorization_code: Code) -> str:
        return authorization_code.person


class Pkce(CodeChallenge):
    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]
    DEFAULT_CODE_CHALLENGE_METHOD = "S256"

    def validate_code_challenge(self, grant: CodeGrant, redirect_uri: str) -> None:
        policy, given = grant.server.vendor.switches.pkce, "code_challenge" in grant.request.payload.data
        if policy == ("refused" if given else "required"):
            raise InvalidRequestError(f"code_challenge is {policy} here")
        super().validate_code_challenge(grant, redirect_uri)


class RefreshGrant(RefreshTokenGrant):
    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:
        return self.server.vendor.switches.refresh == "rotated"

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        found = self.server.vendor.tokens.get(refresh_token)
        return found if found and found.kind == "refresh" and not self.server.vendor.switches.refresh_refused else None

    def authenticate_user(self, refresh_token: Token) -> str:
        return refresh_token.person

    def issue_token(self, user: str, refresh_token: Token) -> dict[str, Any]:
        token = super().issue_token(user, refresh_token)
        return token | ({"refresh_token": refresh_token.value} if self.server.vendor.switches.refresh == "kept" else {})

    def revoke_old_credential(self, refresh_token: Token) -> None:
        if self.INCLUDE_NEW_REFRESH_TOKEN:
            self.server.vendor.end(lambda token: token is refresh_token)


class Revocation(RevocationEndpoint):
    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        return self.server.vendor.tokens.get(token_string)

    def revoke_token(self, token: Token, request: Request) -> None:
        self.server.vendor.end(lambda other: other is token or (token.kind == "refresh" and other.grant == token.grant))


class Issuer(IssuerParameter):
    def __init__(self, vendor: "Vendor") -> None:
        self.vendor = vendor

    def get_issuer(self) -> str | None:
        return {
            "correct": self.vendor.url + self.vendor.switches.issuer_path,
            "wrong": "https://another-vendor.example",
        }.get(self.vendor.switches.iss)


class Server(AuthorizationServer):
    def __init__(self, vendor: "Vendor") -> None:
        super().__init__()
        self.vendor = vendor
        self.register_token_generator("default", self.generate)
        self.register_grant(CodeGrant, [Pkce()])
        self.register_grant(RefreshGrant)
        self.register_endpoint(Revocation)
        self.register_extension(Issuer(vendor))

    def generate(self, scope: str, include_refresh_token: bool, **others: Any) -> dict[str, Any]:
        token = {"access_token": secrets.token_urlsafe(24), "token_type": "Bearer", "scope": scope}
        if include_refresh_token and self.vendor.switches.refresh != "none":
            token["refresh_token"] = secrets.token_urlsafe(24)
        return token

    def save_token(self, token: dict[str, Any], request: Request) -> None:
        old, client_id = request.refresh_token, request.client.client_id
        grant = old.grant if old else secrets.token_hex(8)
        for kind, ends, scope in (
            ("access", time.time() + self.vendor.switches.lifetime, token["scope"]),
            ("refresh", None, old.scope if old else token["scope"]),
        ):
            if value := token.get(f"{kind}_token"):
                self.vendor.tokens[value] = Token(kind, value, grant, client_id, request.user, scope, ends)
        # An expired token looks like one that never existed.
        self.vendor.end(Token.is_expired)

    def query_client(self, client_id: str) -> Client | None:
        return self.vendor.clients.get(client_id)

    def authenticate_client(self, request: Request, methods: list[str], endpoint: str = "token") -> Client:
        return super().authenticate_client(request, AUTH_METHODS[self.vendor.switches.client_auth], endpoint)

    def validate_requested_scope(self, scope: str | None) -> None:
        if not set((scope or "").split()) <= set(self.vendor.switches.scopes):
            raise InvalidScopeError()

    def create_oauth2_request(self, request: Call | Request) -> Request:
        if isinstance(request, Request):
            return request
        return Request(request, self.vendor.url, self.vendor.switches.scope_separator == "comma")

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Answer:
        return Answer(status, body, dict(headers))

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        pass


class Bearer(BearerTokenValidator):
    def __init__(self, vendor: "Vendor") -> None:
        super().__init__()
        self.vendor = vendor

    def authenticate_token(self, token_string: str) -> Token | None:
        found = self.vendor.tokens.get(token_string)
        return found if found and found.kind == "access" else None
