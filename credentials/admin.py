from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from portal.accounts.rights import is_reviewer
from portal.foundation.admin import OccurringFilter, Ready, ReasonForm, WindowAdmin, shown, when
from portal.foundation.once import Press, press_of
from portal.ledger.reading import with_names

from . import actions, resources
from .models import Endpoint, Product, ProductSecret, Scope
from .secrets import PRODUCT_SECRET, derive, derived_before
from .seen import suspensions_of


class SuspendForm(ReasonForm):
    ready = (
        Ready(
            "leak",
            _("A secret leaked"),
            _(
                "A client secret of these credentials was found in …. Rotate it, then write to us to lift the suspension."
            ),
        ),
        Ready(
            "beyond",
            _("It does more than it says"),
            _("The app uses its access to …, which neither its listing nor its permissions mention."),
        ),
        Ready(
            "people",
            _("People reported it"),
            _("People reported that the app …. We are looking into it. Tell us what happened."),
        ),
    )


class LiftForm(ReasonForm):
    secret_leaked = forms.BooleanField(
        label=_("A secret leaked: end all earlier tokens, and the secrets created before the suspension"),
        required=False,
    )


class BaseAddressForm(forms.Form):
    base_address = forms.CharField(
        label=_("Base address"),
        required=False,
        max_length=resources.MAX_LENGTH,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text=_(
            "The URL that all routes of the API start with, such as https://desk.example.com. Clients identify the API by it (RFC 9728). Without a base address, no metadata is published for the product."
        ),
    )


def decisions_on(client: Client) -> Any:
    """The ledger's entries of a client's suspensions, newest first, with names."""
    return with_names(suspensions_of(client.team).filter(subject=f"client:{client.client_id}")[:20])


class ClientAdmin(WindowAdmin):
    """A client with all its scopes; registered by the toolkit, through settings."""

    list_display = [
        "name",
        "team",
        "kind",
        "level",
        when(_("Suspended"), "suspended_at"),
        when(_("Created"), "created"),
    ]
    list_filter = [("kind", OccurringFilter), ("level", OccurringFilter)]
    search_fields = ["name", "client_id", "team__name"]
    list_select_related = ["team"]
    fields = [
        "name",
        "description",
        "client_id",
        shown(_("Team"), lambda client: client.team),
        shown(_("Created by"), lambda client: client.user),
        when(_("Created"), "created"),
        shown(_("Where it runs"), lambda client: client.get_kind_display()),
        shown(_("Who authorizes"), lambda client: client.get_level_display()),
        shown(_("Redirect URLs"), lambda client: client.redirect_uris),
        when(_("Suspended"), "suspended_at"),
        when(_("Only tokens issued after this work"), "not_before"),
    ]
    readonly_fields = fields  # type: ignore[assignment]
    change_form_template = "admin/credentials/client.html"
    buttons = {
        "suspend": (_("Suspend"), SuspendForm, actions.suspend_client),
        "lift": (_("Lift suspension"), LiftForm, actions.lift_client),
    }
    destructive = frozenset({"suspend"})
    notes = {
        "suspend": _(
            "From that moment, no token of these credentials works in any account until someone lifts the suspension. The developers and the admins of those accounts get an email."
        ),
        "lift": _("Its tokens work again, unless you end them because a secret leaked."),
    }

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_reviewer(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_reviewer(request.user)

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        return is_reviewer(request.user) and (obj.suspended_at is None) == (name == "suspend")

    def beside(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        return {"scopes": obj.scopes.select_related("scope", "added_by"), "decisions": decisions_on(obj)}


@admin.register(Product)
class ProductAdmin(WindowAdmin):
    list_display = ["name", "slug", "base_address"]
    fields = ["slug", "name", "base_address", shown(_("Metadata"), resources.metadata_url_of),
              when(_("Created"), "created_at")]  # fmt: skip
    readonly_fields = fields  # type: ignore[assignment]
    buttons = {
        "secret": (_("Create a new secret"), None, actions.make_product_secret),
        "base_address": (_("Set the base address"), BaseAddressForm, actions.set_base_address),
    }
    destructive = frozenset({"secret"})
    notes = {"secret": _("The new secret is shown once, on the next page. The current one stops working immediately.")}

    def values_of(self, request: HttpRequest, button: str) -> dict[str, Any]:
        return {"value": derive(PRODUCT_SECRET, press_of(request).seed)} if button == "secret" else {}

    def secret_again(self, request: HttpRequest, press: Press) -> HttpResponse:
        derived = derived_before(PRODUCT_SECRET, press.seed)
        secret = ProductSecret.objects.filter(hash__in=derived).first()
        if secret and secret.expires_at is None and press.is_recent and self.has_view_permission(request):
            return self.secret_page(request, self.buttons["secret"][0], derived[secret.hash])
        messages.info(
            request,
            _(
                "The secret was created when you first pressed the button and can no longer be shown. If nobody copied it, create a new one."
            ),
        )
        return redirect(request.path)


@admin.display(description=_("Risk"), ordering="risk")
def _risk(scope: Scope) -> str:
    return render_to_string("components/risk.html", {"level": scope.risk_level})


@admin.register(Scope)
class ScopeAdmin(WindowAdmin):
    list_display = ["name", "sentence", _risk, "product", when(_("Deprecated"), "deprecated_at")]
    list_filter = [("product", admin.RelatedOnlyFieldListFilter), ("risk", OccurringFilter)]
    search_fields = ["name", "sentence"]
    list_select_related = ["product"]


@admin.register(Endpoint)
class EndpointAdmin(WindowAdmin):
    list_display = ["method", "path", "scopes", "product"]
    list_filter = [("product", admin.RelatedOnlyFieldListFilter), "method"]
    search_fields = ["path"]
    list_select_related = ["product"]
