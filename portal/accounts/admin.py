import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from portal.foundation.admin import OccurringFilter, ReasonForm, WindowAdmin, when
from portal.foundation.once import once
from portal.foundation.refusals import Refused

from .actions import accounts, memberships, people, profiles, teams
from .models import Account, Membership, Role, Team, User
from .rights import is_staff


class ActionAdd(WindowAdmin):
    """A window whose rows are added by an action instead of a save."""

    add_form_template = "admin/portal/add.html"

    def add(self, values: dict[str, Any], by: User) -> Any:
        """Call the action that makes the row, and return it."""
        raise NotImplementedError

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_staff(request.user)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = self.add(form.cleaned_data, request.user)  # type: ignore[arg-type]
        obj.pk = made.pk
        obj._state.adding = False

    @method_decorator(once)
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except Refused as refusal:
            messages.error(request, str(refusal))
            return redirect(request.path)

    def log_addition(self, request: HttpRequest, obj: Any, message: object) -> None:  # type: ignore[override]
        """The ledger is the record."""


class PersonForm(forms.ModelForm):
    password = forms.CharField(widget=forms.PasswordInput, min_length=10)

    class Meta:
        model = User
        fields = ["email", "name", "password", "is_staff", "groups"]


class StaffForm(forms.Form):
    is_staff = forms.BooleanField(label=_("Works here and can open these pages"), required=False)
    groups = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"), label=_("Groups"), required=False, widget=forms.CheckboxSelectMultiple
    )


