from collections.abc import Iterator
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from credentials.models import Risk, Scope
from portal.accounts.models import User
from portal.accounts.rights import is_reviewer, is_teammate
from portal.foundation.admin import OptionalReasonForm, Ready, ReasonForm, WindowAdmin, occurring, shown, when

from .actions import picturing, publishing
from .actions.picturing import key_of
from .differences import Difference
from .models import Audience, Status, Version
from .package.contents import Contents
from .pages import icon_url
from .previews import consent_screen_of, listing_of
from .reviewing import comparisons, not_compared, record_of, risks_of
from .seen import versions_to_review


class RejectForm(ReasonForm):
    ready = (
        Ready(
            "scope",
            _("A scope is not needed"),
            _(
                "The app asks for … but nothing in the listing needs it. Remove this scope, or say in the description what the app does with it."
            ),
        ),
        Ready(
            "why",
            _("A reason is too vague"),
            _("The reason given for … does not say what the app does with it. Describe the feature that needs it."),
        ),
        Ready(
            "optional",
            _("A scope could be optional"),
            _("The app works without …. Make this scope optional, so that people can install the app without it."),
        ),
        Ready(
            "listing",
            _("The listing is unclear"),
            _("The description does not say what the app does, for whom, and which data leaves the account. Add this."),
        ),
        Ready(
            "works",
            _("It does not work"),
            _("The app did not work when we tried it: …. Try it on your team’s test account, then submit it again."),
        ),
        Ready(
            "name",
            _("The name misleads"),
            _(
                "The name or icon looks like that of another company or product. Choose one that people cannot mistake for it."
            ),
        ),
        Ready(
            "service",
            _("A service is not explained"),
            _("The app sends data to …, which the description does not mention. Say what is sent there and why."),
        ),
    )


