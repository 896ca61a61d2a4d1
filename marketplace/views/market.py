"""The marketplace: the gallery, a listing, installing."""

from typing import Any

from django.contrib import messages
from django.contrib.postgres.search import SearchRank
from django.db.models import F, OuterRef, Subquery
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from credentials.redirect_uris import host_of
from portal.accounts.choosing import Choice
from portal.accounts.models import Account, User
from portal.accounts.requests import SignedInRequest
from portal.accounts.rights import accounts_run_by
from portal.foundation.database import looked_up
from portal.foundation.once import once
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused

from ..actions import installing
from ..models import Audience, Category, Installation, Status, Version
from ..package.contents import Contents
from ..pages import icon_url
from ..previews import listing_of
from ..searching import query_of
from ..seen import listed_apps_seen_by, listings_of, may_see_icon


@require_safe
def listing_list(request: SignedInRequest) -> HttpResponse:
    apps = listed_apps_seen_by(request.user)
    query = request.GET.get("q", "").strip()
    category = request.GET.get("category", "")
    if category in Category.values:
        apps = apps.filter(category=category)
    version = Version.objects.filter(pk=OuterRef("listed"))
    few = apps.order_by(Subquery(version.values("name")), "pk")
    if words := query_of(query):
        apps = apps.filter(looked_up(version.filter(search=words)), search=words)
        ranks = version.annotate(rank=SearchRank(F("search"), words)).values("rank")
        few = apps.order_by(Subquery(ranks).desc(), Subquery(version.values("name")), "pk")
    elif query:
        few = apps = apps.none()
    page = paginate(request, few, many=lambda _end: apps.order_by("slug"))
    page.object_list = listings_of(page, "description", "package", "release_notes")
    context = {
        "page_obj": page,
        "query": query,
        "category": category,
        "categories": Category.choices,
    }
    return render(request, "marketplace/listing_list.html", context)


def _listing(user: User, slug: str) -> Version:
    """Return the version of an app that this person may install. Raises Http404."""
    for version in listings_of(listed_apps_seen_by(user).filter(slug=slug)):
        return version
    raise Http404


@require_safe
def listing_view(request: SignedInRequest, slug: str) -> HttpResponse:
    version = _listing(request.user, slug)
    context = {**listing_of(version), "accounts": accounts_run_by(request.user).exists()}
    return render(request, "marketplace/listing_view.html", context)


@require_http_methods(["GET", "POST"])
@once
def listing_install(request: SignedInRequest, slug: str) -> HttpResponse:
    version = _listing(request.user, slug)
    accounts = accounts_run_by(request.user)
    if request.method == "POST":
        account = get_object_or_404(accounts, slug=request.POST.get("account", ""))
        try:
            installation = installing.install(version.app, account, by=request.user)
            contents, access = Contents.of(installation.version), installation.access
            if contents.fields or access is None:
                todo = contents.fields or contents.vendors
                messages.success(
                    request, _("Now set up the app, starting with the first step.") if todo else _("Installed.")
                )
                return redirect("installation-view", installation.pk)
            if access.client.is_agent_level:
                messages.success(request, _("Installed. Each agent can now authorize the app for themselves."))
                return redirect("installation-view", installation.pk)
            return redirect("installation-connect", installation.pk)
        except Refused as refusal:
            messages.error(request, str(refusal))
    choice = Choice(request, accounts)
    there = Installation.objects.filter(app=version.app, account__in=choice.shown, uninstalled_at=None)
    live = {installation.account_id: installation for installation in there}
    installed = set(there.installed().values_list("pk", flat=True))
    published = list(
        version.app.versions.filter(status=Status.PUBLISHED).defer("icon").order_by("-published_at", "-pk")
    )

    def offered(account: Account) -> Any:
        custom = account.slug in version.app.custom_accounts
        return next((each for each in published if custom or each.audience == Audience.PUBLIC), None)

    choices = [
        {
            "account": account,
            "installation": live.get(account.pk),
            "is_installed": account.pk in live and live[account.pk].pk in installed,
            "version": offered(account),
        }
        for account in choice.shown
    ]
    contents, client = Contents.of(version), version.app.client
    # The same that installing redirects to.
    leaves = version.scopes and client and not client.is_agent_level and not contents.fields
    context = {
        "version": version,
        "app": version.app,
        "choices": choices,
        "choice": choice,
        "asks": version.scopes or contents.vendors,
        "services": contents.services,
        "icon_url": icon_url(version, shows=version.has_icon),  # type: ignore[attr-defined]
        "setup_host": host_of(version.install_url) if leaves else "",
    }
    return render(request, "marketplace/listing_install.html", context)


@require_safe
def icon(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = Version.objects.filter(app__slug=slug, pk=pk).exclude(icon=None).select_related("app__team").first()
    if version is None or version.icon is None or not may_see_icon(request.user, version):
        raise Http404
    return HttpResponse(
        bytes(version.icon),
        content_type="image/png",
        headers={"Cache-Control": "private, max-age=86400"},
    )
