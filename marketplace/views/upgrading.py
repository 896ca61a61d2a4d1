"""Moving an account's app to another version: what it means, agreeing, declining, and doing it without a click."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from consent.receipts import with_receipt
from consent.succession import to_confirm
from consent.validity import live_consents
from credentials.models import Scope
from marketplace.models import Installation, Version
from portal.accounts.requests import SignedInRequest
from portal.foundation.markdown import render as render_markdown
from portal.foundation.once import once
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused
from portal.foundation.seals import ScreenIsStale

from ..actions import upgrading
from ..models import Status
from ..pages import icon_url
from ..seen import installations_run_by, offers_seen_by
from .installations import is_suspended


@never_cache
@require_http_methods(["GET", "POST"])
@once
def installation_upgrade(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Show what the offered version changes and asks; POST agrees to it, or declines."""
    installation = get_object_or_404(installations_run_by(request.user), pk=pk, uninstalled_at=None)
    if is_suspended(installation):
        messages.info(request, _("This app cannot be updated here now."))
        return redirect("installation-view", pk)
    version = upgrading.offered_version(installation)
    if version is None:
        messages.info(request, _("No other version is available for this account."))
        return redirect("installation-view", pk)
    if request.method == "GET":
        return _page(request, installation, version)
    try:
        # What was shown is what is meant: a version never changes (M2), so its number says it all.
        if request.POST.get("version") != str(version.pk):
            return _page(
                request,
                installation,
                version,
                _("Another version is offered now. Read this page again before you continue."),
                409,
            )
        if request.POST.get("decision") == "decline":
            upgrading.decline_upgrade(installation, version, by=request.user)
            messages.info(request, _("Nothing was changed. You can update at any time."))
            return redirect("installation-view", pk)
        if request.POST.get("decision") != "agree":
            raise Http404
        moved = upgrading.upgrade(
            installation,
            version,
            by=request.user,
            shown=request.POST.get("shown", ""),
            chosen=set(request.POST.getlist("optional")),
        )
    except ScreenIsStale as stale:
        return _page(request, installation, version, str(stale), 409)
    except Refused as refusal:
        messages.error(request, str(refusal))
        return redirect("installation-view", pk)
    is_back = installation.version.status == Status.WITHDRAWN
    said = (_("Switched to %(number)s.") if is_back else _("Updated to %(number)s.")) % {"number": moved.version.number}
    if access := moved.access:
        said = with_receipt(said, access, *live_consents().filter(access=access, membership=None))
    messages.success(request, said)
    return redirect("installation-view", pk)


def _page(
    request: SignedInRequest, installation: Installation, version: Version, problem: str = "", status: int = 200
) -> HttpResponse:
    step = upgrading.step_to(installation, version, by=request.user)
    client = version.app.client
    added = step.difference.added_scopes | step.difference.raised_scopes
    removed, by_agents = step.difference.removed_scopes, bool(client and client.is_agent_level)
    if not by_agents:
        # What was left off is nothing to give up.
        held = live_consents().filter(access=installation.access, membership=None).first()
        removed &= {*held.granted} if held else set()
    context = {
        "installation": installation,
        "version": version,
        "step": step,
        "difference": step.difference,
        "screen": step.screen if step.asks else None,
        "shown": step.screen.digest() if step.screen else "",
        "chosen": request.POST.getlist("optional"),
        # What each agent will be asked for.
        "agents_scopes": client.scopes.filter(scope__name__in=added).select_related("scope")
        if client and by_agents
        else [],
        "removed": Scope.objects.filter(name__in=removed).order_by("name"),
        "is_back": installation.version.status == Status.WITHDRAWN,
        "notes": render_markdown(version.release_notes),
        "icon_url": icon_url(version, shows=version.icon),
        "problem": problem,
    }
    return render(request, "marketplace/installation_upgrade.html", context, status=status)


@require_POST
def installation_upgrades_itself(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Turn updating without a click on or off."""
    installation = get_object_or_404(installations_run_by(request.user), pk=pk, uninstalled_at=None)
    on = request.POST.get("on") == "1"
    try:
        upgrading.set_upgrades_itself(installation, on=on, by=request.user)
        on_text = _("Automatic updates are on for later versions that ask for nothing new.")
        messages.success(
            request, on_text if on else _("Automatic updates are off. Someone here decides on each version.")
        )
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("installation-view", pk)


@require_safe
def offer_list(request: SignedInRequest) -> HttpResponse:
    leaderless = paginate(request, to_confirm(request.user), name="confirming")
    context = {"page_obj": paginate(request, offers_seen_by(request.user)), "leaderless": leaderless}
    return render(request, "marketplace/offer_list.html", context)
