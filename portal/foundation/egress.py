"""The one HTTP client for outgoing calls: whatever a URL or a name says, it never calls an internal address (E3).

An address is judged when the connection is made, and that very address is dialled: by then the name may resolve to
another. No connection and no cookie outlives a call, no proxy is used, and errors hold nothing that was sent.
"""

import contextlib
import functools
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import httpcore
import httpx
from django.conf import settings

SECONDS = 15.0
MOST_BYTES = 6 * 2**20
_REDIRECTS = 3
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_HOST = re.compile(rb"[a-z0-9._-]+|[0-9a-f:.]+", re.IGNORECASE)
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# The transport sets these itself for a request, and has already undone them for an answer.
_CARRIAGE = {
    b"accept-encoding", b"connection", b"content-encoding", b"content-length", b"expect", b"host", b"keep-alive",
    b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
}  # fmt: skip

_LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1")]
# IANA's special-purpose and multicast blocks, and Azure's metadata address. Of IPv6, only 2000::/3
# is allocated; the blocks in it that embed other addresses (Teredo in 2001::/23, 6to4) are refused as well.
_IPV6 = IPv6Network("2000::/3")
_SPECIAL = [
    ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
]  # fmt: skip
# In an IPv6-only network, DNS returns every IPv4 address in this form (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


# What httpx may raise besides, for a URL or an answer that it cannot read.
CLIENT_ERRORS = (httpx.HTTPError, httpx.InvalidURL)


class EgressError(Exception):
    """A call was not made or not answered. The text contains nothing of the URL, a header or a body."""


class Forbidden(EgressError):
    """The call is not allowed: because of its scheme, host, address, port, method or a header."""


class Unreachable(EgressError):
    """The other side is not found, takes no connection, fails verification, or does not speak HTTP."""


class TimedOut(EgressError):
    """The other side took too long."""


class TooLarge(EgressError):
    """The request or the answer is larger than allowed."""


