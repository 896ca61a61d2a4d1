"""The settings of the tests' own process. Processes that tests start have the portal's settings."""

import os
from urllib.parse import urlsplit

from portal.settings import *  # noqa: F403
from portal.settings import CACHES, DATABASES, LOGGING, REDIS_URL

DATABASES["default"]["ENGINE"] = "tests.backend"
DATABASES["default"]["OPTIONS"]["pool"] = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHECKPOINT_FILE = ""
LOGGING["root"]["level"] = "WARNING"
# Tests share one address.
ACCOUNT_RATE_LIMITS = False
LIMITS_ARE_ON = False

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # The test processes share a server, not its data.
    REDIS_URL = urlsplit(REDIS_URL)._replace(path=f"/{int(worker.removeprefix('gw')) + 1}").geturl()
    CACHES["default"]["LOCATION"] = CELERY_BROKER_URL = REDIS_URL

# Each test browser would read all static files anew.
WHITENOISE_USE_FINDERS = False
