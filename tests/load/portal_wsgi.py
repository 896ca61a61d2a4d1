"""The portal, counting which of programs' requests the fast lane answered; GET /bench/lane tells, of one process.

LIMITS=off turns the rate limits off. CHECKS=off has the sandbox take every token for one of the account that has tickets.
"""

import datetime as dt
import json
import os

from django.core.wsgi import get_wsgi_application

get_wsgi_application()

from django.conf import settings  # noqa: E402

from consent import check  # noqa: E402
from consent.lane import front  # noqa: E402
from portal.demo.sandbox.models import Ticket  # noqa: E402

settings.LIMITS_ARE_ON = os.environ.get("LIMITS") != "off"

if os.environ.get("CHECKS") == "off":
    _account = Ticket.objects.all()[0].account
    _bearer = check.Bearer(frozenset(), dt.datetime.max, "", _account.slug, _account.pk, agent="", installation="")
    check.check = lambda value, any_of: _bearer

_answer = front.answer
_counts = {"process": os.getpid(), "lane": 0, "django": 0}


def _counted(environ):
    found = _answer(environ)
    if environ["PATH_INFO"].startswith("/oauth/"):
        _counts["lane" if found else "django"] += 1
    return found


front.answer = _counted

from portal.wsgi import application as portal  # noqa: E402

from .strict import strict  # noqa: E402


@strict
def application(environ, start_response):
    if environ.get("PATH_INFO") == "/bench/lane":
        body = json.dumps(_counts).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    return portal(environ, start_response)
