"""What the consent page says, and proof of what was shown: Agree can only mean what was read."""

import datetime as dt
import hashlib
import hmac
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from credentials.models import Client, ClientScope
from credentials.registry import operations_of
from portal.accounts.models import Account, Membership, User
from portal.foundation.refusals import Refused

from .asking import (
    NotInstalled,
    ScopeTooWide,
    Terms,
    agent_membership,
    grantable_scopes,
    membership_for,
    newly_required,
    question,
    refusals,
)
from .models import Access, Consent
from .validity import agreement_days, agreement_end, taken_back_at


class ScreenIsStale(Refused):
    """What the person read is no longer what would be agreed to; show the new page."""


@dataclass
class Screen:
    """Who is asked what, for which account. The lists are disjoint and hold ClientScope rows, sorted by name."""

    client: Client
    account: Account
    by: User
    membership: Membership | None
    access: Access | None
    consent: Consent | None
    requested: set[str]
    replace: bool
    # When an agreement made at this moment would end.
    ends_at: dt.datetime
    already: list[ClientScope] = field(default_factory=list)
    new_required: list[ClientScope] = field(default_factory=list)
    new_optional: list[ClientScope] = field(default_factory=list)
    # What was agreed to last of all, where no live consent is to be renewed.
    before: Consent | None = None

    @property
    def is_due(self) -> bool:
        """True where something is asked that was not agreed to yet."""
        return self.consent is None or self.replace or bool(self.new_required or self.new_optional)

    @property
    def asks_anew(self) -> bool:
        """True where something is asked that was neither agreed to nor declined."""
        if self.consent is None or self.replace:
            return True
        refused = refusals(self.consent)
        return any(row.scope.name not in refused for row in [*self.new_required, *self.new_optional])

    @property
    def days(self) -> Any:
        return agreement_days()

    @property
    def rows(self) -> list[Any]:
        """Return everything the app may do under this agreement if everything optional is allowed."""
        return [*self.already, *self.new_required, *self.new_optional]

    @cached_property
    def _operations(self) -> Any:
        return operations_of([row.scope.name for row in self.rows])

    @property
    def opened(self) -> list[Any]:
        """Return each scope with the published operations that it opens, if any."""
        return [(row.scope, self._operations[row.scope.name]) for row in self.rows]

    @property
    def methods(self) -> list[Any]:
        """Return how many operations of each method are opened, as (method, count)."""
        distinct = {each.pk: each.method for operations in self._operations.values() for each in operations}
        return sorted(Counter(distinct.values()).items())

    @property
    def services(self) -> Any:
        return self.access.services if self.access else []

    @property
    def cannot(self) -> Any:
        """Say what agreeing does not allow, as far as the operations that products publish prove it.

        Nobody knows what a scope without published operations opens, so then nothing is said about what it cannot do.
        """
        said = [_("see your password, or any other account")]
        if self.membership:
            said.append(_("act for anyone but you"))
        if all(self._operations.values()):
            said.insert(0, _("do anything that is not listed on this page"))
            if all(each.is_safe for operations in self._operations.values() for each in operations):
                said.append(_("change or delete anything"))
        return said

    @property
    def name(self) -> str:
        return (self.access and self.access.app_name) or self.client.name

    def text(self) -> dict[str, Any]:
        """Return the words that were shown, as data, which ShownText keeps; their hash goes into the ledger."""

        def said(rows: Any) -> list[Any]:
            return [[row.scope.name, row.scope.sentence, row.scope.risk, row.justification] for row in rows]

        return {
            "language": get_language(),
            "app": self.name,
            "version": self.access.app_version if self.access else "",
            "developer": self.client.team.name,
            "verified": self.client.team.verified_at is not None,
            "already": said(self.already),
            "new": said(self.new_required),
            "optional": said(self.new_optional),
            "operations": {scope.name: [str(each) for each in opened] for scope, opened in self.opened},
            "services": self.services,
            "cannot": self.cannot,
            "days": self.days,
        }

    def digest(self) -> str:
        """Return a MAC over everything that Agree would mean (person, client, account, texts, the consent's revision)."""
        shown = [
            str(self.by.public_id),
            self.client.client_id,
            self.account.slug,
            str(self.access.pk) if self.access and self.access.pk else "",
            str(self.access.installation_id) if self.access else "",
            str(self.membership.pk) if self.membership else "",
            str(self.consent.pk) if self.consent else "",
            self.consent.revision if self.consent else 0,
            str(self.before.pk) if self.before else "",
            self.replace,
            sorted(self.requested),
            self.text(),
        ]
        return seal("consent screen", shown)


