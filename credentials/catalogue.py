"""The page of all scopes: which a pasted call needs, and the catalogue."""

from typing import Any

from django import forms
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from portal.accounts.requests import SignedInRequest
from portal.foundation.lists import Asked, Filter
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused, add_errors
from portal.foundation.text import Textarea

from .finding import MAX_PASTED, Found, Operation, find_operations, read_call, with_operations
from .models import Product, Risk, Scope


class _Unrepeated(Textarea):
    """Shows nothing of what was sent, which may hold a token."""

    def format_value(self, value: Any) -> str:
        return ""


class PasteForm(forms.Form):
    pasted = forms.CharField(
        label=_("Route, URL or curl command"),
        max_length=MAX_PASTED,
        widget=_Unrepeated(attrs={"rows": 4, "spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}),
        help_text=_(
            "Such as GET /api/v2/tickets/7. Only the method and the URL are read. Nothing that you paste is stored or logged."
        ),
    )


@never_cache
@require_http_methods(["GET", "POST"])
@sensitive_post_parameters("pasted")
@sensitive_variables()
def scope_list(request: SignedInRequest) -> HttpResponse:
    """Show the catalogue; POST shows what a pasted call needs, as JSON where that is asked for, and keeps nothing of it."""
    form, found = PasteForm(request.POST or None), None
    if request.method == "POST" and form.is_valid():
        try:
            found = find_operations(read_call(form.cleaned_data["pasted"]))
        except Refused as refusal:
            add_errors(form, refusal)
    status = 422 if form.errors else 200
    if request.method == "POST" and request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        told = {"errors": form.errors.get_json_data()} if found is None else _as_json(found)
        return JsonResponse(told, status=status)
    products = [(product.slug, product.name) for product in Product.objects.order_by("name")]
    asked = Asked(
        request,
        placeholder=_("Search scopes"),
        sorts={"name": _("Name")},
        filters=[
            Filter("product", _("Product"), _("All products"), products),
            Filter("risk", _("Risk"), _("All risks"), Risk.choices),
        ],
    )
    wanted = asked.chosen(product="product__slug", risk="risk") & asked.found_in(
        "name__icontains", "sentence__icontains"
    )
    scopes = Scope.objects.filter(wanted).select_related("product").order_by("product__name", "name")
    page = paginate(request, scopes)
    page.object_list = with_operations(page.object_list)
    context = {
        "form": form,
        "found": found,
        "page_obj": page,
        "asked": asked,
    }
    return render(request, "credentials/scope_list.html", context, status=status)


def _as_json(found: Found) -> dict[str, Any]:
    return {
        "method": found.call.method or None,
        "path": found.call.path,
        "operations": [_operation(each) for each in found.operations],
        "nearest": [_operation(each) for each in found.nearest],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    scopes = [{"name": each.name, "sentence": each.sentence, "risk": each.risk} for each in operation.scopes]
    endpoint = operation.endpoint
    return {
        "product": operation.product.slug,
        "method": endpoint.method,
        "path": endpoint.path,
        "any_of": scopes,
    }
