"""What the vendor knows, and how it answers each path."""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2 import OAuth2Error, ResourceProtector

from .oauth import AUTH_METHODS, SWAP, Bearer, Client, Code, Server, Token
from .serving import Answer, Call, page
from .switches import Fault, Switches

# The oldest calls are dropped, so that a demo can run for weeks.
KEPT_CALLS = 1000
CONSENT = """
<p><strong>{client}</strong> asks to use your account here:</p>
<ul>{scopes}</ul>
<form method="post">
<label for="person">Your account</label>
<input id="person" name="person" value="{person}" required maxlength="100" autocomplete="off">
<div><button name="decision" value="deny" formnovalidate>Deny</button> <button class="allow" name="decision" value="allow">Allow</button></div>
</form>
<p>You go back to {host} either way.</p>
"""


class Vendor:
    def __init__(
        self, name: str, url: str, switches: Switches, clients: Iterable[Client], state: Path | None = None
    ) -> None:
        self.name, self.url, self.state = name, url, state
        self.at_first = switches, list(clients)
        # One call at a time, except for those that a switch delays.
        self.lock, self.released = threading.Lock(), threading.Event()
        self.server, self.protector = Server(self), ResourceProtector()
        self.protector.register_token_validator(Bearer(self))
        rows = json.loads(state.read_text()) if state and state.exists() else []
        self.tokens = {row["value"]: Token(**row) for row in rows}
        self.begin()

    def begin(self) -> None:
        switches, clients = self.at_first
        self.switches = switches.model_copy(deep=True)
        self.clients = {client.client_id: client for client in clients}
        self.codes: dict[str, Code] = {}
        self.log: deque[dict[str, Any]] = deque(maxlen=KEPT_CALLS)

    def end(self, which: Callable[[Token], bool]) -> None:
        """Forget these tokens, and store the rest for a restart."""
        self.tokens = {value: token for value, token in self.tokens.items() if not which(token)}
        if self.state:
            half = self.state.with_suffix(f".{os.getpid()}")
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump([asdict(token) for token in self.tokens.values()], file)
            half.replace(self.state)

    # --- a call ---

    def answer(self, call: Call) -> Answer:
        if call.path.startswith("/_"):
            return self.act(call, self.control)
        entry = {"time": time.time(), **call.told(), "form": dict(parse_qsl(call.form, True)), "status": None}
        with self.lock:
            self.log.append(entry)
            fault = self.next_fault(call)
        answer = self.faulty(call, fault) if fault else self.act(call, self.route)
        entry["status"] = answer.status
        return answer

    def next_fault(self, call: Call) -> Fault | None:
        name = call.path.split("/")[1] + "_fault"
        fault = getattr(self.switches, name, None)
        if fault and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                setattr(self.switches, name, None)
        return fault

    def faulty(self, call: Call, fault: Fault) -> Answer:
        done = self.act(call, self.route) if fault.after else None
        self.released.wait(fault.seconds)
        if fault.status is not None:
            return Answer(fault.status, fault.body, fault.headers, fault.repeat, fault.pause)
        return done or self.act(call, self.route)

    def act(self, call: Call, do: Callable[[Call], Answer]) -> Answer:
        try:
            with self.lock:
                return do(call)
        except (ValueError, TypeError) as error:
            return Answer(400, f"This cannot be read: {error}", {"Content-Type": "text/plain; charset=utf-8"})

    def control(self, call: Call) -> Answer:
        """Control the vendor from this machine: for whoever tries something against it."""
        # A page on another site could resolve to this address, or post a plain form; both are refused.
        if call.headers["Host"] not in (urlsplit(self.url).netloc, f"localhost:{urlsplit(self.url).port}"):
            return Answer(403)
        match call.method, call.path:
            case "GET", "/_switches":
                return Answer(200, self.switches.model_dump())
            case "PUT", "/_switches":
                self.switches = Switches.model_validate({**self.switches.model_dump(), **json.loads(call.body)})
            case "PUT", "/_clients":
                client = Client.model_validate_json(call.body)
                self.clients[client.client_id] = client
            case "GET", "/_log":
                return Answer(200, list(self.log))
            case "DELETE", "/_log":
                self.log.clear()
            case "GET", "/_tokens":
                return Answer(200, [asdict(token) for token in self.tokens.values()])
            case "DELETE", "/_tokens":  # as if the tokens had expired, or the person had revoked them
                kinds = dict(parse_qsl(call.query)).get("kind", "access refresh").split()
                self.end(lambda token: token.kind in kinds)
            case "DELETE", "/_state":  # as if newly started
                self.begin()
                self.end(lambda token: True)
                self.released.set()
                self.released = threading.Event()
            case _:
                return Answer(404)
        return Answer(204)

    # --- the vendor's own paths ---

    def route(self, call: Call) -> Answer:
        match call.path.split("/")[1:]:
            case [""]:
                return page(self.name, "<p>This stands in for another company's service while you try the portal.</p>")
            case [".well-known", "oauth-authorization-server", *path] if (
                "/".join(["", *path]) == self.switches.issuer_path
            ):
                return Answer(200, self.metadata())
            case ["authorize"]:
                return self.authorize(call)
            case ["token"]:
                return self.token(call)
            case ["revoke"] if self.switches.revocation != "absent":
                return self.revoke(call)
            case ["api", "me" | "items", *_]:
                return self.api(call)
        return page("There is no such page", "", 404)

    def metadata(self) -> dict[str, Any]:
        """RFC 8414, and RFC 9207 section 3."""
        methods = {name: self.url + "/" + name for name in ("authorize", "token", "revoke")}
        return {
            "issuer": self.url + self.switches.issuer_path,
            "authorization_endpoint": methods["authorize"],
            "token_endpoint": methods["token"],
            "token_endpoint_auth_methods_supported": AUTH_METHODS[self.switches.client_auth],
            "scopes_supported": self.switches.scopes,
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"][: 1 + (self.switches.refresh != "none")],
            "authorization_response_iss_parameter_supported": self.switches.iss != "none",
            **({"code_challenge_methods_supported": ["S256"]} if self.switches.pkce != "refused" else {}),
            **({"revocation_endpoint": methods["revoke"]} if self.switches.revocation != "absent" else {}),
        }

    def authorize(self, call: Call) -> Answer:
        request = self.server.create_oauth2_request(call)
        try:
            grant = self.server.get_consent_grant(request)
            decision = request.form.get("decision") or request.args.get("auto") or self.switches.auto
            if decision == "error":
                state = request.payload.state
                raise OAuth2Error(error="server_error", redirect_uri=grant.redirect_uri, state=state)
            if decision in ("allow", "deny"):
                person = (request.form.get("person") or self.switches.person) if decision == "allow" else None
                return self.server.create_authorization_response(request, grant_user=person, grant=grant)
        except OAuth2Error as error:
            answer = self.server.handle_error_response(request, error)
            # RFC 9207 section 2: errors name the issuer, too.
            self.server.execute_hook("after_create_authorization_response", answer)
            return answer if answer.location else page("This request is not valid", escape(error.description), 400)
        scopes = "".join(f"<li>{escape(scope)}</li>" for scope in request.scope.split()) or "<li>no scope</li>"
        back = urlsplit(grant.redirect_uri).netloc
        who = {"client": request.client.client_id, "person": self.switches.person, "host": back}
        said = {name: escape(value) for name, value in who.items()}
        return page(self.name, CONSENT.format(scopes=scopes, **said))

    def token(self, call: Call) -> Answer:
        switches = self.switches
        wrong = [name for name, value in switches.token_headers.items() if call.headers.get(name) != value]
        if wrong:
            answer = Answer(400, {"error": "invalid_request", "error_description": f"{wrong[0]} is missing or wrong"})
        else:
            answer = self.server.create_token_response(call)
        if answer.status != 200:
            answer.status = switches.error_status or answer.status
            return answer.write_as(switches.error_body)
        scope = answer.body.pop("scope")
        if switches.scope_returned:
            answer.body["scope"] = scope.translate(SWAP) if switches.scope_separator == "comma" else scope
        if switches.expires_in != "missing":
            answer.body["expires_in"] = switches.lifetime if switches.expires_in == "number" else str(switches.lifetime)
        return answer.write_as(switches.token_body)

    def revoke(self, call: Call) -> Answer:
        if self.switches.revocation == "refused":
            return Answer(400, {"error": "unsupported_token_type"})
        return self.server.create_endpoint_response("revocation", call)

    def api(self, call: Call) -> Answer:
        """Return who calls, or everything that arrived except the token, which no page should show."""
        try:
            token = self.protector.validate_request(None, call)
        except OAuth2Error as error:
            return self.server.handle_error_response(None, error)
        if call.path == "/api/me":
            return Answer(200, {"person": token.person, "client_id": token.client_id, "scope": token.scope})
        told = call.told()
        del told["headers"]["authorization"]
        return Answer(200, {"person": token.person, **told})
