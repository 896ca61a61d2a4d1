"""An account's apps: installed ones, external ones, and what an admin or an agent does with them."""

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import CharField, Exists, OuterRef, Q, Value
from django.db.models.functions import Cast, Concat
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from consent.actions.issuing import InvalidGrant, use_up_code
from consent.agreed import tell_agreed
from consent.asking import undecided
from consent.models import Access, Consent
from consent.receipts import receipts_page, with_links, with_receipt
from consent.seen import agents_of, consents_of, notices_of
from consent.validity import live_consents
from credentials.models import WHO_AUTHORIZES, Client
from credentials.secrets import challenge_of
from credentials.seen import suspension_reason
from marketplace.models import Installation
from portal.accounts.choosing import Choice
from portal.accounts.models import Membership, Role
from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import account_suspension_reason, memberships_of
from portal.foundation.lists import Asked, Filter
from portal.foundation.once import once
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused
from portal.ledger.models import Entry

from ..actions import installing, upgrading
from ..models import Version
from ..seen import installations_run_by, installations_seen_by, listings_seen_by, offers_seen_by
from ..vendors.checklist import checklists
from ..vendors.running import Caller, templates_for


def give_states(accesses: Any, membership: Membership) -> dict[UUID, Consent]:
    """Give each access its live consent (the account's or this member's) and what that lacks, whether it ever had one,
    and how many agents' live ones. Return the consents by access.
    """
    # What a suspension holds back was agreed to all the same.
    keys = [access.pk for access in accesses]
    visible = consents_of(keys, Q(membership=None) | Q(membership=membership))
    visible = visible.annotate(asks_for_more=undecided()).select_related("granted_by")
    own: dict[UUID, Consent] = {consent.access_id: consent for consent in visible}
    agents = agents_of(keys) if membership.role == Role.ADMIN else {}
    # Each looked up by the index, however many agents agreed to the same app.
    earlier = Consent.objects.filter(access=OuterRef("pk"))
    members = [*Membership.objects.filter(user=membership.user_id, account=membership.account_id)]
    agreed = Exists(earlier.filter(membership=None)) | Exists(earlier.filter(membership__in=members))
    ever = set(Access.objects.filter(agreed, pk__in=keys).values_list("pk", flat=True))
    for access in accesses:
        access.live_consent = own.get(access.pk)
        granted = access.live_consent.granted if access.live_consent else access.required_scopes
        access.lacks_required = not {*access.required_scopes} <= {*granted}
        access.live_agents = agents.get(access.pk)
        access.was_agreed = access.pk in ever
        access.account = membership.account
    return own


@require_safe
def installation_list(request: SignedInRequest) -> HttpResponse:
    memberships = memberships_of(request.user).select_related("account")
    choice = Choice(request, memberships, "account")
    membership = choice.pick() or choice.first
    if membership is None:
        return render(request, "marketplace/installation_list.html")
    rows = installations_seen_by(request.user).filter(account=membership.account, uninstalled_at=None)
    accesses = Access.objects.filter(account=membership.account, installation_id=None, ended_at=None)
    accesses = accesses.select_related("client__team")
    asked = Asked(
        request,
        placeholder=_("Search apps"),
        sorts={"name": _("Name"), "newest": _("Newest")},
        filters=[Filter("level", _("Who authorizes"), _("Admin or agent"), WHO_AUTHORIZES)],
    )
    where = asked.found_in("version__name__icontains") & asked.chosen(level="app__client__level")
    page = asked.page([rows], where, {"newest": ("-installed_at", "pk"), "name": ("version__name", "pk")})
    where = asked.found_in("client__name__icontains") & asked.chosen(level="client__level")
    orders = {"newest": ("-opened_at", "pk"), "name": ("client__name", "pk")}
    external = asked.page([accesses], where, orders, name="external")
    give_states([row.access for row in page if row.access] + list(external), membership)
    for row, checklist in checklists(page, membership).items():
        row.checklist = checklist  # type: ignore[attr-defined]
    offered = Version.objects.published_for([membership.account.slug]).filter(app__in=[row.app_id for row in page])
    newest = dict(offered.order_by("app", "published_at", "pk").values_list("app", "number"))
    for row in page:
        row.newest = newest.get(row.app_id, row.version.number)
    context = {
        "choice": choice,
        "membership": membership,
        "is_admin": membership.role == Role.ADMIN,
        "waiting": offers_seen_by(request.user).filter(installation__account=membership.account).count(),
        "asked": asked,
        "page_obj": page,
        "external": external,
    }
    return render(request, "marketplace/installation_list.html", context)


