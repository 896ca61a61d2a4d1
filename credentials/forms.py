import re
from collections.abc import Iterable
from itertools import combinations, groupby
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import Team
from portal.foundation.sections import Sectioned
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


class ScopesForm(forms.Form):
    """The scopes that are ticked in a picker, each with why the app needs it; no picker offers those `held` already."""

    def __init__(
        self, data: Any = None, *, held: Iterable[str] = (), ticked: Iterable[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(data, **kwargs)
        self.chosen = chosen_scopes(data) if data else dict.fromkeys(ticked, "")
        self.picker = scope_picker(self.chosen, held)
        rows = (scope for _product, groups in self.picker for _title, scopes in groups for scope in scopes)
        self.ticked = [scope for scope in rows if scope.is_chosen]

    def clean(self) -> dict[str, Any]:
        why = _("Explain why the app needs this. People will read your answer.")
        lacking = [
            format_html('<a href="#why-of-{}">{}</a>: {}', scope.pk, scope.sentence, why)
            for scope in self.ticked
            if scope.lacks_why
        ]
        if lacking:
            raise forms.ValidationError(lacking)
        return super().clean() or {}


class ClientForm(Sectioned, ScopesForm):
    SECTIONS = (
        (_("What people see"), None),
        (_("How the app works"), ("kind", "level", "redirect_uris")),
    )
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
    # None of these is preselected, since they never change (C4).
    level = forms.ChoiceField(
        label=_("Who authorizes"),
        choices=[
            (
                Level.ACCOUNT,
                _(
                    "An account admin, for the whole account: reports, synchronization, workflows, anything that runs by itself"
                ),
            ),
            (
                Level.AGENT,
                _(
                    "Each agent, for themselves: anything that the app does on one person’s behalf, with what that person may see"
                ),
            ),
        ],
        widget=forms.RadioSelect,
        help_text=_("You cannot change this later."),
    )
    kind = forms.ChoiceField(
        label=_("Where the app runs"),
        choices=[
            (Kind.PLATFORM, _("Marketplace: you want customers to find it here, and their admins to install it")),
            (
                Kind.EXTERNAL,
                _("External: it is a script, a workflow or a product of your own that sends people here only to agree"),
            ),
        ],
        widget=forms.RadioSelect,
        help_text=_("You cannot change this later."),
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


# Words of scopes' names that no sentence spells out.
_ACRONYMS = {"api", "hr", "id", "pir", "sla", "url"}


def _title(resource: str, scopes: Iterable[Any]) -> str:
    """Return the title of a group of scopes: the resource in their names, written as their sentences write it."""
    letters = resource.replace("_", "").lower()
    for scope in scopes:
        words = scope.sentence.split()
        for first, last in combinations(range(len(words) + 1), 2):
            phrase = " ".join(words[first:last])
            if re.sub("[^a-z0-9]", "", phrase.lower()) == letters:
                return phrase[:1].upper() + phrase[1:]
    words = [word.upper() if word in _ACRONYMS else word for word in resource.split("_")]
    return " ".join(words)[:1].upper() + " ".join(words)[1:]


def scope_picker(chosen: dict[str, str] | None = None, held: Iterable[str] = ()) -> list[Any]:
    """Return the registry for the picker, without deprecated scopes: [(product, [(title, [row, …]), …]), …]."""
    chosen = chosen or {}
    scopes: list[Any] = list(Scope.objects.filter(deprecated_at=None).select_related("product"))
    for scope in scopes:
        scope.is_chosen = scope.name in chosen
        scope.justification = chosen.get(scope.name, "")
        needs_why = scope.risk_level.needs_justification
        scope.lacks_why = scope.is_chosen and needs_why and not scope.justification.strip()
        scope.resource = [*scope.name.split("."), ""][1]
    scopes.sort(key=lambda scope: (scope.product.name, scope.resource, scope.name))
    picker, held = [], {*held}
    for product, of_product in groupby(scopes, key=lambda scope: scope.product):
        groups = []
        for resource, group in groupby(of_product, key=lambda scope: scope.resource):
            # Those that are not offered have a say in the title, so that it stays.
            rows = [*group]
            if offered := [scope for scope in rows if scope.name not in held]:
                groups.append((_title(resource, rows), offered))
        if groups:
            picker.append((product, groups))
    return picker
