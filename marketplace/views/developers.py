"""A developer's apps and their versions."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from consent.validity import live_consents
from marketplace.models import App
from portal.accounts.choosing import pick_team, rows_by_team
from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import teams_seen_by
from portal.foundation.limits.rates import spend
from portal.foundation.lists import Asked, Filter
from portal.foundation.once import once
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused, add_errors
from portal.ledger.reading import last_reason

from ..actions import offering, publishing
from ..differences import Difference
from ..events import Event
from ..forms import (
    AppForm,
    ClientChoiceForm,
    CustomForm,
    ScreenshotsForm,
    VersionForm,
    free_clients,
)
from ..models import Audience, OfferKind, Status, Version
from ..package.contents import Contents
from ..previews import changed_scopes, listing_of, published_before, scope_rows
from ..seals import seal_of
from ..seen import apps_seen_by, installations_seen_by, versions_seen_by

# What is limited, of `RATES`.
NEW = "versions by team"
# So many test copies are listed, the newest first.
COPIES = 10
HAS_CREDENTIALS = [("some", gettext_lazy("With credentials")), ("none", gettext_lazy("Without credentials"))]


def spend_of_team(app: App, rate: str) -> None:
    """Limit a team: reviewers read each version, and the admins of many accounts are told of it."""
    spend((rate, str(app.team.public_id)))


@require_safe
def app_list(request: SignedInRequest) -> HttpResponse:
    parts, teams, team = rows_by_team(request, apps_seen_by(request.user), teams_seen_by(request.user))
    asked = Asked(
        request,
        placeholder=_("Name or address"),
        sorts={"address": _("Address"), "newest": _("Newest")},
        filters=[Filter("credentials", _("OAuth credentials"), _("All apps"), HAS_CREDENTIALS)],
    )
    where = asked.found_in("name__icontains", "slug__icontains")
    if credentials := asked.value_of("credentials"):
        where &= Q(client__isnull=credentials == "none")
    orders = {"address": ("slug",), "newest": ("-created_at", "-pk")}
    page = asked.page(parts, where, orders, by_index=orders)
    context = {"page_obj": page, "asked": asked, "teams": teams, "team": team}
    return render(request, "marketplace/app_list.html", context)


@require_http_methods(["GET", "POST"])
@once
def app_create(request: SignedInRequest) -> HttpResponse:
    teams = teams_seen_by(request.user)
    if not teams:
        messages.info(request, _("Developers work in teams. Start your team here first."))
        return redirect(settings.TEAM_START_URL)
    form = AppForm(request.POST or None, teams=teams, initial={"team": pick_team(request, teams) or teams[0]})
    if request.method == "POST" and form.is_valid():
        try:
            app = publishing.create_app(by=request.user, **form.cleaned_data)
            messages.success(request, _("App created. Now add its first version."))
            return redirect("app-view", app.slug)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    return render(request, "marketplace/app_create.html", {"form": form}, status=422 if form.errors else 200)


def _app(request: SignedInRequest, slug: str) -> Any:
    return get_object_or_404(apps_seen_by(request.user), slug=slug)


@require_http_methods(["GET", "POST"])
@once
def app_view(request: SignedInRequest, slug: str) -> HttpResponse:
    """Show an app; POST sets its OAuth credentials, once that is confirmed."""
    app = _app(request, slug)
    form = ClientChoiceForm(request.POST or None, clients=free_clients([app.team]))
    if request.method == "POST" and form.is_valid():
        client = form.cleaned_data["client"]
        if "confirmed" not in request.POST:
            context = {"app": app, "client": client, "rows": client.scopes.select_related("scope")}
            return render(request, "marketplace/app_set_client.html", context)
        try:
            publishing.set_client(app, client, by=request.user)
            messages.success(request, _("Saved. The app now uses these credentials."))
            return redirect("app-view", slug)
        except Refused as refusal:
            add_errors(form, refusal)
    return _show_app(request, app, form=form, status=422 if form.errors else 200)


def _show_app(request: SignedInRequest, app: App, *, form: Any = None, status: int = 200) -> HttpResponse:
    versions = app.versions.defer("icon", "description", "package").select_related("review")
    copies = versions.filter(status=Status.SNAPSHOT)
    live = app.installations.filter(version=OuterRef("pk"), uninstalled_at=None)
    seen = installations_seen_by(request.user).filter(version=OuterRef("pk"), uninstalled_at=None)
    context = {
        "app": app,
        "form": form or ClientChoiceForm(clients=free_clients([app.team])),
        "custom": CustomForm(),
        "page_obj": paginate(request, versions.exclude(status=Status.SNAPSHOT)),
        "copies": copies.annotate(is_live=Exists(live), seen=Subquery(seen.values("pk")[:1]))[:COPIES],
        "published": app.versions.filter(status=Status.PUBLISHED, audience=Audience.PUBLIC).exists(),
    }
    return render(request, "marketplace/app_view.html", context, status=status)


def chosen_scopes(request: SignedInRequest) -> dict[str, Any]:
    levels = {name.removeprefix("level:"): value for name, value in request.POST.items() if name.startswith("level:")}
    return {
        "required_scopes": [name for name, level in levels.items() if level == "required"],
        "optional_scopes": [name for name, level in levels.items() if level == "optional"],
    }


def scopes_of(version: Version) -> dict[str, Any]:
    return {"required_scopes": version.required_scopes, "optional_scopes": version.optional_scopes}


def _scopes_to_start_with(app: App, latest: Version | None) -> dict[str, Any]:
    """Return what a new version asks for at first: as the latest one, with the credentials' scopes since then required."""
    # Nothing is no choice to go on from.
    latest = latest if latest and (latest.scopes or latest.package) else None
    chosen = scopes_of(latest) if latest else {"required_scopes": [], "optional_scopes": []}
    if app.client and not (latest and latest.package):
        held = app.client.scopes.filter(added_at__gt=latest.created_at) if latest else app.client.scopes.all()
        new = {*held.values_list("scope__name", flat=True)} - {*chosen["optional_scopes"]}
        chosen["required_scopes"] = sorted({*chosen["required_scopes"], *new})
    return chosen


