"""What the checks of a package share: access to its raw values, and one way to report problems."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from django.utils.translation import gettext as _

from credentials.models import Client

from . import expressions, formats
from .archive import IPARAMS, OAUTH, REQUESTS
from .documents import Document, as_dict, as_str, step
from .expressions import MalformedExpression, Template, Text
from .facts import Facts
from .hosts import Misplaced
from .problems import ERROR, WARNING, Level, Problem, Problems
from .written import may_be_secret

# Bounds on comparing names in a report with known names: comparing all with all would let a package take minutes.
MAX_SUGGESTIONS = 20
MAX_KNOWN = 1000
# What the platform's own fields have besides what the portal uses.
_OF_A_FIELD = formats.InstallField.model_fields.keys() | {
    "events", "type_attributes", "visible", "regex", "data-bind", "data_bind", "placeholder", "hint", "validation",
}  # fmt: skip


def texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield every string within a value, with its pointer."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(inner, step(pointer, key))


def words(value: Any) -> list[str]:
    """Return scopes, written as one string or as a list."""
    found = (
        [word for each in value for word in as_str(each).split()] if isinstance(value, list) else as_str(value).split()
    )
    return list(dict.fromkeys(found))


def outside(template: Template) -> str:
    return "".join(part.text if isinstance(part, Text) else "\0" for part in template.parts)


def _did_you_mean(near: str) -> str:
    return _("Did you mean “%(near)s”?") % {"near": near}


class Reading:
    """Reads raw values, so that one problem does not hide another."""

    def __init__(
        self, documents: Mapping[str, Document], values: Mapping[str, Any], old: Callable[[str, str], str], facts: Facts
    ) -> None:
        """`old` maps a pointer in the 3.x format to the pointer in the file as it was sent."""
        self.documents, self.values, self.old, self.facts = documents, values, old, facts
        self.problems = Problems()
        # References to an unreadable file are not reported.
        self.unreadable = documents.keys() - values.keys()
        integrations = as_dict(as_dict(values.get(OAUTH)).get("integrations"))
        self.integrations = {name: one for name, one in integrations.items() if isinstance(one, dict)}
        self.requests = {name: one for name, one in as_dict(values.get(REQUESTS)).items() if isinstance(one, dict)}
        self.fields = {name: as_dict(one) for name, one in as_dict(values.get(IPARAMS)).items()}
        self.suggestions = 0
        # Cached by integration, since many templates may name one.
        self._kept_to_admins: dict[str, bool] = {}
        ids = {name: as_str(one.get("client_id")) for name, one in self.integrations.items()}
        clients = facts.clients({client_id for client_id in ids.values() if len(client_id) <= 100})
        self.clients: dict[str, Client | None] = {name: clients.get(client_id) for name, client_id in ids.items()}

    def suggest(self, word: str, known: Iterable[str], otherwise: str) -> str:
        """Return how to mend an unknown name: the nearest known one, or else other advice."""
        self.suggestions += 1
        if self.suggestions > MAX_SUGGESTIONS:
            return otherwise
        near = difflib.get_close_matches(word[:100], islice(known, MAX_KNOWN), n=1, cutoff=0.75)
        return _did_you_mean(near[0]) if near else otherwise

    def tell(self, level: Level, file: str, pointer: str, message: str, fix: str) -> None:
        pointer = self.old(file, pointer)
        line = self.documents[file].line(pointer) if file in self.documents else None
        self.problems.add(Problem(level, file, pointer, line, message, fix))

    def count(self, file: str, pointer: str, things: Any, most: int, message: str) -> dict[str, Any]:
        """Report if there are more than `most` things; return those to check."""
        things = as_dict(things)
        if len(things) > most:
            self.tell(ERROR, file, pointer, message % {"most": most}, _("Remove some."))
        return dict(islice(things.items(), most))

    def check_fields(self, file: str, base: str, fields: Any) -> dict[str, Any]:
        """Check the fields that people fill in at install or when they connect a vendor."""
        looked_into = self.count(file, base, fields, formats.MAX_FIELDS, _("There are more than %(most)d fields."))
        for name, value in looked_into.items():
            one = as_dict(value)
            for key in sorted(one.keys() - _OF_A_FIELD):
                self.tell(
                    WARNING,
                    file,
                    step(base, name, key),
                    _("“%(name)s” is not used here.") % {"name": key},
                    _("Remove it, unless another tool reads it."),
                )
            if one.get("secure") is True and one.get("default_value"):
                self.written_secret(
                    file,
                    step(base, name, "default_value"),
                    _("Remove the default value. Whoever installs the app fills in the field."),
                )
            if one.get("type") in ("dropdown", "radio", "multiselect") and not one.get("options"):
                self.tell(ERROR, file, step(base, name), _("A choice needs “options”."), _("List them."))
        return looked_into

    def template(self, file: str, pointer: str, text: Any, allowed: Mapping[str, str]) -> Template | None:
        """Read a template. `allowed` maps each known name to "", or to why it may not be used here."""
        if not isinstance(text, str):
            return None
        try:
            template = expressions.parse(text)
        except MalformedExpression as error:
            self.tell(
                ERROR,
                file,
                pointer,
                _("At character %(at)d: %(what)s.") % {"at": error.offset + 1, "what": error},
                _("Fix the expression."),
            )
            return None
        if template.encodes_twice:
            self.tell(ERROR, file, pointer, _("“encode(…)” is inside another “encode(…)”."), _("Encode only once."))
        for name in template.names():
            if name.name not in allowed:
                message, fix = self._unknown(file, name.name, allowed)
                at = {"at": name.offset + 1, "what": message}
                self.tell(ERROR, file, pointer, _("At character %(at)d: %(what)s") % at, fix)
            elif why := allowed[name.name]:
                self.tell(
                    ERROR,
                    file,
                    pointer,
                    _("At character %(at)d: %(why)s") % {"at": name.offset + 1, "why": why},
                    _("Move it."),
                )
        return template

    def _unknown(self, file: str, name: str, allowed: Mapping[str, str]) -> tuple[str, str]:
        """Report a name that is unknown or not allowed in this file."""
        prefix, _dot, key = name.partition(".")
        ours = "oauth_iparams" if file == OAUTH else "iparam"
        same = f"{ours}.{key}"
        if file == OAUTH and (name == "access_token" or prefix == "context"):
            return (
                _("“%(name)s” can be used only in request templates.") % {"name": name},
                _("Remove it. A vendor is connected before any template is called."),
            )
        if same in allowed:
            # A field with another prefix is the likeliest meaning, whatever else looks similar.
            return _("there is no “%(name)s” here.") % {"name": name}, _did_you_mean(same)
        if (file == OAUTH and prefix == "iparam" and key in self.fields) or (
            prefix == "oauth_iparams" and file != OAUTH
        ):
            return (
                _("“%(name)s” cannot be used in this file, because it is asked for elsewhere.") % {"name": name},
                _("To ask for it here too, declare it and refer to it as “%(same)s”.") % {"same": same},
            )
        otherwise = _("Declare the field and refer to it as “%(prefix)s.…”, or remove the name.") % {"prefix": ours}
        known = (each for each, why in allowed.items() if not why)
        return _("there is no “%(name)s”.") % {"name": name}, self.suggest(name, known, otherwise)

    def misplaced(self, file: str, pointer: str, error: Misplaced) -> None:
        self.tell(ERROR, file, pointer, str(error), error.fix)

    def keeps_to_admins(self, name: str) -> bool:
        """Return True if the secret and the tokens are the admin's own who fills in the fields, whatever the host."""
        if name not in self._kept_to_admins:
            self._kept_to_admins[name] = not self.clients[name] and self._is_of_admins(self.integrations[name])
        return self._kept_to_admins[name]

    def _is_of_admins(self, integration: dict[str, Any]) -> bool:
        try:
            secret = expressions.parse(as_str(integration.get("client_secret")))
        except MalformedExpression:
            return False
        headers = as_dict(as_dict(integration.get("options")).get("customHeaders"))
        return secret.is_of_values and integration.get("token_type") == "account" and not self.may_hold_secrets(headers)

    @staticmethod
    def may_hold_secrets(headers: dict[str, Any]) -> bool:
        """Return True if a header could be a secret that the developer wrote into the package."""
        return any(may_be_secret(name, parsed(value)) for name, value in headers.items())

    def written_secret(self, file: str, pointer: str, fix: str = "") -> None:
        self.tell(
            WARNING,
            file,
            pointer,
            _("The package contains a secret here. Anyone who sees the package can read it."),
            fix or _("Ask for it as a secure field, and use that field in a header."),
        )


def parsed(text: Any) -> Template | None:
    try:
        return expressions.parse(as_str(text))
    except MalformedExpression:
        return None
