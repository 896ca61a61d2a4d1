"""An API behind a gateway: it records what reaches it and answers with its own words."""

import contextlib
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Call:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def as_cgi(self) -> dict[str, set[str]]:
        """Return the headers as CGI, WSGI and PHP name them: every spelling of a name is one variable."""
        named: dict[str, set[str]] = {}
        for name, value in self.headers:
            named.setdefault("".join(c if c.isalnum() else "_" for c in name).upper(), set()).add(value)
        return named


class Api:
    def __init__(self):
        self.calls: list[Call] = []
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                calls.append(Call(self.command, self.path, list(self.headers.items()), body))
                self.send_response(218, "The API's own")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    @contextlib.contextmanager
    def listening(self):
        """Give the calls that reach the API within the block."""
        self.calls.clear()
        yield self.calls
