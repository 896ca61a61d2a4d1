from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import middleware
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import DataError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.urls import Resolver404, ResolverMatch, resolve, reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from consent.answers import NO_STORE, TRY_AGAIN, oauth_error
from consent.lane.tokens import DATABASE_AWAY
from portal.foundation.bodies import max_body
from portal.foundation.limits.rates import TooMany
from portal.foundation.once import FormIsStale
from portal.foundation.zones import zone_of
from portal.ledger.actions import one_act

from .accounts.entrance import next_page, with_next


class CompressionMiddleware(GZipMiddleware):
    """Compress pages, and nothing else: answers to programs are short, and static files are compressed in advance.

    Django adds a random length to each, which hides how well a secret in it compresses (BREACH).
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        return super().process_response(request, response) if is_page else response


class DatabaseAwayMiddleware:
    """Answers 503 with Retry-After while PostgreSQL is away, so that no client takes that for a verdict."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return unavailable(request) if DATABASE_AWAY in request.META else self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: BaseException) -> Any:
        if isinstance(exception, OperationalError):
            return unavailable(request)
        return None


def unavailable(request: HttpRequest) -> HttpResponse:
    text = _("The database is unavailable. Try again in a few seconds.")
    if is_for_programs(request):
        return refuse(request, 503, text, **TRY_AGAIN)
    headers = {**NO_STORE, **TRY_AGAIN}
    return HttpResponse(f"{text}\n", content_type="text/plain; charset=utf-8", status=503, headers=headers)


class HeadMiddleware:
    """Answer HEAD as GET on every page (RFC 9110 section 9.3.2); the server leaves out the body.

    A view that tests for GET alone might take HEAD for POST.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        if request.method != "HEAD":
            return self.get_response(request)
        request.method = "GET"
        response = self.get_response(request)
        request.method = "HEAD"
        return response


# Pages on an app's way to Agree or Cancel and back. An app may open them in a popup, and
# COOP would cut the popup off from its opener. These pages cannot be framed, and their forms carry CSRF tokens.
IN_AN_APPS_WINDOW = ("/oauth/authorize", *(
    f"/accounts/{page}/"
    for page in (
        "login", "logout", "signup", "inactive", "confirm-email", "password/reset", "reauthenticate",
        "2fa/authenticate", "2fa/reauthenticate",
    )
))  # fmt: skip


# Their answers depend on nothing but the call.
FOR_PROGRAMS = ("/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/check/")


class HeadersMiddleware:
    """Tells browsers that no page uses device features, and not to store pages with a person's secrets."""

    POLICY = ", ".join(
        f"{feature}=()"
        for feature in ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
    )

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        response = self.get_response(request)
        response["Permissions-Policy"] = self.POLICY
        if request.path.startswith(IN_AN_APPS_WINDOW):
            del response["Cross-Origin-Opener-Policy"]
        if request.path.startswith("/accounts/"):
            # allauth does that for some pages only, and not for the one that shows the secret of a second factor.
            add_never_cache_headers(response)
        if request.path.startswith(FOR_PROGRAMS):
            # No answer to a program depends on languages or cookies, which other middleware cannot know.
            for name in ("Vary", "Content-Language"):
                del response[name]
        return response


class PublicMetadataMiddleware:
    """Lets scripts of any site read /.well-known/ (RFC 9728 section 3.1), and allows only reading there."""

    PREFIX = "/.well-known/"
    PREFLIGHT = {
        "Allow": "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Allow-Headers": "*",
        "Access-Control-Max-Age": "86400",
    }

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        response = self.get_response(request)
        if request.path.startswith(self.PREFIX):
            response["Access-Control-Allow-Origin"] = "*"
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if not request.path.startswith(self.PREFIX) or request.method in ("GET", "HEAD"):
            return None
        if request.method == "OPTIONS":
            return HttpResponse(status=204, headers=self.PREFLIGHT)
        return refuse(request, 405, "Use GET", Allow=self.PREFLIGHT["Allow"])


