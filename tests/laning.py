"""Make Django's test client send requests down the fast lane first, as the portal's server does (consent/lane/).

`response.lane` tells which answered: "fast" or "django". `off_the_lane` sends the same requests to Django alone.
"""

import contextlib

from django.http import HttpResponse
from django.test.client import ClientHandler

from consent.lane import front as lane

_django = ClientHandler.__call__


@contextlib.contextmanager
def off_the_lane():
    ClientHandler.__call__ = _django
    try:
        yield
    finally:
        ClientHandler.__call__ = _both


def _both(self, environ):
    if (found := lane.answer(environ)) is None:
        response = _django(self, environ)
        response.lane = "django"
        return response
    response = HttpResponse(found.body, headers={**found.headers, "Content-Length": str(len(found.body))})
    response.lane, response.wsgi_request = "fast", None
    return response


ClientHandler.__call__ = _both