def _entries_about(installation: Installation) -> list[Any]:
    """The entries about an installation and about its connections, each found by the index of subjects."""
    connections = installation.connections.values_list(Concat(Value("connection:"), Cast("pk", CharField())))
    return [
        Entry.objects.filter(subject=f"installation:{installation.pk}").order_by(),
        Entry.objects.filter(subject__in=connections).order_by(),
    ]


@require_safe
def installation_view(request: SignedInRequest, pk: UUID) -> HttpResponse:
    installation = get_object_or_404(installations_seen_by(request.user), pk=pk)
    access = installation.access
    membership = memberships_of(request.user).select_related("account").get(account=installation.account)
    consents = give_states([access] if access else [], membership)
    notices = notices_of(access, membership)
    tell_agreed(request, access)
    newest = None if installation.uninstalled_at else upgrading.offered_version(installation)
    agents = (
        Consent.objects.filter(access=access)
        .exclude(membership=None)
        .select_related("access__client", "access__account", "membership__user", "granted_by")
        .annotate(asks_for_more=undecided())
        .order_by("-granted_at")
    )
    if not notices["is_admin"]:
        agents = agents.filter(membership=membership)
    consent = consents.get(access.pk) if access else None
    checklist = checklists([installation], membership)[installation]
    context = {
        "installation": installation,
        "access": access,
        # Where nothing was agreed to or connected it is discarded; the word on the button, not the rule (M5).
        "is_begun": installing.is_begun(installation),
        "consent": consent,
        "scopes": _scopes(access, consent) if access else [],
        "checklist": checklist,
        "has_console": not installation.uninstalled_at and bool(templates_for(installation, Caller(membership))),
        "newest": newest,
        "offer": newest and installation.offers.open().filter(version=newest).select_related("declined_by").first(),
        "page_obj": paginate(request, agents),
        "suspended": is_suspended(installation),
        "why_suspended": why_suspended(installation) if membership.role == Role.ADMIN else "",
        "receipts": receipts_page(request, membership, access=access, others=_entries_about(installation)),
        **notices,
    }
    return render(request, "marketplace/installation_view.html", context)


def is_suspended(installation: Installation) -> bool:
    client = installation.app.client
    return bool((client and client.suspended_at) or installation.account.suspended_at)


def why_suspended(installation: Installation) -> str:
    """Return the reason that staff gave: of the app's suspension, or else of the account's; "" if neither is suspended."""
    client = installation.app.client
    return (client and suspension_reason(client)) or account_suspension_reason(installation.account)


def _scopes(access: Access, consent: Consent | None) -> Any:
    """What the app may do, or where nothing is agreed to, what it will ask for."""
    asked = consent.granted if consent else [] if access.ended_at else access.terms
    rows = list(access.client.scopes.filter(scope__name__in=asked).select_related("scope"))
    for row in rows:
        row.note = (
            _("Optional: it can be left out.") if not consent and row.scope.name in access.optional_scopes else ""
        )
    return rows