class TakeDownForm(ReasonForm):
    picture = forms.ChoiceField(label=_("Picture"), widget=forms.RadioSelect)
    field_order = ("picture", "reason")

    def __init__(self, *args: Any, version: Version, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["picture"].choices = [  # type: ignore[attr-defined]
            (key, format_html('{}<img class="shot d-block mt-1 mb-3" src="{}" alt="" loading="lazy">', text, url))
            for key, url, text in _pictures(version)
        ]


def _pictures(version: Version) -> Iterator[tuple[str, str, Any]]:
    """Yield the pictures that a version has: the key, the address and what it is."""
    if version.icon:
        yield key_of(version.app, version.icon), icon_url(version, shows=True), _("Icon")
    for shot in version.shots:
        if not shot["is_gone"]:
            url = reverse("version-screenshot", args=[version.app.slug, version.pk, shot["number"]])
            yield shot["picture"], url, f"{_('Screenshot')} {shot['number']}: {shot['text']}"


class StatusFilter(admin.SimpleListFilter):
    """Shows the queue unless another status is chosen; offers only those that some version has."""

    title = _("status")
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        there = [each for each in occurring(model_admin.get_queryset(request), "status") if each[0] != Status.IN_REVIEW]
        return [(Status.IN_REVIEW, Status.IN_REVIEW.label), *there, ("all", _("All"))]

    def value(self) -> str:
        value = super().value()
        return value if value in {*Status.values, "all"} else str(Status.IN_REVIEW)

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, label in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": self.value() == value, "query_string": query, "display": label}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Version]) -> QuerySet[Version]:
        return queryset if self.value() == "all" else queryset.filter(status=self.value())


@admin.display(description=_("Highest risk"))
def _risk(version: Any) -> SafeString | str:
    return render_to_string("components/risk.html", {"level": version.risk}) if version.risk else "-"


@admin.display(description=_("Status"), ordering="status")
def _status(version: Version) -> SafeString:
    return render_to_string("components/state_review.html", {"version": version})


@admin.register(Version)
class VersionAdmin(WindowAdmin):
    """The reviewers' queue, and the page for deciding on a version."""

    list_display = ["__str__", "app", shown(_("Team"), lambda version: version.app.team), _risk, _status,
                    when(_("Submitted"), "submitted_at")]  # fmt: skip
    list_filter = [StatusFilter]
    search_fields = ["name", "app__slug"]
    list_select_related = ["app__team"]
    ordering = ["submitted_at", "pk"]
    fields = [
        shown(_("App"), lambda version: version.app),
        shown(_("Audience"), lambda version: version.get_audience_display()),
        "install_url",
        when(_("Submitted"), "submitted_at"),
        shown(_("Created by"), lambda version: version.created_by),
    ]
    readonly_fields = fields  # type: ignore[assignment]
    change_form_template = "admin/marketplace/version.html"
    buttons = {
        "approve": (_("Approve"), OptionalReasonForm, publishing.approve_version),
        "reject": (_("Reject"), RejectForm, publishing.reject_version),
        "take-down": (_("Take down a picture"), TakeDownForm, picturing.take_down_picture),
    }
    destructive = frozenset({"reject", "take-down"})
    notes = {
        "approve": _("The team can then publish this version in the marketplace, exactly as you reviewed it."),
        "take-down": _(
            "This picture disappears from every version of the app and is refused if it is uploaded again. Nothing else about the version changes. This cannot be undone."
        ),
        "reject": _("This version ends here. The team reads your reason and can submit a new one."),
    }

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_reviewer(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_reviewer(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        return super().get_queryset(request).exclude(status__in=[Status.DRAFT, Status.SNAPSHOT]).defer("icon")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        versions: list[Any] = list(page.result_list)
        scopes = Scope.objects.filter(name__in={name for version in versions for name in version.scopes})
        by_name = {scope.name: scope for scope in scopes}
        for version in versions:
            risks = risks_of(by_name[name] for name in version.scopes if name in by_name)
            version.risk = risks[0][0] if risks else None
        page.result_list = versions  # type: ignore[assignment]
        return page

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        if name == "take-down":
            return is_reviewer(request.user) and next(_pictures(obj), None) is not None
        return (
            is_reviewer(request.user)
            and obj.status == Status.IN_REVIEW
            and not is_teammate(obj.app.team, cast(User, request.user))
        )

    def form_of(self, form_class: type[forms.Form], obj: Any, *args: Any, **kwargs: Any) -> forms.Form:
        more = {"version": obj} if form_class is TakeDownForm else {}
        return super().form_of(form_class, obj, *args, **more, **kwargs)

    def beside(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        return {**_review(obj, request), "decides": self.may_press(request, "approve", obj)}


def _change(difference: Difference | None, name: str) -> object:
    """Return in words how a scope's use differs from the version that everyone has now."""
    if difference is None:
        return ""
    if name in difference.added_scopes:
        return _("new")
    if name in difference.raised_scopes:
        return _("was optional")
    return _("was required") if name in difference.lowered_scopes else ""


def _review(version: Any, request: HttpRequest) -> dict[str, Any]:
    reader, team = cast(User, request.user), version.app.team
    version.has_icon = version.icon is not None
    compared, listing = comparisons(version), listing_of(version)
    rows: list[Any] = [*listing["required"], *listing["optional"]]
    rows.sort(key=lambda row: list(Risk).index(row.scope.risk_level), reverse=True)
    reviewed = next((each.difference for each in compared if each.before.audience == Audience.PUBLIC), None)
    for row in rows:
        level = _("Required") if row.scope.name in version.required_scopes else _("Optional")
        change = _change(reviewed, row.scope.name)
        row.asked_as = f"{level} · {change}" if change else level
    screen = consent_screen_of(
        version,
        required=version.required_scopes,
        optional=version.optional_scopes,
        vendors=[vendor.display_name for vendor in listing["vendors"]],
        by=reader,
    )
    queue = versions_to_review(reader).exclude(pk=version.pk)
    return {
        **listing,
        **record_of(team, version),
        **not_compared(version, compared),
        "rows": rows,
        "risks": risks_of(row.scope for row in rows),
        "comparisons": compared,
        "screen": screen,
        "icon_url": icon_url(version, shows=version.icon),
        "asked": [field.display_name for field in listing["fields"]],
        "connects": listing["vendors"],
        "contents": Contents.of(version),
        "own_team": is_teammate(team, reader),
        "next": queue.only("name", "number", "submitted_at").first(),
    }
