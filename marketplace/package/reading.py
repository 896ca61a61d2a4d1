"""What the checks of a package share: its raw values, and one way to tell what is wrong with them."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from django.utils.translation import gettext as _

from credentials.models import Client

from .. import expressions
from ..expressions import MalformedExpression, Template, Text
from .archive import IPARAMS, OAUTH, REQUESTS
from .convert import Converted
from .documents import Document, as_dict, as_str, step
from .facts import Facts
from .places import Misplaced
from .problems import ERROR, Level, Problem, Problems

# How many names of a report are compared with how many known ones: all with all would take a stranger's package long.
MAX_SUGGESTIONS = 20
MAX_KNOWN = 1000
# Headers in which no one sends a secret.
_OPEN_HEADERS = {"accept", "accept-language", "content-type", "user-agent"}
# Beside fields, what is shorter than a secret (as in “Basic <%= encode(iparam.key + ':X') %>”), or how credentials begin.
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z-]{0,30} +|[A-Za-z_]{1,30}=")
_WRITTEN = re.compile(r"[^\s:;,\"=]{6}")


def texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every string within a value, with its place."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(inner, step(pointer, key))


def words(value: Any) -> list[str]:
    """Scopes, written as one string or as a list."""
    found = (
        [word for each in value for word in as_str(each).split()] if isinstance(value, list) else as_str(value).split()
    )
    return list(dict.fromkeys(found))


def outside(template: Template) -> str:
    return "".join(part.text if isinstance(part, Text) else "\0" for part in template.parts)


class Reading:
    """Reads raw values, so that one thing that is wrong hides no other."""

    def __init__(
        self, documents: Mapping[str, Document], values: Mapping[str, Any], converted: Converted | None, facts: Facts
    ) -> None:
        self.documents, self.values, self.converted, self.facts = documents, values, converted, facts
        self.problems = Problems()
        # What refers to a file that could not be read is not called wrong.
        self.unreadable = documents.keys() - values.keys()
        integrations = as_dict(as_dict(values.get(OAUTH)).get("integrations"))
        self.integrations = {name: one for name, one in integrations.items() if isinstance(one, dict)}
        self.requests = {name: one for name, one in as_dict(values.get(REQUESTS)).items() if isinstance(one, dict)}
        self.fields = {name: as_dict(one) for name, one in as_dict(values.get(IPARAMS)).items()}
        self.suggestions = 0
        ids = {name: as_str(one.get("client_id")) for name, one in self.integrations.items()}
        clients = facts.clients({client_id for client_id in ids.values() if len(client_id) <= 100})
        self.clients: dict[str, Client | None] = {name: clients.get(client_id) for name, client_id in ids.items()}

    def suggest(self, word: str, known: Iterable[str], otherwise: str) -> str:
        """How to mend a name that is not known: the nearest that is, or else something else to do."""
        self.suggestions += 1
        if self.suggestions > MAX_SUGGESTIONS:
            return otherwise
        near = difflib.get_close_matches(word[:100], islice(known, MAX_KNOWN), n=1, cutoff=0.75)
        return _("Did you mean “%(near)s”?") % {"near": near[0]} if near else otherwise

    def tell(self, level: Level, file: str, pointer: str, message: str, fix: str) -> None:
        if self.converted:
            pointer = self.converted.old(file, pointer)
        line = self.documents[file].line(pointer) if file in self.documents else None
        self.problems.add(Problem(level, file, pointer, line, message, fix))

    def count(self, file: str, pointer: str, things: Any, most: int, message: str) -> dict[str, Any]:
        """Tell where there are more things than `most`; return as many of them as are looked into."""
        things = as_dict(things)
        if len(things) > most:
            self.tell(ERROR, file, pointer, message % {"most": most}, _("Remove some."))
        return dict(islice(things.items(), most))

    def template(self, file: str, pointer: str, text: Any, allowed: Mapping[str, str]) -> Template | None:
        """Read a template; `allowed` maps each name that may stand in it to "" or to why it may not stand here."""
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
                _("Mend the expression."),
            )
            return None
        if template.encodes_twice:
            self.tell(ERROR, file, pointer, _("“encode(…)” stands within another “encode(…)”."), _("Encode once."))
        for name in template.names():
            if name.name not in allowed:
                prefix = "oauth_iparams" if file == OAUTH else "iparam"
                # A field under another prefix is what is meant, whatever else looks like it.
                same = f"{prefix}.{name.name.partition('.')[2]}"
                known = [same] if same in allowed else (each for each, why in allowed.items() if not why)
                self.tell(
                    ERROR,
                    file,
                    pointer,
                    _("At character %(at)d: “%(name)s” is not known here.")
                    % {"at": name.offset + 1, "name": name.name},
                    self.suggest(
                        name.name,
                        known,
                        _("Declare the field and call it “%(prefix)s.…”, or remove the name.") % {"prefix": prefix},
                    ),
                )
            elif why := allowed[name.name]:
                self.tell(
                    ERROR,
                    file,
                    pointer,
                    _("At character %(at)d: %(why)s") % {"at": name.offset + 1, "why": why},
                    _("Move it."),
                )
        return template

    def misplaced(self, file: str, pointer: str, error: Misplaced) -> None:
        self.tell(ERROR, file, pointer, str(error), error.fix)

    def keeps_to_admins(self, name: str) -> bool:
        """True where the admin who fills in the fields is the one whose secret and tokens these are, whatever the host."""
        integration = self.integrations[name]
        if self.clients[name]:
            return False
        try:
            secret = expressions.parse(as_str(integration.get("client_secret")))
        except MalformedExpression:
            return False
        headers = as_dict(as_dict(integration.get("options")).get("customHeaders"))
        return secret.is_of_values and integration.get("token_type") == "account" and not self.may_hold_secrets(headers)

    @staticmethod
    def may_hold_secrets(headers: dict[str, Any]) -> bool:
        """True where a header could be a secret that the developer wrote into the package."""
        for name, value in headers.items():
            try:
                template = expressions.parse(as_str(value))
                written = not any(template.names()) or any(
                    _WRITTEN.search(_SCHEME.sub("", text)) for text in template.texts()
                )
            except MalformedExpression:
                written = True
            if written and name.lower() not in _OPEN_HEADERS:
                return True
        return False