@never_cache
@require_safe
def installation_connect(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Send the person to where the app is authorized: its own install URL, or the portal's for a hosted app."""
    installation = get_object_or_404(installations_seen_by(request.user), pk=pk, uninstalled_at=None)
    if installation.access is None:
        return redirect("installation-view", pk)
    hints = {"account": installation.account.slug, "installation": str(installation.pk)}
    if url := installation.version.install_url:
        return HttpResponseRedirect(f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(hints)}")
    own = Q(membership=None) | Q(membership__user=request.user)
    if live_consents().filter(own, ~undecided(), access=installation.access).exists():
        # Agreed to, and a hosted app asks with client credentials: there is nothing to connect.
        return redirect("installation-view", pk)
    state = secrets.token_urlsafe(24)
    request.session["hosted"] = {
        **dict(list(request.session.get("hosted", {}).items())[-9:]),
        state: str(installation.pk),
    }
    # Nobody redeems this code, so the verifier is thrown away; the challenge is required all the same (T8).
    challenge = challenge_of(secrets.token_urlsafe(32))
    query = {
        "response_type": "code",
        "client_id": installation.access.client.client_id,
        "redirect_uri": f"{settings.BASE_URL}/oauth/callback",
        "scope": " ".join(sorted(installation.access.terms)),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **hints,
    }
    return HttpResponseRedirect(f"{reverse('oauth-authorize')}?{urlencode(query)}")


@never_cache
@require_safe
def oauth_callback(request: SignedInRequest) -> HttpResponse:
    """Where a hosted app's own flow returns: the code is used up here, and the app asks with client credentials."""
    hosted = request.session.get("hosted", {})
    pk = hosted.pop(request.GET.get("state", ""), None)
    request.session["hosted"] = hosted
    if pk is None or request.GET.get("iss") != settings.BASE_URL:
        return render(request, "marketplace/callback_unknown.html", status=400)
    installation = get_object_or_404(installations_seen_by(request.user), pk=pk)
    try:
        if "code" in request.GET:
            use_up_code(Client.objects.get(accesses=installation.access), request.GET["code"])
            membership = memberships_of(request.user).get(account=installation.account)
            waits = checklists([installation], membership)[installation].is_waiting
            said = _("Agreed. Now complete the remaining steps.") if waits else _("Done. The app is ready to use.")
            own = Q(membership=None) | Q(membership=membership)
            consent = live_consents().filter(own, access=installation.access).first()
            messages.success(request, with_receipt(said, consent) if consent else said)
        else:
            unfinished = _(
                "The installation is not finished, because nothing was agreed to. Read again what the app asks for and agree, or discard the installation."
            )
            messages.warning(request, _("Nothing was changed.") if installing.is_begun(installation) else unfinished)
    except InvalidGrant:
        messages.error(request, _("The response could not be used. Try again."))
    return redirect("installation-view", installation.pk)


def _to_install(request: SignedInRequest, installation: Installation) -> list[tuple[str, str]]:
    """Return the act by which a person installs again what was uninstalled, if they may."""
    if not listings_seen_by(request.user).filter(app=installation.app_id).exists():
        return []
    url = f"{reverse('listing-install', args=[installation.app.slug])}?account={installation.account.slug}"
    return [(_("Install again"), url)]


def _ending(action: Callable[..., Any], template: str, said: Any) -> Any:
    """A view that asks for confirmation, and on POST runs an action that ends an installation, and says what it did."""

    @require_http_methods(["GET", "POST"])
    @once
    def view(request: SignedInRequest, pk: UUID) -> HttpResponse:
        installation = get_object_or_404(installations_run_by(request.user), pk=pk)
        if request.method == "GET":
            ends = installing.what_ends(installation)
            return render(request, template, {"installation": installation, "ends": ends})
        try:
            receipt = action(installation, by=request.user)
            words = said % {"app": installation.version.name, "account": installation.account}
            messages.success(request, with_links(words, receipt, *_to_install(request, installation)))
        except Refused as refusal:
            messages.error(request, str(refusal))
        return redirect("installation-view", pk)

    return view


installation_uninstall = _ending(
    installing.uninstall,
    "marketplace/installation_uninstall.html",
    gettext_lazy("Uninstalled. %(app)s no longer has access to %(account)s."),
)
installation_discard = _ending(
    installing.discard,
    "marketplace/installation_discard.html",
    gettext_lazy("Discarded. %(app)s never had access to %(account)s."),
)
