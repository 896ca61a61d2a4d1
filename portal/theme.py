"""Light or dark: what a person chose, kept in a cookie, so that it also holds while nobody is signed in."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest

COOKIE = "theme"
CHOSEN = ("light", "dark")
SYSTEM = "system"


def theme(request: HttpRequest) -> dict[str, Any]:
    """A context processor: `theme` is light, dark, or system where nobody chose (static/js/theme.js follows it)."""
    value = request.COOKIES.get(COOKIE)
    return {"theme": value if value in CHOSEN else SYSTEM}


def keep_theme(response: Any, value: Any) -> Any:
    if value in CHOSEN:
        # Not HttpOnly: theme.js reads it for pages that are not ours to render, such as the admin's.
        secure = settings.SESSION_COOKIE_SECURE
        response.set_cookie(COOKIE, value, max_age=timedelta(days=365), secure=secure, samesite="Lax")
    elif value == SYSTEM:
        response.delete_cookie(COOKIE, samesite="Lax")
    return response
