"""HTTP byte for byte: a framework would tidy up what tests need to see."""

import contextlib
import json
import time
from dataclasses import dataclass, field
from email.message import Message
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlencode

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title} · Example vendor</title>
<style>
:root {{ color-scheme: light dark; --back: #eef1ee; --card: #fff; --ink: #1f2a24; --line: #76857c; --strong: #1d6b43; --on: #fff }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #121714; --card: #1b231e; --ink: #e2e9e4; --line: #75857b; --strong: #8fd9ae; --on: #10301e }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0; padding: 1.5rem 1rem; background: var(--back); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }}
main {{ max-width: 27rem; margin: 0 auto; padding: 1.5rem; background: var(--card); border-radius: .75rem }}
h1 {{ margin: 0 0 1rem; font-size: 1.4rem; line-height: 1.25 }}
small {{ display: block; font-weight: 600; color: var(--strong) }}
input, button {{ font: inherit; width: 100%; min-height: 2.75rem; padding: .5rem .75rem; border: 1px solid var(--line); border-radius: .5rem; background: none; color: inherit }}
form div {{ display: flex; gap: .75rem; margin-top: 1rem }}
button {{ cursor: pointer; font-weight: 600 }}
.allow {{ background: var(--strong); border-color: var(--strong); color: var(--on) }}
:focus-visible {{ outline: 3px solid var(--strong); outline-offset: 2px }}
</style>
</head>
<body><main><small>Example vendor</small><h1>{title}</h1>{body}</main></body>
</html>
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


@dataclass
class Call:
    """A request as it arrived."""

    method: str
    target: str
    headers: Message
    body: bytes

    def __post_init__(self) -> None:
        self.path, _, self.query = self.target.partition("?")
        is_form = self.headers.get_content_type() == "application/x-www-form-urlencoded"
        self.form = self.body.decode(errors="replace") if is_form else ""

    def told(self) -> dict[str, Any]:
        """Return the call as JSON values, with header names in lower case."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers},
            "body": self.body.decode(errors="replace"),
        }


@dataclass
class Answer:
    """A response: JSON for a dict or list, or else text, which is HTML unless `headers` says otherwise."""

    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    repeat: int = 1
    pause: float = 0

    @property
    def location(self) -> str | None:
        return self.headers.get("Location")

    @location.setter
    def location(self, value: str) -> None:
        self.headers["Location"] = value

    def write_as(self, form: str) -> "Answer":
        """Return a dict in a format other than JSON."""
        said = f"{self.body.get('error')}: {self.body.get('error_description', '')}"
        kind, self.body = {
            "json": ("application/json", self.body),
            "object": ("application/json", {"error": {"code": 400, "message": said, "status": self.body.get("error")}}),
            "form": ("application/x-www-form-urlencoded", urlencode(self.body)),
            "html": ("text/html; charset=utf-8", PAGE.format(title="Error", body=escape(said))),
            "text": ("text/plain; charset=utf-8", said),
            "empty": ("text/plain; charset=utf-8", ""),
        }[form]
        self.headers["Content-Type"] = kind
        return self


def page(title: str, body: str, status: int = 200) -> Answer:
    """Return an HTML page; `body` is HTML already."""
    return Answer(status, PAGE.format(title=escape(title), body=body), {"Content-Security-Policy": POLICY})


class Application(Protocol):
    def answer(self, call: Call) -> Answer: ...


class Handler(BaseHTTPRequestHandler):
    application: Application
    protocol_version = "HTTP/1.1"
    # Send head and body in one piece: in two, each answer would wait for an acknowledgement.
    wbufsize = -1

    def handle(self) -> None:
        # The client did not wait for the answer.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def handle_call(self) -> None:
        if "Transfer-Encoding" in self.headers:
            self.send_error(411)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.write(self.application.answer(Call(self.command, self.path, self.headers, body)))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_call

    def write(self, answer: Answer) -> None:
        if answer.status == 0:
            self.close_connection = True
            return
        is_text = isinstance(answer.body, str)
        body = (answer.body if is_text else json.dumps(answer.body)).encode()
        kind = "text/html; charset=utf-8" if is_text else "application/json"
        self.send_response(answer.status)
        for name, value in ({"Content-Type": kind} | answer.headers).items():
            self.send_header(name, value)
        if answer.repeat == 1:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        for _time in range(answer.repeat):
            self.wfile.write(body)
            if answer.pause:
                self.wfile.flush()
                time.sleep(answer.pause)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(application: Application, port: int) -> None:
    """Serve on loopback until the process ends."""
    handler = type("Bound", (Handler,), {"application": application})
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()
