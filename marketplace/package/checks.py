"""Every check of an app package, run by the page, the API and `check_package` alike."""

import re
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from django.utils.translation import gettext as _

from . import expressions, formats
from .accepted import Accepted
from .archive import IPARAMS, MANIFEST, OAUTH, REQUESTS
from .convert import Converted
from .documents import Document, as_dict, step
from .explaining import explain
from .expressions import MalformedExpression
from .facts import Facts
from .integrations import Integrations
from .overlooked import manifest_elsewhere, overlooked
from .problems import ERROR, MAX_TOLD, WARNING, Problems, Report
from .reading import outside, texts
from .requests import Requests

_PLACEHOLDER = re.compile(
    r"\bYOUR[_-][A-Z0-9_-]*|<[A-Za-z][\w .-]*>|(?<![a-z0-9])x{3,}(?![a-z0-9])|(?<![a-z0-9-])example\.(?:com|org|net)\b",
    re.IGNORECASE,
)
# Integrations that are checked: more than are allowed, so that one too many does not hide what is wrong with the others.
MAX_CHECKED = 10
# What the platform's own manifests have besides what the portal uses.
_OF_A_MANIFEST = {
    "platform-version", "modules", "product", "engines", "app", "dependencies", "whitelisted-domains", "whitelisted_domains",
    "name", "version", "description",
}  # fmt: skip
_MAY_BE_EMPTY = re.compile(r"/description$|^/[^/]+/schema/(headers|query)/")


def check(files: Mapping[str, bytes], facts: Facts, *, others: Collection[str] = ()) -> Report:
    """Check the files of a package, by name. Whatever they contain, the report lists everything wrong with them.

    `others` are the names of its other files.
    """
    documents = {file: Document(file, data) for file, data in files.items()}
    report, problems = Report(), Problems()
    for document in documents.values():
        problems.merge(document.problems)
    values = {file: document.value for file, document in documents.items() if document.value is not None}
    accepted, converted = Accepted(values), None
    values, changes = accepted.files, accepted.changes
    report.format = _format(values)
    if report.format == "2.x":
        converted = Converted(values)
        values, changes = converted.files, converted.changes + changes
    report.changes = changes[:MAX_TOLD]
    if more := changes[MAX_TOLD:]:
        report.changes.append(_("%(count)d more changes are not listed.") % {"count": len(more)})

    def old(file: str, pointer: str) -> str:
        return accepted.old(file, converted.old(file, pointer) if converted else pointer)

    checker = _Checker(documents, values, old, facts)
    checker.run(others)
    problems.merge(checker.problems)
    report.problems = problems.told([*formats.MODELS])
    report.files = values
    return report


def _format(values: Mapping[str, Any]) -> str | None:
    manifest, oauth = as_dict(values.get(MANIFEST)), as_dict(values.get(OAUTH))
    version = str(manifest.get("platform-version", ""))
    if version.startswith("2.") or "product" in manifest or (not manifest and "client_id" in oauth):
        return "2.x"
    return "3.x" if version.startswith("3.") or "integrations" in oauth else None


class _Checker(Integrations, Requests):
    def run(self, others: Collection[str]) -> None:
        self._missing(others)
        self._shapes()
        self._counts()
        # If there are too many of something, report that and check only the first.
        for name, one in islice(self.integrations.items(), MAX_CHECKED):
            self._integration(name, one)
        self._declared()
        for name, one in islice(self.requests.items(), formats.MAX_TEMPLATES):
            self._request(name, one)
        self.check_fields(IPARAMS, "", self.fields)
        self._placeholders(OAUTH, self.integrations, "/integrations")
        self._placeholders(REQUESTS, self.requests, "")

    def _missing(self, others: Collection[str]) -> None:
        seen = None if MANIFEST in self.documents else manifest_elsewhere(others)
        if seen:
            self.tell(
                ERROR,
                MANIFEST,
                "",
                _("The package has “%(name)s”, but no manifest.json at its top level.") % {"name": seen[-200:]},
                _(
                    "Pack the folder that contains manifest.json, or rename the file to manifest.json. Do not upload an archive inside another one."
                ),
            )
        elif MANIFEST not in self.documents:
            self.tell(
                ERROR,
                MANIFEST,
                "",
                _("The package has no manifest.json."),
                _("Put it at the top level of the package."),
            )
        for name, message, fix in overlooked(others, self.documents):
            if name != seen:
                self.tell(WARNING, name, "", message, fix)

    def _shapes(self) -> None:
        for file, value in self.values.items():
            for loc, message, fix in explain(formats.MODELS[file], value, self.suggest):
                self.tell(ERROR, file, step("", *loc), message, fix)
        manifest = self.values.get(MANIFEST)
        if isinstance(manifest, dict) and isinstance(manifest.get("modules"), dict):
            if not manifest["modules"].keys() - {"common"}:
                self.tell(
                    ERROR,
                    MANIFEST,
                    "/modules",
                    _("The app does not belong to any product."),
                    _("Add a product’s module, such as “support_ticket”: {}."),
                )
            for name in sorted(manifest.keys() - _OF_A_MANIFEST):
                self.tell(
                    WARNING,
                    MANIFEST,
                    step("", name),
                    _("“%(name)s” is not part of the format.") % {"name": name},
                    _("Remove it, unless another tool reads it."),
                )

    def _counts(self) -> None:
        levels = [one.get("token_type") for one in self.integrations.values()]
        ours = [name for name, client in self.clients.items() if client]
        # M1
        for wrong, message in (
            (len(levels) > formats.MAX_INTEGRATIONS, _("There are more than three integrations.")),
            (levels.count("agent") > 1, _("More than one integration is agent-level.")),
            (len(ours) > 1, _("More than one integration uses the portal’s own credentials.")),
        ):
            if wrong:
                self.tell(ERROR, OAUTH, "/integrations", message, _("Remove one of them."))
        self.count(REQUESTS, "", self.requests, formats.MAX_TEMPLATES, _("There are more than %(most)d templates."))

    def _declared(self) -> None:
        modules = as_dict(as_dict(self.values.get(MANIFEST)).get("modules"))
        listed = {
            request: step("/modules", name, "requests", request)
            for name, module in modules.items()
            for request in as_dict(as_dict(module).get("requests"))
        }
        if MANIFEST not in self.values or REQUESTS in self.unreadable:
            return
        for name in sorted(listed.keys() - self.requests.keys()):
            self.tell(
                ERROR,
                MANIFEST,
                listed[name],
                _("The template “%(name)s” is not in %(file)s.") % {"name": name, "file": REQUESTS},
                _("Add it there, or remove it here."),
            )
        for name in sorted(self.requests.keys() - listed.keys()):
            self.tell(
                WARNING,
                REQUESTS,
                step("", name),
                _("The template “%(name)s” is not in %(file)s.") % {"name": name, "file": MANIFEST},
                _("Add it under modules.common.requests, or remove it here."),
            )

    def _placeholders(self, file: str, inside: dict[str, Any], root: str) -> None:
        for pointer, text in texts(inside, root):
            if not text:
                if not _MAY_BE_EMPTY.search(pointer):
                    self.tell(ERROR, file, pointer, _("This is empty."), _("Fill it in, or remove it."))
                continue
            try:
                found = _PLACEHOLDER.search(outside(expressions.parse(text)))
            except MalformedExpression:
                continue
            if found:
                self.tell(
                    ERROR,
                    file,
                    pointer,
                    _("“%(what)s” looks like a placeholder.") % {"what": found[0]},
                    _("Replace it with the real value."),
                )
