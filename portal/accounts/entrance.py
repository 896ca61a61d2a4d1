"""Carry `next`, the page that a person was on the way to, through signing in and all its side trips.

On the portal's own pages it travels in the address and the form, as allauth has it. In a mail it travels sealed: the link
may be opened in another browser, and nothing that a stranger typed may be read in a mail to somebody else.
"""

from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

from allauth.account.utils import get_next_redirect_url
from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

# Pages to which allauth redirects people who are not signed in yet.
_ON_THE_WAY = (
    "account_login",
    "account_signup",
    "account_email_verification_sent",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key_done",
    "account_reauthenticate",
    "mfa_authenticate",
    "mfa_reauthenticate",
)
# Pages of the apps above to which people return after signing in, by URL name.
_DESTINATIONS: set[str] = set()
_SEALED = "then"
_SALT = "portal.accounts.entrance"
# A bound on addresses in mails.
_LONGEST_SEALED = 8192


def register_destination(name: str) -> None:
    """Return people who sign in from the page with this URL name to it, except for requests that `leads_nowhere`."""
    _DESTINATIONS.add(name)


def next_page(request: HttpRequest) -> str:
    """Return the address within the portal that a person is on the way to, or an empty string."""
    if request is None:
        return ""
    if request.path in {reverse(name) for name in _DESTINATIONS}:
        return "" if getattr(request, "leads_nowhere", False) else request.get_full_path()
    return (request.path.startswith("/accounts/") and get_next_redirect_url(request)) or ""


def with_next(url: str, address: str) -> str:
    """Add `next` to one of the portal's own addresses."""
    return f"{url}?{urlencode({'next': address}, safe='/')}" if address else url


def mailed_link(request: HttpRequest, path: str) -> str:
    """Return the address of a page for a mail: on BASE_URL, whatever host the request named, with `next` sealed."""
    address = next_page(request) if request else ""
    # Only the browser that opened an invitation knows it, and that browser needs no hint.
    if not address.startswith("/") or address == reverse("invitation-accept"):
        return settings.BASE_URL + path
    sealed = signing.dumps(address, salt=_SALT, compress=True)
    return settings.BASE_URL + path + (f"?{_SEALED}={sealed}" if len(sealed) <= _LONGEST_SEALED else "")


def _unsealed(request: HttpRequest) -> str:
    """Return the address sealed in a mail's link. The rest of the link decides whether it has expired."""
    try:
        return str(signing.loads(request.GET[_SEALED], salt=_SALT))
    except signing.BadSignature:
        return ""


class NextPageMiddleware:
    """Unseals `next` on pages that a mail leads to, and adds it where allauth redirects without it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.on_the_way = {reverse(name) for name in _ON_THE_WAY}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/accounts/"):
            return self.get_response(request)
        if _SEALED in request.GET:
            given = request.GET.copy()
            given.setdefault("next", _unsealed(request))
            request.GET = given  # type: ignore[assignment]
        address = get_next_redirect_url(request)
        response = self.get_response(request)
        location = response.headers.get("Location", "")
        path, _, query = location.partition("?")
        waits = path in self.on_the_way or path == request.path
        if address and location != address and waits and "next" not in parse_qs(query):
            response["Location"] = with_next(location, address)
        return response
