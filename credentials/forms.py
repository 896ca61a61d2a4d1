from collections.abc import Iterable
from itertools import groupby
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import Team
from portal.foundation.text import Textarea, validate_readable

from .actions import MAX_OVERLAP_HOURS
from .models import Kind, Level, Scope
from .redirect_uris import validate


class RedirectUris(forms.CharField):
    """One redirect URL a line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            label=_("Redirect URLs"),
            required=False,
            max_length=12000,
            widget=Textarea(attrs={"rows": 3, "spellcheck": "false", "autocapitalize": "none"}),
            help_text=_(
                "One per line. Use https://, or http:// only for 127.0.0.1, [::1] or localhost. URLs are matched character by character."
            ),
            **kwargs,
        )

    def clean(self, value: Any) -> list[str]:
        """Return the list; report the problems of all URLs at once. The action checks again."""
        values = super().clean(value).split()
        problems = []
        for each in values:
            try:
                validate(each)
            except forms.ValidationError as error:
                problems += error.messages
        if problems:
            raise forms.ValidationError(problems)
        return values


class ClientForm(forms.Form):
    team = forms.ModelChoiceField(Team.objects.none(), label=_("Team"), empty_label=None)
    name = forms.CharField(
        label=_("Name"),
        max_length=60,
        validators=[validate_readable],
        help_text=_("People see this name when they agree. You cannot change it later."),
    )
    description = forms.CharField(
        label=_("Description"), max_length=500, required=False, widget=Textarea(attrs={"rows": 2})
    )
    redirect_uris = RedirectUris()
    level = forms.ChoiceField(label=_("Who authorizes"), choices=Level, widget=forms.RadioSelect, initial=Level.ACCOUNT)
    kind = forms.ChoiceField(
        label=_("Where the app runs"),
        choices=[
            (Kind.PLATFORM, _("Marketplace: accounts install it from here")),
            (Kind.EXTERNAL, _("External: it runs elsewhere and is not listed here")),
        ],
        widget=forms.RadioSelect,
        initial=Kind.PLATFORM,
    )

    def __init__(self, *args: Any, teams: QuerySet[Team], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = teams  # type: ignore[attr-defined]
        if len(teams) == 1:
            self.fields["team"].widget = forms.HiddenInput()


class ChangeClientForm(forms.Form):
    redirect_uris = RedirectUris()
    description = forms.CharField(
        label=_("Description"), max_length=500, required=False, widget=Textarea(attrs={"rows": 2})
    )


class RotateForm(forms.Form):
    overlap_hours = forms.IntegerField(
        label=_("Hours the current secret keeps working"),
        min_value=0,
        max_value=MAX_OVERLAP_HOURS,
        initial=24,
        help_text=_("0 to 168. With 0, it stops working immediately."),
    )


def chosen_scopes(data: Any) -> dict[str, Any]:
    """Return {scope name: justification} of a posted scope picker."""
    return {name: data.get(f"why:{name}", "") for name in data.getlist("scope")}


def scope_picker(chosen: dict[str, str] | None = None, held: Iterable[str] = ()) -> list[Any]:
    """Return the registry for the picker, without deprecated scopes: [(product, [(resource, [row, …]), …]), …]."""
    chosen = chosen or {}
    scopes: list[Any] = list(Scope.objects.filter(deprecated_at=None).exclude(name__in=held).select_related("product"))
    for scope in scopes:
        scope.is_chosen = scope.name in chosen
        scope.justification = chosen.get(scope.name, "")
        needs_why = scope.risk_level.needs_justification
        scope.lacks_why = scope.is_chosen and needs_why and not scope.justification.strip()
        scope.resource = [*scope.name.split("."), ""][1].replace("_", " ")
    scopes.sort(key=lambda scope: (scope.product.name, scope.resource, scope.name))
    return [
        (product, [(resource, list(rows)) for resource, rows in groupby(group, key=lambda scope: scope.resource)])
        for product, group in groupby(scopes, key=lambda scope: scope.product)
    ]
