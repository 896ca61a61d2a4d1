import codecs
import functools
import json
import os
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from portal.foundation.bodies import taking_bodies
from portal.foundation.environment import require_environment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

_django = get_wsgi_application()
require_environment()
# Imported late: it reads settings and models.
from consent.lane.front import in_lane  # noqa: E402

_portal = in_lane(_django)
# Django decodes forms with any codec that a request names, those too that are none for text, and fails before any
# middleware runs.
_CODECS = {"utf-8", "ascii", "iso8859-1", "cp1252"}


@taking_bodies
def application(environ: dict[str, Any], start_response: Any) -> Any:
    """The portal. Answers 400 where the content type names a character set that no form is in."""
    if _is_readable(environ.get("CONTENT_TYPE", "")):
        return _portal(environ, start_response)
    told = {
        "error": "invalid_request",
        "error_description": "The content type has no character set known here. Use UTF-8.",
    }
    body = json.dumps(told).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    start_response("400 Bad Request", headers)
    return [body]


@functools.lru_cache(maxsize=64)
def _is_readable(content_type: str) -> bool:
    try:
        _kind, parameters = parse_header_parameters(content_type)
        return codecs.lookup(parameters.get("charset", "utf-8")).name in _CODECS
    except (LookupError, ValueError):
        return False
