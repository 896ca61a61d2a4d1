"""An authorization request on its way through the steps, and the redirects that answer it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2.rfc6749 import errors

from credentials.models import Client
from credentials.redirect_uris import host_of, hosted
from portal.accounts.models import Account, Membership, User

from ..actions.failing import note_failure
from ..models import Where, Why
from ..screen import Screen


class Redirect(HttpResponse):
    """A redirect without Django's limit on length: a long `state`, encoded twice on the way through signing in, exceeds it."""

    def __init__(self, location: str, status: int = 302) -> None:
        super().__init__(status=status, headers={"Location": location})

    @property
    def url(self) -> str:
        return self["Location"]


@dataclass
class AuthorizationRequest:
    """A request whose client and redirect URI can be trusted."""

    client: Client
    redirect_uri: str
    state: str | None
    requested: set[str] | None
    code_challenge: str
    prompt: set[str]
    account: str
    installation: str

    @property
    def leads_to(self) -> str:
        """The host to which the answer goes; "" for the portal's own page of a hosted app."""
        return "" if self.redirect_uri in hosted() else host_of(self.redirect_uri)

    def answer(self, method: str | None = "GET", **parameters: str) -> Redirect:
        """Send the browser back to the app (RFC 6749 section 4.1.2, RFC 9207)."""
        if self.state is not None:
            parameters["state"] = self.state
        parameters["iss"] = settings.BASE_URL
        if "error_description" in parameters:
            # The characters that RFC 6749 section 4.1.2.1 allows.
            parameters["error_description"] = re.sub(r"[^ !#-[\]-~]", "?", parameters["error_description"])[:500]
        # 303, so that no browser posts the form on to the app (RFC 9700 section 4.12).
        status = 303 if method == "POST" else 302
        return Redirect(add_params_to_uri(self.redirect_uri, list(parameters.items())), status)


def through(name: str, then: str) -> Redirect:
    """Redirect to a page of this name that leads on to `then`."""
    return Redirect(f"{reverse(name)}?{urlencode({'next': then}, safe='/')}")


@dataclass
class Flow:
    """A request on its way through the steps; each sets what the next ones need."""

    request: HttpRequest
    # The error that the app gets, if the request can be answered with nothing else.
    problem: errors.OAuth2Error | None = None
    asked: AuthorizationRequest = field(init=False)
    memberships: QuerySet[Membership] = field(init=False)
    account: Account = None  # type: ignore[assignment]
    screen: Screen = field(init=False)

    @property
    def person(self) -> User:
        """The person who is asked, from the step that has them sign in."""
        return cast(User, self.request.user)

    @property
    def decision(self) -> str | None:
        return self.request.POST.get("decision") if self.request.method == "POST" else None

    @property
    def shows_no_page(self) -> bool:
        return "none" in self.asked.prompt

    @property
    def asks_again(self) -> bool:
        return "consent" in self.asked.prompt

    @property
    def asks(self) -> bool:
        """True where the person is asked to agree: to something new, or because the app wants it (`prompt=consent`)."""
        return self.screen.is_due or self.asks_again


# Answers a request, or returns None to go on; beside it in a list, what the app or the person is told.
Step = Callable[[Flow, Any], HttpResponse | None]


def run(these: Iterable[tuple[Step, Any]], flow: Flow) -> HttpResponse | None:
    """Return the answer of the first step that has one, or None."""
    for step, error in these:
        if (response := step(flow, error)) is not None:
            return response
    return None


def note(client: Client, error: str, why: Why, text: str = "", parameter: str = "") -> None:
    """Count a refusal for the client's team. People's decisions and answers to prompt=none do not count."""
    note_failure(client.pk, where=Where.AUTHORIZE, why=why, error=error, text=text, parameter=parameter)


def without_prompt(request: HttpRequest, done: str) -> str:
    """Return the address of this request without a word of its prompt."""
    return _with_prompt(request, [word for word in request.GET.get("prompt", "").split() if word != done])


def with_account_to_choose(request: HttpRequest) -> str:
    """Return the address of this request on which the person chooses the account."""
    return _with_prompt(request, sorted({*request.GET.get("prompt", "").split(), "select_account"}))


def _with_prompt(request: HttpRequest, prompt: list[str]) -> str:
    query = [(name, value) for name, values in request.GET.lists() for value in values if name != "prompt"]
    return f"{request.path}?{urlencode([*query, *([('prompt', ' '.join(prompt))] if prompt else [])])}"
