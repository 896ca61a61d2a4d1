"""How the vendor behaves; by default it follows the standards."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt


class Fault(BaseModel):
    """How an endpoint fails for its next `times` calls, or until changed. Without a status it is only late."""

    model_config = ConfigDict(extra="forbid")

    times: PositiveInt | None = None
    after: bool = False  # do what is asked, but lose the answer
    seconds: float = 0
    status: int | None = None  # 0 hangs up
    headers: dict[str, str] = {}
    body: str = ""
    repeat: int = 1  # send the body this many times, without a length
    pause: float = 0  # seconds between them


class Switches(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # The authorization endpoint.
    person: str = "Robin Example"
    auto: Literal["ask", "allow", "deny", "error"] = "ask"
    iss: Literal["correct", "none", "wrong"] = "correct"
    issuer_path: str = ""  # some have one issuer for each customer
    pkce: Literal["optional", "required", "refused"] = "optional"
    scopes: list[str] = ["read", "write"]
    scope_separator: Literal["space", "comma"] = "space"
    granted: list[str] | None = None  # what the person allows, if less than was requested
    # The token endpoint.
    client_auth: Literal["either", "basic", "post"] = "either"
    token_headers: dict[str, str] = {}  # parameters that must be sent, with these values
    token_body: Literal["json", "form"] = "json"
    scope_returned: bool = True
    lifetime: int = 3600
    expires_in: Literal["number", "string", "missing"] = "number"
    refresh: Literal["rotated", "kept", "unreturned", "none"] = "rotated"
    refresh_refused: bool = False
    error_body: Literal["json", "object", "form", "html", "text", "empty"] = "json"
    error_status: int | None = None  # some answer 200
    token_fault: Fault | None = None
    # The revocation endpoint, and the API.
    revocation: Literal["present", "absent", "refused"] = "present"
    revoke_fault: Fault | None = None
    api_fault: Fault | None = None
