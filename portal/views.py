"""Home, one's settings, health, and the error pages."""

import sys
from typing import Any, cast

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import OperationalError, connection
from django.db.models import F, OuterRef
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
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
from portal.accounts.choosing import Choice, pick_team
from portal.accounts.forms import ProfileForm
from portal.accounts.models import Role
from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import accounts_seen_by, memberships_of, team_memberships_of, teams_seen_by
from portal.foundation.once import once
from portal.foundation.pages import MOST_COUNTED, capped_count, paginate
from portal.ledger.lines import recent_lines

from .middleware import is_for_programs, page_of_form, refuse, unavailable
from .needs import LOOKED_AT, Group, kinds_of, looked_at_in_part, needs_of
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
    teams = team_memberships_of(user).select_related("team")
    return {
        "memberships": paginate(
            request,
            memberships.order_by(*order),
            name="accounts",
            many=lambda _end: memberships.order_by("account_id"),
        ),
        "teams": paginate(
            request, teams.order_by("team__name", "pk"), name="teams", many=lambda _end: teams.order_by("team_id")
        ),
    }


def _looked_at(request: SignedInRequest) -> dict[str, Any]:
    """Return of which accounts and teams a person's needs are told: all of theirs, or of many only the one they work in."""
    accounts = Choice(request, accounts_seen_by(request.user))
    teams = Choice(request, teams_seen_by(request.user), keys=("name",))
    account = (accounts.pick() or accounts.first) if accounts.are_many else None
    team = (pick_team(request, teams_seen_by(request.user)) or teams.first) if teams.are_many else None
    return {
        "accounts": [account] if account else accounts.shown,
        "teams": [team] if team else teams.shown,
        "only": [each for each in (account, team) if each],
    }


@login_not_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return render(request, "portal/home_signed_out.html")
    person = cast(SignedInRequest, request)
    context = _accounts_and_teams(person)
    clients, apps = clients_seen_by(request.user).order_by(), apps_seen_by(request.user).order_by()
    context["clients"] = clients[: MOST_COUNTED + 1].count() if context["teams"] else 0
    context["apps"] = apps[: MOST_COUNTED + 1].count() if context["teams"] else 0
    looked_at = _looked_at(person)
    accounts, teams = looked_at["accounts"], looked_at["teams"]
    context["only"] = looked_at["only"]
    context["in_part"] = looked_at_in_part(accounts, teams)
    context["needs"] = needs_of(request.user, accounts, teams)
    context["recent"] = recent_lines(request, RECENT)
    uses_apps = context["memberships"].number > 1 or any(each.apps for each in context["memberships"])
    context["is_new"] = not (uses_apps or context["clients"])
    context["may_install"] = any(membership.role == Role.ADMIN for membership in context["memberships"])
    return render(request, "portal/home.html", {**context, "most_looked_at": LOOKED_AT})


@require_safe
def need_list(request: SignedInRequest, name: str) -> HttpResponse:
    """List all of what Home shows the first of."""
    looked_at = _looked_at(request)
    kinds = kinds_of(request.user, looked_at["accounts"], looked_at["teams"])
    kind = next((kind for kind in kinds if kind.name == name), None)
    if kind is None:
        raise Http404
    page = paginate(request, kind.rows)
    context = {
        "page_obj": page,
        "title": kind.title,
        "groups": [Group([kind.need(row) for row in page])],
        "only": looked_at["only"],
        "in_part": looked_at_in_part(looked_at["accounts"], looked_at["teams"]),
        "most_looked_at": LOOKED_AT,
    }
    return render(request, "portal/need_list.html", context)


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
