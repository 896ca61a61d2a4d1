"""The portal with fewer connections than threads, so that its pool can be filled."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.conf import settings

settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"] = 2

from portal.wsgi import application  # noqa: E402, F401
