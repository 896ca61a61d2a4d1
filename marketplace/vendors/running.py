"""Run a request template: choose the vendor and the token, send it, and return the answer."""

import base64
import contextlib
import datetime as dt
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from django.utils.translation import gettext as _

from consent.actions.issuing import InvalidGrant, token_for_one_call
from portal.accounts.models import Membership, Role
from portal.foundation.egress import Answer, EgressError, Forbidden, TimedOut, TooLarge, send
from portal.foundation.limits.rates import spend
from portal.foundation.limits.slots import waiting_for_vendors
from portal.foundation.refusals import Refused

from ..models import Connection, Installation
from ..package import formats
from ..package.contents import Contents
from .actions import refresh_connection
from .filling import MAX_BODY, BadInput, Request, fill, texts_of
from .oauth_client import VendorError

SECONDS = 15.0
# The headers of an answer that are passed on to the caller.
_SHOWN = {
    "content-type", "content-language", "date", "etag", "last-modified", "link", "location", "retry-after",
    "x-request-id", "x-total-count", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
    "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
}  # fmt: skip


class MayNotRun(Refused):
    """The caller may not run this template."""


class NoSuchTemplate(Refused):
    pass


class NeedsConnection(Refused):
    """There is no working connection or consent; a person has to act."""


class VendorFailed(Refused):
    """The other side failed. `is_late` if it took too long."""

    def __init__(self, text: str, *, is_late: bool = False) -> None:
        super().__init__(text)
        self.is_late = is_late


@dataclass(frozen=True)
class Caller:
    """Who runs a template: a person by their membership, or the app by its own access token."""

    membership: Membership | None
    is_app: bool = False

    @property
    def is_admin(self) -> bool:
        return self.membership is not None and not self.is_app and self.membership.role == Role.ADMIN


@dataclass(frozen=True)
class Result:
    """What a caller gets. `body` is text, or Base64 where `is_binary`."""

    request: Request
    status: int
    headers: dict[str, str]
    body: str
    is_binary: bool
    attempts: int

    def as_dict(self) -> dict[str, Any]:
        found = {"status": self.status, "headers": self.headers, "body": self.body, "attempts": self.attempts}
        return found | ({"encoding": "base64"} if self.is_binary else {})


def templates_for(installation: Installation, caller: Caller) -> dict[str, formats.RequestTemplate]:
    """Return the templates that a caller may run."""
    contents = Contents.of(installation.version)
    return {name: one for name, one in contents.templates.items() if _may_run(contents, one, caller)}


def _may_run(contents: Contents, template: formats.RequestTemplate, caller: Caller) -> bool:
    integration = contents.integrations.get(template.options.oauth or "")
    if integration is not None and integration.token_type == "agent":
        return caller.membership is not None
    return caller.is_app or caller.is_admin or (caller.membership is not None and template.options.agents)


def run(
    installation: Installation, name: str, *, context: Mapping[str, Any], body: Any = None, caller: Caller
) -> Result:
    """Run a template. Raises the refusals of this module, and TooMany."""
    contents = Contents.of(installation.version)
    template = contents.templates.get(name)
    if template is None:
        raise NoSuchTemplate(_("This app has no request template with this name."))
    if not _may_run(contents, template, caller):
        raise MayNotRun(
            _("This template uses each agent’s own connection, so the agent must run it.")
            if caller.is_app
            else _("Only an admin of the account, or the app itself, can run this template.")
        )
    client = installation.app.client
    if installation.uninstalled_at or installation.account.suspended_at or (client and client.suspended_at):
        raise NeedsConnection(_("The app does not work in this account now, because it is uninstalled or suspended."))
    texts = texts_of(context)
    spend(("requests by app and account", installation.app.slug, installation.account.slug))
    deadline = time.monotonic() + SECONDS
    with (
        waiting_for_vendors.take(installation.app.team_id),
        _token(installation, contents, template, caller) as source,
    ):
        request = fill(contents, template, installation.values, texts, source.token, body)
        answer, attempts = _send(template, request, deadline, source)
        if answer.status == 401 and source.renew(answer):
            # If the vendor refuses the token, refresh it once and repeat the call.
            request = fill(contents, template, installation.values, texts, source.token, body)
            answer, more = _send(template, request, deadline, source)
            attempts += more
    return _result(request, answer, attempts)


# --- whose token ---


