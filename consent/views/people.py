"""One person's own authorizations, and an access's page with what may be done to it."""

import datetime as dt

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Case, F, Func, Q, When
from django.http import HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from portal.accounts.actions import Refused
from portal.accounts.models import Membership, Role
from portal.database import database_now
from portal.pages import paginate

from .. import actions
from ..coming_ends import COMING, ending_within, renewable_by
from ..models import Access, Consent, RefreshToken
from ..screen import build_screen
from ..validity import live_consents
from .authorize import consent_page


def access_seen_by(user):
    """The accesses of accounts that a person belongs to (E1)."""
    accounts = Membership.objects.live().filter(user=user).values("account")
    return Access.objects.filter(account__in=accounts).select_related("client__team", "account")


def consents_seen_by(user):
    """A person's own consents, and all of the accounts they administer (E1)."""
    administered = Membership.objects.admins().filter(user=user).values("account")
    own = Membership.objects.live().filter(user=user)
    return Consent.objects.filter(Q(membership__in=own) | Q(access__account__in=administered)).select_related(
        "access__client__team", "access__account", "membership__user"
    )


def access_url(access):
    """Where a person manages an access: the installation's page, or for an external app the access's own."""
    if access.installation_id:
        return reverse("installation-view", args=[access.installation_id])
    return reverse("authorization-view", args=[access.pk])


@login_required
@require_safe
def authorization_list(request):
    own = Membership.objects.live().filter(user=request.user)
    consents = (
        Consent.objects.filter(membership__in=own)
        .select_related("access__client__team", "access__account", "membership")
        .order_by("-granted_at")
    )
    context = {
        "page_obj": paginate(request, consents),
        "now": database_now(),
        "endings": ending_within().filter(membership__in=own)[:3],
    }
    return render(request, "consent/authorization_list.html", context)


@login_required
@require_safe
def ending_list(request):
    """What ends in the coming weeks, of all that a person sees, by week."""
    ending = ending_within(COMING).filter(pk__in=consents_seen_by(request.user))
    page = paginate(
        request, ending.annotate(is_renewable=Case(When(renewable_by(request.user), then=True), default=False))
    )
    for consent in page:
        day = timezone.localtime(consent.expires_at).date()
        consent.week = day - dt.timedelta(days=day.weekday())
    return render(request, "consent/ending_list.html", {"page_obj": page})


@login_required
@require_safe
def authorization_view(request, access_id):
    access = get_object_or_404(access_seen_by(request.user), pk=access_id)
    if access.installation_id:
        return redirect(access_url(access))
    membership = Membership.objects.live().get(user=request.user, account=access.account)
    is_admin = membership.role == Role.ADMIN
    consents = access.consents.select_related("membership__user", "granted_by").order_by("-granted_at")
    if access.client.is_agent_level and not is_admin:
        consents = consents.filter(membership__user=request.user)
    live = live_consents().filter(pk__in=consents)
    granted = live.annotate(name=Func(F("granted"), function="unnest")).values("name")
    context = {
        "access": access,
        "scopes": access.client.scopes.filter(scope__name__in=granted).select_related("scope"),
        "is_admin": is_admin,
        "membership": membership,
        "page_obj": paginate(request, consents),
        "may_reauthorize": not (access.ended_at or access.client.suspended_at) and _may_reauthorize(access, membership),
        "now": database_now(),
        "endings": ending_within().filter(Q(membership=None) | Q(membership=membership), access=access),
        "reuse": RefreshToken.objects.filter(consent__access=access).ended_by_reuse().first() if is_admin else None,
    }
    return render(request, "consent/authorization_view.html", context)


def _may_reauthorize(access, membership):
    """Who agreed before: an admin for the account, an agent for themself."""
    if access.client.is_agent_level:
        return access.consents.filter(membership__user=membership.user_id).exists()
    return membership.role == Role.ADMIN


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def reauthorize(request, access_id):
    """A new consent in place of the old one, which Cancel leaves as it is (T4)."""
    access = get_object_or_404(access_seen_by(request.user).filter(ended_at=None), pk=access_id)
    asked = {"by": request.user, "replace": True}
    if not access.client.is_platform:
        # An external client is asked within what this person or account agreed to before.
        asked["requested"] = _agreed_before(access, request.user)
    try:
        screen = build_screen(access.client, access.account, now=database_now(), **asked)
        if request.method == "GET" or request.POST.get("decision") != "agree":
            return consent_page(request, screen, cancel_url=access_url(access))
        actions.grant_consent(
            access.client,
            access.account,
            shown=request.POST.get("shown", ""),
            chosen=set(request.POST.getlist("optional")),
            **asked,
        )
    except actions.ScreenIsStale as stale:
        return consent_page(request, screen, problem=str(stale), status=409, cancel_url=access_url(access))
    except Refused as refusal:
        messages.error(request, str(refusal))
        return redirect(access_url(access))
    messages.success(request, _("You agreed again."))
    if access.installation_id:
        return HttpResponseRedirect(reverse("installation-connect", args=[access.installation_id]))
    return redirect(access_url(access))


def _agreed_before(access, user):
    consents = access.consents.order_by("-granted_at")
    if access.client.is_agent_level:
        consents = consents.filter(membership__user=user)
    latest = consents.first()
    return {*latest.granted, *latest.trimmed} if latest else None


@login_required
@require_http_methods(["GET", "POST"])
def revoke_consent(request, consent_id):
    consent = get_object_or_404(consents_seen_by(request.user), pk=consent_id)
    if request.method == "GET":
        return render(request, "consent/consent_revoke.html", {"consent": consent, "back": access_url(consent.access)})
    try:
        actions.revoke_consent(consent, by=request.user)
        messages.success(request, _("Revoked. No token of this authorization works any more."))
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect(access_url(consent.access))


@login_required
@require_http_methods(["GET", "POST"])
def end_access(request, access_id):
    """An admin ends an external app's access; a marketplace app is uninstalled instead."""
    accounts = Membership.objects.admins().filter(user=request.user).values("account")
    access = get_object_or_404(access_seen_by(request.user), pk=access_id, installation_id=None, account__in=accounts)
    if request.method == "GET":
        return render(request, "consent/access_end.html", {"access": access, "ends": actions.what_ends(access)})
    try:
        entry = actions.end_access(access, by=request.user, reason="revoked by an admin")
        return redirect("receipt-view", entry.pk)
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect(access_url(access))
