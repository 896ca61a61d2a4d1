"""Who may be asked for what: who may agree (T12), which scopes may be asked for (M3, T1), and which of them are new."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import F, Func, Q
from django.utils.translation import gettext as _

from credentials.models import Client, Risk, Scope
from portal.accounts.models import Account, Membership, Role, User
from portal.foundation.refusals import Refused

from .models import Access, Consent, scope_list


class MayNotConsent(Refused):
    pass


class NotInstalled(Refused):
    pass


class ScopeTooWide(Refused):
    """`scopes` are the requested scopes beyond what can be granted here."""

    def __init__(self, scopes: Iterable[str]) -> None:
        self.scopes = sorted(scopes)
        super().__init__(_("These scopes cannot be requested here: %(scopes)s.") % {"scopes": " ".join(self.scopes)})


@dataclass(frozen=True)
class Terms:
    """What a platform client may be granted under an access, and how it is shown, taken from the installed version (T1)."""

    required: frozenset[str]
    optional: frozenset[str]
    app_name: str
    app_version: str
    installation_id: uuid.UUID | None
    # What the version reaches besides the company's products.
    services: tuple[str, ...] = ()

    @property
    def scopes(self) -> frozenset[str]:
        return self.required | self.optional

    def write_to(self, access: Access) -> None:
        """Set them on an access, which the caller saves or shows."""
        access.required_scopes, access.optional_scopes = sorted(self.required), sorted(self.optional)
        access.app_name, access.app_version = self.app_name, self.app_version
        access.installation_id = self.installation_id
        access.services = list(self.services)


# --- who may be asked (T12) ---


def may_agree(client: Client, role: str) -> bool:
    """Tell whether a member with this role may consent: each agent for themself, only an admin for the account."""
    return client.is_agent_level or role == Role.ADMIN


def may_open(client: Client, role: str) -> bool:
    """Tell whether a member with this role may open an access: installing takes an admin at every level."""
    return role == Role.ADMIN if client.is_platform else may_agree(client, role)


def may_agree_again(access: Access, membership: Membership) -> bool:
    """Tell whether a member may replace a consent: an admin the account's, an agent their own earlier one."""
    if access.client.is_agent_level:
        return access.consents.filter(membership__user=membership.user_id).exists()
    return may_agree(access.client, membership.role)


def membership_for(client: Client, account: Account, by: User) -> Membership:
    """Return the live membership by which a person may consent here (T12). Raises MayNotConsent."""
    membership = Membership.objects.live().filter(account=account, user=by).first()
    if membership is None or account.suspended_at:
        raise MayNotConsent(_("You do not belong to this account."))
    if not may_agree(client, membership.role):
        raise MayNotConsent(_("Only an admin of %(account)s can agree to this.") % {"account": account})
    return membership


def agent_membership(client: Client, membership: Membership | None) -> Membership | None:
    """Return the membership that a consent belongs to: the agent's, or None at account level."""
    return membership if client.is_agent_level else None


# --- for what ---


def beyond_client(client: Client, scopes: Iterable[str]) -> list[str]:
    """Return the scopes that the client does not have, sorted."""
    return sorted(set(scopes) - client.scope_names())


def grantable_scopes(client: Client, account: Account, access: Access | None) -> set[str]:
    """Return what may be asked for: the terms (platform), or the client's scopes without those kept for verified teams (M3)."""
    if client.is_platform:
        return access.terms if access else set()
    scopes = Scope.objects.filter(client_scopes__client=client)
    if client.is_unverified and account.test_of_team_id != client.team_id:
        scopes = scopes.exclude(risk__in=Risk.for_verified_teams())
    return set(scopes.values_list("name", flat=True))


def newly_required(access: Access | None, terms: Terms) -> set[str]:
    """Return the scopes that new terms require and the access did not; earlier refusals of them no longer count."""
    return set(terms.required) - set(access.required_scopes if access else ())


@dataclass(frozen=True)
class Question:
    """Scopes by name, in disjoint sets: those already agreed to, and those that are new."""

    already: set[str]
    new_required: set[str]
    new_optional: set[str]

    @property
    def new(self) -> set[str]:
        return self.new_required | self.new_optional


def question(
    client: Client,
    access: Access | None,
    consent: Consent | None,
    requested: set[str],
    *,
    ask_again: bool,
    raised: set[str],
) -> Question:
    """Sort the requested scopes by whether the consent to be renewed holds them already.

    Scopes that were declined or taken back are asked for only with `ask_again`, or if they are in `raised`.
    """
    terms = access if access and client.is_platform else None
    # A platform app's required scopes are part of every consent, whatever was requested.
    required = set(terms.required_scopes) if terms else requested
    asked = required | requested
    granted = set(consent.granted) if consent else set()
    refused = refusals(consent) - raised if consent and not ask_again else set()
    # What was granted stays granted even if it is not requested now, unless new terms end it.
    already = granted & (asked | terms.terms) if terms else granted
    new = asked - granted - refused
    return Question(already, new & required, new - required)


def refusals(consent: Consent) -> set[str]:
    """Return the scopes that a person declined or took back."""
    return {*consent.left_off, *consent.trimmed}


def left_to_allow(consent: Consent) -> set[str]:
    """Return what a consent could still allow: a platform app's terms, or what an external client once asked for."""
    access = consent.access
    grantable = grantable_scopes(access.client, access.account, access)
    if not access.client.is_platform:
        grantable &= refusals(consent)
    return grantable - {*consent.granted}


def last_agreed(access: Access, by: User) -> set[str] | None:
    """Return what this person or account last agreed to, and what they took back since; None if they never agreed."""
    consents = access.consents.order_by("-granted_at")
    if access.client.is_agent_level:
        consents = consents.filter(membership__user=by)
    latest = consents.first()
    return {*latest.granted, *latest.trimmed} if latest else None


def undecided() -> Q:
    """Match agents' consents under an access that asks for more than they agreed to or refused."""
    decided = Func("granted", "left_off", function="array_cat", output_field=scope_list())
    decided = Func(decided, F("trimmed"), function="array_cat", output_field=scope_list())
    asked = ("access__required_scopes", "access__optional_scopes")
    settled = Q(*[(f"{scopes}__contained_by", decided) for scopes in asked])
    return Q(membership__isnull=False) & ~settled
