"""Checks of `requests.json`: where each template calls, what it sends, and the scope that its route needs."""

from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from . import expressions, formats, hosts
from .archive import IPARAMS, OAUTH, REQUESTS
from .documents import as_dict, as_str, step
from .expressions import MalformedExpression, Template
from .hosts import Misplaced
from .problems import ERROR, WARNING
from .reading import Reading, outside, parsed, words
from .written import looks_secret, secrets_of_url


class _Known(dict[str, str]):
    """Known names, and every name with one of some `prefixes`, such as a call's `context.…`."""

    def __init__(self, names: dict[str, str], *prefixes: str) -> None:
        super().__init__(names)
        self.prefixes = prefixes

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.partition(".")[0] in self.prefixes)

    def __missing__(self, name: str) -> str:
        return ""


class Requests(Reading):
    def _request(self, name: str, one: dict[str, Any]) -> None:
        base, schema, options = step("", name), as_dict(one.get("schema")), as_dict(one.get("options"))
        oauth = options.get("oauth")
        integration = self.integrations.get(oauth) if isinstance(oauth, str) else None
        if isinstance(oauth, str) and integration is None and OAUTH not in self.unreadable:
            self.tell(
                ERROR,
                REQUESTS,
                f"{base}/options/oauth",
                _("There is no integration “%(name)s”.") % {"name": oauth},
                self.suggest(oauth, self.integrations, _("Add it to %(file)s.") % {"file": OAUTH}),
            )
        if options.get("agents") is True and (integration is None or integration.get("token_type") != "account"):
            self.tell(
                WARNING,
                REQUESTS,
                f"{base}/options/agents",
                _("“agents” has no effect here. It applies only to account-level integrations."),
                _("Remove it."),
            )
        self._schema(base, schema, oauth, integration)
        if integration is not None and (client := self.clients[as_str(oauth)]) and not self.facts.is_foreign(client):
            self._route(base, schema, as_dict(integration.get("options")))

    @cached_property
    def _names(self) -> tuple[_Known, _Known]:
        """Return the names allowed in a host, path or query, and those allowed in a header."""
        secret, token = (
            _("a secure field can be used only in headers."),
            _("the access token can be used only in headers."),
        )
        plain = {f"iparam.{key}": secret if field.get("secure") is True else "" for key, field in self.fields.items()}
        plain["access_token"] = token
        unread = ["iparam"] if IPARAMS in self.unreadable else []
        return (
            _Known(plain, "context", *unread),
            _Known(dict.fromkeys(plain, ""), "context", *unread),
        )

    def _schema(self, base: str, schema: dict[str, Any], oauth: Any, integration: dict[str, Any] | None) -> None:
        called, sent = self._names
        if host := self.template(REQUESTS, f"{base}/schema/host", schema.get("host"), called):
            self._host(base, schema, host, oauth, integration)
        if path := self.template(REQUESTS, f"{base}/schema/path", schema.get("path", "/"), called):
            try:
                hosts.check_path(path)
            except Misplaced as error:
                self.misplaced(REQUESTS, f"{base}/schema/path", error)
            self._settings(f"{base}/schema/path", path)
            if [*secrets_of_url(path)]:
                self.written_secret(REQUESTS, f"{base}/schema/path")
        more = _("There are more than %(most)d entries.")
        query, headers = (
            self.count(REQUESTS, f"{base}/schema/{key}", schema.get(key), formats.MAX_FIELDS, more)
            for key in ("query", "headers")
        )
        for key, value in query.items():
            pointer = step(f"{base}/schema/query", key)
            template = self.template(REQUESTS, pointer, value, called)
            if template and looks_secret(key, template):
                self.written_secret(REQUESTS, pointer)
        sends = False
        for key, value in headers.items():
            pointer = step(f"{base}/schema/headers", key)
            template = self.template(REQUESTS, pointer, value, sent)
            if template and (wrong := hosts.not_in_a_header("".join(template.texts()))):
                self.tell(
                    ERROR,
                    REQUESTS,
                    pointer,
                    _("The header has a character that is not allowed in headers: %(character)s.")
                    % {"character": wrong},
                    _("Use only ASCII letters, digits and punctuation."),
                )
            if template and looks_secret(key, template):
                self.written_secret(REQUESTS, pointer)
            sends = sends or bool(template and any(name.name == "access_token" for name in template.names()))
            try:
                hosts.check_header(key)
            except Misplaced as error:
                self.misplaced(REQUESTS, pointer, error)
        if sends and not isinstance(oauth, str):
            self.tell(
                ERROR,
                REQUESTS,
                base,
                _("The template does not say which integration’s access token it sends."),
                _("Name the integration in options.oauth."),
            )
        if isinstance(oauth, str) and not sends:
            self.tell(
                WARNING,
                REQUESTS,
                base,
                _("This template names an integration but sends no access token."),
                _("Add the header “Authorization”: “Bearer <%= access_token %>”."),
            )

    @staticmethod
    def _holds_secrets(schema: dict[str, Any]) -> bool:
        """Return True if a header may hold a secret of the developer's, or the path or query does."""
        if Reading.may_hold_secrets(as_dict(schema.get("headers"))):
            return True
        path, query = parsed(schema.get("path")), as_dict(schema.get("query"))
        return bool(path and [*secrets_of_url(path)]) or any(
            looks_secret(key, template) for key, value in query.items() if (template := parsed(value))
        )

    def _misplaced_choice(self, key: str) -> tuple[str, Misplaced] | None:
        """Return a field's first choice that cannot be used in a path; cached for all templates."""
        if key not in self._choices:
            self._choices[key] = None
            options = self.fields[key].get("options")
            for option in options if isinstance(options, list) else ():
                try:
                    hosts.check_setting(as_str(option))
                except Misplaced as error:
                    self._choices[key] = as_str(option), error
                    break
        return self._choices[key]

    @cached_property
    def _choices(self) -> dict[str, tuple[str, Misplaced] | None]:
        return {}

    def _settings(self, pointer: str, template: Template, *, is_host: bool = False) -> None:
        """Report settings that cannot be used here, or that may be empty where a value is required."""
        for name in dict.fromkeys(template.bare_names()):
            prefix, _dot, key = name.partition(".")
            if prefix != "iparam" or (field := self.fields.get(key)) is None:
                continue
            kind, where = field.get("type"), {"name": name}
            if kind == "url" or (is_host and kind == "email"):
                self.tell(
                    ERROR,
                    REQUESTS,
                    pointer,
                    _("“%(name)s” has a type that cannot be used here.") % where,
                    _("Ask for only the part that belongs here, in a text field."),
                )
            if is_host and kind == "domain" and not template.is_of_values:
                self.tell(
                    WARNING,
                    REQUESTS,
                    pointer,
                    _("“%(name)s” is a domain, but only one label of a domain fits here.") % where,
                    _("Use a text field, and say in its description which part of the domain to enter."),
                )
            if not is_host and (found := self._misplaced_choice(key)):
                option, error = found
                self.tell(
                    ERROR,
                    REQUESTS,
                    pointer,
                    _("The choice “%(option)s” of “%(name)s” cannot be used here: %(why)s")
                    % {**where, "option": option[:50], "why": error},
                    error.fix,
                )
            if field.get("required") is not True:
                self.tell(
                    WARNING,
                    REQUESTS,
                    pointer,
                    _("“%(name)s” can be left empty, but this template cannot be sent without it.") % where,
                    _("Make the field required, or add a fallback value: <%%= %(name)s || '…' %%>.") % where,
                )

    def _host(
        self, base: str, schema: dict[str, Any], host: Template, oauth: Any, integration: dict[str, Any] | None
    ) -> None:
        # The secret is the admin's own, and may go where that admin says.
        theirs = self.keeps_to_admins(oauth) if integration else not isinstance(oauth, str)
        theirs = theirs and not self._holds_secrets(schema)
        # The caller does not own the secret, whatever the admin filled in.
        theirs = theirs and not host.is_called
        loopback = self.facts.allows_loopback
        try:
            hosts.check_host(host, fixed=not theirs, loopback=loopback)
            if schema.get("protocol", "https") != "https" and not (
                loopback and host.is_literal and hosts.is_loopback(host.fill({}))
            ):
                raise Misplaced(_("This address does not use https."), _("Use https, or leave out “protocol”."))
        except Misplaced as error:
            self.misplaced(REQUESTS, f"{base}/schema/host", error)
        self._settings(f"{base}/schema/host", host, is_host=True)

    def _route(self, base: str, schema: dict[str, Any], options: dict[str, Any]) -> None:
        try:
            path = outside(expressions.parse(as_str(schema.get("path", "/")))).replace("\0", "x")
        except MalformedExpression:
            return
        routes = self.facts.routes(as_str(schema.get("method")), path)
        asked = {*words(options.get("scope"))}
        if not routes:
            self.tell(
                WARNING,
                REQUESTS,
                f"{base}/schema/path",
                _("No product publishes this route."),
                _("Check the route in the product’s documentation."),
            )
        elif not any(asked & {*scopes} for scopes in routes):
            needed = sorted({scope for scopes in routes for scope in scopes})
            if needed:
                self.tell(
                    ERROR,
                    REQUESTS,
                    f"{base}/schema/path",
                    _("This route needs a scope that the version does not ask for: %(scopes)s.")
                    % {"scopes": ", ".join(needed)},
                    _("Add one of them to the integration’s “scope”."),
                )
            else:
                self.tell(
                    ERROR,
                    REQUESTS,
                    f"{base}/schema/path",
                    _("This route is not open to OAuth clients."),
                    _("Remove the template."),
                )