def _screenshots(request: SignedInRequest, version: Version | None) -> ScreenshotsForm:
    sent = (request.POST, request.FILES) if request.method == "POST" else ()
    return ScreenshotsForm(*sent, kept=version.shots if version else [])


def _version_page(
    request: SignedInRequest, app: App, form: Any, shots: Any, version: Version | None = None, *, chosen: Any
) -> HttpResponse:
    rows = scope_rows(app.client, **chosen)
    title = _("Edit version %(number)s") % {"number": form.instance.number} if form.instance.pk else _("New version")
    context = {"app": app, "form": form, "shots": shots, "version": version, "rows": rows, "title": title}
    status = 422 if form.errors or shots.errors else 200
    return render(request, "marketplace/version_edit.html", context, status=status)


@require_http_methods(["GET", "POST"])
@once
def version_create(request: SignedInRequest, slug: str) -> HttpResponse:
    app = _app(request, slug)
    latest = app.versions.exclude(status=Status.SNAPSHOT).first()
    shots = _screenshots(request, latest)
    if request.method == "GET":
        kept = {"name", "tagline", "category", "description", "install_url"}
        initial = {name: getattr(latest, name) for name in kept} if latest else {"name": app.given_name}
        chosen = _scopes_to_start_with(app, latest)
        return _version_page(request, app, VersionForm(initial=initial), shots, latest, chosen=chosen)
    form = VersionForm(request.POST, request.FILES)
    # Both are checked, so that all mistakes are told at once.
    if form.is_valid() & shots.is_valid():
        spend_of_team(app, NEW)
        # Without an upload the icon and the package stay as they are.
        kept_files = {"icon": latest.icon, "package": latest.package} if latest else {}
        fields = {**kept_files, **form.fields_for_action(), "screenshots": shots.screenshots()}
        try:
            version = publishing.create_version(app, by=request.user, **fields, **chosen_scopes(request))
            messages.success(request, _("Saved as a draft."))
            return redirect("version-view", slug, version.pk)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    return _version_page(request, app, form, shots, version=latest, chosen=chosen_scopes(request))


