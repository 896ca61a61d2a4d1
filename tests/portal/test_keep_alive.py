"""A refused request leaves its connection usable, or announces that it closes (RFC 9112 sections 9.3 and 9.6)."""

import itertools
import json
import socket

import httpx
import pytest
import requests

FORM = "application/x-www-form-urlencoded"
LARGE = b"x=1&" * 75_000
# Each kind of refusal without reading the body: by the server's wrapper, a middleware, a decorator, a view.
REFUSALS = [
    ("/accounts/login/", b"x" * 300_000, FORM, 403),
    ("/nowhere/", LARGE, FORM, 404),
    ("/.well-known/oauth-authorization-server", LARGE, FORM, 405),
    ("/.well-known/nowhere", LARGE, FORM, 404),
    ("/oauth/token", LARGE, "application/json", 400),
    ("/oauth/token?scope=x", b"x" * 300_000, FORM, 400),
    ("/oauth/token", LARGE, f"{FORM}; charset=hex", 400),
    ("/oauth/token", LARGE * 4, FORM, 413),
    ("/oauth/introspect", LARGE, FORM, 401),
    ("/sandbox/api/v2/tickets", LARGE, "application/json", 401),
    ("/api/v1/packages/check", LARGE, "application/zip", 401),
    ("/static/css/portal.css", LARGE, FORM, 405),
    ("/marketplace/?q=%00", LARGE, FORM, 400),
]


class Raw:
    """A connection that exposes every byte."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=180)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def send(self, method, path, body=b"", kind=FORM, more=""):
        is_announced = "Transfer-Encoding" in more or "Content-Length" in more
        length = "" if is_announced else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{length}{more}\r\n"
        self.socket.sendall(head.encode() + body)
        return self

    def answer(self):
        """Read one response, and return its status, headers and body."""
        status = int(self.stream.readline().split()[1])
        lines = iter(self.stream.readline, b"\r\n")
        headers = {
            name.decode().lower(): value.strip().decode() for name, _, value in (line.partition(b":") for line in lines)
        }
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(self.stream.readline(), 16):
                pieces.append(self.stream.read(size + 2)[:-2])
            self.stream.readline()
            return status, headers, b"".join(pieces)
        return status, headers, self.stream.read(int(headers.get("content-length", 0)))

    def is_closed(self):
        return self.stream.read(1) == b""


def chunked_body(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def test_the_next_request_after_a_refusal_is_answered_on_the_connection(servers):
    for path, body, kind, status in REFUSALS:
        with Raw(servers[0]) as connection:
            for _time in range(2):
                got, headers, _body = connection.send("POST", path, body, kind).answer()
                assert got == status and "connection" not in headers, (path, got, headers)
            assert connection.send("GET", "/healthz").answer()[0] == 200, path


@pytest.mark.parametrize("library", ["httpx", "requests"])
def test_a_client_that_keeps_its_connection_never_loses_a_call(servers, library):
    """Make 40 refusals of every kind, each followed by a call that must arrive."""
    client = httpx.Client(timeout=180) if library == "httpx" else requests.Session()
    content = "content" if library == "httpx" else "data"
    with client:
        for path, body, kind, status in itertools.islice(itertools.cycle(REFUSALS), 40):
            headers = {"Content-Type": kind}
            refused = client.post(servers[0].url + path, **{content: body}, headers=headers)
            assert refused.status_code == status
            assert client.get(servers[0].url + "/healthz").status_code == 200


def test_an_oversized_body_is_not_read_and_the_answer_announces_closing(servers):
    """Even if the client asks first whether to send it (RFC 9110 section 10.1.1)."""
    for path in ("/oauth/token", "/api/v1/packages/check", "/accounts/login/", "/nowhere/"):
        with Raw(servers[0]) as connection:
            more = f"Content-Length: {6 * 1024 * 1024 + 1}\r\nExpect: 100-continue\r\n"
            status, headers, _body = connection.send("POST", path, more=more).answer()
            assert (status, headers["connection"]) == (413, "close") and connection.is_closed(), path


@pytest.mark.parametrize("more", ["Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_check_does_not_wait_for_a_body(servers, more):
    """Unless told not to, nginx announces the body of the original call but never sends it."""
    with Raw(servers[0]) as connection:
        status, headers, _body = connection.send("POST", "/oauth/check/freshservice", more=more).answer()
        assert (status, headers["connection"]) == (401, "close") and connection.is_closed()
    with Raw(servers[0]) as connection:
        for _time in range(2):
            status, headers, _body = connection.send("GET", "/oauth/check/freshservice").answer()
            assert status == 401 and "connection" not in headers


def test_pipelined_requests_are_answered_in_order(servers):
    """RFC 9112 section 9.3.2"""
    with Raw(servers[0]) as connection:
        for path, body, kind, _status in REFUSALS[:4]:
            connection.send("POST", path, body[:4000], kind)
        connection.send("GET", "/healthz")
        assert [connection.answer()[0] for _ in range(5)] == [*(each[3] for each in REFUSALS[:4]), 200]


def test_a_chunked_body_is_read_like_any_other_body(servers):
    """RFC 9112 section 7.1: a client may not know how much it will send."""
    with Raw(servers[0]) as connection:
        for pieces in (
            (b"grant_type=", b"made_up"),
            (b"grant_type=made_up",),
            tuple(b"%c" % byte for byte in b"grant_type=made_up"),
        ):
            connection.send("POST", "/oauth/token", chunked_body(*pieces), more="Transfer-Encoding: chunked\r\n")
            status, headers, body = connection.answer()
            assert (
                status == 400 and json.loads(body)["error"] == "unsupported_grant_type" and "connection" not in headers
            )
        connection.send("POST", "/oauth/token", chunked_body(), more="Transfer-Encoding: chunked\r\n")
        assert "grant_type is missing" in connection.answer()[2].decode()
        for path, body, kind, status in REFUSALS[:4]:
            connection.send("POST", path, chunked_body(body), kind, "Transfer-Encoding: chunked\r\n")
            assert connection.answer()[0] == status
        assert connection.send("GET", "/healthz").answer()[0] == 200


def test_a_chunked_body_that_is_too_large_is_413_and_closes(servers):
    with Raw(servers[0]) as connection:
        body = chunked_body(*[b"x" * 65536] * 16, b"x")
        connection.send("POST", "/oauth/token", body, more="Transfer-Encoding: chunked\r\n")
        status, headers, _body = connection.answer()
        assert (status, headers["connection"]) == (413, "close")


def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nobody(servers):
    for more in ("Content-Length: 5000\r\n", "Transfer-Encoding: chunked\r\n"):
        for path in ("/oauth/token", "/nowhere/", "/api/v1/packages/check"):
            with Raw(servers[0]) as connection:
                connection.send("POST", path, b"5\r\nx=1&x", more=more)
    with Raw(servers[0]) as connection:
        assert connection.send("GET", "/readyz").answer()[0] == 200


def test_two_lengths_are_never_two_requests(servers):
    """RFC 9112 section 6.3: no system may read as a request what another reads as a body."""
    inner = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for length in (0, 5, 400):
        with Raw(servers[0]) as connection:
            more = f"Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"
            connection.send("POST", "/oauth/token", chunked_body(inner), more=more)
            status, headers, _body = connection.answer()
            assert status == 400
            if headers.get("connection") != "close":
                assert connection.send("GET", "/readyz").answer()[0] == 200
