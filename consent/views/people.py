"""A person's own authorizations, and the page of an access with its actions."""

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Case, Exists, F, Func, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce, Now, NullIf
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from credentials.models import Level
from portal.accounts.models import Membership
from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import memberships_of
from portal.foundation.database import database_now
from portal.foundation.lists import Asked, Filter
from portal.foundation.once import once
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused
from portal.foundation.seals import ScreenIsStale

from ..actions import ending, succeeding
from ..agreed import tell_agreed
from ..asking import may_agree_again, undecided
from ..coming_ends import COMING, ended_lately, ending_within, renewable_by
from ..models import Consent
from ..pages import access_url
from ..reasons import AccessEnd
from ..receipts import receipt_of, receipts_page, with_links
from ..seen import accesses_seen_by, consents_seen_by, notices_of, own_consents_seen_by
from ..succession import statement_of, to_confirm
from ..validity import agreement_days, unended_consents

HAS_ACCESS = [("live", gettext_lazy("With access")), ("over", gettext_lazy("Without access"))]


@require_safe
def authorization_list(request: SignedInRequest) -> HttpResponse:
    later = Consent.objects.filter(
        access=OuterRef("access"), membership=OuterRef("membership"), granted_at__gt=OuterRef("granted_at")
    )
    # Everybody agrees for themselves (T12), so an index has what is theirs in order.
    consents = (
        own_consents_seen_by(request.user)
        .filter(granted_by=request.user)
        .select_related("access__client__team", "access__account", "membership")
        .annotate(is_latest=~Exists(later), asks_for_more=undecided())
        .alias(app=Coalesce(NullIf("access__app_name", Value("")), "access__client__name"))
    )
    asked = Asked(
        request,
        placeholder=_("App or account"),
        sorts={"newest": _("Newest"), "name": _("App")},
        filters=[Filter("state", _("State"), _("All states"), HAS_ACCESS)],
    )
    where = asked.found_in("app__icontains", "access__account__name__icontains")
    if state := asked.value_of("state"):
        has_access = Q(revoked_at=None, expires_at__gt=Now(), access__ended_at=None)
        where &= has_access if state == "live" else ~has_access
    newest = ("-granted_at", "pk")
    context = {
        "page_obj": asked.page([consents], where, {"newest": newest, "name": ("app", *newest)}),
        "asked": asked,
        "now": database_now(),
        "endings": ending_within().filter(membership__in=memberships_of(request.user))[:3],
    }
    return render(request, "consent/authorization_list.html", context)


@require_safe
def ending_list(request: SignedInRequest) -> HttpResponse:
    """List what ends in the coming weeks, by week, and what ended lately, of everything that a person sees."""
    is_renewable = Case(When(renewable_by(request.user), then=True), default=False)
    coming, ended = (
        consents.filter(pk__in=consents_seen_by(request.user)).annotate(is_renewable=is_renewable)
        for consents in (ending_within(COMING), ended_lately())
    )
    page = paginate(request, coming)
    for consent in page:
        day = timezone.localtime(consent.expires_at).date()
        consent.week = day - dt.timedelta(days=day.weekday())
    context = {"page_obj": page, "ended": paginate(request, ended, name="ended"), "days": agreement_days()}
    return render(request, "consent/ending_list.html", context)


@require_safe
def authorization_view(request: SignedInRequest, access_id: UUID) -> HttpResponse:
    access = get_object_or_404(accesses_seen_by(request.user), pk=access_id)
    if access.installation_id:
        return redirect(access_url(access))
    membership = memberships_of(request.user).get(account=access.account)
    notices = notices_of(access, membership)
    tell_agreed(request, access)
    consents = access.consents.select_related("membership__user", "granted_by", "confirmed_by").order_by("-granted_at")
    if access.client.is_agent_level and not notices["is_admin"]:
        consents = consents.filter(membership__user=request.user)
    granted = (
        unended_consents().filter(pk__in=consents).annotate(name=Func(F("granted"), function="unnest")).values("name")
    )
    context = {
        "access": access,
        "scopes": access.client.scopes.filter(scope__name__in=granted).select_related("scope"),
        "page_obj": paginate(request, consents),
        "may_reauthorize": not (access.ended_at or access.client.suspended_at) and may_agree_again(access, membership),
        "receipts": receipts_page(request, membership, access=access),
        **notices,
    }
    return render(request, "consent/authorization_view.html", context)