class BoundsMiddleware:
    """Refuses oversized requests before anything reads them, and NUL, which PostgreSQL cannot compare.

    Also answers exceptions of views about requests that are too large or too frequent.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        query = request.META.get("QUERY_STRING", "")
        most = max_body(request.path, request.META.get("CONTENT_TYPE", ""))
        # The authorization server checks its own parameters, and tells the app (RFC 6749 section 4.1.2.1).
        judges_itself = request.path.startswith("/oauth/") and not request.path.startswith("/oauth/callback")
        if (
            "\0" in request.path
            or ("%00" in query and not judges_itself)
            or "\\000" in request.META.get("HTTP_COOKIE", "")
        ):
            return refuse(request, 400, _("The address or a cookie contains a NUL character. Remove it."))
        if len(request.path) + len(query) > settings.MAX_ADDRESS:
            return refuse(
                request, 414, _("The address is longer than %(most)d characters.") % {"most": settings.MAX_ADDRESS}
            )
        never_sent = request.path.startswith(settings.BODIES_NEVER_SENT)
        if int(request.META.get("CONTENT_LENGTH") or 0) > most and not never_sent:
            return refuse(request, 413, _("The request is larger than %(most)d KB.") % {"most": most // 1024})
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: BaseException) -> Any:
        if isinstance(exception, TooMany):
            return too_many_requests(request, exception)
        if isinstance(exception, FormIsStale):
            return _stale_form(request)
        if isinstance(exception, (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)):
            return refuse(request, 413, _("The request is too large or has too many fields."))
        if isinstance(exception, DataError) and any("\0" in text for text in _posted(request)):
            return refuse(request, 400, _("The request contains a NUL character. Remove it."))
        return None


def _posted(request: HttpRequest) -> list[Any]:
    return [text for name, values in request.POST.lists() for text in (name, *values)]


def is_for_programs(request: HttpRequest) -> bool:
    """Tell whether an address answers with JSON."""
    if request.path.startswith("/oauth/callback") or request.path == reverse("oauth-authorize"):
        return False
    return request.path.startswith(("/oauth/", "/sandbox/api/", "/api/", PublicMetadataMiddleware.PREFIX))


# Any other refusal is an invalid_request.
_ERRORS = {
    403: "access_denied", 404: "not_found", 429: "temporarily_unavailable", 500: "server_error",
    503: "temporarily_unavailable",
}  # fmt: skip


def refuse(request: HttpRequest, status: int, text: str, **headers: Any) -> Any:
    """Answer a request that is refused before it reaches a view, with a page, or with JSON for programs."""
    if is_for_programs(request):
        return oauth_error(_ERRORS.get(status, "invalid_request"), text, status, **headers)
    title = _("This request cannot be read") if status == 400 else _("Request limit exceeded")
    page = render(request, "refused.html", {"status": status, "title": title, "text": text}, status=status)
    for name, value in {**NO_STORE, **headers}.items():
        page[name] = value
    return page


def too_many_requests(request: HttpRequest, exception: TooMany | None = None) -> HttpResponse:
    """Answer 429 with Retry-After. allauth's own limits do not say how long to wait; they count by the minute."""
    wait = exception.wait if exception else 60
    text = ngettext(
        "Too many attempts. Wait %(wait)d second, then try again.",
        "Too many attempts. Wait %(wait)d seconds, then try again.",
        wait,
    ) % {"wait": wait}
    return refuse(request, 429, text, **{"Retry-After": str(wait)})


class TimeZoneMiddleware:
    """Shows times in the reader's time zone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        with timezone.override(zone_of(request.user.time_zone) if request.user.is_authenticated else None):
            return self.get_response(request)


class OneActMiddleware:
    """Has what a person's click records appear as one line of their activity."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with one_act():
            return self.get_response(request)


# The admin's URLs that take forms; everything else there is read only.
FORMS = ("login", "logout", "_add", "_change", "_delete", "_press")


class MethodNotAllowedMiddleware:
    """Refuses methods that pages of other packages mistake for others. Our own views do that themselves.

    Shows a page with a way on to people who open or reload an address that only takes forms.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        response = self.get_response(request)
        if response.status_code == 405 and not response.content and is_for_programs(request):
            text = _("Use another method: %(methods)s.") % {"methods": response["Allow"]}
            return refuse(request, 405, text, Allow=response["Allow"])
        if response.status_code != 405 or response.content or "text/html" not in request.headers.get("Accept", ""):
            return response
        page = render(request, "405.html", {"back": _page_above(request.path)}, status=405)
        page["Allow"] = response["Allow"]
        return page

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None | None:
        """Refuse PUT, which allauth takes for POST, and in the admin everything that is neither a page nor a form."""
        if not _guards_itself(request, view):
            return None
        here, allowed = _match_of(request), ["GET", "HEAD"]
        if "admin" not in here.namespaces or (here.url_name or "").endswith(FORMS):
            allowed.append("POST")
        return HttpResponseNotAllowed(allowed) if request.method not in allowed else None


class LoginRequiredMiddleware(middleware.LoginRequiredMiddleware):
    """Have people sign in for every view that is not marked `login_not_required`."""

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:
        return None if _guards_itself(request, view) else super().process_view(request, view, args, kwargs)


def _match_of(request: HttpRequest) -> ResolverMatch:
    """Return what a request's path led to; `process_view` runs after that is found."""
    return cast(ResolverMatch, request.resolver_match)


def _guards_itself(request: HttpRequest, view: Any) -> bool:
    """Tell whether a view is of Django's admin or of allauth, which have people sign in their own way."""
    return "admin" in _match_of(request).namespaces or view.__module__.startswith("allauth.")


def page_of_form(request: HttpRequest) -> Any:
    """Return the address of the page that a form was sent from, with its `next`, or the nearest page."""
    if request.path.startswith("/accounts/"):
        # These forms post to their own page, and carry `next` in a field.
        return with_next(request.path, next_page(request))
    page = request.headers.get("Referer", "")
    # Without the query, which cannot lead elsewhere: Django refuses URLs longer than 2,048 characters.
    if url_has_allowed_host_and_scheme(page.partition("?")[0], {request.get_host()}):
        return page
    return next_page(request) or _page_above(request.path)


def _stale_form(request: HttpRequest) -> Any:
    response = render(request, "stale_form.html", {"back": page_of_form(request)}, status=409)
    add_never_cache_headers(response)
    return response


def _page_above(path: str) -> Any:
    """Return the nearest page above a path."""
    while path.count("/") > 1:
        path = path.rstrip("/").rpartition("/")[0] + "/"
        try:
            resolve(path)
            return path
        except Resolver404:
            continue
    return "/"