@dataclass(frozen=True)
class Answer:
    """A response of any status: the body unpacked, the headers without cookies."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)


def send(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes = b"",
    within: float = SECONDS, most: int = MOST_BYTES, follow: bool = False,
) -> Answer:  # fmt: skip
    """Call a URL within `within` seconds in all, and `most` bytes each way. Raises EgressError and nothing else.

    With `follow`, follow up to three redirects of a GET or HEAD that keep scheme, host and port; return any other redirect.
    """
    deadline = _Deadline(within)
    try:
        here = httpx.URL(url)
        encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    except (httpx.InvalidURL, ValueError):
        raise Forbidden("The URL or a header has what cannot be in it.") from None
    hops = _REDIRECTS if follow and method in ("GET", "HEAD") else 0
    while True:
        answer = _exchange(method, here, encoded, content, deadline, most)
        onward = _onward(here, answer) if hops else None
        if onward is None:
            return answer
        here, hops = onward, hops - 1


class Transport(httpx.BaseTransport):
    """The same for clients of httpx and Authlib: `OAuth2Client(…, transport=Transport())`."""

    def __init__(self, within: float = SECONDS, most: int = MOST_BYTES) -> None:
        self._within, self._most = within, most

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = _exchange(
            request.method, request.url, request.headers.raw, request.read(), _Deadline(self._within), self._most
        )
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)


def _onward(url: httpx.URL, answer: Answer) -> httpx.URL | None:
    if answer.status not in (301, 302, 303, 307, 308) or "location" not in answer.headers:
        return None
    try:
        onward = url.join(answer.headers["location"])
    except (httpx.InvalidURL, ValueError):
        return None
    here, there = ((each.scheme, each.userinfo, each.raw_host, each.port) for each in (url, onward))
    return onward if here == there else None


def _exchange(
    method: str, url: httpx.URL, headers: list[tuple[bytes, bytes]], content: bytes, deadline: "_Deadline", most: int
) -> Answer:
    port = {"https": 443, "http": 80}.get(url.scheme, 0) if url.port is None else url.port
    if url.scheme not in ("https", "http") or url.userinfo or not 0 < port < 65536 or not _HOST.fullmatch(url.raw_host):
        raise Forbidden("This is not the URL of a public address.")
    if not all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in headers):
        raise Forbidden("The URL or a header has what cannot be in it.")
    if method not in _METHODS:
        raise Forbidden("This method is not for calls to others.")
    if len(content) > most:
        raise TooLarge("The request is too large.")
    sent = [(b"Host", url.netloc), (b"Accept-Encoding", b"identity"), (b"Connection", b"close")]
    if content or method in ("POST", "PUT", "PATCH"):
        sent.append((b"Content-Length", b"%d" % len(content)))
    if b"user-agent" not in {name.lower() for name, _value in headers}:
        sent.append((b"User-Agent", b"app-management-portal"))
    request = httpcore.Request(
        method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path),
        headers=[*sent, *((name, value) for name, value in headers if name.lower() not in _CARRIAGE)],
        content=content,
    )
    backend, body = _Backend(deadline, may_leave=url.scheme == "https" and port == 443), bytearray()
    # httpcore changes the context at every connection, so it gets a dummy; all threads share the real one.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        with httpcore.HTTPConnection(request.url.origin, unused, network_backend=backend) as connection:
            response = connection.handle_request(request)
            for chunk in response.iter_stream():
                body += chunk
                if len(body) > most:
                    raise TooLarge("The answer is too large.")
    except httpcore.LocalProtocolError:
        raise Forbidden("The URL or a header has what cannot be in it.") from None
    except (httpcore.NetworkError, httpcore.RemoteProtocolError):
        raise Unreachable("It ended the connection early, or does not speak HTTP.") from None
    codings = b",".join(value for name, value in response.headers if name.lower() == b"content-encoding")
    kept = [(name, value) for name, value in response.headers if name.lower() not in {*_CARRIAGE, b"set-cookie"}]
    return Answer(response.status, httpx.Headers(kept), _unpacked(bytes(body), codings.strip().lower(), most))


def _unpacked(raw: bytes, coding: bytes, most: int) -> bytes:
    """Unpack an answer, which some servers compress unasked, to at most `most` bytes."""
    if not raw or coding in (b"", b"identity"):
        return raw
    # Some send "deflate" without its zlib wrapper (RFC 9110 section 8.4.1.2).
    for window in {b"gzip": (31,), b"x-gzip": (31,), b"deflate": (15, -15)}.get(coding, ()):
        unpacker = zlib.decompressobj(window)
        with contextlib.suppress(zlib.error):
            plain = unpacker.decompress(raw, most + 1)
            if len(plain) > most:
                raise TooLarge("The answer is too large.")
            if unpacker.eof and not unpacker.unused_data:
                return plain
    raise Unreachable("Its answer is packed in a way that cannot be read.")


@functools.cache
def _trust() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _resolve(host: str) -> list[str]:
    # As bytes, since Python's encoding of names raises other errors.
    return [str(found[4][0]) for found in socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)]


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address in _NAT64:
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return (address.version == 4 or address in _IPV6) and not any(address in block for block in _SPECIAL)


class _Deadline:
    def __init__(self, within: float) -> None:
        self._at = time.monotonic() + within

    def left(self) -> float:
        """Return the seconds left. Raises TimedOut if there are none."""
        if (left := self._at - time.monotonic()) <= 0:
            raise TimedOut("It took too long.")
        return left


class _Backend(httpcore.NetworkBackend):
    """Resolves a name, judges the addresses, and connects to one of those; it ignores httpcore's own timeouts."""

    def __init__(self, deadline: _Deadline, *, may_leave: bool) -> None:
        self._deadline, self._may_leave = deadline, may_leave

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> "_Stream":  # fmt: skip
        if not (self._may_leave or settings.EGRESS_ALLOW_LOOPBACK):
            raise Forbidden("Only https on port 443 may be called.")
        addresses = self._look_up(host)
        if not addresses or not all(self._may_dial(address) for address in addresses):
            raise Forbidden("This is not the URL of a public address.")
        tries = min(len(addresses), 4)
        for number, address in enumerate(addresses[:tries]):
            # A silent address leaves time for the next.
            share = self._deadline.left() / (tries - number)
            with contextlib.suppress(OSError):
                return _Stream(socket.create_connection((str(address), port), share), self._deadline)
        self._deadline.left()
        raise Unreachable("It takes no connection.")

    def _may_dial(self, address: IPv4Address | IPv6Address) -> bool:
        if any(address in block for block in _LOOPBACK):
            return bool(settings.EGRESS_ALLOW_LOOPBACK)
        return self._may_leave and _is_public(address)

    def _look_up(self, host: str) -> list[IPv4Address | IPv6Address]:
        found: Future[list[str]] = Future()

        def look_up() -> None:
            try:
                found.set_result(_resolve(host))
            except Exception as error:
                found.set_exception(error)

        # A lookup has no timeout: one that takes too long is abandoned, and ends by itself.
        threading.Thread(target=look_up, daemon=True).start()
        try:
            return [ip_address(address) for address in found.result(self._deadline.left())]
        except TimeoutError:
            raise TimedOut("It took too long.") from None
        except OSError:
            raise Unreachable("Its name is not found.") from None


class _Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._socket, self._deadline = sock, deadline

    @contextlib.contextmanager
    def _in_time(self, failure: Exception) -> Iterator[None]:
        try:
            self._socket.settimeout(self._deadline.left())
            yield
        except TimeoutError:
            raise TimedOut("It took too long.") from None
        except (OSError, ValueError):
            raise failure from None

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        try:
            with self._in_time(
                Unreachable("It speaks no TLS, or has no certificate for its name that can be trusted.")
            ):
                return _Stream(_trust().wrap_socket(self._socket, server_hostname=server_hostname), self._deadline)
        except EgressError:
            self.close()
            raise

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with self._in_time(httpcore.ReadError()):
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = memoryview(buffer)
        while left:
            # httpcore ignores this error, and reads what was answered before the connection closed.
            with self._in_time(httpcore.WriteError()):
                left = left[self._socket.send(left) :]

    def close(self) -> None:
        self._socket.close()
