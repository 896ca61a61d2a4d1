"""Validate what people fill in for a package's fields. Every value is a text, as templates use it."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from portal.foundation.text import describe

from ..package import formats
from ..package.contents import Contents

_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def clean(
    fields: Mapping[str, formats.OAuthParameter], given: Mapping[str, str], kept: Mapping[str, str]
) -> dict[str, str]:
    """Return the values to store. A secret left empty stays as it was. Raises ValidationError, by field."""
    values, errors = {}, {}
    for name, field in fields.items():
        text = given.get(name, "").strip()
        if not text and field.secure:
            text = kept.get(name, "")
        if text:
            try:
                _check_oauth_parameter(field, text)
                values[name] = text
            except ValidationError as error:
                errors[name] = error
        elif field.required:
            errors[name] = ValidationError(_("Fill this in."))
    if errors:
        raise ValidationError(errors)
    return values


def missing(fields: Mapping[str, formats.OAuthParameter], values: Mapping[str, str]) -> bool:
    return any(field.required and not values.get(name) for name, field in fields.items())


def lacks_credentials(contents: Contents, integration: str, values: Mapping[str, str]) -> bool:
    """Tell whether agents cannot connect until an admin has filled in the app's credentials at the vendor."""
    asked = {key: field for key, field in contents.fields.items() if key.startswith(f"{integration}.")}
    return missing(asked, values)


def _check_oauth_parameter(field: formats.OAuthParameter, text: str) -> None:
    """Raise ValidationError unless a text is of its field's type."""
    if len(text) > formats.MAX_VALUE:
        raise ValidationError(_("Enter at most %(most)d characters.") % {"most": formats.MAX_VALUE})
    allowed = "\r\n\t" if field.type == "paragraph" else ""
    if wrong := next((each for each in text if not each.isprintable() and each not in allowed), ""):
        raise ValidationError(
            _("This has a character that cannot be used: %(character)s.") % {"character": describe(wrong)}
        )
    options = getattr(field, "options", [])
    match field.type:
        case "number" if not _is_number(text):
            raise ValidationError(_("Enter a number."))
        case "email":
            validate_email(text)
        case "url":
            URLValidator(["https", "http"])(text)
        case "domain" if not _DOMAIN.fullmatch(text):
            raise ValidationError(_("Enter a domain name such as acme.example.com, without https://."))
        case "date" if not _is_date(text):
            raise ValidationError(_("Enter a date, such as 2026-11-30."))
        case "checkbox" if text != "true":
            raise ValidationError(_("Check this box or leave it unchecked."))
        case "dropdown" | "radio" if text not in options:
            raise ValidationError(_("Choose an option from the list."))
        case "multiselect" if not {*text.split(",")} <= {*options}:
            raise ValidationError(_("Choose only options from the list."))


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _is_date(text: str) -> bool:
    try:
        return parse_date(text) is not None
    except ValueError:
        return False