class _Source:
    """The source of a call's access token: none, a consent here, or a connection to a vendor."""

    def __init__(self, token: str = "", connection: Connection | None = None) -> None:
        self.token, self._connection = token, connection
        self._is_renewed = False

    def is_live(self) -> bool:
        """Tell whether the connection is live. A token of the portal's own is checked where it arrives."""
        return self._connection is None or Connection.objects.live().filter(pk=self._connection.pk).exists()

    def renew(self, answer: Answer | None = None) -> bool:
        """Refresh the token after a 401. Without a refresh token, a 401 may only mean “not permitted”."""
        if self._connection is None or self._is_renewed:
            return False
        is_over = self._connection.expires_at and self._connection.expires_at <= dt.datetime.now(dt.UTC)
        says_so = answer is not None and "invalid_token" in answer.headers.get("www-authenticate", "")
        if not (is_over or says_so or (self._connection.tokens or {}).get("refresh_token")):
            return False
        try:
            row = refresh_connection(self._connection, rejected=self._connection.generation)
        except (VendorError, Refused):
            return False
        if row.broken_at or not row.tokens or row.generation == self._connection.generation:
            return False
        self.token, self._is_renewed = row.tokens["access_token"], True
        return True


@contextlib.contextmanager
def _token(
    installation: Installation, contents: Contents, template: formats.RequestTemplate, caller: Caller
) -> Iterator[_Source]:
    name = template.options.oauth
    if name is None:
        yield _Source()
        return
    integration = contents.integrations[name]
    membership = caller.membership if integration.token_type == "agent" else None
    if name == contents.first_party:
        if installation.access is None:
            raise NeedsConnection(_("Nobody has agreed to this app here."))
        try:
            with token_for_one_call(installation.access, membership) as token:
                yield _Source(token)
        except InvalidGrant as refusal:
            raise NeedsConnection(str(refusal)) from None
        return
    rows = Connection.objects.live().with_vendor()
    row = rows.filter(installation=installation, integration=name, membership=membership).first()
    if row is None or not row.tokens:
        raise NeedsConnection(_("%(vendor)s is not connected.") % {"vendor": integration.display_name})
    if row.broken_at:
        raise NeedsConnection(
            _("%(vendor)s needs to be connected again: %(what)s")
            % {"vendor": integration.display_name, "what": row.problem}
        )
    source = _Source(row.tokens["access_token"], row)
    if row.refresh_at and row.expires_at and row.expires_at <= dt.datetime.now(dt.UTC):
        source.renew()
    yield source


# --- sending ---


def _send(template: formats.RequestTemplate, request: Request, deadline: float, source: _Source) -> tuple[Answer, int]:
    """Send, and try again after network errors, 429 and 5xx, as long as tries and time are left.

    Raises BadInput, VendorFailed, and NeedsConnection if the connection ended before another try.
    """
    options = template.options
    for attempt in range(1, options.max_attempts + 1):
        is_last = attempt == options.max_attempts
        if attempt > 1 and not source.is_live():
            raise NeedsConnection(_("The connection ended in the meantime."))
        try:
            answer = send(
                request.method, request.url, headers=request.headers, content=request.body,
                within=max(0.001, deadline - time.monotonic()), most=MAX_BODY, follow=True,
            )  # fmt: skip
        except Forbidden as error:
            raise BadInput(str(error)) from None
        except TooLarge as error:
            raise VendorFailed(str(error)) from None
        except EgressError as error:
            wait = options.retry_delay / 1000
            if is_last or not _wait(wait, deadline):
                raise VendorFailed(str(error), is_late=isinstance(error, TimedOut)) from None
            continue
        passing = answer.status == 429 or answer.status >= 500
        if not passing or is_last or not _wait(max(options.retry_delay / 1000, _retry_after(answer)), deadline):
            return answer, attempt
    raise AssertionError("there is at least one attempt")


def _wait(seconds: float, deadline: float) -> bool:
    """Wait, if that leaves time for another try; return whether it did."""
    if time.monotonic() + seconds + 0.1 >= deadline:
        return False
    time.sleep(seconds)
    return True


def _retry_after(answer: Answer) -> float:
    """Return the seconds that an answer asks to wait (RFC 9110, section 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}", text):
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - dt.datetime.now(dt.UTC)).total_seconds())
    return 0.0


def _result(request: Request, answer: Answer, attempts: int) -> Result:
    shown = {name: request.mask(value) for name, value in answer.headers.items() if name in _SHOWN}
    # Binary content keeps its bytes, which are written as Base64.
    body = request.mask(answer.body.decode(errors="surrogateescape"))
    if is_binary := re.search("[\udc80-\udcff]", body) is not None:
        body = base64.b64encode(body.encode(errors="surrogateescape")).decode()
    return Result(request, answer.status, shown, body, is_binary, attempts)
