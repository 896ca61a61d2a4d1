"""Connecting an installation to its vendors, each by a page of its own, and filling in what the app asks."""

import json
import secrets
from typing import Any, cast
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from marketplace.models import Installation
from portal.accounts.models import User
from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import memberships_of
from portal.foundation.encryption import decrypt, encrypt
from portal.foundation.once import once
from portal.foundation.refusals import Refused, add_errors

from ..forms import ValuesForm
from ..models import Connection
from ..package.contents import asked_to_connect
from ..seen import installations_seen_by
from . import actions as connecting
from .checklist import checklists
from .oauth_client import VendorError, said

# How many journeys to vendors one session may be on at once.
MAX_UNDER_WAY = 10


def _checklist(request: SignedInRequest, pk: UUID) -> Any:
    """A live installation that the person may see, as its checklist."""
    installation = get_object_or_404(installations_seen_by(request.user), pk=pk, uninstalled_at=None)
    membership = memberships_of(request.user).get(account=installation.account_id)
    return checklists([installation], membership)[installation]


def _part(checklist: Any, integration: str) -> Any:
    """The part that the person may connect; 404 for what another connects."""
    part = next((part for part in checklist.vendors if part.name == integration and part.is_theirs), None)
    if part is None:
        raise Http404
    return part


@never_cache
@require_http_methods(["GET", "POST"])
def installation_settings(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """What the app asks at install."""
    checklist = _checklist(request, pk)
    fields, installation = checklist.contents.fields, checklist.installation
    if not fields or not checklist.is_admin:
        raise Http404
    form = ValuesForm(request.POST or None, fields=fields, kept=installation.values)
    if request.method == "POST" and form.is_valid():
        try:
            connecting.change_values(installation, values=form.values(), by=request.user)
            messages.success(request, _("Saved."))
            return redirect("installation-view", pk)
        except Refused as refusal:
            messages.error(request, str(refusal))
            return redirect("installation-view", pk)
        except ValidationError as error:
            add_errors(form, error)
    context = {"installation": installation, "form": form}
    return render(request, "marketplace/installation_settings.html", context, status=422 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "POST"])
def connection_view(request: SignedInRequest, pk: UUID, integration: str) -> HttpResponse:
    """Show a connection and its fields; POST keeps them and sends the person to the vendor."""
    checklist = _checklist(request, pk)
    part = _part(checklist, integration)
    kept = part.connection.values if part.connection else {}
    form = ValuesForm(
        request.POST if request.method == "POST" else None, fields=asked_to_connect(part.integration), kept=kept
    )
    if request.method == "POST" and form.is_valid():
        try:
            row = connecting.prepare_connection(
                checklist.installation, integration, values=form.values(), by=request.user
            )
            return _to_vendor(request, row)
        except Refused as refusal:
            messages.error(request, str(refusal))
            return redirect("installation-view", pk)
        except VendorError as error:
            form.add_error(None, str(error))
        except ValidationError as error:
            add_errors(form, error)
    context = {"installation": checklist.installation, "part": part, "form": form}
    return render(request, "marketplace/connection_view.html", context, status=422 if form.errors else 200)


def _to_vendor(request: SignedInRequest, connection: Connection) -> HttpResponse:
    """Send the person to the vendor. What is needed on their way back is kept in their session, sealed, and used once."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    journey = {
        "installation": str(connection.installation_id),
        "integration": connection.integration,
        "version": connection.installation.version_id,
        "values": connection.values,
        "verifier": verifier,
    }
    under_way = list(request.session.get("vendors", {}).items())[1 - MAX_UNDER_WAY :]
    request.session["vendors"] = {**dict(under_way), state: encrypt(json.dumps(journey))}
    return HttpResponseRedirect(connecting.vendor_of(connection).authorization_url(state, verifier))


@login_not_required
@never_cache
@require_safe
def vendor_callback(request: HttpRequest, slug: str, integration: str) -> HttpResponse:
    """Where a vendor sends people back to. Whoever is not on their way from there learns nothing, signed in or not."""
    journey = _journey(request) if request.user.is_authenticated else {}
    if journey.get("integration") != integration:
        return render(request, "marketplace/callback_unknown.html", status=400)
    installation = get_object_or_404(installations_seen_by(cast(User, request.user)), pk=journey["installation"])
    if installation.app.slug != slug:
        return render(request, "marketplace/callback_unknown.html", status=400)
    draft = Connection(installation=installation, integration=integration, values=journey["values"])
    try:
        connecting.check_same_version(installation, journey["version"])
        vendor = connecting.vendor_of(draft)
        _finish(request, installation, vendor, journey)
    except Refused as refusal:
        messages.error(request, str(refusal))
    except VendorError as error:
        what = {"vendor": vendor.integration.display_name, "what": error}
        messages.error(request, _("%(vendor)s was not connected: %(what)s") % what)
    return redirect("installation-view", installation.pk)


def _journey(request: HttpRequest) -> Any:
    """What was sealed when the person set out, used up by being read; {} where there is none, or no key for it any more."""
    under_way = request.session.get("vendors", {})
    sealed = under_way.pop(request.GET.get("state", ""), "")
    request.session["vendors"] = under_way
    try:
        return json.loads(decrypt(sealed)) if sealed else {}
    except InvalidToken:
        return {}


def _finish(request: HttpRequest, installation: Installation, vendor: Any, journey: Any) -> None:
    name = vendor.integration.display_name
    if "iss" in request.GET and not vendor.is_issuer(request.GET["iss"]):
        # Somebody else's answer (RFC 9207, section 2.4): its code is not for this vendor's ears.
        messages.error(request, _("Not connected. The response did not come from %(vendor)s.") % {"vendor": name})
    elif request.GET.get("error") == "access_denied":
        messages.warning(request, _("%(vendor)s was not connected, because you canceled there.") % {"vendor": name})
    elif "code" not in request.GET:
        what = said(request.GET.get("error"), request.GET.get("error_description"))
        messages.error(request, _("Not connected. %(vendor)s responded: %(what)s") % {"vendor": name, "what": what})
    else:
        row = connecting.finish_connection(
            installation, vendor.name, values=journey["values"], code=request.GET["code"],
            verifier=journey["verifier"], by=cast(User, request.user), iss=request.GET.get("iss", ""),
        )  # fmt: skip
        if row.ended_at:
            messages.error(request, _("Nothing can be connected here any more."))
        else:
            messages.success(request, _("%(vendor)s is connected.") % {"vendor": name})


@require_http_methods(["GET", "POST"])
@once
def connection_disconnect(request: SignedInRequest, pk: UUID, integration: str) -> HttpResponse:
    part = _part(checklist := _checklist(request, pk), integration)
    if part.connection is None:
        raise Http404
    if request.method == "GET":
        context = {"installation": checklist.installation, "part": part}
        return render(request, "marketplace/connection_disconnect.html", context)
    try:
        connecting.disconnect(part.connection, by=request.user)
        messages.success(request, _("%(vendor)s is disconnected.") % {"vendor": part.integration.display_name})
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("installation-view", pk)
