"""Compare two versions of an app: for developers to read, and to decide what people are asked again for."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from .models import Audience, Version
from .package import formats
from .package.contents import Contents


def _essence(one: formats.Integration) -> object:
    """Return what decides where an integration sends people, and what it does there in whose name."""
    fields = {name: (field.secure, field.required) for name, field in one.oauth_iparams.items()}
    return one.client_id, one.authorize_url, one.token_url, one.token_type, one.options, fields


def _shown(names: set[str], things: Mapping[str, Any]) -> set[str]:
    return {things[name].display_name for name in names}


def _fields(contents: Contents) -> dict[str, object]:
    return {name: (field.type, field.required, field.secure) for name, field in contents.fields.items()}


@dataclass(frozen=True)
class Difference:
    """The difference between two versions, or between an empty one and the first. Sets hold names as the versions write them."""

    old: Version
    new: Version

    @cached_property
    def _contents(self) -> tuple[Contents, Contents]:
        return Contents.of(self.old), Contents.of(self.new)

    @cached_property
    def added_scopes(self) -> set[str]:
        """Return the scopes that were not requested at all before."""
        return self.new.scopes - self.old.scopes

    @cached_property
    def raised_scopes(self) -> set[str]:
        """Return the scopes that were optional and are required now."""
        return {*self.new.required_scopes} & {*self.old.optional_scopes}

    @cached_property
    def lowered_scopes(self) -> set[str]:
        return {*self.new.optional_scopes} & {*self.old.required_scopes}

    @cached_property
    def removed_scopes(self) -> set[str]:
        return self.old.scopes - self.new.scopes

    @cached_property
    def _vendors(self) -> tuple[dict[str, formats.Integration], dict[str, formats.Integration]]:
        old, new = self._contents
        return old.vendors, new.vendors

    @cached_property
    def added_integrations(self) -> set[str]:
        old, new = self._vendors
        return {*new} - {*old}

    @cached_property
    def changed_integrations(self) -> set[str]:
        """Return the integrations that lead elsewhere, or do something else, under the same name: nothing given to one belongs to the other."""
        old, new = self._vendors
        return {name for name in {*new} & {*old} if _essence(new[name]) != _essence(old[name])}

    @cached_property
    def removed_integrations(self) -> set[str]:
        old, new = self._vendors
        return {*old} - {*new}

    @property
    def vendors_to_connect(self) -> list[str]:
        """Return the names, for people, of integrations that are new or lead elsewhere."""
        new = self._vendors[1]
        return [new[name].display_name for name in sorted(self.added_integrations | self.changed_integrations)]

    @cached_property
    def added_hosts(self) -> set[str]:
        old, new = self._contents
        return new.hosts - old.hosts

    @cached_property
    def removed_hosts(self) -> set[str]:
        old, new = self._contents
        return old.hosts - new.hosts

    @cached_property
    def changed_requests(self) -> set[str]:
        """Return the request templates that are new or changed, even if only in who may run them or whose token they send."""
        old, new = (contents.calls for contents in self._contents)
        return {name for name, call in new.items() if call != old.get(name)}

    @cached_property
    def added_fields(self) -> set[str]:
        """Return the installation fields that are new or changed."""
        old, new = self._contents
        before = _fields(old)
        return {name for name, field in _fields(new).items() if field != before.get(name)}

    @cached_property
    def removed_fields(self) -> set[str]:
        old, new = self._contents
        return {*old.fields} - {*new.fields}

    @property
    def always_asks(self) -> bool:
        """Tell whether everyone with the old version has to give permission (M4)."""
        return bool(self.added_scopes or self.added_integrations or self.changed_integrations)

    @property
    def is_for_a_person(self) -> bool:
        """Tell whether a person has to act though no permission is asked for: data may go elsewhere, or something must be filled in."""
        return bool(
            self.changed_requests or self.added_fields or self.moved_to or self.is_unreviewed or self.is_renamed
        )

    @property
    def is_unreviewed(self) -> bool:
        """Tell whether a reviewer judged the old version but nobody the new one (M3)."""
        return self.old.audience == Audience.PUBLIC and self.new.audience != Audience.PUBLIC

    @property
    def is_renamed(self) -> bool:
        return self.old.name not in ("", self.new.name)

    @property
    def moved_to(self) -> set[str]:
        """Return where people are sent to set the app up, if that has changed."""
        return {self.new.install_url} - {self.old.install_url, ""}

    @property
    def is_empty(self) -> bool:
        scopes = self.added_scopes | self.raised_scopes | self.lowered_scopes | self.removed_scopes
        return not (scopes or self.lines())

    def lines(self) -> list[tuple[str, list[str]]]:
        """Yield what changes besides the scopes, in words: a title, and names as people know them."""
        old, new = self._contents
        named = (
            (_("New services to connect"), _shown(self.added_integrations, new.vendors)),
            (_("Services to reconnect"), _shown(self.changed_integrations, new.vendors)),
            (_("No longer connected"), _shown(self.removed_integrations, old.vendors)),
            (_("New addresses it calls"), self.added_hosts),
            (_("Addresses it no longer calls"), self.removed_hosts),
            (_("New or changed requests"), self.changed_requests),
            (_("New setup address"), self.moved_to),
            (_("New name"), {self.new.name} if self.is_renamed else set()),
            (_("New settings to fill in"), _shown(self.added_fields, new.fields)),
            (_("Settings it no longer asks for"), _shown(self.removed_fields, old.fields)),
        )
        return [(title, sorted(names)) for title, names in named if names]
