"""What of the ledger a person may read, and the names that people read instead of opaque ids."""

import re

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.accounts.models import Account, Membership, Team, User

from .actions import PORTAL, SYSTEM, actor_name
from .models import Entry

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What each event is called on pages; the key is what the ledger keeps.
EVENTS = {
    "access.opened": _("App may ask for permission from now on"),
    "access.ended": _("All access ended"),
    "access.terms_changed": _("What the app asks for was updated"),
    "account.created": _("Account created"),
    "account.lifted": _("Account suspension lifted"),
    "account.suspended": _("Account suspended"),
    "app.accounts_listed": _("App opened to accounts"),
    "vendor_secret.kept": _("Vendor’s secret kept"),
    "app.created": _("App created"),
    "app.client_set": _("App’s OAuth credentials set"),
    "client.changed": _("OAuth credentials changed"),
    "client.created": _("OAuth credentials created"),
    "client.lifted": _("OAuth credentials’ suspension lifted"),
    "client.scopes_added": _("Scopes added to OAuth credentials"),
    "client.secret_ended": _("Client secret ended"),
    "client.secret_rotated": _("Client secret rotated"),
    "client.suspended": _("OAuth credentials suspended"),
    "connection.broken": _("Connection needs to be made again"),
    "connection.connected": _("Connected to a vendor"),
    "connection.disconnected": _("Disconnected from a vendor"),
    "connection.renewed": _("Connected to a vendor again"),
    "consent.confirmed": _("Agreement taken over by an admin"),
    "consent.declined": _("Permission declined"),
    "consent.expired": _("Agreement ended after 365 days"),
    "consent.granted": _("Agreed to what the app may do"),
    "consent.renewed": _("Agreed for another year"),
    "consent.replaced": _("Agreed anew, in place of the earlier agreement"),
    "consent.revoked": _("Agreement revoked"),
    "consent.revoked_for_all": _("All agents’ agreements revoked"),
    "consent.trimmed": _("Permissions taken back"),
    "consent.widened": _("More permissions allowed"),
    "family.reuse_detected": _("Token used twice: authorization ended"),
    "family.revoked": _("Token given back by the app"),
    "invitation.made": _("Person invited"),
    "invitation.resent": _("Invitation sent again"),
    "invitation.revoked": _("Invitation taken back"),
    "installation.discarded": _("Unfinished installation discarded"),
    "installation.installed": _("App installed"),
    "installation.settings_changed": _("App’s settings changed"),
    "installation.uninstalled": _("App uninstalled"),
    "installation.upgrade_declined": _("New version declined"),
    "installation.upgraded": _("App updated"),
    "installation.upgrades_itself_changed": _("Updating by itself turned on or off"),
    "member.added": _("Member added"),
    "member.removed": _("Member removed"),
    "member.role_changed": _("Member’s role changed"),
    "person.created": _("Person added"),
    "person.deactivated": _("Person deactivated"),
    "person.staff_changed": _("Staff rights changed"),
    "person.two_factor_removed": _("Two-factor authentication removed by staff"),
    "product.base_address_set": _("Product’s base address set"),
    "product.secret_made": _("Product’s secret made"),
    "registry.imported": _("Scopes imported"),
    "team.created": _("Team created"),
    "team.verified": _("Team verified"),
    "teammate.added": _("Teammate added"),
    "teammate.removed": _("Teammate removed"),
    "teammate.role_changed": _("Teammate’s role changed"),
    "version.approved": _("Version approved"),
    "version.created": _("Version created"),
    "version.published": _("Version published"),
    "version.rejected": _("Version rejected"),
    "version.submitted": _("Version submitted"),
    "version.withdrawn": _("Version withdrawn"),
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
        entry.title = EVENTS.get(entry.event, entry.event)
        if entry.event == "installation.upgrades_itself_changed":
            on = entry.details["upgrades_itself"]
            entry.title = _("Updating by itself turned on") if on else _("Updating by itself turned off")
        if vendor := entry.details.get("vendor"):
            entry.title = f"{entry.title}: {vendor}"
        entry.actor_name = names.get(entry.actor) or (entry.details.get("name") if "client:" in entry.actor else "")
        entry.about = names.get(entry.subject) or entry.details.get("name") or entry.subject
    return entries
