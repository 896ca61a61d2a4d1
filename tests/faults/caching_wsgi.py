"""The portal with a mistake that the checker has to find: for two seconds a token's check is answered as it was before."""

import time

from portal.wsgi import application as portal

SECONDS = 2
# {Authorization: (when, status, headers, body)}
_answers = {}


def application(environ, start_response):
    if not environ["PATH_INFO"].startswith("/oauth/check/"):
        return portal(environ, start_response)
    asked = environ.get("HTTP_AUTHORIZATION")
    at, *known = _answers.get(asked, (float("-inf"),))
    if time.monotonic() - at > SECONDS:
        known = []
        body = b"".join(portal(environ, lambda *started: known.extend(started)))
        known.append(body)
        _answers[asked] = time.monotonic(), *known
    status, headers, body = known
    start_response(status, headers)
    return [body]
