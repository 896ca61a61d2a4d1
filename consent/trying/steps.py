"""Try the flow as a client: each step sends a request, notes it with its answer explained, and keeps the tokens it got."""

import datetime as dt
import hmac
import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import QueryDict
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from credentials.models import Client, Scope
from credentials.secrets import challenge_of
from credentials.trying import call_path, callback_uri

from .calls import Answer, Request, as_client, masked, send, written, written_answer

# The last ones; what a session keeps is bounded.
MOST_STEPS = 12
MOST_OLD = 5

TITLES = {
    "authorize": gettext_lazy("Authorize"),
    "token": gettext_lazy("Exchange the code for tokens"),
    "call": gettext_lazy("Call the API"),
    "refresh": gettext_lazy("Refresh"),
    "revoke": gettext_lazy("Revoke"),
    "replay": gettext_lazy("Replay the old refresh token"),
    "widen": gettext_lazy("Ask for another scope"),
}
# What an answer means, by step, by status or error, and by words of its description; the first that fits.
_MEANINGS = (
    ("token", 200, "", gettext_lazy("The code was exchanged. The access token works for 30 minutes. The refresh token gets the next pair, and works once.")),
    ("token", "invalid_grant", "", gettext_lazy("A code works once, within 60 seconds, and only with the code verifier of its own request. Authorize again to get another.")),
    ("call", 200, "", gettext_lazy("The token is good, and it has the scope that this route needs.")),
    ("call", "invalid_token", "expired", gettext_lazy("An access token works for 30 minutes. A client now uses its refresh token to get a new one, without asking anyone.")),
    ("call", "invalid_token", "", gettext_lazy("The access token has ended with its authorization. A client now deletes its tokens, and sends the person to authorize again.")),
    ("call", "insufficient_scope", "", gettext_lazy("The token lacks the scope that this route needs, which the answer names. Add it to these credentials, and authorize again.")),
    ("refresh", 200, "", gettext_lazy("The new pair replaces the old one. A client stores the new refresh token before it does anything else.")),
    ("replay", 200, "", gettext_lazy("Within 60 seconds, the refresh token before the current one gets the same new pair again, because the first answer may have been lost. Replay it after a minute, and it counts as reuse.")),
    ("replay", "invalid_grant", "the authorization is ended", gettext_lazy("This was reuse: someone else may have the token, so the authorization and all its tokens have ended, and the account’s admins see it. A client sends the person to authorize again.")),
    ("replay", "invalid_grant", "replaced twice", gettext_lazy("The token was replaced twice within a minute. It gets nothing, and the newest one keeps working.")),
    ("widen", "invalid_scope", "", gettext_lazy("A refresh never widens the scope. To get more, a client sends the person to authorize again. The refresh token can still be used.")),
    ("revoke", 200, "", gettext_lazy("All tokens of this authorization have ended. The agreement stays until someone revokes it.")),
    ("", "invalid_client", "", gettext_lazy("The portal does not accept this secret. Enter another one, or use a test secret.")),
    ("", "invalid_grant", "", gettext_lazy("This refresh token no longer works. A client deletes its tokens, and sends the person to authorize again.")),
    ("", 429, "", gettext_lazy("There were too many requests. A client waits as long as Retry-After says.")),
    ("", 503, "", gettext_lazy("The portal is busy. A client tries again after as long as Retry-After says.")),
)  # fmt: skip


def _meaning(step: str, answer: Answer) -> str:
    for of_step, what, words, text in _MEANINGS:
        if of_step in ("", step) and what in (answer.status, answer.error) and words in answer.description:
            return str(text)
    return ""


def other_scope(client: Client, scope: str) -> str:
    """Return a scope that a token with `scope` does not have, one of the client's own if there is one; "" for none."""
    others = Scope.objects.filter(deprecated_at=None).exclude(name__in=scope.split()).order_by("name")
    own = others.filter(client_scopes__client=client)
    return next(iter(own.values_list("name", flat=True)[:1]), None) or next(
        iter(others.values_list("name", flat=True)[:1]), ""
    )


