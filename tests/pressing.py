"""Has Django's test browser send the once-only token that a page's form holds, wherever a test posts without the page."""

from functools import wraps
from types import SimpleNamespace
from urllib.parse import urlsplit

from django.test import Client

from portal.foundation.once import new_token


def token(browser, path):
    """A token as a page makes it for this browser's person, in a form that is sent to `path`; "" for a stranger."""
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
