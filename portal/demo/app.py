"""The demo's Reply Helper: an app's own pages, where a version with an install URL sends people. Only in the demo."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from marketplace.models import App


def _app() -> Any:
    if not settings.DEMO:
        raise Http404
    return get_object_or_404(App.objects.exclude(client=None).select_related("client"), slug="reply-helper")


def _redirect_uri() -> Any:
    return settings.BASE_URL + reverse("demo-app-callback")


@login_not_required
@never_cache
@require_safe
def install(request: HttpRequest) -> HttpResponse:
    """What an app does with the hints that it is sent: it builds the authorize URL, with PKCE and a state of its own."""
    app = _app()
    state, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(48)
    request.session["demo_app"] = {"state": state, "verifier": verifier}
    query = {
        "response_type": "code",
        "client_id": app.client.client_id,
        "redirect_uri": _redirect_uri(),
        "state": state,
        "code_challenge": urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
        **{hint: request.GET[hint] for hint in ("account", "installation") if hint in request.GET},
    }
    url = f"{reverse('oauth-authorize')}?{urlencode(query)}"
    return render(request, "sandbox/demo_app.html", {"app": app, "url": url})


@login_not_required
@never_cache
@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    """Where the answer comes back: the command with which the app would exchange the code, or what went wrong."""
    app = _app()
    begun = request.session.pop("demo_app", {})
    context = {
        "app": app,
        "answered": True,
        "known": bool(begun) and request.GET.get("state") == begun["state"],
        "verifier": begun.get("verifier"),
        "code": request.GET.get("code"),
        "error": request.GET.get("error"),
        "redirect_uri": _redirect_uri(),
        "token_url": settings.BASE_URL + reverse("oauth-token"),
    }
    return render(request, "sandbox/demo_app.html", context)
