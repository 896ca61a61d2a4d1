"""The marketplace: the gallery, a listing, installing."""

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.search import SearchRank
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from credentials.redirect_uris import host_of
from portal.accounts.choosing import Choice
from portal.accounts.models import Account, Membership, Role, User
from portal.accounts.requests import SignedInRequest
from portal.accounts.rights import accounts_run_by
from portal.accounts.seen import memberships_of
from portal.foundation.lists import Asked, Filter
from portal.foundation.once import once
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused

from ..actions import installing
from ..choices import Category
from ..models import Audience, Installation, Picture, Status, Version
from ..package.contents import Contents
from ..pages import icon_url
from ..previews import listing_of
from ..searching import query_of
from ..seen import listings_seen_by, may_see_pictures, releases_seen_by, versions_of
from ..vendors.checklist import checklists
from .installations import give_states

# Releases that a listing shows.
RELEASES = 10


def _membership(request: HttpRequest) -> Membership | None:
    """Return a person's membership of the account that they work in, or None."""
    if not request.user.is_authenticated:
        return None
    choice = Choice(request, memberships_of(request.user).select_related("account"), "account")
    return choice.pick() or choice.first


def _mark_installed(versions: list[Any], account: Account) -> None:
    there = Installation.objects.filter(
        account=account, app__in=[each.app_id for each in versions], uninstalled_at=None
    )
    live, installed = (set(rows.values_list("app", flat=True)) for rows in (there, there.installed()))
    for version in versions:
        version.is_installed = version.app_id in installed
        version.is_unfinished = version.app_id in live - installed


@login_not_required
@require_safe
def listing_list(request: HttpRequest) -> HttpResponse:
    listings = listings_seen_by(request.user)
    words = query_of(request.GET.get("q", ""))
    asked = Asked(
        request,
        placeholder=_("Search apps"),
        sorts={**({"relevance": _("Relevance")} if words else {}), "newest": _("Newest"), "name": _("Name")},
        filters=[Filter("category", _("Category"), _("All categories"), Category.choices)],
    )
    orders: dict[str, Any] = {"newest": ("-published_at", "-pk"), "name": ("name", "pk")}
    ranked = {"relevance": (SearchRank(F("search"), words).desc(), *orders["name"])} if words else {}
    listings = listings.filter(asked.chosen(category="category"))
    if words:
        listings = listings.filter(search=words)
    elif asked.words:
        listings = listings.none()
    order = (orders | ranked)[asked.sort]
    # Ranking means reading all that was found.
    if_many = orders.get(asked.sort, orders["newest"])
    page = paginate(request, listings.order_by(*order), many=lambda _end: listings.order_by(*if_many))
    versions = versions_of(page, "description", "package", "release_notes", "screenshots")
    page.object_list = versions
    membership = _membership(request)
    if membership:
        _mark_installed(versions, membership.account)
    context = {"page_obj": page, "asked": asked, "is_unranked": page.is_long and asked.sort in ranked}
    return render(request, "marketplace/listing_list.html", context)


def _listing(user: User | AnonymousUser, slug: str) -> Version:
    """Return the version of an app that this person may install. Raises Http404."""
    for version in versions_of(listings_seen_by(user).filter(app__slug=slug)):
        return version
    raise Http404


def _installed_here(version: Version, membership: Membership, user: User) -> dict[str, Any]:
    """Return what a listing says of the app in the account that a person works in, and what they can do there."""
    rows = Installation.objects.filter(app=version.app, account=membership.account, uninstalled_at=None)
    installation = rows.select_related("account", "app__client", "version__app__client", "access__client").first()
    is_admin = membership.role == Role.ADMIN
    others = accounts_run_by(user).exclude(pk=membership.account_id)
    context = {"installation": installation, "account": membership.account, "elsewhere": others.exists()}
    if installation is None:
        return {**context, "may_install": is_admin or context["elsewhere"]}
    access = installation.access
    give_states([access] if access else [], membership)
    is_mine = access is not None and access.client.is_agent_level and not membership.account.suspended_at
    return {
        **context,
        "access": access,
        "checklist": checklists([installation], membership)[installation],
        "may_authorize": is_mine and not access.live_consent,  # type: ignore[union-attr]
    }


@login_not_required
@require_safe
def listing_view(request: HttpRequest, slug: str) -> HttpResponse:
    version = _listing(request.user, slug)
    releases = list(
        releases_seen_by(request.user, version.app).only("app", "number", "published_at", "release_notes")[
            : RELEASES + 1
        ]
    )
    membership = _membership(request)
    context = {
        **listing_of(version, releases[:RELEASES]),
        "has_older": len(releases) > RELEASES,
        # Who is not signed in signs in first.
        "may_install": not request.user.is_authenticated,
        **(_installed_here(version, membership, cast(User, request.user)) if membership else {}),
    }
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


def _with_pictures(request: HttpRequest, slug: str, pk: int) -> Version:
    """Return a version whose pictures this person may see. Raises Http404."""
    version = Version.objects.filter(app__slug=slug, pk=pk).select_related("app__team", "app__client").first()
    if version is None or not may_see_pictures(request.user, version):
        raise Http404
    return version


def _picture(data: bytes, content_type: str) -> HttpResponse:
    return HttpResponse(data, content_type=content_type, headers={"Cache-Control": "private, max-age=86400"})


@login_not_required
@require_safe
def icon(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    version = _with_pictures(request, slug, pk)
    if version.icon is None:
        raise Http404
    return _picture(bytes(version.icon), "image/png")


@login_not_required
@require_safe
def screenshot(request: HttpRequest, slug: str, pk: int, number: int) -> HttpResponse:
    version = _with_pictures(request, slug, pk)
    if not 1 <= number <= len(version.screenshots):
        raise Http404
    picture = get_object_or_404(Picture, pk=version.screenshots[number - 1]["picture"], taken_down_at=None)
    return _picture(bytes(picture.webp or b""), "image/webp")