@dataclass
class Trial:
    """One client tried by one session. `state` is all that is kept of it; `secret` proves who the client is."""

    client: Client
    state: dict[str, Any] = field(repr=False)
    caller: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)

    # --- asking ---

    def begin(self) -> str:
        """Forget what was tried before, and return the address at which a person is asked."""
        verifier = random.token_urlsafe(48)
        # The client's id says on the way back which of a session's trials this is.
        state = f"{self.client.client_id}.{random.token_urlsafe(24)}"
        self.state.update(steps=[], tokens={}, tickets=[], code=None, verifier=verifier, asked=state)
        query = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": callback_uri(),
            # A platform client is asked for what its installed version asks for.
            **({} if self.client.is_platform else {"scope": " ".join(sorted(self.client.scope_names()))}),
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
            "account": self.client.team.test_account.slug,
            "prompt": "consent",
        }
        self.state["url"] = f"{reverse('oauth-authorize')}?{urlencode(query)}"
        return self.state["url"]

    def is_asked_with(self, state: str) -> bool:
        """Tell whether an answer is to what this session asked, and has not come before."""
        return bool(self.state.get("asked")) and hmac.compare_digest(self.state["asked"].encode(), state.encode())

    def receive(self, query: QueryDict) -> None:
        """Take the answer to the authorization request (RFC 6749 section 4.1.2, RFC 9207)."""
        self.state["asked"] = ""
        says, good = _("The person agreed. The code is good for 60 seconds, and only with the code verifier."), True
        if query.get("iss") != settings.BASE_URL:
            says, good = _("The answer names another issuer, so a client ignores it."), False
        elif "code" not in query:
            says, good = (
                _(
                    "The person did not agree, or the request was refused. A client tells the person and continues without access."
                ),
                False,
            )
        else:
            self.state["code"] = query["code"]
        url = self.state["url"]
        self._note(
            "authorize",
            f"GET {url} HTTP/1.1",
            masked(f"HTTP/1.1 303 See Other\nLocation: {callback_uri()}?{urlencode(query)}"),
            says,
            good,
        )

    # --- as the client ---

    def exchange(self) -> None:
        """Exchange the code, and where that works call the API."""
        code, verifier = self.state.pop("code", None) or "", self.state.get("verifier", "")
        answer = self._post("token", "oauth-token", grant_type="authorization_code", code=code, redirect_uri=callback_uri(), code_verifier=verifier)  # fmt: skip
        if answer.status != 200:
            return
        self._keep(answer)
        self.call()

    def call(self) -> None:
        """Call the API that has the sample tickets."""
        answer = self._send(
            "call", Request("GET", call_path(), {"Authorization": f"Bearer {self.tokens['access_token']}"})
        )
        if answer.status == 200:
            self.state["tickets"] = answer.data["tickets"]

    def refresh(self) -> None:
        answer = self._refresh("refresh", self.tokens["refresh_token"])
        if answer.status == 200:
            self._keep(answer)

    def replay(self) -> None:
        answer = self._refresh("replay", self.tokens["old"][-1])
        if answer.status == 200:
            self._keep(answer)

    def widen(self) -> None:
        scope = f"{self.tokens['scope']} {other_scope(self.client, self.tokens['scope'])}"
        answer = self._refresh("widen", self.tokens["refresh_token"], scope=scope)
        if answer.status == 200:
            self._keep(answer)

    def revoke(self) -> None:
        """Revoke the authorization, and call the API to see that its tokens have ended."""
        answer = self._post("revoke", "oauth-revoke", token=self.tokens["refresh_token"])
        if answer.status == 200:
            self.call()

    @property
    def tokens(self) -> dict[str, Any]:
        return self.state.get("tokens") or {}

    def _refresh(self, step: str, token: str, **more: str) -> Answer:
        return self._post(step, "oauth-token", grant_type="refresh_token", refresh_token=token, **more)

    def _post(self, step: str, url_name: str, **form: str) -> Answer:
        return self._send(step, as_client(self.client, self.secret, reverse(url_name), **form))

    def _send(self, step: str, request: Request) -> Answer:
        answer, hidden = send(request, caller=self.caller), (self.secret, self.state.get("verifier", ""))
        good = answer.status == 200
        self._note(step, written(request, *hidden), written_answer(answer, *hidden), _meaning(step, answer), good)
        if answer.error == "invalid_client":
            self.state.pop("secret", None)
        return answer

    def _note(self, step: str, request: str, answer: str, says: str, good: bool) -> None:
        noted = {"step": step, "request": request, "answer": answer, "says": says, "good": good}
        self.state["steps"] = [*self.state.get("steps", []), noted][-MOST_STEPS:]

    def _keep(self, answer: Answer) -> None:
        before, data = self.tokens, answer.data
        old = before.get("old", [])
        if before and before["refresh_token"] != data["refresh_token"]:
            old = [*old, before["refresh_token"]][-MOST_OLD:]
        ends = now() + dt.timedelta(seconds=data["expires_in"])
        names = ("access_token", "refresh_token", "scope", "account")
        self.state["tokens"] = {name: data[name] for name in names} | {"expires_at": ends.isoformat(), "old": old}
