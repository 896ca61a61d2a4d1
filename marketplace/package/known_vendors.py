"""What well-known vendors require before they issue a refresh token, from their documentation."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .reading import words

# By the host of the token endpoint, or the domain above it: the option, and what its value has to hold.
_OFFLINE = {
    "accounts.google.com": ("access_type", "offline"),
    "oauth2.googleapis.com": ("access_type", "offline"),
    "www.googleapis.com": ("access_type", "offline"),
    "api.dropbox.com": ("token_access_type", "offline"),
    "api.dropboxapi.com": ("token_access_type", "offline"),
    "login.microsoftonline.com": ("scope", "offline_access"),
    "auth.atlassian.com": ("scope", "offline_access"),
    "auth0.com": ("scope", "offline_access"),
    "okta.com": ("scope", "offline_access"),
}


def lacks_refresh_token(token_url: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the (option, value) missing for a refresh token from this vendor, or None if nothing is known to be missing."""
    try:
        host = (urlsplit(token_url).hostname or "").lower()
    except ValueError:
        return None
    labels = host.split(".")
    known = (_OFFLINE.get(".".join(labels[start:])) for start in range(len(labels)))
    wanted = next(filter(None, known), None)
    return wanted if wanted and wanted[1] not in words(options.get(wanted[0])) else None
