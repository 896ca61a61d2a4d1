"""What a person sees of accounts, teams and the ledger (E1).

Registered with the ledger, which is below, for which chains a person reads and the names behind its opaque ids.
"""

from collections.abc import Mapping

from django.db.models import QuerySet

from portal.ledger.actions import PORTAL

from .models import Account, Membership, Team, TeamMembership, User
from .rights import accounts_run_by


def memberships_of(user: User) -> QuerySet[Membership]:
    """Return a person's own live memberships of accounts."""
    return Membership.objects.live().filter(user=user)


def team_memberships_of(user: User) -> QuerySet[TeamMembership]:
    """Return a person's own live memberships of teams."""
    return TeamMembership.objects.live().filter(user=user)


def accounts_seen_by(user: User) -> QuerySet[Account]:
    """Return the accounts that a person belongs to (E1)."""
    return Account.objects.filter(memberships__in=memberships_of(user))


def teams_seen_by(user: User) -> QuerySet[Team]:
    """Return the teams that a person belongs to, by name (E1)."""
    return Team.objects.filter(memberships__in=team_memberships_of(user)).order_by("name", "pk")


def chains_seen_by(user: User) -> dict[str, str]:
    """Return {chain: its name} for the accounts that a person administers and the teams they belong to (E1)."""
    organisations: list[Account | Team] = [*accounts_run_by(user), *teams_seen_by(user)]
    return {each.chain_name: each.name for each in organisations}


def chains_of_own_acts(user: User) -> list[str] | None:
    """Return the chains in which a person sees their own acts: where they still belong. None means all, for staff."""
    if user.is_staff:
        return None
    return [PORTAL, *(account.chain_name for account in accounts_seen_by(user))]


def names_of(ids: Mapping[str, set[str]]) -> dict[str, str]:
    """Return {"person:<id>": name, …} for the ids of each kind, in one query a kind."""
    people = User.objects.filter(public_id__in=ids["person"])
    teams = Team.objects.filter(public_id__in=ids["team"])
    accounts = Account.objects.filter(slug__in=ids["account"])
    return {
        **{f"person:{user.public_id}": str(user) for user in people},
        **{f"team:{team.public_id}": team.name for team in teams},
        **{f"account:{account.slug}": account.name for account in accounts},
    }
