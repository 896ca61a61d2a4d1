"""What of the ledger a person may read, and the names that people read instead of opaque ids."""

import re

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import Account, Membership, Team, User

from .actions import PORTAL, SYSTEM, actor_name
from .events import find_event
from .models import Entry

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    told = (who for entry in entries for who in (entry.actor, entry.subject, entry.chain_id))
    for kind, _colon, name in (who.partition(":") for who in told):
        if kind == "account" or _UUID.fullmatch(name):
            ids.get(kind, set()).add(name)
    names = {f"person:{user.public_id}": str(user) for user in User.objects.filter(public_id__in=ids["person"])}
    names |= {f"team:{team.public_id}": team.name for team in Team.objects.filter(public_id__in=ids["team"])}
    names[SYSTEM] = _("The portal")
    names |= {f"account:{row.slug}": row.name for row in Account.objects.filter(slug__in=ids["account"])}
    for entry in entries:
        entry.place = _("The portal") if entry.chain_id == PORTAL else names.get(entry.chain_id, "")
        event = find_event(entry.event)
        entry.title = event.title_for(entry.details) if event else entry.event
        entry.reason = event.why(entry.details) if event else entry.details.get("reason", "")
        entry.actor_name = names.get(entry.actor) or (entry.details.get("name") if "client:" in entry.actor else "")
        entry.about = names.get(entry.subject) or entry.details.get("name") or entry.subject
    return entries
