from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import User
from portal.accounts.rights import is_reviewer, is_teammate
from portal.foundation.admin import OptionalReasonForm, ReasonForm, WindowAdmin, shown
from portal.foundation.text import lines

from .actions import publishing
from .markdown import render
from .models import Audience, Status, Version
from .package.contents import Contents


def _icon(version: Version) -> str:
    if version.icon is None:
        return ""
    url = reverse("version-icon", args=[version.app.slug, version.pk])
    return format_html('<img class="app-icon" src="{}" alt="" width="48" height="48">', url)


@admin.register(Version)
class VersionAdmin(WindowAdmin):
    """The reviewers' queue, and the page for deciding on a version."""

    list_display = ["name", "number", "app", "status", "submitted_at"]
    list_filter = ["status"]
    search_fields = ["name", "app__slug"]
    list_select_related = ["app"]
    ordering = ["submitted_at", "pk"]
    fields = [
        shown(_("App"), lambda version: version.app),
        "number",
        "name",
        shown(_("Icon"), _icon),
        "tagline",
        "status",
        "audience",
        "install_url",
        "submitted_at",
        shown(_("Made by"), lambda version: version.created_by),
    ]
    readonly_fields = fields  # type: ignore[assignment]
    change_form_template = "admin/marketplace/version.html"
    buttons = {
        "approve": (_("Approve"), OptionalReasonForm, publishing.approve_version),
        "reject": (_("Reject"), ReasonForm, publishing.reject_version),
    }

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_reviewer(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_reviewer(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        return super().get_queryset(request).exclude(status__in=[Status.DRAFT, Status.SNAPSHOT]).defer("icon")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not request.GET:
            query = request.GET.copy()
            query["status__exact"] = Status.IN_REVIEW
            request.GET = query  # type: ignore[assignment]
            request.META["QUERY_STRING"] = query.urlencode()
        return super().changelist_view(request, {"title": _("Versions to review"), **(extra_context or {})})

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        return (
            is_reviewer(request.user)
            and obj.status == Status.IN_REVIEW
            and not is_teammate(obj.app.team, cast(User, request.user))
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.get_object(request, object_id)
        return super().change_view(request, object_id, form_url, _review(version, request) if version else None)


def _change(name: str, before: Version | None, version: Version) -> object:
    """Return in words how a scope's use differs from the published version."""
    if before is None or (
        (name in before.required_scopes) == (name in version.required_scopes) and name in before.scopes
    ):
        return ""
    if name not in before.scopes:
        return _("new")
    return _("was optional") if name in before.optional_scopes else _("was required")


def _package(version: Version) -> str:
    """Return a version's package as text, without its secrets."""
    return "".join(Contents(Contents.of(version).without_secrets()).texts().values())


# Earlier versions, and developers, that a review names.
MAX_NAMED = 20


def _review(version: Version, request: HttpRequest) -> dict[str, Any]:
    # No reviewer has seen custom versions, so nothing is compared with them.
    earlier = version.app.versions.exclude(published_at=None).exclude(pk=version.pk)
    if version.published_at:
        earlier = earlier.filter(published_at__lt=version.published_at)
    before = earlier.filter(status=Status.PUBLISHED, audience=Audience.PUBLIC).order_by("-published_at").first()
    # Published for chosen accounts, or since withdrawn.
    others = Version.objects.none() if before else earlier.only("number", "audience", "status")
    client, contents = version.app.client, Contents.of(version)
    rows: list[Any] = (
        list(client.scopes.filter(scope__name__in=version.scopes).select_related("scope")) if client else []
    )
    for row in rows:
        row.level = _("Required") if row.scope.name in version.required_scopes else _("Optional")
        row.change = _change(row.scope.name, before, version)
    changed: list[tuple[object, object, object]] = []
    if before:
        for name in ("name", "tagline", "description", "install_url"):
            old, new = (lines(getattr(each, name)).strip() for each in (before, version))
            if old != new:
                changed.append((getattr(Version._meta.get_field(name), "verbose_name"), old, new))  # noqa: B009
        if before.package != version.package:
            changed.append((_("app package"), _package(before), _package(version)))
        if bytes(before.icon or b"") != bytes(version.icon or b""):
            changed.append((_("icon"), _("the previous one"), _("the one above")))
    team = version.app.team
    developers = team.memberships.filter(ended_at=None)
    return {
        "version": version,
        "before": before,
        "other_versions": [
            f"{each.number} ({each.get_audience_display()}, {each.get_status_display()})"
            for each in others.order_by("-published_at")[:MAX_NAMED]
        ],
        "more_versions": max(0, others.count() - MAX_NAMED),
        "rows": rows,
        "vendors": contents.vendors,
        "fields": contents.fields,
        "templates": contents.templates,
        "gone": sorted(before.scopes - version.scopes) if before else [],
        "changed": changed,
        "description": render(version.description),
        "notes": render(version.release_notes),
        # Owners first, then members, in the order of joining.
        "developers": developers.select_related("user").order_by("-role", "pk")[:MAX_NAMED],
        "more_developers": max(0, developers.count() - MAX_NAMED),
        "own_team": developers.filter(user=cast(User, request.user)).exists(),
    }
