"""Home, one's settings, the demo's mail, health, and the error pages."""

import email
import email.policy
import sys

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.db import OperationalError, connection
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from portal.accounts.forms import ProfileForm
from portal.accounts.models import Membership, TeamMembership

from .middleware import unavailable


@require_GET
def home(request):
    if not request.user.is_authenticated:
        return render(request, "portal/home_signed_out.html")
    context = {
        "memberships": Membership.objects.live().filter(user=request.user).select_related("account"),
        "teams": TeamMembership.objects.filter(user=request.user, ended_at=None).select_related("team"),
    }
    return render(request, "portal/home.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def settings_page(request):
    form = ProfileForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return redirect("settings")
    context = {
        "form": form,
        "memberships": Membership.objects.live().filter(user=request.user).select_related("account"),
        "teams": TeamMembership.objects.filter(user=request.user, ended_at=None).select_related("team"),
    }
    return render(request, "portal/settings.html", context, status=422 if form.errors else 200)


def _mails():
    folder = getattr(settings, "EMAIL_FILE_PATH", None)
    if not settings.DEMO or not folder or "filebased" not in settings.EMAIL_BACKEND:
        raise Http404
    mails = []
    for path in sorted(folder.glob("*.log"), reverse=True):
        separator = b"-" * 79 + b"\n"
        for number, raw in enumerate(part for part in path.read_bytes().split(separator) if part.strip()):
            message = email.message_from_bytes(raw, policy=email.policy.default)
            mails.append((f"{path.stem}-{number}", message))
    return mails


@require_GET
@never_cache
def mail_list(request):
    return render(request, "portal/mail_list.html", {"mails": _mails()})


@require_GET
@never_cache
def mail_view(request, name):
    for known, message in _mails():
        if known == name:
            body = message.get_body(("plain",))
            return render(
                request, "portal/mail_view.html", {"mail": message, "body": body.get_content() if body else ""}
            )
    raise Http404


@require_GET
@never_cache
def healthz(request):
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
@never_cache
def readyz(request):
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except OperationalError:
        return JsonResponse({"database": "away"}, status=503, headers={"Retry-After": "5"})
    try:
        cache.get("readyz")
        redis = "ok"
    except Exception:
        # Whatever is wrong with Redis, the portal works without it.
        redis = "away"
    return JsonResponse({"database": "ok", "redis": redis})


def csrf_failure(request, reason=""):
    return render(request, "csrf.html", status=403)


def server_error(request):
    if isinstance(sys.exc_info()[1], OperationalError):
        return unavailable()
    return render(request, "500.html", status=500)
