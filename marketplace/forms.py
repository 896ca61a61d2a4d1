import copy
import json
import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.html import escape
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from credentials.models import Client, Kind
from portal.accounts.models import Team
from portal.foundation.pictures import reencode, reencode_screenshot
from portal.foundation.sections import Sectioned
from portal.foundation.text import Textarea, validate_readable

from .actions.picturing import MAX_SCREENSHOT_TEXT, MAX_SCREENSHOTS
from .choices import check_slug
from .models import App, Version
from .package import formats


class AppForm(forms.Form):
    team = forms.ModelChoiceField(Team.objects.none(), label=_("Team"), empty_label=None)
    name = forms.CharField(
        label=_("Name"),
        max_length=60,
        validators=[validate_readable],
        help_text=_("Each version can change it."),
        widget=forms.TextInput(attrs={"data-suggests": "id_slug"}),
    )
    slug = forms.CharField(
        label=_("Marketplace address"),
        max_length=50,
        required=False,
        help_text=_(
            "It becomes /marketplace/…/ and cannot be changed later. If you leave this empty, it is made from the name."
        ),
    )
    client = forms.ModelChoiceField(
        Client.objects.none(),
        label=_("OAuth credentials"),
        required=False,
        empty_label=_("Not now"),
        help_text=_("Marketplace credentials of the team that no other app has. You cannot change them later."),
    )

    def __init__(self, *args: Any, teams: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = teams  # type: ignore[attr-defined]
        self.fields["client"].queryset = free_clients(teams)  # type: ignore[attr-defined]

    def clean_slug(self) -> str:
        """Return the address, or one made from the name. A mistake in it is told here, once; the action checks again."""
        slug = self.cleaned_data["slug"].lower()
        if not slug and "name" in self.cleaned_data and not (slug := suggested_slug(self.cleaned_data["name"])):
            raise ValidationError(_("No address can be made from this name. Enter one, such as ticket-insights."))
        if slug:
            check_slug(slug)
        return slug


def suggested_slug(name: str) -> str:
    """Return a free address that is made from an app's name, or "" if the name has no letters or digits for one."""
    stem = re.sub("[^a-z0-9]+", "-", slugify(name))[:46].strip("-")
    wanted = [stem, *(f"{stem}-{number}" for number in range(2, 100))] if stem else []
    taken = {"new", *App.objects.filter(slug__in=wanted).values_list("slug", flat=True)}
    return next((slug for slug in wanted if slug not in taken), "")


def free_clients(teams: Iterable[Team]) -> QuerySet[Client]:
    return Client.objects.filter(team__in=teams, kind=Kind.PLATFORM, app=None).order_by("name")


class ClientChoiceForm(forms.Form):
    client = forms.ModelChoiceField(Client.objects.none(), label=_("OAuth credentials"))

    def __init__(self, *args: Any, clients: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["client"].queryset = clients  # type: ignore[attr-defined]


class VersionForm(Sectioned, forms.ModelForm):
    SECTIONS = (
        (_("This version"), ("number", "release_notes")),
        (_("Listing"), None),
        (_("Installing"), ("install_url",)),
    )
    install_url = forms.URLField(
        label=_("Install URL"),
        max_length=500,
        required=False,
        assume_scheme="https",
        help_text=_(
            "Where the app takes people to authorize it. If you leave this empty, the portal asks them itself."
        ),
    )
    upload = forms.FileField(
        label=_("Icon"),
        required=False,
        help_text=_(
            "PNG, JPEG or WebP, up to 1 MB. It is cropped to a square. Leave this empty to keep the icon as it is."
        ),
    )

    class Meta:
        model = Version
        fields = ["number", "name", "tagline", "category", "description", "release_notes", "install_url"]
        widgets = {
            "description": Textarea(attrs={"rows": 6}),
            "release_notes": Textarea(attrs={"rows": 3}),
        }
        help_texts = {
            "number": _("Such as 1.0 or 1.2.3."),
            "description": _("You can use Markdown."),
        }

    field_order = ["number", "name", "tagline", "category", "description", "release_notes", "upload", "install_url"]

    def clean_upload(self) -> bytes | None:
        upload = self.cleaned_data["upload"]
        return reencode(upload) if upload else None

    def fields_for_action(self) -> dict[str, Any]:
        fields = {name: self.cleaned_data[name] for name in self.Meta.fields}
        if self.cleaned_data["upload"]:
            fields["icon"] = self.cleaned_data["upload"]
        return fields

    def _post_clean(self) -> None:
        """Skip model validation: the action does it, and the form must not change the instance that it shows."""


class ScreenshotsForm(forms.Form):
    """A draft's screenshots: as many places as a version can have, filled with those that it has."""

    def __init__(self, *args: Any, kept: list[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept = kept
        for place in range(MAX_SCREENSHOTS):
            shot = kept[place] if place < len(kept) else None
            number = {"number": place + 1}
            self.fields[f"shot_{place}"] = forms.FileField(
                label=_("Replace screenshot %(number)d") % number if shot else _("Screenshot %(number)d") % number,
                required=False,
                widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
            )
            self.fields[f"text_{place}"] = forms.CharField(
                label=_("What screenshot %(number)d shows") % number,
                required=False,
                max_length=MAX_SCREENSHOT_TEXT,
                initial=shot["text"] if shot else "",
                validators=[validate_readable],
            )
            if shot:
                self.fields[f"remove_{place}"] = forms.BooleanField(
                    label=_("Remove screenshot %(number)d") % number, required=False
                )

    @property
    def places(self) -> list[dict[str, Any]]:
        """What the page shows of each place: the screenshot that is kept there, and its fields."""
        names = ("shot", "text", "remove")
        return [
            {
                "kept": self._kept[place] if place < len(self._kept) else None,
                "fields": [self[f"{name}_{place}"] for name in names if f"{name}_{place}" in self.fields],
            }
            for place in range(MAX_SCREENSHOTS)
        ]

    def clean(self) -> None:
        for place in range(MAX_SCREENSHOTS):
            shot, text = f"shot_{place}", f"text_{place}"
            if self.cleaned_data.get(shot):
                try:
                    self.cleaned_data[shot] = reencode_screenshot(self.cleaned_data[shot])
                except ValidationError as error:
                    self.add_error(shot, error)
            is_there = shot in self.cleaned_data and (self.cleaned_data[shot] or self._stays(place))
            if is_there and not self.cleaned_data.get(text) and text not in self.errors:
                self.add_error(text, _("Describe what the screenshot shows, for people who cannot see it."))
            elif self.cleaned_data.get(text) and not (is_there or shot in self.errors or place < len(self._kept)):
                self.add_error(shot, _("Choose the screenshot that this describes."))

    def _stays(self, place: int) -> bool:
        is_there = place < len(self._kept) and not self._kept[place]["is_gone"]
        return is_there and not self.cleaned_data.get(f"remove_{place}")

    def screenshots(self) -> list[dict[str, Any]]:
        """Return what the version will have, in order; a new one as `data`."""
        found = []
        for place in range(MAX_SCREENSHOTS):
            text = self.cleaned_data[f"text_{place}"]
            if data := self.cleaned_data[f"shot_{place}"]:
                found.append({"data": data, "text": text})
            elif self._stays(place):
                found.append({"picture": self._kept[place]["picture"], "text": text})
        return found


_SHORT_NAME = re.compile(r"[-_A-Za-z0-9]{1,50}")


class CustomForm(forms.Form):
    accounts = forms.CharField(
        label=_("Accounts"),
        help_text=_(
            "Short names of the accounts, separated by spaces or commas. Ask the account’s admin for its short name."
        ),
        max_length=2000,
    )

    # As people typed them, which is how they are shown again.
    typed: list[str]

    def clean_accounts(self) -> set[str]:
        self.typed = [*dict.fromkeys(self.cleaned_data["accounts"].replace(",", " ").split())]
        if not self.typed:
            raise ValidationError(self.fields["accounts"].error_messages["required"])
        if wrong := [name for name in self.typed if not _SHORT_NAME.fullmatch(name)]:
            raise ValidationError(
                _("Short names have at most 50 characters: letters, digits and hyphens. Check %(names)s.")
                % {"names": ", ".join(wrong)}
            )
        return {*self.typed}


class PackageForm(forms.Form):
    package = forms.FileField(
        label=_("App package"),
        help_text=_("The .zip that you use for the platform, with manifest.json and config/. Up to 5 MB."),
        widget=forms.FileInput(attrs={"accept": ".zip,application/zip"}),
    )
    keep_secrets = forms.BooleanField(
        label=_("Store vendors’ client secrets encrypted in the portal, and remove them from the package"),
        required=False,
        initial=True,
    )


class WithdrawForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        validators=[validate_readable],
        help_text=_("The admins who installed this version will read it."),
        widget=Textarea(attrs={"rows": 3}),
    )


class SecretForm(forms.Form):
    secret = forms.CharField(
        label=_("Client secret"),
        max_length=formats.MAX_VALUE,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )


_WIDGETS = {
    "paragraph": Textarea(attrs={"rows": 3}),
    "number": forms.TextInput(attrs={"inputmode": "decimal"}),
    "email": forms.EmailInput(),
    "url": forms.URLInput(),
    "date": forms.DateInput(attrs={"type": "date"}),
    "phone_number": forms.TextInput(attrs={"inputmode": "tel"}),
}


class ValuesForm(forms.Form):
    """The fields that a package asks for. What is filled in is judged by marketplace/vendors/settings_values.py; here it is only shown."""

    prefix = "value"

    def __init__(self, data: Any = None, *, fields: Any, kept: Any) -> None:
        super().__init__(data)
        for name, field in fields.items():
            default = getattr(field, "default_value", None)
            shown = "" if field.secure else kept.get(name, "" if default is None else str(default))
            self.fields[name] = self._field(field, shown, is_kept=field.secure and name in kept)

    def _field(self, field: formats.OAuthParameter, shown: str, *, is_kept: bool) -> forms.Field:
        # Help texts are rendered as HTML, and this one is a developer's.
        help_text = _("A value is stored. Fill this in only to replace it.") if is_kept else escape(field.description)
        common: dict[str, Any] = {
            "label": field.display_name,
            "required": False,
            "help_text": help_text,
            "initial": shown,
        }
        options = [(option, option) for option in getattr(field, "options", [])]
        made: forms.Field
        if field.secure:
            made = forms.CharField(widget=forms.PasswordInput(attrs={"autocomplete": "off"}), **common)
        elif field.type in ("dropdown", "radio"):
            made = forms.CharField(widget=forms.Select(choices=[("", "—"), *options]), **common)
        elif field.type == "multiselect":
            common["initial"] = shown.split(",")
            made = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, choices=options, **common)
        elif field.type == "checkbox":
            made = forms.BooleanField(**{**common, "initial": shown.lower() == "true"})
        else:
            made = forms.CharField(widget=copy.deepcopy(_WIDGETS.get(field.type)), **common)
        if field.required and not is_kept and field.type != "multiselect":
            made.widget.attrs["required"] = True
        elif not field.required:
            made.label = _("%(label)s (optional)") % {"label": field.display_name}
        return made

    def values(self) -> dict[str, Any]:
        """What was filled in, as texts."""
        return {name: self._as_text(value) for name, value in self.cleaned_data.items()}

    @staticmethod
    def _as_text(value: Any) -> str:
        if isinstance(value, list):
            return ",".join(value)
        if isinstance(value, bool):
            return "true" if value else ""
        return value


class ConsoleForm(forms.Form):
    template = forms.ChoiceField(label=_("Request template"), widget=forms.HiddenInput)
    context = forms.CharField(
        label=_("Context"),
        required=False,
        max_length=20000,
        strip=False,
        help_text=_("A JSON object with a value for each name that the template calls context.…"),
        widget=Textarea(attrs={"rows": 4, "spellcheck": "false"}),
    )
    body = forms.CharField(
        label=_("Body"),
        required=False,
        max_length=100000,
        strip=False,
        help_text=_("Sent unchanged. Leave this empty to send no body."),
        widget=Textarea(attrs={"rows": 4, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, templates: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["template"].choices = [(name, name) for name in templates]  # type: ignore[attr-defined]

    def clean_context(self) -> dict[str, Any]:
        try:
            found = json.loads(self.cleaned_data["context"] or "{}")
        except (ValueError, RecursionError):
            raise forms.ValidationError(_("This is not valid JSON.")) from None
        if not isinstance(found, dict):
            raise forms.ValidationError(_('Enter a JSON object, such as {"ticket": 7}.'))
        return found
