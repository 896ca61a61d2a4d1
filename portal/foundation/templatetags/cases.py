"""Sentence case for texts of packages that write titles."""

import re

from django import forms, template
from django.utils.safestring import SafeData, mark_safe

register = template.Library()

# A capital within a text that begins a word of small letters.
_CAPITAL = re.compile(r"(?<=[\w)][ -])[A-Z](?=[a-z]+\b)")


@register.filter
def sentence_case(text: str) -> str:
    """Return a title as a sentence begins: “Add Email Address” becomes “Add email address”, and OAuth stays."""
    changed = _CAPITAL.sub(lambda capital: capital[0].lower(), text.strip())
    return mark_safe(changed) if isinstance(text, SafeData) else changed  # noqa: S308 (only letters changed)


@register.filter
def sentence_labels(form: forms.BaseForm) -> forms.BaseForm:
    """Put the labels and placeholders of a form in sentence case."""
    for field in form.fields.values():
        field.label = field.label and sentence_case(str(field.label))
        if placeholder := field.widget.attrs.get("placeholder"):
            field.widget.attrs["placeholder"] = sentence_case(str(placeholder))
    return form