@admin.register(User)
class UserAdmin(ActionAdd):
    list_display = ["email", "name", "is_active", "is_staff"]
    ordering = ["email"]
    search_fields = ["email", "name"]
    fields = [
        "email",
        "name",
        "time_zone",
        "is_active",
        "is_staff",
        "is_superuser",
        "groups",
        when(_("Joined"), "date_joined"),
        when(_("Last signed in"), "last_login"),
    ]
    destructive = frozenset({"two-factor", "deactivate"})
    buttons = {
        "staff": (_("Change staff rights"), StaffForm, people.change_staff),
        "two-factor": (_("Remove two-factor authentication"), None, people.remove_two_factor),
        "deactivate": (_("Deactivate"), None, people.deactivate_person),
    }
    notes = {
        "two-factor": _(
            "After this, the person can sign in with only their password. Make sure that the request really comes from them."
        ),
        "deactivate": _(
            "The person can no longer sign in, and what they agreed to for themselves ends immediately. What they agreed to for an account stays in effect. This cannot be undone."
        ),
    }

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        fits = {"deactivate": obj.is_active, "two-factor": obj.authenticator_set.exists()}
        return super().may_press(request, name, obj) and fits.get(name, True)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        # A column that can be filtered by can be guessed a letter at a time.
        return not lookup.startswith("password") and super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return PersonForm if obj is None else super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["email", "name", "password", "is_staff", "groups"] if obj is None else self.fields

    def add(self, data: Any, by: User | None) -> Any:
        return people.create_person(by=by, **data)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Done by the action."""


@admin.register(Account)
class AccountAdmin(ActionAdd):
    list_display = ["name", "slug", when(_("Suspended"), "suspended_at"), when(_("Created"), "created_at")]
    search_fields = ["name", "slug"]
    destructive = frozenset({"suspend"})
    buttons = {
        "suspend": (_("Suspend"), ReasonForm, accounts.suspend_account),
        "lift": (_("Lift suspension"), ReasonForm, accounts.lift_account),
    }
    notes = {
        "suspend": _(
            "From that moment, no app, agent or token works in this account until someone lifts the suspension. Its admins get an email."
        ),
        "lift": _("Everything works again as it did before. Its admins get an email."),
    }

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        times = [when(_("Created"), "created_at"), when(_("Suspended"), "suspended_at")]
        return ["slug", "name"] if obj is None else ["slug", "name", *times, "test_of_team"]

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        return super().may_press(request, name, obj) and (obj.suspended_at is None) == (name == "suspend")

    def add(self, data: Any, by: User | None) -> Any:
        return accounts.create_account(slug=data["slug"], name=data["name"], by=by)


def _role(role: str) -> Any:
    return lambda membership, *, by: memberships.change_role(membership, role=role, by=by)


@admin.register(Membership)
class MembershipAdmin(ActionAdd):
    list_display = ["user", "account", "role", when(_("Since"), "created_at"), when(_("Ended"), "ended_at")]
    list_filter = [("role", OccurringFilter)]
    destructive = frozenset({"end"})
    search_fields = ["user__email", "account__slug"]
    list_select_related = ["user", "account"]
    autocomplete_fields = ["user", "account"]
    buttons = {
        "admin": (_("Make admin"), None, _role(Role.ADMIN)),
        "agent": (_("Make agent"), None, _role(Role.AGENT)),
        "end": (_("Remove from the account"), None, memberships.end_membership),
    }
    notes = {
        "admin": _("An admin installs apps, agrees for the whole account, and revokes apps’ access."),
        "agent": _(
            "An agent authorizes apps only for themselves. What this person agreed to for the account stays in effect."
        ),
        "end": _("What they agreed to for themselves ends immediately and is not restored if they come back."),
    }

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        times = [when(_("Since"), "created_at"), when(_("Ended"), "ended_at")]
        return ["user", "account", "role"] if obj is None else ["user", "account", "role", *times]

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        return super().may_press(request, name, obj) and not obj.ended_at and obj.role != name

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        given = [*request.GET.getlist("user"), *request.GET.getlist("account")]
        given += [*request.POST.getlist("user"), *request.POST.getlist("account")]
        # The admin's own choice field answers anything else with a 500.
        if any(value and not re.fullmatch("[0-9]{1,18}", value) for value in given):
            messages.error(request, _("Choose the person and the account from the lists."))
            return redirect(request.path)
        return super().add_view(request, form_url, extra_context)

    def add(self, data: Any, by: User | None) -> Any:
        return memberships.add_member(data["account"], data["user"], role=data["role"], by=by)


class AskedFilter(admin.SimpleListFilter):
    """Offers the teams that wait for verification, if there are any."""

    title = _("verification")
    parameter_name = "asked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return [("yes", _("Requested"))] if Team.objects.exclude(verification_asked_at=None).exists() else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Team]) -> QuerySet[Team]:
        return queryset.exclude(verification_asked_at=None) if self.value() == "yes" else queryset


@admin.register(Team)
class TeamAdmin(WindowAdmin):
    list_display = [
        "name",
        when(_("Verified"), "verified_at"),
        when(_("Verification requested"), "verification_asked_at"),
        when(_("Created"), "created_at"),
    ]
    list_filter = [AskedFilter]
    search_fields = ["name"]
    fields = [
        "name", "logo_shown", "website", "support_url", "privacy_url", "public_id", when(_("Created"), "created_at"),
        when(_("Verified"), "verified_at"), when(_("Verification requested"), "verification_asked_at"), "verification_refused",
    ]  # fmt: skip
    readonly_fields = ["logo_shown"]
    buttons = {
        "verify": (_("Verify"), None, teams.verify_team),
        "refuse": (_("Refuse verification"), ReasonForm, profiles.refuse_verification),
    }
    confirms = {"verify": ("admin/accounts/team_profile.html", profiles.seal_of)}
    destructive = frozenset({"refuse"})
    notes = {
        "refuse": _("The team reads the reason on its profile, and can ask again."),
        "verify": _(
            "Everyone then sees that this developer is verified, and its external apps can ask accounts for the scopes that are reserved for verified developers."
        ),
    }

    @admin.display(description=_("logo"))
    def logo_shown(self, team: Team) -> str:
        url = f"{reverse('team-logo', args=[team.public_id])}?{team.logo[:8]}"
        return format_html('<img src="{}" alt="" width="64" height="64">', url) if team.logo else "-"

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        fits = obj.verified_at is None if name == "verify" else obj.verification_asked_at is not None
        return super().may_press(request, name, obj) and fits