@require_http_methods(["GET", "POST"])
@once
def revoke_consent(request: SignedInRequest, consent_id: UUID) -> HttpResponse:
    consent = get_object_or_404(consents_seen_by(request.user), pk=consent_id)
    if request.method == "GET":
        return render(request, "consent/consent_revoke.html", {"consent": consent, "back": access_url(consent.access)})
    try:
        ending.revoke_consent(consent, by=request.user)
        said = _("Revoked. The tokens of this authorization no longer work.")
        messages.success(request, with_links(said, receipt_of(consent), *_to_authorize(request, consent.access)))
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect(access_url(consent.access))


@never_cache
@require_http_methods(["GET", "POST"])
@once
def confirm_consent(request: SignedInRequest, consent_id: UUID) -> HttpResponse:
    """Let an admin answer for a consent that a former admin gave."""
    accounts = Membership.objects.administered_by(request.user)
    consents = Consent.objects.filter(membership=None, access__account__in=accounts)
    consent = get_object_or_404(
        consents.select_related("access__client", "access__account", "granted_by"), pk=consent_id
    )
    problem = ""
    try:
        if request.method == "POST":
            succeeding.confirm_consent(consent, by=request.user, shown=request.POST.get("shown", ""))
            messages.success(request, _("Confirmed. Nothing changed for the app."))
            return redirect(access_url(consent.access))
    except ScreenIsStale as stale:
        problem = str(stale)
        consent.refresh_from_db()
    except Refused as refusal:
        messages.error(request, str(refusal))
        return redirect(access_url(consent.access))
    if not to_confirm(request.user).filter(pk=consent.pk).exists():
        messages.info(request, _("No confirmation is needed now."))
        return redirect(access_url(consent.access))
    context = {
        "statement": statement_of(consent, request.user),
        "consent": consent,
        "back_url": access_url(consent.access),
        "problem": problem,
    }
    return render(request, "consent/consent_confirm.html", context, status=409 if problem else 200)


def _to_authorize(request: SignedInRequest, access: Any) -> list[tuple[str, str]]:
    """Return the act by which a person gives again what they ended, if they may."""
    access = accesses_seen_by(request.user).filter(pk=access.pk, ended_at=None, client__suspended_at=None).first()
    membership = access and memberships_of(request.user).get(account=access.account)
    if not (access and membership and may_agree_again(access, membership)):
        return []
    return [(_("Authorize"), reverse("authorization-reauthorize", args=[access.pk]))]


def _for_admins(action: Callable[..., Any], template: str, said: Any, **kind: Any) -> Any:
    """Make a view that asks for confirmation, and on POST ends something of an access of this kind, and says what it did."""

    @require_http_methods(["GET", "POST"])
    @once
    def view(request: SignedInRequest, access_id: UUID) -> HttpResponse:
        accounts = Membership.objects.administered_by(request.user)
        access = get_object_or_404(accesses_seen_by(request.user), pk=access_id, account__in=accounts, **kind)
        if request.method == "GET":
            ends = ending.what_ends(access)
            return render(request, template, {"access": access, "ends": ends, "back": access_url(access)})
        try:
            receipt = action(access, by=request.user)
            words = said % {"app": access.name, "account": access.account}
            messages.success(request, with_links(words, receipt, *_to_authorize(request, access)))
        except Refused as refusal:
            messages.error(request, str(refusal))
        return redirect(access_url(access))

    return view


# A marketplace app is uninstalled instead.
end_access = _for_admins(
    partial(ending.end_access, reason=AccessEnd.REVOKED),
    "consent/access_end.html",
    gettext_lazy("%(app)s no longer has access to %(account)s. To use it again, start from the app."),
    installation_id=None,
)
revoke_for_all = _for_admins(
    ending.revoke_for_all,
    "consent/access_revoke_for_all.html",
    gettext_lazy("Revoked for all agents of %(account)s. Each agent can authorize %(app)s again."),
    client__level=Level.AGENT,
)
