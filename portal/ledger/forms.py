"""The filters of the ledger's page that people type."""

import datetime as dt
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext_lazy as _

# Days that any time zone can tell.
_DAYS = [MinValueValidator(dt.date(2000, 1, 1)), MaxValueValidator(dt.date(2999, 12, 31))]


class _Day(forms.DateField):
    widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})

    def __init__(self, **more: Any) -> None:
        super().__init__(required=False, input_formats=["%Y-%m-%d"], validators=_DAYS, **more)


class FilterForm(forms.Form):
    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("App, person or permission")}),
    )
    app = forms.CharField(
        label=_("App"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"list": "apps", "autocomplete": "off"}),
    )
    since = _Day(label=_("From"))
    until = _Day(label=_("Until"))

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or {}
        since, until = chosen.get("since"), chosen.get("until")
        if since and until and until < since:
            self.add_error("until", _("Choose the same day or a later one."))
        return chosen
