"""Bare Django views without middleware: one answers, one answers after a SELECT by an index on a raw cursor."""

import os
from urllib.parse import urlsplit

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

_url = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="tests.load.bare",
    SECRET_KEY="x" * 50,
    MIDDLEWARE=[],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": _url.hostname, "PORT": _url.port, "NAME": _url.path[1:], "USER": _url.username,
            "PASSWORD": _url.password, "CONN_MAX_AGE": None,
        }
    },
)  # fmt: skip
application = get_wsgi_application()


def select(request):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT id, scope FROM consent_accesstoken WHERE token_checksum = %s", [request.GET["checksum"]])
        return HttpResponse(status=200 if cursor.fetchone() else 500)


urlpatterns = [path("bare", lambda request: HttpResponse()), path("select", select)]
