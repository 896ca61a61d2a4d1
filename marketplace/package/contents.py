"""What a checked package says, and what is stored of it."""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from . import expressions, formats
from .archive import FILES, IPARAMS, OAUTH, REQUESTS
from .documents import as_dict, as_str
from .expressions import MalformedExpression
from .reading import outside, words

if TYPE_CHECKING:
    from ..models import Version


class Contents:
    """Reads the files of a checked package. The integration that uses `client_id` is first-party."""

    def __init__(self, files: Mapping[str, Any], client_id: str | None = None) -> None:
        self.files, self._client_id = files, client_id

    @classmethod
    def of(cls, version: "Version") -> "Contents":
        """Return the contents of a version's package."""
        client = version.app.client
        return cls(version.package, client.client_id if client else None)

    @cached_property
    def integrations(self) -> dict[str, formats.Integration]:
        # By name: the database keeps no order, and a page must not change its order.
        found = formats.OAuthConfig.model_validate(self.files.get(OAUTH, {"integrations": {}})).integrations
        return dict(sorted(found.items()))

    @cached_property
    def templates(self) -> dict[str, formats.RequestTemplate]:
        return dict(sorted(formats.Requests.model_validate(self.files.get(REQUESTS, {})).root.items()))

    @cached_property
    def iparams(self) -> dict[str, formats.InstallField]:
        """Return the installation parameters, `iparam.…` in request templates."""
        return dict(sorted(formats.InstallFields.model_validate(self.files.get(IPARAMS, {})).root.items()))

    @cached_property
    def fields(self) -> dict[str, formats.InstallField]:
        """Return what an admin fills in at install: the iparams, and as `integration.field` the app's credentials at a vendor to
        which each agent connects.
        """
        credentials = {
            f"{name}.{key}": formats.InstallField.model_construct(
                **{**field.model_dump(), "display_name": f"{one.display_name}: {field.display_name}"}
            )
            for name, one in self.vendors.items()
            for key, field in one.oauth_iparams.items()
            if key not in asked_to_connect(one)
        }
        return {**self.iparams, **credentials}

    @property
    def calls(self) -> dict[str, tuple[formats.RequestTemplate, bool]]:
        """Return the request templates, each with whether it uses the app's own credentials, whose name may have been a vendor's."""
        ours = self.first_party
        return {name: (one, bool(ours) and one.options.oauth == ours) for name, one in self.templates.items()}

    @property
    def hosts(self) -> set[str]:
        """Return where requests go, each with whose token: a host known for one vendor's token is new for another's."""
        calls = self.calls.values()
        pairs = {(one.request.host, _("our own products") if is_ours else one.options.oauth) for one, is_ours in calls}
        return {f"{host} ({whose})" if whose else host for host, whose in pairs}

    @property
    def other_hosts(self) -> set[str]:
        """Return the hosts that requests without an integration's token go to, with “*” for what is filled in."""
        hosts = {each.request.host for each in self.templates.values() if not each.options.oauth}
        return {outside(expressions.parse(host)).replace("\0", "*") for host in hosts}

    @property
    def services(self) -> list[str]:
        """Return what the app reaches besides the company's products: vendors by name, and other hosts."""
        return sorted({one.display_name for one in self.vendors.values()} | self.other_hosts)

    @cached_property
    def first_party(self) -> str | None:
        """Return the name of the integration that uses the app's own credentials."""
        return next((name for name, one in self.integrations.items() if one.client_id == self._client_id), None)

    @property
    def vendors(self) -> dict[str, formats.Integration]:
        return {name: one for name, one in self.integrations.items() if name != self.first_party}

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to connect, to call or to fill in."""
        # Settings such as a key are enough; a later version may ask for consent.
        return not (self.integrations or self.templates or self.fields)

    @property
    def scopes(self) -> tuple[list[str], list[str]]:
        """Return the scopes that the first-party integration requires, and those that people may decline."""
        options = self.integrations[self.first_party].options if self.first_party else {}
        optional = words(options.get("optional_scope"))
        return [scope for scope in words(options.get("scope")) if scope not in optional], optional

    def literal_secrets(self) -> Iterator[tuple[str, str]]:
        """Yield each client secret written into the package, with its integration's name, even from a malformed package."""
        for name, one in as_dict(as_dict(self.files.get(OAUTH)).get("integrations")).items():
            secret = as_str(as_dict(one).get("client_secret"))
            try:
                literal = expressions.parse(secret).is_literal
            except MalformedExpression:
                continue
            if secret and literal:
                yield name, secret

    def without_secrets(self) -> dict[str, Any]:
        """Return the files without the client secrets written into them."""
        files = deepcopy(dict(self.files))
        for name, _secret in self.literal_secrets():
            del files[OAUTH]["integrations"][name]["client_secret"]
        return files

    def texts(self) -> dict[str, str]:
        """Return the files as text, with their keys in the order of the format."""
        return {file: _written(file, self.files[file]) for file in FILES if file in self.files}

    def archive(self) -> bytes:
        """Return the files as a .zip."""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, text in self.texts().items():
                # A fixed date, so that the same package gives the same bytes.
                archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), text)
        return made.getvalue()


def asked_to_connect(one: formats.Integration) -> dict[str, formats.OAuthParameter]:
    """Return the fields that the person who connects fills in. Agents are not asked for the app's own credentials."""
    if one.token_type != "agent":
        return one.oauth_iparams
    texts = [one.client_id, one.client_secret or "", *as_dict(one.options.get("customHeaders")).values()]
    credentials = {name.name for text in texts for name in expressions.parse(text).names()}
    return {key: field for key, field in one.oauth_iparams.items() if f"oauth_iparams.{key}" not in credentials}


def _written(file: str, value: Any) -> str:
    """Return a file as JSON text, or as it is if it does not follow the format."""
    with contextlib.suppress(ValueError):
        value = formats.MODELS[file].model_validate(value).model_dump(by_alias=True, exclude_unset=True)
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
