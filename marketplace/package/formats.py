"""The files of an app package, in the 3.x format; keys and their values are that platform's, `optional_scope` and `agents` ours."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal

from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils.translation import gettext as _
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StringConstraints, ValidationError

from portal.text import validate_readable

from ..expressions import MAX_LENGTH as MAX_VALUE
from .archive import IPARAMS, MANIFEST, OAUTH, REQUESTS

# Names of integrations stand in addresses; names of fields, in templates.
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
MAX_INTEGRATIONS = 3
MAX_TEMPLATES = 100
# Of fields that are asked for in one place, and of headers and of parameters of one template.
MAX_FIELDS = 100
MAX_ATTEMPTS = 5


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class OAuthParameter(_Strict):
    display_name: Label
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    type: FieldType = "text"
    required: bool = False
    secure: bool = False


class Integration(_Strict):
    display_name: Label
    client_id: Value
    client_secret: Value | None = None
    authorize_url: Value
    token_url: Value
    token_type: Literal["account", "agent"]
    options: dict[str, Any] = {}
    oauth_iparams: dict[Identifier, OAuthParameter] = {}


class OAuthConfig(_Strict):
    integrations: dict[Slug, Integration]


class RequestSchema(_Strict):
    protocol: Literal["https", "http"] = "https"
    method: Method
    host: Value
    path: Value = "/"
    headers: dict[Annotated[str, StringConstraints(max_length=100)], Value] = {}
    query: dict[Annotated[str, StringConstraints(max_length=100)], Value] = {}


class RequestOptions(_Strict):
    oauth: str | None = None
    max_attempts: int = Field(1, alias="maxAttempts", ge=1, le=MAX_ATTEMPTS)
    # Milliseconds.
    retry_delay: int = Field(0, alias="retryDelay", ge=0, le=1500)
    # Whether agents may call a template of an account-level integration.
    agents: bool = False


class RequestTemplate(_Strict):
    request: RequestSchema = Field(alias="schema")
    options: RequestOptions = Field(default_factory=lambda: RequestOptions.model_validate({}))


class Requests(RootModel[dict[Slug, RequestTemplate]]):
    pass


class InstallField(OAuthParameter):
    """May have more keys than are used here; the checks warn of them."""

    model_config = ConfigDict(extra="allow")

    default_value: Any = None
    options: list[str] = []


class InstallFields(RootModel[dict[Identifier, InstallField]]):
    pass


class Manifest(_Strict):
    """May have more keys than are used here; the checks warn of those that no one knows."""

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
Found = tuple[tuple[str | int, ...], str, str]


def explain(model: type[BaseModel], value: Any, suggest: Callable[[str, Iterable[str], str], str]) -> Iterator[Found]:
    """What is wrong with a value: where, what, and how to mend it."""
    try:
        model.model_validate(value)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_input=True):
            yield _explain(model, error, suggest)


def _explain(model: type[BaseModel], error: Any, suggest: Callable[[str, Iterable[str], str], str]) -> Found:
    # Pydantic marks an error of a key itself with a step that is no part of the document.
    place = tuple(part for part in error["loc"] if part != "[key]")
    name, context = (place[-1] if place else ""), error.get("ctx", {})
    match error["type"]:
        case "missing":
            return place, _("“%(name)s” is missing.") % {"name": name}, _("Add it.")
        case "extra_forbidden":
            fix = suggest(str(name), _keys(model), _("Remove it."))
            return place, _("“%(name)s” is not known here.") % {"name": name}, fix
        case "literal_error":
            return (
                place,
                _("“%(name)s” has a value that is not known.") % {"name": name},
                _("Use one of: %(values)s.") % {"values": context["expected"]},
            )
        case "string_pattern_mismatch" if error["loc"][-1] == "[key]":
            return (
                place,
                _("“%(name)s” is not a good name.") % {"name": name},
                _("Begin with a letter, and use letters, digits and “_”, 50 at most."),
            )
    return place, f"{error['msg']}.", _("Write it as the format asks.")


@cache
def _keys(model: type[BaseModel]) -> set[str]:
    """Every key that a model and those within it know."""
    schema = model.model_json_schema(by_alias=True)
    parts = [schema, *schema.get("$defs", {}).values()]
    return {key for part in parts for key in part.get("properties", {})}
