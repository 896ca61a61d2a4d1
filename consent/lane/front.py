"""The fast lane: good requests of programs are answered here, before Django.

Whatever is not found good, or is unusual, goes on to Django, whose views judge it anew and say why it is refused.
"""

import functools
import io
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.utils.module_loading import import_string

from .answers import Answer
from .calls import check, introspect
from .tokens import token

_CHECK, _INTROSPECT, _TOKEN = "/oauth/check/", "/oauth/introspect", "/oauth/token"


def in_lane(portal: WSGIApplication) -> WSGIApplication:
    """Wrap the portal: good requests of the lane are answered before it."""

    def wrapped(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        try:
            found = answer(environ)
        finally:
            # As at the end of each request: a server may end an idle thread, and a connection that it kept would be lost.
            # Tests run in a transaction of their own.
            if connection.connection and not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
        if found is None:
            return portal(environ, start_response)
        length = ("Content-Length", str(len(found.body)))
        start_response(f"200 {HTTPStatus.OK.phrase}", [*found.headers.items(), length])
        return [found.body]

    return wrapped


def answer(environ: dict[str, Any]) -> Answer | None:
    """Return the answer to a good request of the lane, or None for Django to answer."""
    path = environ.get("PATH_INFO", "")
    if not path.startswith((_CHECK, _INTROSPECT, _TOKEN)) or not _is_usual(environ):
        return None
    try:
        found = _answer(environ, path)
    except Error:
        # Django answers while the database is away.
        return None
    return found and Answer({**_headers(_hsts_seconds(environ)), **found.headers}, found.body)


def _answer(environ: dict[str, Any], path: str) -> Answer | None:
    if path.startswith(_CHECK):
        return check(environ, path.removeprefix(_CHECK))
    if path == _INTROSPECT:
        return introspect(environ)
    # Django redirects what comes over http, but for checks and introspections (SECURE_REDIRECT_EXEMPT).
    is_redirected = settings.SECURE_SSL_REDIRECT and not _is_secure(environ)
    return token(environ) if path == _TOKEN and not is_redirected else None


def _is_usual(environ: Mapping[str, Any]) -> bool:
    """Tell whether none of the middleware has anything to refuse."""
    return (
        not environ.get("SCRIPT_NAME")
        and not environ.get("QUERY_STRING")
        and "\\000" not in environ.get("HTTP_COOKIE", "")
        and _is_allowed(environ.get("HTTP_HOST", environ.get("SERVER_NAME", "")), *settings.ALLOWED_HOSTS)
    )


@functools.lru_cache(maxsize=64)
def _is_allowed(host: str, *allowed: str) -> bool:
    domain, _port = split_domain_port(host)
    return bool(domain and validate_host(domain, allowed))


def _hsts_seconds(environ: Mapping[str, Any]) -> int:
    return settings.SECURE_HSTS_SECONDS if _is_secure(environ) else 0


def _is_secure(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request came by https, as Django does."""
    name, secure = settings.SECURE_PROXY_SSL_HEADER or ("", "")
    if (value := environ.get(name)) is not None:
        return value.split(",", 1)[0].strip() == secure
    return environ["wsgi.url_scheme"] == "https"


@functools.lru_cache(maxsize=8)
def _headers(hsts_seconds: int) -> dict[str, str]:
    """Return the headers that the middleware gives every answer here; they depend on nothing else."""

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    for name in reversed(settings.HEADERS_MIDDLEWARE):
        view = import_string(name)(view)
    scheme = "https" if hsts_seconds else "http"
    made = {"REQUEST_METHOD": "POST", "PATH_INFO": _INTROSPECT, "wsgi.url_scheme": scheme, "wsgi.input": io.BytesIO()}
    request = WSGIRequest(made)
    headers = dict(view(request).items())
    del headers["Content-Type"]
    return headers
