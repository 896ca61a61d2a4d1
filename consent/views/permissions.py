"""Change what an app may do: agree again, allow more, take scopes back."""

from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from consent.models import Access, Consent
from portal.accounts.requests import SignedInRequest
from portal.foundation.database import database_now
from portal.foundation.once import once
from portal.foundation.refusals import Refused
from portal.foundation.seals import ScreenIsStale

from ..actions import ending, granting
from ..agreed import remember_agreed
from ..asking import last_agreed, left_to_allow
from ..coming_ends import renewable_by
from ..pages import access_url, app_addresses, connect_url
from ..receipts import receipt_of, with_links
from ..screen import build_screen
from ..seen import accesses_seen_by, consents_seen_by
from ..validity import agreement_days
from .authorize import consent_page


def _changes_consent(change: Any) -> Any:
    """Decorate a view of a consent that this person may change; if it has ended, say so."""

    @never_cache
    @require_http_methods(["GET", "POST"])
    @once
    @wraps(change)
    def view(request: SignedInRequest, consent_id: UUID) -> HttpResponse:
        consents = consents_seen_by(request.user).filter(renewable_by(request.user))
        consent = get_object_or_404(consents, pk=consent_id)
        if consent.is_over(database_now()):
            messages.error(request, _("This has already ended."))
            return redirect(access_url(consent.access))
        return change(request, consent)

    return view


def _ask(request: SignedInRequest, access: Access, said: Any, *, renews: bool = False, **asked: Any) -> HttpResponse:
    """Show the consent screen of an access, and grant on Agree. Cancel changes nothing, but declines what a renewal adds."""
    # The app gets what is new with a new authorization, which its own setup begins.
    asked |= {"leads_to": app_addresses(access).setup_host, "renews": renews}
    try:
        screen = build_screen(access.client, access.account, by=request.user, now=database_now(), **asked)
        cancel_url = "" if renews and screen.is_due else access_url(access)
        if not cancel_url and request.POST.get("decision") == "cancel":
            granting.decline_consent(access.client, access.account, by=request.user)
            messages.info(request, _("Nothing changed. What you agreed to still applies."))
            return redirect(access_url(access))
        if request.method == "GET" or request.POST.get("decision") != "agree":
            return consent_page(request, screen, cancel_url=cancel_url)
        consent = granting.grant_consent(
            access.client,
            access.account,
            by=request.user,
            shown=request.POST.get("shown", ""),
            chosen=set(request.POST.getlist("optional")),
            **asked,
        )
    except ScreenIsStale as stale:
        return consent_page(request, screen, problem=str(stale), status=409, cancel_url=cancel_url)
    except Refused as refusal:
        messages.error(request, str(refusal))
        return redirect(access_url(access))
    remember_agreed(request, consent, said)
    gained_nothing = renews and screen.consent and screen.consent.granted == consent.granted
    if access.installation_id and not gained_nothing:
        # The app gets what is new with a new authorization (T10).
        return HttpResponseRedirect(connect_url(access))
    return redirect(access_url(access))


@never_cache
@require_http_methods(["GET", "POST"])
@once
def reauthorize(request: SignedInRequest, access_id: UUID) -> HttpResponse:
    """Replace the consent with a new one (T4). Cancel leaves the old one as it is."""
    access = get_object_or_404(accesses_seen_by(request.user).filter(ended_at=None), pk=access_id)
    # An external client is limited to what this person or account agreed to before.
    more: dict[str, Any] = {} if access.client.is_platform else {"requested": last_agreed(access, request.user)}
    return _ask(request, access, _("You agreed again."), replace=True, **more)


@_changes_consent
def renew_consent(request: SignedInRequest, consent: Consent) -> HttpResponse:
    """Renew a consent for another term, with what a version asks since. It is the same consent, so no token stops (T5)."""
    more: dict[str, Any] = {} if consent.access.client.is_platform else {"requested": {*consent.granted}}
    return _ask(
        request,
        consent.access,
        _("You agreed for another %(days)d days.") % {"days": agreement_days()},
        renews=True,
        **more,
    )


@_changes_consent
def widen_consent(request: SignedInRequest, consent: Consent) -> HttpResponse:
    """Ask again for what was declined or taken back. Besides this, only `prompt=consent` asks for it."""
    more: dict[str, Any] = (
        {} if consent.access.client.is_platform else {"requested": {*consent.granted} | left_to_allow(consent)}
    )
    return _ask(request, consent.access, _("You agreed."), ask_again=True, **more)


@_changes_consent
def trim_consent(request: SignedInRequest, consent: Consent) -> HttpResponse:
    """Take scopes back. They are chosen by GET and taken back by POST, which names the required ones that were warned about."""
    given = request.POST if request.method == "POST" else request.GET
    chosen, required = set(given.getlist("scope")), {*consent.access.required_scopes}
    if request.method == "POST" and chosen & required <= set(request.POST.getlist("warned")):
        try:
            ending.trim_consent(consent, scopes=chosen, by=request.user)
            said = ngettext(
                "Removed. %(app)s can no longer use this permission.",
                "Removed. %(app)s can no longer use these %(count)d permissions.",
                len(chosen),
            ) % {"app": consent.access.name, "count": len(chosen)}
            again = _("Allow again"), reverse("consent-widen", args=[consent.pk])
            messages.success(request, with_links(said, receipt_of(consent), again))
            return redirect(access_url(consent.access))
        except Refused as refusal:
            messages.error(request, str(refusal))
            return redirect("consent-trim", consent.pk)
    held = consent.access.client.scopes.select_related("scope").order_by("scope__name")
    chosen &= {*consent.granted}
    for row in held:
        row.note = _("The app needs this to work.") if row.scope.name in required else ""

    def rows(names: Any) -> list[Any]:
        return [row for row in held if row.scope.name in names]

    context = {
        "consent": consent,
        "allowed": rows(consent.granted),
        "not_allowed": rows(left_to_allow(consent)),
        "chosen": rows(chosen),
        "warned": rows(chosen & required),
        "nothing_chosen": "choose" in request.GET,
        "back": access_url(consent.access),
    }
    return render(request, f"consent/consent_trim{'_confirm' if chosen else ''}.html", context)
