"""Explain what is wrong with the shape of a file, in our own words: where, what, and how to fix it."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.utils.translation import gettext as _
from pydantic import BaseModel, ValidationError

from portal.foundation.text import describe

from . import formats

Found = tuple[tuple[str | int, ...], str, str]
Suggest = Callable[[str, Iterable[str], str], str]

# What the portal sets itself as a vendor's client.
_OURS = {
    "response_type", "response_mode", "grant_type", "redirect_uri", "redirect_url", "callback_url", "state", "nonce",
    "code_challenge", "code_challenge_method", "code_verifier",
}  # fmt: skip
_OPTIONS = {
    "scope", "scopes", "optional_scope", "access_type", "prompt", "audience", "resource", "customHeaders", "pkce",
    "client_authentication", "issuer", "revocation_url",
}  # fmt: skip


def explain(model: type[BaseModel], value: Any, suggest: Suggest) -> Iterator[Found]:
    """Yield what is wrong with a value: where, what, and how to fix it."""
    try:
        model.model_validate(value)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_input=True):
            yield _explain(model, error, suggest)


def _explain(model: type[BaseModel], error: Any, suggest: Suggest) -> Found:
    # Pydantic marks an error of a key itself with a step that is not part of the document.
    is_key = error["loc"][-1:] == ("[key]",)
    loc = tuple(part for part in error["loc"] if part != "[key]")
    context = error.get("ctx", {})
    name = str(loc[-1] if loc else "")[:100]
    match error["type"]:
        case "missing":
            return loc, _("“%(name)s” is missing.") % {"name": name}, _("Add it.")
        case "extra_forbidden":
            return loc, *_unknown(model, loc, name, suggest)
        case "literal_error":
            values = ", ".join(f"“{each}”" for each in re.findall(r"'([^']*)'", context["expected"]))
            return (
                loc,
                _("“%(name)s” has a value that the format does not allow.") % {"name": name},
                _("Use one of: %(values)s.") % {"values": values},
            )
        case "string_pattern_mismatch" if is_key:
            return loc, *_name(str(loc[-1]), with_hyphens="_-]" in context["pattern"])
        case "string_pattern_mismatch":
            return loc, _("“%(name)s” is not a version that the portal supports.") % {"name": name}, _("Write “3.0”.")
        case "string_too_long":
            bounds = {"name": name, "most": context["max_length"]}
            return loc, _("“%(name)s” is longer than %(most)d characters.") % bounds, _("Make it shorter.")
        case "string_too_short":
            return loc, _("This is empty."), _("Fill it in, or remove it.")
        case "greater_than_equal" | "less_than_equal":
            least, most = (1, formats.MAX_ATTEMPTS) if name == "maxAttempts" else (0, formats.MAX_DELAY)
            fix = _("Use a number from %(least)d to %(most)d.") % {"least": least, "most": most}
            return loc, _("“%(name)s” is out of range.") % {"name": name}, fix
        case "value_error":
            return loc, str(context.get("error", "")), _("Write it without that character.")
    if not (what := _types().get(error["type"])):
        return (
            loc,
            _("“%(name)s” does not match the format.") % {"name": name},
            _("Compare it with the example in the documentation."),
        )
    message = (
        _("“%(name)s” has the wrong type.") % {"name": name}
        if loc
        else _("The file does not have the expected content.")
    )
    return loc, message, _("Write %(what)s.") % {"what": what}


def _types() -> dict[str, str]:
    return {
        "string_type": _("a string in double quotes"),
        "bool_type": _("true or false"),
        "int_type": _("a whole number"),
        "int_from_float": _("a whole number"),
        "list_type": _("a list: […]"),
        "dict_type": _("an object: {…}"),
        "model_type": _("an object: {…}"),
    }


def _name(name: str, *, with_hyphens: bool) -> tuple[str, str]:
    """Explain why a name cannot be used in an address (with hyphens) or in a template."""
    wrong = re.search(r"[^A-Za-z0-9_-]" if with_hyphens else r"[^A-Za-z0-9_]", name)
    if not name:
        why = _("it is empty")
    elif wrong:
        why = _("it contains %(character)s") % {"character": describe(wrong[0])}
    elif len(name) > 50:
        why = _("it is longer than 50 characters")
    else:
        why = _("it does not start with a letter")
    return (
        _("“%(name)s” is not a valid name: %(why)s.") % {"name": name[:100], "why": why},
        _("Start with a letter, and use at most 50 letters, digits, “_” and “-”.")
        if with_hyphens
        else _("Start with a letter or “_”, and use at most 50 letters, digits and “_”."),
    )


def _unknown(model: type[BaseModel], loc: tuple[str | int, ...], name: str, suggest: Suggest) -> tuple[str, str]:
    """Explain a key that the format does not allow here."""
    here: type[BaseModel] = model
    homes: dict[str, set[str]] = {}
    if model is formats.Requests:
        at = str(loc[1]) if len(loc) > 2 else ""
        levels: dict[str, type[BaseModel]] = {"schema": formats.RequestSchema, "options": formats.RequestOptions}
        here = levels.get(at, formats.RequestTemplate)
        homes = {"schema": _keys(formats.RequestSchema), "options": _keys(formats.RequestOptions)}
        if name == "body":
            return _("A template cannot have a body."), _("Remove it. Whoever calls the template sends the body.")
        if name == "isOAuth":
            return (
                _("“%(name)s” belongs to the 2.x format.") % {"name": name},
                _("Write “oauth” with the name of the integration instead."),
            )
    elif model is formats.OAuthConfig:
        here = formats.OAuthConfig if len(loc) < 2 else formats.Integration
        homes = {"options": _OPTIONS} if len(loc) > 1 else {"integrations/…": _keys(formats.Integration)}
        if name in _OURS:
            return _("The portal sends “%(name)s” itself.") % {"name": name}, _("Remove it.")
    for home, keys in homes.items():
        if name in keys:
            return (
                _("“%(name)s” belongs in “%(home)s”, not here.") % {"name": name, "home": home},
                _("Move it there."),
            )
    message = _("The format does not allow “%(name)s” here.") % {"name": name}
    return message, suggest(name, sorted(_keys(here)), _("Remove it."))


def _keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}
