"""What the consent page says, and proof of what was shown: Agree can only mean what was read."""

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from django.utils.text import get_text_list
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from credentials.models import Client, ClientScope, Product
from credentials.redirect_uris import LOOPBACK_HOSTS
from credentials.registry import operations_of
from portal.accounts.models import Account, Membership, User
from portal.foundation.seals import seal

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


class Group(NamedTuple):
    """What is asked for of one product: its scopes under the title of their kind, those that only read first."""

    product: Product
    kinds: list[tuple[str, list[ClientScope]]]
    only_reads: bool


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
    # The host to which the browser goes next; "" for the app's page in the portal.
    leads_to: str = ""
    # True where it goes there only if something optional is switched on.
    may_stay: bool = False

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

    def _kind_of(self, row: ClientScope) -> int:
        """Return 0 where only calls that read are opened, 1 where others are too, 2 where DELETE is, 3 where nobody knows."""
        operations = self._operations[row.scope.name]
        if not operations:
            return 3
        if any(each.method == "DELETE" for each in operations):
            return 2
        return int(not all(each.is_safe for each in operations))

    def _grouped(self, rows: list[ClientScope]) -> list[Group]:
        """Return scopes by product, those that only read first."""
        titles = [
            _("Read only"),
            _("Change data"),
            _("Change and delete data"),
            _("The product has not published what these allow"),
        ]
        groups: dict[Product, list[list[ClientScope]]] = {}
        for row in sorted(rows, key=lambda row: (row.scope.product.name, row.scope.name)):
            groups.setdefault(row.scope.product, [[], [], [], []])[self._kind_of(row)].append(row)
        return [
            Group(
                product,
                [(title, rows) for title, rows in zip(titles, kinds, strict=True) if rows],
                only_reads=not any(kinds[1:]),
            )
            for product, kinds in groups.items()
        ]

    @property
    def required_groups(self) -> list[Group]:
        return self._grouped(self.new_required)

    @property
    def optional_groups(self) -> list[Group]:
        return self._grouped(self.new_optional)

    @property
    def already_groups(self) -> list[Group]:
        return self._grouped(self.already)

    @property
    def cannot(self) -> list[str]:
        """Say what agreeing does not allow, as far as the operations that products publish prove it.

        Nobody knows what a scope without published operations opens, so then nothing is said about what it cannot do in
        its product. No scope opens a call of another product: a product publishes its calls with its own scopes.
        """
        said = []
        if all(self._operations.values()):
            said.append(_("do anything that is not listed on this page"))
        groups = self._grouped(self.rows)
        names = [group.product.name for group in groups]
        reads = [group.product.name for group in groups if group.only_reads]
        if reads and reads == names:
            said.append(_("change or delete anything"))
        elif reads:
            said.append(_("change or delete anything in %(products)s") % {"products": get_text_list(reads, _("or"))})
        if names:
            but = {"products": get_text_list(names, _("and"))}
            said.append(_("reach any of the company’s products other than %(products)s") % but)
        if self.membership:
            said.append(_("act for anyone but you"))
        return [*said, _("see your password, or any other account")]

    @property
    def leads_to_this_device(self) -> bool:
        return self.leads_to in LOOPBACK_HOSTS

    @property
    def name(self) -> str:
        return (self.access and self.access.app_name) or self.client.name

    def text(self) -> dict[str, Any]:
        """Return the words that were shown, as data, which ShownText keeps; their hash goes into the ledger."""

        def said(rows: Any) -> list[Any]:
            return [[row.scope.name, row.scope.sentence, row.scope.risk, row.justification] for row in rows]

        team = self.client.team
        return {
            "language": get_language(),
            "app": self.name,
            "version": self.access.app_version if self.access else "",
            "developer": team.name,
            "verified": team.verified_at is not None,
            "logo": team.logo,
            "links": [team.website, team.support_url, team.privacy_url],
            "already": said(self.already),
            "new": said(self.new_required),
            "optional": said(self.new_optional),
            "groups": {
                row.scope.name: [group.product.name, title]
                for group in self._grouped(self.rows)
                for title, rows in group.kinds
                for row in rows
            },
            "operations": {scope.name: [str(each) for each in opened] for scope, opened in self.opened},
            "services": self.services,
            "cannot": self.cannot,
            "days": self.days,
            "leads_to": self.leads_to,
        }

    def digest(self, page: str = "consent screen") -> str:
        """Return a MAC over everything that a button of this page would mean (person, client, account, texts, the consent's revision)."""
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
        return seal(page, shown)


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
    leads_to: str = "",
    renews: bool = False,
) -> Screen:
    """Work out what to show. `requested` is None where the request named no scopes, and so asks for all it may.

    With `ask_again`, scopes once left off or trimmed are asked for too; with `replace`, a new consent is to take the
    place of the live one; with `terms`, these take the place of the access's, which need not be open. `leads_to` is the
    host to which the browser goes next; with `renews`, only if something new is agreed to. Raises MayNotConsent,
    NotInstalled, ScopeTooWide.
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
    if screen.is_due or not renews:
        screen.leads_to = leads_to
        screen.may_stay = renews and not screen.new_required
    return screen


def preview_screen(client: Client, account: Account, *, by: User, now: dt.datetime, terms: Terms) -> Screen:
    """Work out what would be shown for a version that nobody installed yet; nothing can be agreed to on it."""
    access = Access(client=client, account=account)
    terms.write_to(access)
    agent = agent_membership(client, Membership(account=account, user=by))
    requested = set(terms.scopes)
    screen = Screen(client, account, by, agent, access, None, requested, replace=False, ends_at=agreement_end(now))
    rows = ClientScope.objects.filter(client=client, scope__name__in=requested).select_related("scope__product")
    for row in rows.order_by("scope__name"):
        (screen.new_required if row.scope.name in terms.required else screen.new_optional).append(row)
    return screen
