"""Call the portal's own endpoints as a client does, and write down what was sent and answered without its secrets.

A request goes the way of every request that the server takes: the fast lane, then Django with all its middleware. Over the
network each would hold a second thread of the server while it holds the first, and a few at once would wait for each other
for ever.
"""

import base64
import functools
import io
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote_plus, unquote, urlencode, urlsplit

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpResponse

from credentials.models import Client
from credentials.secrets import shown_prefix

from ..lane import front

MASK = "•••"
_SECRET = re.compile(r"amp_(?:ac|at|cs|ps|rt)_[\w-]+")
MOST_SHOWN = 6000
# Where the caller is, so that limits count them and not the portal.
_OF_CALLER = ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    form: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def body(self) -> str:
        return urlencode(self.form)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def data(self) -> dict[str, Any]:
        """The JSON object in the body, or {} for any other body."""
        try:
            data = json.loads(self.body)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def error(self) -> str:
        return str(self.data.get("error", ""))

    @property
    def description(self) -> str:
        return str(self.data.get("error_description", ""))


def as_client(client: Client, secret: str, path: str, **form: str) -> Request:
    """Return a POST with the client's authentication (RFC 6749 section 2.3.1)."""
    named = f"{quote_plus(client.client_id)}:{quote_plus(secret)}"
    basic = base64.b64encode(named.encode()).decode()
    return Request("POST", path, {"Authorization": f"Basic {basic}"}, form)


def send(request: Request, *, caller: Mapping[str, Any]) -> Answer:
    """Send a request on behalf of the caller, whose request has `caller` as its META."""
    here, body = urlsplit(settings.BASE_URL), request.body.encode()
    path, _question, query = request.path.partition("?")
    environ = {
        **{name: caller[name] for name in _OF_CALLER if name in caller},
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path),
        "QUERY_STRING": query,
        "SERVER_NAME": here.hostname or "",
        "SERVER_PORT": str(here.port or {"https": 443}.get(here.scheme, 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": here.netloc,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()},
        "CONTENT_LENGTH": str(len(body)),
        **({"CONTENT_TYPE": "application/x-www-form-urlencoded"} if request.form else {}),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": here.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if (good := front.answer(environ)) is not None:
        return Answer(200, [*good.headers.items()], good.body)
    response = cast(HttpResponse, _django().get_response(WSGIRequest(environ)))
    return Answer(response.status_code, [*response.items()], response.content)


@functools.cache
def _django() -> WSGIHandler:
    return WSGIHandler()


def masked(text: str, *secrets: str) -> str:
    """Return a text without its secrets; of the portal's own kinds the first characters stay, to tell them apart."""
    for secret in filter(None, secrets):
        text = text.replace(quote_plus(secret), MASK).replace(secret, MASK)
    return _SECRET.sub(lambda found: f"{shown_prefix(found[0])}…", text)


def written(request: Request, *secrets: str) -> str:
    """Return a request as it was sent, with its secrets masked."""
    headers = {"Host": urlsplit(settings.BASE_URL).netloc, **request.headers}
    if headers.get("Authorization", "").startswith("Basic "):
        headers["Authorization"] = f"Basic {MASK}"
    if request.form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return masked("\n".join([*lines, *(["", request.body] if request.form else [])]), *secrets)


def written_answer(answer: Answer, *secrets: str) -> str:
    """Return an answer as it came, its JSON indented, with its secrets masked."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    try:
        body = json.dumps(json.loads(answer.body), indent=2, ensure_ascii=False)
    except ValueError:
        body = answer.body.decode(errors="replace")
    body = masked(body, *secrets)
    cut = f"{body[:MOST_SHOWN]}\n…" if len(body) > MOST_SHOWN else body
    return "\n".join([masked("\n".join(lines), *secrets), *(["", cut] if body else [])])