def seal(page: str, shown: list) -> str:
    """Return a MAC over what a page of this kind showed, which its button sends back."""
    key = hashlib.sha256(page.encode() + settings.SECRET_KEY.encode()).digest()
    return hmac.new(key, json.dumps(shown, sort_keys=True).encode(), "sha256").hexdigest()


def check_shown(shown: str, digest: str) -> None:
    """Raise ScreenIsStale unless the digest that was shown is that of what would be shown now."""
    # As bytes: of text it takes ASCII alone, and anything may have been posted.
    if not hmac.compare_digest(digest.encode(), shown.encode()):
        raise ScreenIsStale(_("Something changed while you were reading. Read this page again before you continue."))


def live_consent(access: Access | None, membership: Membership | None, now: dt.datetime) -> Consent | None:
    """Return the consent that a new Agree would renew, or None."""
    if access is None or access.pk is None:
        return None
    return access.consents.filter(membership=membership, revoked_at=None, expires_at__gt=now).first()


def earlier_consent(client: Client, account: Account, membership: Membership | None) -> Consent | None:
    """Return the latest consent to a client, under whichever access: the account's, or this member's, also from before they came back."""
    consents = Consent.objects.filter(access__client=client, access__account=account)
    same = {"membership__user": membership.user_id} if membership else {"membership": None}
    return consents.filter(**same).select_related("granted_by").order_by("-granted_at").first()


def build_screen(
    client: Client,
    account: Account,
    *,
    by: User,
    now: dt.datetime,
    requested: set[str] | None = None,
    ask_again: bool = False,
    replace: bool = False,
    terms: Terms | None = None,
) -> Screen:
    """Work out what to show. `requested` is None where the request named no scopes, and so asks for all it may.

    With `ask_again`, scopes once left off or trimmed are asked for too; with `replace`, a new consent is to take the
    place of the live one; with `terms`, these take the place of the access's, which need not be open. Raises MayNotConsent, NotInstalled, ScopeTooWide.
    """
    membership = membership_for(client, account, by)
    agent = agent_membership(client, membership)
    access = Access.objects.filter(client=client, account=account, ended_at=None).first()
    raised = newly_required(access, terms) if terms else set()
    if terms:
        access = access or Access(pk=None, client=client, account=account)
        terms.write_to(access)
    if client.is_platform and access is None:
        raise NotInstalled(_("The app is not installed in %(account)s.") % {"account": account})
    grantable = grantable_scopes(client, account, access)
    if requested is None:
        requested = grantable
    if beyond := requested - grantable:
        raise ScopeTooWide(beyond)
    consent = live_consent(access, agent, now)
    screen = Screen(client, account, by, agent, access, consent, requested, replace, agreement_end(now))
    if consent is None or replace:
        screen.before = earlier_consent(client, account, agent)
    renewed = None if replace else consent
    asked = question(client, access, renewed, requested, ask_again=ask_again, raised=raised)
    # Of any type: each is given what the page says beside it.
    rows: Any = ClientScope.objects.filter(client=client, scope__name__in=asked.already | asked.new)
    taken_back = taken_back_at(consent) if consent and asked.new & {*consent.trimmed} else {}
    for row in sorted(rows.select_related("scope__product"), key=lambda row: row.scope.name):
        row.taken_back_at = taken_back.get(row.scope.name)
        if row.scope.name in asked.already:
            screen.already.append(row)
        elif row.scope.name in asked.new_required:
            screen.new_required.append(row)
        else:
            screen.new_optional.append(row)
    return screen


def preview_screen(client: Client, account: Account, *, by: User, now: dt.datetime, terms: Terms) -> Screen:
    """Work out what would be shown for a version that nobody installed yet; nothing can be agreed to on it."""
    access = Access(client=client, account=account)
    terms.write_to(access)
    agent = agent_membership(client, Membership(account=account, user=by))
    requested = set(terms.scopes)
    screen = Screen(client, account, by, agent, access, None, requested, replace=False, ends_at=agreement_end(now))
    rows = ClientScope.objects.filter(client=client, scope__name__in=requested).select_related("scope")
    for row in rows.order_by("scope__name"):
        (screen.new_required if row.scope.name in terms.required else screen.new_optional).append(row)
    return screen
