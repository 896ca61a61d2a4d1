"""Read each request's body off the connection before answering, so that the next request can follow.

A server that answers over an unread body closes the connection behind its answer without saying so, and a client that
keeps it alive sends its next request into nothing (RFC 9112 section 9.6).
"""

import io
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from django.conf import settings

_PIECE = 64 * 1024


def max_body(path: str, content_type: str) -> int:
    """Return how many bytes a request may have: forms with a file and what programs send may be large."""
    is_form_with_file = content_type.partition(";")[0].strip().lower() == "multipart/form-data"
    is_large = is_form_with_file or path.startswith(settings.LARGE_BODIES)
    return settings.MAX_BODY if is_large else settings.DATA_UPLOAD_MAX_MEMORY_SIZE


class _Counted:
    """A body that counts how much of it was read."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.taken = stream, 0

    def read(self, size: int = -1) -> bytes:
        return self._count(self._stream.read(size) if size >= 0 else self._stream.read())

    def readline(self, size: int = -1) -> bytes:
        return self._count(self._stream.readline(size) if size >= 0 else self._stream.readline())

    def _count(self, data: bytes) -> bytes:
        self.taken += len(data)
        return data


def _unchunk(environ: dict[str, Any]) -> bool:
    """Give a chunked body a length, without which Django reads nothing (RFC 9112 section 7.1).

    Return True if all of it was read. A body that is too large is cut one byte over the limit, so that it is refused.
    """
    most = max_body(environ.get("PATH_INFO", ""), environ.get("CONTENT_TYPE", ""))
    body = environ["wsgi.input"].read(most + 1)
    del environ["HTTP_TRANSFER_ENCODING"]
    environ["CONTENT_LENGTH"], environ["wsgi.input"] = str(len(body)), io.BytesIO(body)
    return len(body) <= most


def _drain(body: _Counted, length: int) -> bool:
    """Read what is left of a body, unless it is over the limit; return True if nothing is left."""
    if length > settings.MAX_BODY:
        return False
    while body.taken < length and body.read(min(_PIECE, length - body.taken)):
        pass
    return body.taken >= length


def taking_bodies(application: WSGIApplication) -> WSGIApplication:
    """Wrap a WSGI application: it sees lengths only, and an answer over an unread body says `Connection: close`."""

    def wrapped(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        is_subrequest = environ.get("PATH_INFO", "").startswith(settings.BODIES_NEVER_SENT)
        is_whole = not is_chunked or (not is_subrequest and _unchunk(environ))
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = _Counted(environ["wsgi.input"])
        environ["wsgi.input"] = body

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            # Only now, so that no client has to send a body that is refused for its size.
            is_read = length == 0 or (not is_subrequest and _drain(body, length))
            if not (is_read and is_whole):
                headers = [*headers, ("Connection", "close")]
            return start_response(status, headers, *([exc_info] if exc_info else []))

        return application(environ, start)

    return wrapped
