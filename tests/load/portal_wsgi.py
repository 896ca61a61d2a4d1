"""The portal, counting which of its requests the fast lane answered; GET /bench/lane tells, of one process.

LIMITS=off turns the rate limits off.
"""

import json
import os

from django.core.wsgi import get_wsgi_application

get_wsgi_application()

from django.conf import settings  # noqa: E402

from consent.lane import front  # noqa: E402

settings.LIMITS_ARE_ON = os.environ.get("LIMITS") != "off"

_answer = front.answer
_counts = {"lane": 0, "django": 0}


def _counted(environ):
    found = _answer(environ)
    _counts["lane" if found else "django"] += 1
    return found


front.answer = _counted

from portal.wsgi import application as portal  # noqa: E402


def application(environ, start_response):
    if environ.get("PATH_INFO") == "/bench/lane":
        body = json.dumps(_counts).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    return portal(environ, start_response)
