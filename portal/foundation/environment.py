"""Refuse to serve with an incomplete environment."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def require_environment() -> None:
    """Raise ImproperlyConfigured where a required variable is missing.

    Settings cannot refuse: tools such as mypy and makemigrations load them without an environment.
    """
    if settings.MISSING:
        raise ImproperlyConfigured(settings.MISSING[0])
