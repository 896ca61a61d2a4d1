"""The record of what happened, newest first."""

import re
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from portal.accounts.models import Account, Membership, Team, User
from portal.pages import paginate

from .actions import PORTAL, actor_name
from .exports import csv_lines, json_lines
from .models import Entry

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What each event is called on pages; the key is what the ledger keeps.
EVENTS = {
    "access.opened": _("Access opened"),
    "access.ended": _("Access ended"),
    "account.created": _("Account created"),
    "account.lifted": _("Account suspension lifted"),
    "account.suspended": _("Account suspended"),
    "app.created": _("App created"),
    "app.client_set": _("App’s OAuth credentials set"),
    "client.changed": _("OAuth credentials changed"),
    "client.created": _("OAuth credentials created"),
    "client.lifted": _("OAuth credentials’ suspension lifted"),
    "client.scopes_added": _("Scopes added to OAuth credentials"),
    "client.secret_ended": _("Client secret ended"),
    "client.secret_rotated": _("Client secret rotated"),
    "client.suspended": _("OAuth credentials suspended"),
    "consent.declined": _("Consent declined"),
    "consent.expired": _("Consent ended after 365 days"),
    "consent.granted": _("Consent given"),
    "consent.renewed": _("Consent renewed"),
    "consent.replaced": _("Consent replaced"),
    "consent.revoked": _("Consent revoked"),
    "consent.trimmed": _("Scopes taken back"),
    "consent.widened": _("Consent widened"),
    "family.reuse_detected": _("Token used twice: authorization ended"),
    "family.revoked": _("Token given back by the app"),
    "installation.discarded": _("Unfinished installation discarded"),
    "installation.installed": _("App installed"),
    "installation.uninstalled": _("App uninstalled"),
    "member.added": _("Member added"),
    "member.removed": _("Member removed"),
    "member.role_changed": _("Member’s role changed"),
    "person.created": _("Person added"),
    "person.deactivated": _("Person deactivated"),
    "person.staff_changed": _("Staff rights changed"),
    "person.two_factor_removed": _("Two-factor authentication removed by staff"),
    "product.secret_made": _("Product’s secret made"),
    "registry.imported": _("Scopes imported"),
    "team.created": _("Team created"),
    "team.verified": _("Team verified"),
    "teammate.added": _("Teammate added"),
    "version.approved": _("Version approved"),
    "version.created": _("Version created"),
    "version.published": _("Version published"),
    "version.rejected": _("Version rejected"),
    "version.submitted": _("Version submitted"),
}


def chains_of(user):
    """Return {chain name: what to call it} for the accounts a person administers and the teams they belong to."""
    accounts = Account.objects.filter(memberships__in=Membership.objects.admins().filter(user=user))
    teams = Team.objects.filter(memberships__user=user, memberships__ended_at=None)
    return {place.chain_name: place.name for place in [*accounts, *teams]} if user.is_active else {}


def entries_seen_by(user):
    """The entries of a person's accounts (admin) and teams, and their own acts where they still belong (E1)."""
    own = Q(actor=actor_name(user))
    if not user.is_staff:
        places = Account.objects.filter(memberships__in=Membership.objects.live().filter(user=user))
        own &= Q(chain__in=[PORTAL, *(place.chain_name for place in places)])
    return Entry.objects.filter(Q(chain__in=chains_of(user)) | own)


def with_names(entries):
    """Give each entry the names that people read, in a bounded number of queries."""
    entries = list(entries)
    ids = {"person": set(), "team": set(), "account": set()}
    for kind, _colon, name in (who.partition(":") for entry in entries for who in (entry.actor, entry.subject)):
        if kind == "account" or _UUID.fullmatch(name):
            ids.get(kind, set()).add(name)
    names = {f"person:{user.public_id}": str(user) for user in User.objects.filter(public_id__in=ids["person"])}
    names |= {f"team:{team.public_id}": team.name for team in Team.objects.filter(public_id__in=ids["team"])}
    names |= {f"account:{row.slug}": row.name for row in Account.objects.filter(slug__in=ids["account"])}
    for entry in entries:
        entry.title = EVENTS.get(entry.event, entry.event)
        entry.actor_name = names.get(entry.actor) or (entry.details.get("name") if "client:" in entry.actor else "")
        entry.about = names.get(entry.subject) or entry.details.get("name") or entry.subject
    return entries


def _chosen(request, chains):
    """The filters that a request names, empty where it names none or one that is not this person's."""
    allowed = {"chain": chains, "event": EVENTS, "who": ("me",)}
    values = {name: request.GET.get(name, "") for name in allowed}
    return {name: value if value in allowed[name] else "" for name, value in values.items()}


def _filtered(user, chosen):
    entries = entries_seen_by(user)
    filters = {name: chosen[name] for name in ("chain", "event") if chosen[name]}
    if chosen["who"]:
        filters["actor"] = actor_name(user)
    return entries.filter(**filters)


@login_required
@require_GET
def ledger_list(request):
    chains = chains_of(request.user)
    chosen = _chosen(request, chains)
    page = paginate(request, _filtered(request.user, chosen))
    page.object_list = with_names(page.object_list)
    for entry in page.object_list:
        entry.place = chains.get(entry.chain_id, "")
    context = {
        "page_obj": page,
        "chains": chains,
        "events": EVENTS,
        "chosen": chosen,
        "query": urlencode({name: value for name, value in chosen.items() if value}),
    }
    return render(request, "ledger/ledger_list.html", context)


@login_required
@require_GET
def ledger_export(request, kind):
    """What the filters show as a file, oldest first, in flat memory."""
    chains = chains_of(request.user)
    chosen = _chosen(request, chains)
    entries = _filtered(request.user, chosen).order_by("chain", "sequence")
    if kind == "csv":
        lines, content_type = csv_lines(entries, with_names), "text/csv; charset=utf-8"
    else:
        whole = [] if chosen["event"] or chosen["who"] else [chosen["chain"]] if chosen["chain"] else chains
        lines, content_type = json_lines(entries, whole), "application/json"
    disposition = {"Content-Disposition": f'attachment; filename="ledger.{kind}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(lines, content_type=content_type, headers=disposition)
