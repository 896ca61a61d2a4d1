"""Make Django's test client send the once-only token of a form, as if a test had loaded the page first."""

from functools import wraps
from types import SimpleNamespace
from urllib.parse import urlsplit

from django.test import Client

from portal.foundation.once import new_token


def token(browser, path):
    """Return the token that a page would give this browser's person for a form sent to `path`, or "" if signed out."""
    session = browser.session
    user = SimpleNamespace(pk=session.get("_auth_user_id"))
    return new_token(SimpleNamespace(session=session, user=user), urlsplit(path).path) if user.pk else ""


def with_tokens(post):
    @wraps(post)
    def posting(self, path, data=None, *args, **more):
        is_form = (data is None or isinstance(data, dict)) and not args and "content_type" not in more
        if is_form and "once" not in (data or {}) and self.cookies.get("sessionid"):
            data = {**(data or {}), "once": token(self, path)}
        return post(self, path, data, *args, **more)

    return posting


Client.post = with_tokens(Client.post)
