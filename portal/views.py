"""Home, one's settings, health, and the error pages."""

import sys
from typing import Any, cast

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import OperationalError, connection
from django.db.models import F, OuterRef
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.defaults import bad_request, page_not_found

from consent.answers import TRY_AGAIN
from credentials.seen import clients_seen_by
from marketplace.models import Installation
from marketplace.seen import apps_seen_by
from portal.accounts.actions.teams import create_team
from portal.accounts.choosing import Choice
from portal.accounts.forms import ProfileForm
from portal.accounts.models import Role
from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import accounts_seen_by, memberships_of, team_memberships_of
from portal.foundation.once import once
from portal.foundation.pages import MOST_COUNTED, capped_count, paginate
from portal.ledger.lines import recent_lines

from .middleware import is_for_programs, page_of_form, refuse, unavailable
from .needs import needs_of
from .theme import keep_theme, theme

# Lines of the ledger on Home.
RECENT = 5


def _accounts_and_teams(request: SignedInRequest) -> dict[str, Any]:
    """Where a person belongs: a page of their accounts, their own test accounts last, and one of their teams."""
    user = request.user
    memberships = memberships_of(user).select_related("account")
    installed = Installation.objects.installed().filter(account=OuterRef("account")).order_by()
    memberships = memberships.annotate(apps=capped_count(installed))
    order = F("account__test_of_team").asc(nulls_first=True), "account__name", "pk"
    return {
        "memberships": paginate(request, memberships.order_by(*order), name="accounts"),
        "teams": paginate(
            request, team_memberships_of(user).select_related("team").order_by("team__name", "pk"), name="teams"
        ),
    }


@login_not_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return render(request, "portal/home_signed_out.html")
    context = _accounts_and_teams(cast(SignedInRequest, request))
    context["clients"] = clients_seen_by(request.user)[: MOST_COUNTED + 1].count() if context["teams"] else 0
    context["apps"] = apps_seen_by(request.user)[: MOST_COUNTED + 1].count() if context["teams"] else 0
    accounts = Choice(request, accounts_seen_by(request.user))
    context["needs_of"] = accounts.pick() if accounts.are_many else None
    context["needs"] = needs_of(request.user, account=context["needs_of"], develops=bool(context["teams"]))
    context["recent"] = recent_lines(request, RECENT)
    uses_apps = context["memberships"].number > 1 or any(each.apps for each in context["memberships"])
    context["is_new"] = not (uses_apps or context["clients"])
    context["may_install"] = any(membership.role == Role.ADMIN for membership in context["memberships"])
    return render(request, "portal/home.html", context)


@require_http_methods(["GET", "POST"])
def settings_page(request: SignedInRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=request.user, initial=theme(request))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return keep_theme(redirect("settings"), form.cleaned_data["theme"])
    if form.errors:
        # The form has written what was refused into the person; the page shows them as they are.
        request.user.refresh_from_db()
    context = {"form": form, "has_two_factor": is_mfa_enabled(request.user), **_accounts_and_teams(request)}
    return render(request, "portal/settings.html", context, status=422 if form.errors else 200)


@require_POST
@once
def team_create(request: SignedInRequest) -> HttpResponse:
    """Make a team for a person whom staff added; who signs up has one already."""
    if team_memberships_of(request.user).exists():
        messages.info(request, _("You already have a team."))
    else:
        create_team(by=request.user)
        messages.success(request, _("Team created. Now create its OAuth credentials."))
    return redirect("client-list")


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except OperationalError:
        return JsonResponse({"database": "away"}, status=503, headers=TRY_AGAIN)
    try:
        # Which asks Redis itself: the rest of this cache works without it.
        cache.has_key("readyz")
        redis = "ok"
    except Exception:
        # Whatever is wrong with Redis, the portal works without it.
        redis = "away"
    return JsonResponse({"database": "ok", "redis": redis})


def malformed(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses to read, such as a host name that is not served."""
    if is_for_programs(request):
        return refuse(request, 400, "The request cannot be read, or is for a host that is not served here")
    return bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_for_programs(request):
        return refuse(request, 404, "There is nothing at this address")
    return page_not_found(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Refuse a stale form, and link to the page that it was on, with whatever was to follow."""
    if is_for_programs(request):
        return refuse(request, 403, "Send the header X-CSRFToken with the token of your session")
    return render(request, "csrf.html", {"back": page_of_form(request)}, status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    if isinstance(sys.exc_info()[1], OperationalError):
        return unavailable(request)
    if is_for_programs(request):
        return refuse(request, 500, "Something went wrong here. It was logged.")
    return render(request, "500.html", status=500)
