"""The root of all refusals, and how a form shows them."""

from django import forms
from django.core.exceptions import ValidationError


class Refused(Exception):
    """An action that the rules do not allow; its text says why, for people."""

    # The field of a form that it is about.
    field = ""


def add_errors(form: forms.BaseForm, error: Exception) -> None:
    """Put an action's refusal on the form, beside its field if it names one."""
    if isinstance(error, ValidationError) and hasattr(error, "error_dict"):
        for name, problems in error.error_dict.items():
            form.add_error(name if name in form.fields else None, problems)
    elif isinstance(error, ValidationError):
        form.add_error(None, error.messages)
    else:
        field = getattr(error, "field", "")
        form.add_error(field if field in form.fields else None, str(error))


def in_words(error: Exception) -> str:
    """Return an action's refusal as one text, where there is no form to put it on."""
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
