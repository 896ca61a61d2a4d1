"""The fast lane: good checks and introspections are answered here, before Django, by one statement each.

Whatever is not found good, or is unusual, goes on to Django, whose views judge it anew and say why it is refused.
"""

import functools
import io
import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIApplication

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import Error, connection
from django.db.models import Exists, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.utils.module_loading import import_string

from credentials.authentication import MalformedBasic, active_secrets_of_product, read_basic, touch_due
from credentials.models import Product, ProductSecret
from credentials.registry import published
from credentials.secrets import ACCESS_TOKEN, PRODUCT_SECRET, digest, is_well_formed
from portal.foundation.statements import Parameter, Statement

from .answers import NO_STORE, OAUTH_NO_STORE
from .check import bearer_of, bearer_token, good_token, introspection, original_call, told_to_gateway
from .parameters import MAX_LENGTH

CHECK, INTROSPECT = "/oauth/check/", "/oauth/introspect"
_SLUG = re.compile(r"[-a-zA-Z0-9_]+")
# In bytes; no form of this lane is longer.
_MAX_FORM = 2 * MAX_LENGTH
_FORM = "application/x-www-form-urlencoded"


class Answer(NamedTuple):
    headers: dict[str, str]
    body: bytes = b""


def _version() -> Subquery:
    return Subquery(Product.objects.filter(slug=Parameter("product")).values("published"))


def _secret() -> Any:
    return active_secrets_of_product(Parameter("product")).filter(hash=Parameter("secret"))


_CHECKED = Statement(lambda: good_token(version=_version()))
_INTROSPECTED = Statement(
    lambda: good_token(
        version=_version(),
        secret=Subquery(_secret().values("pk")[:1]),
        touch=Exists(touch_due(_secret())),
    )
)


def in_lane(portal: WSGIApplication) -> WSGIApplication:
    """Wrap the portal: good requests of the lane are answered before it."""

    def wrapped(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if (found := answer(environ)) is None:
            return portal(environ, start_response)
        length = ("Content-Length", str(len(found.body)))
        start_response(f"200 {HTTPStatus.OK.phrase}", [*found.headers.items(), length])
        return [found.body]

    return wrapped


def answer(environ: dict[str, Any]) -> Answer | None:
    """Return the answer to a good request of the lane, or None for Django to answer."""
    path = environ.get("PATH_INFO", "")
    if not path.startswith((CHECK, INTROSPECT)) or not _is_usual(environ):
        return None
    try:
        if path.startswith(CHECK):
            found = _check(environ, path.removeprefix(CHECK))
        else:
            found = _introspect(environ) if path == INTROSPECT else None
    except Error:
        # Django answers while the database is away.
        return None
    finally:
        # As at the end of each request: a server may end an idle thread, and a connection that it kept would be lost.
        # Tests run in a transaction of their own.
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
    return found and Answer({**_headers(_hsts_seconds(environ)), **found.headers}, found.body)


def _is_usual(environ: Mapping[str, Any]) -> bool:
    """Tell whether none of the middleware has anything to refuse."""
    domain, _port = split_domain_port(environ.get("HTTP_HOST", environ.get("SERVER_NAME", "")))
    return (
        not environ.get("SCRIPT_NAME")
        and not environ.get("QUERY_STRING")
        and "\\000" not in environ.get("HTTP_COOKIE", "")
        and bool(domain and validate_host(domain, settings.ALLOWED_HOSTS))
    )


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
    made = {"REQUEST_METHOD": "POST", "PATH_INFO": INTROSPECT, "wsgi.url_scheme": scheme, "wsgi.input": io.BytesIO()}
    request = WSGIRequest(made)
    headers = dict(view(request).items())
    del headers["Content-Type"]
    return headers


def _check(environ: Mapping[str, Any], slug: str) -> Answer | None:
    value = bearer_token(environ.get("HTTP_AUTHORIZATION", ""))
    if not _SLUG.fullmatch(slug) or not is_well_formed(value, ACCESS_TOKEN):
        return None
    row = _CHECKED.row(checksum=digest(str(value)), product=slug)
    if row is None or row[-1] is None:
        return None
    bearer, found = bearer_of(row[:-1]), published(slug, row[-1])
    endpoint = found.resolve(*original_call(environ))
    if endpoint is None or bearer.scopes.isdisjoint(endpoint.scopes):
        return None
    return Answer({"Content-Type": "text/plain", **NO_STORE, **told_to_gateway(bearer, found.scopes)})


def _introspect(environ: dict[str, Any]) -> Answer | None:
    try:
        basic = read_basic(environ.get("HTTP_AUTHORIZATION", ""))
    except MalformedBasic:
        return None
    slug, secret = basic or ("", "")
    if not _SLUG.fullmatch(slug) or not is_well_formed(secret, PRODUCT_SECRET):
        return None
    value = _read_form(environ).get("token")
    if not is_well_formed(value, ACCESS_TOKEN):
        return None
    row = _INTROSPECTED.row(checksum=digest(str(value)), product=slug, secret=digest(secret))
    if row is None:
        return None
    *told, version, secret_id, touch = row
    if secret_id is None:
        return None
    if touch:
        ProductSecret.objects.filter(pk=secret_id).update(last_used_at=Now())
    body = json.dumps(introspection(bearer_of(told), published(slug, version).scopes)).encode()
    return Answer({"Content-Type": "application/json", **OAUTH_NO_STORE}, body)


def _read_form(environ: dict[str, Any]) -> dict[str, str]:
    """Return the fields of a short form, each sent once, or none; whoever reads the body after this finds it whole."""
    length = environ.get("CONTENT_LENGTH") or "0"
    usual = environ.get("REQUEST_METHOD") == "POST" and environ.get("CONTENT_TYPE", "").lower() == _FORM
    if not usual or not length.isdecimal() or int(length) > _MAX_FORM:
        return {}
    body = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = io.BytesIO(body)
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return {}
    found = dict(fields)
    is_usual = len(found) == len(fields) and found.keys() <= {"token", "token_type_hint"}
    return found if is_usual and not any("\0" in value or len(value) > MAX_LENGTH for value in found.values()) else {}