def _tried(version: Version) -> Any:
    """What is installed of a version's app on its team's test account, which trying a draft replaces."""
    return version.app.installations.filter(account=version.app.team.test_account, uninstalled_at=None)


@require_safe
def version_view(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    version.has_icon = version.icon is not None  # type: ignore[attr-defined]
    context = {
        **listing_of(version),
        "custom": CustomForm(),
        "is_empty": not version.scopes and Contents.of(version).is_empty,
        "shown": seal_of(version),
        "why_taken_down": last_reason(f"version:{version.pk}", Event.VERSION_PICTURE_TAKEN_DOWN),
        "is_tried": version.status == Status.DRAFT and _tried(version).exists(),
        "outlook": outlook(version) if version.status in (Status.DRAFT, Status.APPROVED) else None,
    }
    return render(request, "marketplace/version_view.html", context)


@require_http_methods(["GET", "POST"])
def version_edit(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    if version.is_frozen:
        return redirect("version-view", slug, pk)
    form = VersionForm(request.POST or None, request.FILES or None, instance=version)
    shots = _screenshots(request, version)
    if request.method == "GET":
        return _version_page(request, version.app, form, shots, version, chosen=scopes_of(version))
    if form.is_valid() & shots.is_valid():
        spend_of_team(version.app, NEW)
        fields = {**form.fields_for_action(), "screenshots": shots.screenshots()}
        try:
            publishing.change_version(version, by=request.user, **fields, **chosen_scopes(request))
            messages.success(request, _("Saved."))
            return redirect("version-view", slug, pk)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    return _version_page(request, version.app, form, shots, version, chosen=chosen_scopes(request))


def outlook(version: Version) -> dict[str, Any]:
    """What a version changes, and what publishing it does to how many, as both of its pages tell."""
    others = published_before(version).filter(status=Status.PUBLISHED)
    if version.audience == Audience.PUBLIC:
        others = others.filter(audience=Audience.PUBLIC)
    # The version that it takes the place of: the newest for the same people.
    before = others.first()
    difference = Difference(before or Version(app=version.app), version)
    # A draft goes to those that the app was for until now.
    audience = Audience.CUSTOM if before and before.audience == Audience.CUSTOM else Audience.PUBLIC
    rows = offering.forecast(version, audience).installed()  # type: ignore[attr-defined]
    counts = dict(rows.order_by().values_list("kind").annotate(Count("pk")))
    asked = live_consents().exclude(membership=None).filter(access__in=rows.filter(kind=OfferKind.ASK).values("access"))
    return {
        "before": before,
        "difference": difference,
        "scopes": changed_scopes(difference),
        "counts": [(kind.label, counts.get(kind, 0)) for kind in (OfferKind.ASK, OfferKind.CLICK, OfferKind.ITSELF)],
        "agents_asked": asked.count(),
        "rows": rows,
    }


def _agents_answers(version: Version) -> Any:
    """What became of a published version with the agents, where each of them agrees for themself."""
    client = version.app.client
    return offering.agents_answers(version) if client and client.is_agent_level and version.published_at else None


@require_safe
def version_changes(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Compare a version with the one published before, and tell what publishing it does, or did, to whom."""
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    told = outlook(version)
    page = paginate(request, told.pop("rows").select_related("account", "version").order_by("account__slug"))
    offers = {offer.installation_id: offer for offer in version.offers.open().filter(installation__in=[*page])}
    for row in page:
        row.told, row.offer = OfferKind(row.kind).label, offers.get(row.pk)
    context = {
        "app": version.app,
        "version": version,
        "is_published": version.published_at is not None,
        "is_over": version.status in (Status.WITHDRAWN, Status.REJECTED, Status.TAKEN_BACK),
        "progress": offering.progress(version),
        "answers": _agents_answers(version),
        "page_obj": page,
        **told,
    }
    return render(request, "marketplace/version_changes.html", context)
