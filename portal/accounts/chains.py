"""Which of the ledger's chains a person reads, and the names behind opaque ids. Registered with the ledger, which is below."""

from collections.abc import Mapping

from portal.ledger.actions import PORTAL

from .models import Account, Membership, Team, User
from .rights import accounts_run_by


def chains_seen_by(user: User) -> dict[str, str]:
    """Return {chain: its name} for the accounts that a person administers and the teams they belong to (E1)."""
    teams = Team.objects.filter(memberships__user=user, memberships__ended_at=None)
    organisations: list[Account | Team] = [*accounts_run_by(user), *teams]
    return {each.chain_name: each.name for each in organisations} if user.is_active else {}


def chains_of_own_acts(user: User) -> list[str] | None:
    """Return the chains in which a person sees their own acts: where they still belong. None means all, for staff."""
    if user.is_staff:
        return None
    accounts = Account.objects.filter(memberships__in=Membership.objects.live().filter(user=user))
    return [PORTAL, *(account.chain_name for account in accounts)]


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
