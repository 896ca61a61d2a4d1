"""Checks of `oauth_config.json`: each integration, first-party or a vendor's."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from credentials.models import Client

from . import expressions, formats, hosts
from .archive import OAUTH
from .documents import as_dict, as_str, step
from .expressions import MalformedExpression, Template
from .hosts import Misplaced
from .known_vendors import lacks_refresh_token
from .problems import ERROR, WARNING
from .reading import Reading, texts, words
from .written import looks_secret, secrets_of_url

# Parameters that the portal sets itself when it sends a person to a vendor.
_OUR_PARAMETERS = {
    "client_id", "client_secret", "redirect_uri", "response_type", "state", "code_challenge", "code_challenge_method",
}  # fmt: skip


def _is_parameter(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str) for each in value)
    return isinstance(value, str | int | float)


def _secret_fields(one: dict[str, Any]) -> set[str]:
    try:
        secret = expressions.parse(as_str(one.get("client_secret")))
    except MalformedExpression:
        return set()
    return {each.name.removeprefix("oauth_iparams.") for each in secret.names()}


class Integrations(Reading):
    def _integration(self, name: str, one: dict[str, Any]) -> None:
        base, client = step("/integrations", name), self.clients[name]
        fields = self.check_fields(OAUTH, f"{base}/oauth_iparams", one.get("oauth_iparams"))
        # Agents can read the URL their browser is sent to. An admin fills in the client secret even where it is not “secure”.
        secure = {key for key, field in fields.items() if as_dict(field).get("secure") is True} | _secret_fields(one)
        hidden = _("a secure field would be visible here.")
        plain = {f"oauth_iparams.{key}": hidden if key in secure else "" for key in fields}
        full = dict.fromkeys(plain, "")
        self.template(OAUTH, f"{base}/client_id", one.get("client_id"), plain)
        secret = self.template(OAUTH, f"{base}/client_secret", one.get("client_secret"), full)
        options = as_dict(one.get("options"))
        for pointer, text in texts(
            {key: value for key, value in options.items() if key not in ("customHeaders", "revocation_url")},
            f"{base}/options",
        ):
            template = self.template(OAUTH, pointer, text, plain)
            if template and looks_secret(pointer.rpartition("/")[2], template):
                self.written_secret(
                    OAUTH, pointer, _("Remove it, because people’s browsers are sent to the vendor with it.")
                )
        self._custom_headers(f"{base}/options/customHeaders", options.get("customHeaders", {}), full)
        for key in sorted(options.keys() & _OUR_PARAMETERS):
            self.tell(
                ERROR,
                OAUTH,
                step(f"{base}/options", key),
                _("The portal sets “%(name)s” itself.") % {"name": key},
                _("Remove it."),
            )
        # The secret and the tokens go to these hosts; only the person who supplied the secret may choose them.
        fixed = not self.keeps_to_admins(name)
        for where, url, is_fixed in (
            (f"{base}/authorize_url", one.get("authorize_url"), False),
            (f"{base}/token_url", one.get("token_url"), fixed),
            (f"{base}/options/revocation_url", options.get("revocation_url"), fixed),
        ):
            if template := self.template(OAUTH, where, url, plain):
                self._url(where, template, is_fixed)
                if [*secrets_of_url(template)]:
                    self.written_secret(OAUTH, where)
        self._own_options(f"{base}/options", options)
        self._unused(base, fields, one)
        if client:
            self._first_party(base, one, client, options)
        else:
            self._vendor(base, one, secret, options, is_kept=name in self.facts.kept_secrets)

    def _own_options(self, base: str, options: dict[str, Any]) -> None:
        """Check the options meant for the portal (marketplace/vendors/oauth_client.py), and whether the rest can be parameters."""
        for name, value in options.items():
            pointer = step(base, name)
            if name == "pkce" and not isinstance(value, bool):
                self.tell(
                    ERROR,
                    OAUTH,
                    pointer,
                    _("“pkce” must be true or false."),
                    _("Write false if the vendor does not accept PKCE."),
                )
            elif name == "client_authentication" and value not in ("basic", "body"):
                self.tell(
                    ERROR,
                    OAUTH,
                    pointer,
                    _("“client_authentication” must say how the client secret is sent."),
                    _("Write “basic” or “body”."),
                )
            elif name in ("issuer", "revocation_url") and not isinstance(value, str):
                self.tell(
                    ERROR, OAUTH, pointer, _("“%(name)s” must be a URL.") % {"name": name}, _("Write it as a string.")
                )
            elif name not in ("customHeaders", "pkce") and not _is_parameter(value):
                self.tell(
                    ERROR,
                    OAUTH,
                    pointer,
                    _("An option must be a string, a number, true or false, or a list of strings."),
                    _("Use one of these types."),
                )

    def _url(self, pointer: str, template: Template, fixed: bool) -> None:
        try:
            scheme, host = hosts.split_url(template)
            literal, loopback = host.fill({}) if host.is_literal else "", self.facts.allows_loopback
            if literal and self.facts.is_portal(f"{scheme}://{literal}"):
                return
            if scheme != "https" and not (loopback and hosts.is_loopback(literal)):
                raise Misplaced(_("This address does not use https."), _("Use https://."))
            hosts.check_host(host, fixed=fixed, loopback=loopback)
        except Misplaced as error:
            self.misplaced(OAUTH, pointer, error)

    def _custom_headers(self, pointer: str, headers: Any, allowed: Mapping[str, str]) -> None:
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            self.tell(
                ERROR, OAUTH, pointer, _("Headers must be names with string values."), _('Write {"Name": "value"}.')
            )
            return
        looked_into = self.count(
            OAUTH, pointer, headers, formats.MAX_FIELDS, _("There are more than %(most)d entries.")
        )
        for name, value in looked_into.items():
            template = self.template(OAUTH, step(pointer, name), value, allowed)
            try:
                hosts.check_header(name)
            except Misplaced as error:
                self.misplaced(OAUTH, step(pointer, name), error)
            if template and looks_secret(name, template):
                ours = _("Remove the header. The portal itself sends the client ID and secret.")
                self.written_secret(OAUTH, step(pointer, name), ours if name.lower() == "authorization" else "")

    def _unused(self, base: str, fields: dict[str, Any], one: dict[str, Any]) -> None:
        used = set()
        for _pointer, text in texts({key: value for key, value in one.items() if key != "oauth_iparams"}, ""):
            try:
                used |= {name.name for name in expressions.parse(text).names()}
            except MalformedExpression:
                return
        for key in fields:
            if f"oauth_iparams.{key}" not in used:
                self.tell(
                    WARNING,
                    OAUTH,
                    step(f"{base}/oauth_iparams", key),
                    _("Nothing uses this field."),
                    _("Use it in a template, or remove it."),
                )

    def _first_party(self, base: str, one: dict[str, Any], client: Client, options: dict[str, Any]) -> None:
        if self.facts.is_foreign(client):
            self.tell(
                ERROR,
                OAUTH,
                f"{base}/client_id",
                _("This app cannot use these credentials."),
                _("Use marketplace credentials of the app’s own team that no other app has."),
            )
            # Tell nothing more about somebody else's credentials.
            return
        if "client_secret" in one:
            self.tell(
                ERROR,
                OAUTH,
                f"{base}/client_secret",
                _("The portal’s own credentials do not need a secret in the package."),
                _("Remove client_secret. If it was a real secret, rotate it, because it has been in a file."),
            )
        if not client.is_platform:
            self.tell(
                ERROR,
                OAUTH,
                f"{base}/client_id",
                _("These credentials are for an external app."),
                _("Use marketplace credentials."),
            )
        if one.get("token_type") in ("account", "agent") and one["token_type"] != client.level:
            self.tell(
                ERROR,
                OAUTH,
                f"{base}/token_type",
                _("These credentials are for the level “%(level)s”.") % {"level": client.level},
                _("Write “%(level)s”.") % {"level": client.level},
            )
        for key in ("authorize_url", "token_url"):
            if not self.facts.is_portal(as_str(one.get(key))):
                self.tell(
                    WARNING,
                    OAUTH,
                    f"{base}/{key}",
                    _("These credentials work only with this portal, so this address is not used."),
                    _("Use the portal’s own address."),
                )
        self._scopes(base, options, client)

    def _scopes(self, base: str, options: dict[str, Any], client: Client) -> None:
        # As keys: in order, and quick to look up.
        asked, optional = (dict.fromkeys(words(options.get(key))) for key in ("scope", "optional_scope"))
        if not asked:
            self.tell(
                ERROR,
                OAUTH,
                f"{base}/options",
                _("The version does not ask for any scopes."),
                _("List its scopes in “scope”."),
            )
        for name in asked:
            if "," in name:
                self.tell(
                    ERROR,
                    OAUTH,
                    f"{base}/options/scope",
                    _("There is no scope “%(name)s”.") % {"name": name[:100]},
                    _("Separate scopes with spaces, not commas."),
                )
            elif name not in self.facts.scopes:
                self.tell(
                    ERROR,
                    OAUTH,
                    f"{base}/options/scope",
                    _("There is no scope “%(name)s”.") % {"name": name},
                    self.suggest(name, self.facts.scopes, _("See the list of scopes in your credentials.")),
                )
            elif name not in self.facts.held[client.pk]:
                self.tell(
                    ERROR,
                    OAUTH,
                    f"{base}/options/scope",
                    _("The credentials do not have the scope “%(name)s”.") % {"name": name},
                    _("Add it to the credentials first."),
                )
        for name in optional:
            if name not in asked:
                self.tell(
                    ERROR,
                    OAUTH,
                    f"{base}/options/optional_scope",
                    _("“%(name)s” is optional but not in “scope”.") % {"name": name},
                    _("List it in “scope” too."),
                )

    def _vendor(
        self, base: str, one: dict[str, Any], secret: Template | None, options: dict[str, Any], *, is_kept: bool
    ) -> None:
        if self.facts.is_portal(as_str(one.get("token_url"))):
            self.tell(
                ERROR,
                OAUTH,
                f"{base}/client_id",
                _("This portal has no credentials with this client ID."),
                _("Copy the client ID from your OAuth credentials."),
            )
        if "client_secret" not in one and not is_kept:
            self.tell(
                WARNING,
                OAUTH,
                base,
                _("There is no client secret. Few vendors support that."),
                _("Store the secret in the portal, or ask for it during installation."),
            )
        if secret and secret.parts and not secret.is_of_values and not (secret.is_literal and self.facts.keeps_secrets):
            self.tell(
                WARNING,
                OAUTH,
                f"{base}/client_secret",
                _("The package contains the vendor’s secret. Anyone who sees the package can read it."),
                _("Store it encrypted in the portal, and remove it from the package."),
            )
        if lacking := lacks_refresh_token(as_str(one.get("token_url")), options):
            self.tell(
                WARNING,
                OAUTH,
                f"{base}/options",
                _(
                    "This vendor issues no refresh token for this request, so each connection ends when its first access token expires."
                ),
                _("Add “%(value)s” to “%(option)s” in the options.") % {"option": lacking[0], "value": lacking[1]},
            )
        if "optional_scope" in options:
            self.tell(
                ERROR,
                OAUTH,
                f"{base}/options/optional_scope",
                _("Only the portal’s own scopes can be optional."),
                _("Remove it."),
            )
