import zoneinfo

from django.db import OperationalError
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils import timezone


class DatabaseAwayMiddleware:
    """Answers 503 with Retry-After while PostgreSQL is away, so that no client takes it for a verdict."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        if isinstance(exception, OperationalError):
            return unavailable()
        return None


def unavailable():
    return HttpResponse(
        "The portal’s database is away. Try again in a few seconds.\n",
        content_type="text/plain; charset=utf-8",
        status=503,
        headers={"Retry-After": "5", "Cache-Control": "no-store"},
    )


class NoNulMiddleware:
    """Refuses NUL in the address, which PostgreSQL cannot store or compare."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return HttpResponse(
                "The address has a NUL character in it. Remove “%00”.\n",
                content_type="text/plain; charset=utf-8",
                status=400,
            )
        return self.get_response(request)


class TimeZoneMiddleware:
    """Shows times in the time zone of the person who reads them."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        name = getattr(request.user, "time_zone", "") if request.user.is_authenticated else ""
        with timezone.override(zoneinfo.ZoneInfo(name) if name in zoneinfo.available_timezones() else None):
            return self.get_response(request)


class MethodNotAllowedMiddleware:
    """Shows a page, with a way on, to a person who opened or reloaded an address that only a form is sent to."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if response.status_code != 405 or response.content or "text/html" not in request.headers.get("Accept", ""):
            return response
        page = render(request, "405.html", {"back": _page_above(request.path)}, status=405)
        page["Allow"] = response["Allow"]
        return page


def _page_above(path):
    """Return the nearest address above a path that the portal knows."""
    while path.count("/") > 1:
        path = path.rstrip("/").rpartition("/")[0] + "/"
        try:
            resolve(path)
            return path
        except Resolver404:
            continue
    return "/"
