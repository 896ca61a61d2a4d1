"""The files of an app package, in the 3.x format; keys and their values are that platform's, `optional_scope` and `agents` ours."""

from typing import Annotated, Any, Literal

from django.core.exceptions import ValidationError as DjangoValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StringConstraints

from portal.foundation.text import validate_readable

from .archive import IPARAMS, MANIFEST, OAUTH, REQUESTS
from .expressions import MAX_LENGTH as MAX_VALUE

# Names of integrations appear in URLs, names of fields in templates.
Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,49}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,49}$")]
Value = Annotated[str, StringConstraints(max_length=MAX_VALUE)]


def _readable(text: str) -> str:
    try:
        validate_readable(text)
    except DjangoValidationError as error:
        raise ValueError(error.message) from None
    return text


# Shown to admins and agents.
Label = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_readable)]
FieldType = Literal[
    "text", "paragraph", "number", "email", "url", "domain", "phone_number", "date", "checkbox", "dropdown", "radio",
    "multiselect", "api_key",
]  # fmt: skip
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
Protocol = Literal["https", "http"]
TokenType = Literal["account", "agent"]
MAX_INTEGRATIONS = 3
MAX_TEMPLATES = 100
# Fields in one form, and headers or parameters of one template.
MAX_FIELDS = 100
MAX_ATTEMPTS = 5
# Milliseconds.
MAX_DELAY = 1500


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class OAuthParameter(_Strict):
    """May have more keys than are used here; the checks warn about unknown ones."""

    model_config = ConfigDict(extra="allow")

    display_name: Label
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    type: FieldType = "text"
    required: bool = False
    secure: bool = False
    default_value: Any = None
    options: list[str] = []


class Integration(_Strict):
    display_name: Label
    client_id: Value
    client_secret: Value | None = None
    authorize_url: Value
    token_url: Value
    token_type: TokenType
    options: dict[str, Any] = {}
    oauth_iparams: dict[Identifier, OAuthParameter] = {}


class OAuthConfig(_Strict):
    integrations: dict[Slug, Integration]


class RequestSchema(_Strict):
    protocol: Protocol = "https"
    method: Method
    host: Value
    path: Value = "/"
    headers: dict[Annotated[str, StringConstraints(max_length=100)], Value] = {}
    query: dict[Annotated[str, StringConstraints(max_length=100)], Value] = {}


class RequestOptions(_Strict):
    oauth: str | None = None
    max_attempts: int = Field(1, alias="maxAttempts", ge=1, le=MAX_ATTEMPTS)
    retry_delay: int = Field(0, alias="retryDelay", ge=0, le=MAX_DELAY)
    # Whether agents may call a template of an account-level integration.
    agents: bool = False


class RequestTemplate(_Strict):
    request: RequestSchema = Field(alias="schema")
    options: RequestOptions = Field(default_factory=lambda: RequestOptions.model_validate({}))


class Requests(RootModel[dict[Slug, RequestTemplate]]):
    pass


class InstallField(OAuthParameter):
    pass


class InstallFields(RootModel[dict[Identifier, InstallField]]):
    pass


class Manifest(_Strict):
    """May have more keys than are used here; the checks warn about unknown ones."""

    model_config = ConfigDict(extra="allow")

    platform_version: Annotated[str, StringConstraints(pattern=r"^3\.\d{1,3}$")] = Field(alias="platform-version")
    modules: dict[str, dict[str, Any]]
    engines: dict[str, str]


MODELS: dict[str, type[BaseModel]] = {
    MANIFEST: Manifest,
    OAUTH: OAuthConfig,
    REQUESTS: Requests,
    IPARAMS: InstallFields,
}
