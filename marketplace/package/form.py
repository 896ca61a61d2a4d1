"""A form that shows and edits an app package, and the files made from it."""

import contextlib
import re
from copy import deepcopy
from typing import Any, get_args

from django import forms
from django.conf import settings
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from credentials.models import Client
from portal.foundation.sections import Sectioned
from portal.foundation.text import Textarea

from . import expressions, formats
from .archive import IPARAMS, MANIFEST, OAUTH, REQUESTS
from .contents import Contents
from .convert import ENGINES
from .documents import as_dict, as_str

FIRST_PARTY = "portal"
_NAME = re.compile(r"\w+")
_OF_WORDS = re.compile(r"[\w ,]*")
_WORDS = {"required": "required", "secret": "secure"}


def _lines(pairs: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in pairs.items())


class LinesField(forms.CharField):
    """Names and their values, one `name: value` a line."""

    refusal = gettext_lazy("Line %(number)d: write “name: value”.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=20000, widget=Textarea(attrs={"rows": 2}), **kwargs)

    def to_python(self, value: Any) -> Any:
        """Return the lines as a dict."""
        found: dict[str, Any] = {}
        text = super().to_python(value) or ""
        super().run_validators(text)
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            name, one = self.read(line.strip())
            if not name:
                raise forms.ValidationError(self.refusal % {"number": number})
            found[name] = one
        return found

    def read(self, line: str) -> tuple[str, Any]:
        """Return the name and value of a line; the name is empty if the line has none."""
        name, colon, text = line.partition(":")
        return name.strip() if colon else "", text.strip()

    def validate(self, value: Any) -> None:
        return

    def run_validators(self, value: Any) -> None:
        """Do nothing: `to_python` validates the text before reading it."""


class AskedField(LinesField):
    """Fields that people fill in, one `key: Label (required, secret)` a line."""

    refusal = gettext_lazy("Line %(number)d: write “key: Label (required)”.")

    def read(self, line: str) -> tuple[str, Any]:
        name, label = super().read(line)
        before, bracket, words = label.removesuffix(")").rpartition("(") if label.endswith(")") else ("", "", "")
        if not bracket or not _OF_WORDS.fullmatch(words):
            before, words = label, ""
        if not _NAME.fullmatch(name) or not before.strip():
            return "", None
        one: dict[str, Any] = {"display_name": before.strip()}
        for word in words.replace(",", " ").split():
            one |= {_WORDS[word]: True} if word in _WORDS else {"type": word}
        return name, one


def _asked(fields: dict[str, Any]) -> str:
    """Return existing fields in that notation."""
    lines = []
    for key, one in fields.items():
        words = [word for word, name in _WORDS.items() if one.get(name) is True]
        words += [one["type"]] if one.get("type", "text") != "text" else []
        label = one.get("display_name", key)
        # Even without words, if the label ends in a way that would be read as them.
        lines.append(f"{key}: {label}" + (f" ({', '.join(words)})" if words or label.endswith(")") else ""))
    return "\n".join(lines)


class Row(Sectioned, forms.Form):
    """One of several parts. `former` is its earlier name, by which what the form does not show is found again."""

    former = forms.CharField(max_length=50, required=False, widget=forms.HiddenInput)


class VendorForm(Row):
    SECTIONS = (
        (gettext_lazy("The vendor"), None),
        (gettext_lazy("OAuth"), ("authorize_url", "token_url", "client_id", "client_secret", "scope")),
        (gettext_lazy("Token requests"), ("client_authentication", "refuses_pkce", "headers")),
        (gettext_lazy("What people fill in"), ("asked",)),
        (gettext_lazy("Remove this vendor"), ("DELETE",)),
    )
    name = forms.CharField(
        label=gettext_lazy("Name in the package"),
        max_length=50,
        help_text=gettext_lazy("It is part of the redirect URL, so avoid changing it."),
    )
    display_name = forms.CharField(label=gettext_lazy("Name shown to people"), max_length=100)
    token_type = forms.ChoiceField(
        label=gettext_lazy("Connected by"),
        choices=[
            ("account", gettext_lazy("An admin, for the account")),
            ("agent", gettext_lazy("Each agent, for themselves")),
        ],
    )
    authorize_url = forms.CharField(label=gettext_lazy("Authorize URL"), max_length=formats.MAX_VALUE)
    token_url = forms.CharField(label=gettext_lazy("Token URL"), max_length=formats.MAX_VALUE)
    client_id = forms.CharField(label=gettext_lazy("Client ID"), max_length=formats.MAX_VALUE)
    client_secret = forms.CharField(
        label=gettext_lazy("Client secret"),
        max_length=formats.MAX_VALUE,
        required=False,
        help_text=gettext_lazy(
            "The secret is stored encrypted, outside the package. Leave this empty to keep the secret as it is."
        ),
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    scope = forms.CharField(
        label=gettext_lazy("Scopes"),
        max_length=formats.MAX_VALUE,
        required=False,
        help_text=gettext_lazy(
            "Write scopes as the vendor names them, separated by spaces, or by commas if the vendor uses those."
        ),
    )
    client_authentication = forms.ChoiceField(
        label=gettext_lazy("Send the secret"),
        choices=[("body", gettext_lazy("In the request body")), ("basic", gettext_lazy("As HTTP Basic"))],
    )
    refuses_pkce = forms.BooleanField(label=gettext_lazy("Vendor does not accept PKCE"), required=False)
    headers = LinesField(
        label=gettext_lazy("Token request headers"), help_text=gettext_lazy("One per line, as Name: value.")
    )
    asked = AskedField(
        label=gettext_lazy("Asked when connecting"),
        help_text=gettext_lazy("One per line, as key: Label (required, secret). Use them as <%= oauth_iparams.key %>."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        secret = as_str(self.initial.get("client_secret"))
        if not expressions.parse(secret).is_literal:
            self.fields["client_secret"].help_text = _(
                "The secret is %(template)s, which is filled in elsewhere. Leave this empty to keep it that way."
            ) % {"template": escape(secret)}

    def integration(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the integration; keep whatever the form does not show."""
        data = self.cleaned_data
        plain = ("display_name", "client_id", "authorize_url", "token_url", "token_type")
        one = {**before, **{name: data[name] for name in plain}}
        options = {**as_dict(before.get("options")), "scope": data["scope"], "customHeaders": data["headers"]}
        options |= {"pkce": not data["refuses_pkce"], "client_authentication": data["client_authentication"]}
        defaults = {"scope": "", "customHeaders": {}, "pkce": True, "client_authentication": "body"}
        one["options"] = {key: value for key, value in options.items() if key not in defaults or value != defaults[key]}
        one["oauth_iparams"] = _kept(data["asked"], before.get("oauth_iparams"))
        if data["client_secret"]:
            one["client_secret"] = data["client_secret"]
        return one

    @staticmethod
    def initial_of(name: str, one: dict[str, Any]) -> dict[str, Any]:
        options = as_dict(one.get("options"))
        scope = options.get("scope", "")
        return {
            **one,
            "name": name,
            "former": name,
            "scope": " ".join(scope) if isinstance(scope, list) else scope,
            "client_authentication": options.get("client_authentication", "body"),
            "refuses_pkce": options.get("pkce") is False,
            "headers": _lines(as_dict(options.get("customHeaders"))),
            "asked": _asked(as_dict(one.get("oauth_iparams"))),
        }


class RequestForm(Row):
    SECTIONS = (
        (gettext_lazy("Name and token"), None),
        (gettext_lazy("Request"), ("method", "host", "path", "query", "headers")),
        (gettext_lazy("Retries"), ("max_attempts",)),
        (gettext_lazy("Remove this template"), ("DELETE",)),
    )
    name = forms.CharField(label=gettext_lazy("Name"), max_length=50)
    oauth = forms.CharField(
        label=gettext_lazy("Access token of"),
        max_length=50,
        required=False,
        help_text=gettext_lazy("The name of an integration. “portal” stands for the app’s own credentials."),
    )
    method = forms.ChoiceField(
        label=gettext_lazy("Method"),
        choices=[(each, each) for each in get_args(formats.Method)],
    )
    host = forms.CharField(label=gettext_lazy("Host"), max_length=formats.MAX_VALUE)
    path = forms.CharField(label=gettext_lazy("Path"), max_length=formats.MAX_VALUE)
    query = LinesField(label=gettext_lazy("Query"), help_text=gettext_lazy("One per line, as name: value."))
    headers = LinesField(
        label=gettext_lazy("Headers"),
        help_text=gettext_lazy("One per line, as Name: value, such as Authorization: Bearer <%= access_token %>"),
    )
    max_attempts = forms.IntegerField(
        label=gettext_lazy("Maximum attempts"), min_value=1, max_value=formats.MAX_ATTEMPTS, required=False
    )
    agents = forms.BooleanField(label=gettext_lazy("Let every agent use the account’s connection"), required=False)

    def template(self, before: dict[str, Any]) -> dict[str, Any]:
        data = self.cleaned_data
        schema = {**as_dict(before.get("schema")), **{name: data[name] for name in ("method", "host", "path")}}
        schema |= {"query": data["query"], "headers": data["headers"]}
        options = {**as_dict(before.get("options")), "maxAttempts": data["max_attempts"] or 1, "agents": data["agents"]}
        options["oauth"] = data["oauth"] or None
        return {
            "schema": {key: value for key, value in schema.items() if value != {}},
            "options": {key: value for key, value in options.items() if value not in (None, False)},
        }

    @staticmethod
    def initial_of(name: str, one: dict[str, Any]) -> dict[str, Any]:
        schema, options = as_dict(one.get("schema")), as_dict(one.get("options"))
        return {
            **schema,
            "name": name,
            "former": name,
            "oauth": options.get("oauth", ""),
            "query": _lines(as_dict(schema.get("query"))),
            "headers": _lines(as_dict(schema.get("headers"))),
            "max_attempts": options.get("maxAttempts", 1),
            "agents": options.get("agents", False),
        }


class AskedForm(forms.Form):
    asked = AskedField(
        label=gettext_lazy("Asked during installation"),
        help_text=gettext_lazy("One per line, as key: Label (required, secret). Use them as <%= iparam.key %>."),
    )


def _kept(asked: dict[str, Any], before: Any) -> dict[str, Any]:
    """Return the fields as filled in; keep whatever a line does not say."""
    unsaid = {"type": "text", "required": False, "secure": False}

    def stays(name: str, value: Any) -> bool:
        return name not in unsaid or value == unsaid[name]

    return {
        key: {**{name: value for name, value in as_dict(as_dict(before).get(key)).items() if stays(name, value)}, **one}
        for key, one in asked.items()
    }


def _formset(form: type[forms.Form], most: int) -> Any:
    return forms.formset_factory(form, extra=0, max_num=most, absolute_max=most, validate_max=True, can_delete=True)


_VENDORS = _formset(VendorForm, formats.MAX_INTEGRATIONS)
_REQUESTS = _formset(RequestForm, formats.MAX_TEMPLATES)


class PackageFields:
    """The whole form. `add` names the part that gets one more row."""

    def __init__(self, files: dict[str, Any], client: Client | None, data: Any = None) -> None:
        self.files, self.client = files, client
        self.before = as_dict(as_dict(files.get(OAUTH)).get("integrations"))
        contents = Contents(files, client.client_id if client else None)
        self.first_party = contents.first_party or FIRST_PARTY
        if data is not None and (adds := data.get("add")) in ("vendors", "requests"):
            data = data.copy()
            with contextlib.suppress(ValueError):
                data[f"{adds}-TOTAL_FORMS"] = str(int(data.get(f"{adds}-TOTAL_FORMS") or 0) + 1)
        self.vendors = _VENDORS(
            data,
            prefix="vendors",
            initial=[VendorForm.initial_of(name, self.before[name]) for name in contents.vendors],
        )
        requests = sorted(as_dict(files.get(REQUESTS)).items())
        self.requests = _REQUESTS(
            data, prefix="requests", initial=[RequestForm.initial_of(name, one) for name, one in requests]
        )
        self.asked = AskedForm(data, prefix="fields", initial={"asked": _asked(as_dict(files.get(IPARAMS)))})

    def is_valid(self) -> bool:
        valid = all([self.vendors.is_valid(), self.requests.is_valid(), self.asked.is_valid()])
        return valid and self._is_unique(self.vendors, {self.first_party}) and self._is_unique(self.requests, set())

    def _is_unique(self, formset: Any, taken: set[str]) -> bool:
        """Names are keys: of two alike, one would be lost."""
        seen = set(taken)
        for form in self._kept(formset):
            name = form.cleaned_data["name"]
            if name in seen:
                form.add_error("name", _("This name is already taken. Use another name."))
                return False
            seen.add(name)
        return True

    def _rows(self, formset: Any) -> dict[str, tuple[str, Any]]:
        """Return the filled-in rows by name, each with its former name."""
        return {form.cleaned_data["name"]: (form.cleaned_data["former"], form) for form in self._kept(formset)}

    @property
    def renamed(self) -> dict[str, str]:
        """Return the former names of renamed vendors, by their new name."""
        return {name: former for name, (former, _form) in self._rows(self.vendors).items() if former not in ("", name)}

    @staticmethod
    def _kept(formset: Any) -> list[Any]:
        return [form for form in formset if form not in formset.deleted_forms and form.cleaned_data]

    def shown(self) -> dict[str, Any]:
        """Return what the preview shows beside the consent screen, valid or not so far."""
        rows = [
            {name: str(form[name].value() or "")[:100] for name in ("display_name", "token_type")}
            for form in self.vendors
            if not form["DELETE"].value()
        ]
        asked: dict[str, Any] = {}
        with contextlib.suppress(forms.ValidationError):
            asked = self.asked.fields["asked"].to_python(self.asked["asked"].value()) or {}
        return {
            "connects": [row for row in rows if row["display_name"]],
            "asked": [one["display_name"] for one in asked.values()],
        }

    def package(self, required: list[str], optional: list[str]) -> dict[str, Any]:
        """Return the files that the form makes."""
        files = deepcopy(self.files)
        integrations = {
            name: form.integration(self.before.get(former, {}))
            for name, (former, form) in self._rows(self.vendors).items()
        }
        if self.client and (required or optional):
            integrations[self.first_party] = self._own(self.client, required, optional)
        files[OAUTH] = {"integrations": integrations}
        before, rows = as_dict(files.get(REQUESTS)), self._rows(self.requests)
        files[REQUESTS] = {name: form.template(as_dict(before.get(former))) for name, (former, form) in rows.items()}
        files[IPARAMS] = _kept(self.asked.cleaned_data["asked"], files.get(IPARAMS))
        manifest = files.setdefault(
            MANIFEST, {"platform-version": "3.0", "modules": {"common": {}, "service_ticket": {}}, "engines": ENGINES}
        )
        self._declare(manifest["modules"], {former: name for name, (former, _form) in rows.items() if former})
        return files

    def _declare(self, modules: dict[str, Any], names: dict[str, str]) -> None:
        """List the templates in the manifest, existing ones in their modules under their current `names`."""
        for module in modules.values():
            listed = as_dict(module.get("requests"))
            module |= {"requests": {names[old]: one for old, one in listed.items() if old in names}} if listed else {}
        declared = {name for module in modules.values() for name in as_dict(module.get("requests"))}
        new: dict[str, Any] = {name: {} for name in self._rows(self.requests) if name not in declared}
        common = modules.setdefault("common", {})
        common["requests"] = {**as_dict(common.get("requests")), **new}

    def _own(self, client: Client, required: list[str], optional: list[str]) -> dict[str, Any]:
        before = self.before.get(self.first_party, {})
        options = {**as_dict(before.get("options")), "scope": [*required, *optional], "optional_scope": optional}
        return {
            "display_name": client.name,
            **before,
            "client_id": client.client_id,
            "authorize_url": f"{settings.BASE_URL}/oauth/authorize",
            "token_url": f"{settings.BASE_URL}/oauth/token",
            "token_type": client.level,
            "options": options,
        }
