"""The portal, except that it never answers a form, for tests of lost replies."""

import threading

from portal.wsgi import application as portal


def application(environ, start_response):
    answer = portal(environ, start_response)
    if environ["REQUEST_METHOD"] == "POST":
        threading.Event().wait()
    return answer
