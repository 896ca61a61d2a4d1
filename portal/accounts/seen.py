"""What a person sees of accounts, teams and the ledger (E1).

Registered with the ledger, which is below, for which chains a person reads and the names behind its opaque ids.
"""

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.db.models import Func, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat
from django.http import HttpRequest

from portal.foundation.database import looked_up
from portal.ledger.actions import PORTAL
from portal.ledger.reading import last_reason

from .choosing import MOST, Choice
from .events import Event
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
    return Account.objects.filter(pk__in=memberships_of(user).values("account"))


def teams_seen_by(user: User) -> QuerySet[Team]:
    """Return the teams that a person belongs to, by name (E1)."""
    return Team.objects.filter(pk__in=team_memberships_of(user).values("team")).order_by("name", "pk")


def account_suspension_reason(account: Account) -> str:
    """Return the reason that staff gave, or "" if the account is not suspended."""
    return last_reason(f"account:{account.slug}", Event.ACCOUNT_SUSPENDED) if account.suspended_at else ""


def chains_seen_by(user: User) -> dict[str, str]:
    """Return {chain: its name} for the accounts that a person administers and the teams they belong to (E1)."""
    organisations: list[Account | Team] = [*accounts_run_by(user), *teams_seen_by(user)]
    return {each.chain_name: each.name for each in organisations}


def _is_chain_of(accounts: QuerySet[Account]) -> Q:
    """Match entries in the chains of these accounts. Each entry's is looked up, so that nobody's accounts are all read."""
    slug = Func(OuterRef("chain_id"), Value("^account:(.*)$"), function="substring", output_field=TextField())
    return looked_up(accounts.filter(slug=slug))


def is_in_chain_seen_by(user: User) -> Q:
    """Match the entries of the accounts that a person administers and of the teams they belong to (E1)."""
    names = Concat(Value("team:"), Cast("public_id", TextField()), output_field=TextField())
    return _is_chain_of(accounts_run_by(user)) | Q(chain_id__in=teams_seen_by(user).order_by().values_list(names))


def is_in_chain_of(user: User) -> Q:
    """Match the entries among which a person sees their own acts: where they still belong, or anywhere for staff (E1)."""
    return Q() if user.is_staff else Q(chain_id=PORTAL) | _is_chain_of(accounts_seen_by(user))


def chains_of_own_acts(user: User) -> list[str] | None:
    """Return the chains in which a person sees their own acts, or None for staff and for whoever has many accounts."""
    accounts = [] if user.is_staff else list(accounts_seen_by(user).order_by("pk")[: MOST + 1])
    return None if user.is_staff or len(accounts) > MOST else [PORTAL, *(account.chain_name for account in accounts)]


def choose_chain(request: HttpRequest) -> tuple[Choice[Account], Choice[Team]]:
    """Return the accounts and the teams among whose chains a person chooses."""
    user = cast(User, request.user)
    return Choice(request, accounts_run_by(user)), Choice(request, teams_seen_by(user), keys=("name",))


def _people_of(chains: Iterable[str]) -> QuerySet[Any, Any]:
    """Return the keys of those who belong, or belonged, to the accounts and teams with these chains."""
    keys: dict[str, list[str]] = {"account": [], "team": []}
    for kind, _colon, key in (chain.partition(":") for chain in chains):
        keys[kind].append(key)
    members = Membership.objects.filter(account__slug__in=keys["account"]).values("user")
    mates = TeamMembership.objects.filter(team__public_id__in=keys["team"]).values("user")
    return members.union(mates)


def choose_person(request: HttpRequest, chains: Iterable[str], who: str) -> tuple[Choice[User], User | None]:
    """Return the people of these chains to choose from, other than oneself, and the one with the id `who`."""
    people, person = _people_of(chains), None
    # Enough to see whether they are many: oneself may be one of them.
    some, others = (
        User.objects.filter(pk__in=keys).exclude(pk=cast(User, request.user).pk)
        for keys in (people[: MOST + 2], people)
    )
    with contextlib.suppress(ValueError):
        person = others.filter(public_id=uuid.UUID(who)).first()
    return Choice(request, others, keys=("name",), words_in="find_person", some=some), person


def name_of_chain_seen_by(user: User, chain: str) -> str:
    """Return the name of the account or team, or "" if the person does not read its chain as a whole (E1)."""
    kind, _colon, key = chain.replace("\0", "").partition(":")
    if kind == "account":
        return accounts_run_by(user).filter(slug=key).values_list("name", flat=True).first() or ""
    with contextlib.suppress(ValueError):
        teams = teams_seen_by(user).filter(public_id=uuid.UUID(key)) if kind == "team" else Team.objects.none()
        return next((team.name for team in teams if team.chain_name == chain), "")
    return ""


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
