"""Which credentials a person sees (E1), why they are suspended, and what became of a team's."""

from django.db.models import QuerySet

from portal.accounts.models import Team, User
from portal.accounts.seen import teams_seen_by
from portal.ledger.models import Entry
from portal.ledger.reading import last_reason

from .events import Event
from .models import Client


def clients_seen_by(user: User) -> QuerySet[Client]:
    """Return the clients of a person's teams (E1)."""
    return Client.objects.filter(team__in=teams_seen_by(user)).select_related("team", "user")


def suspension_reason(client: Client) -> str:
    """Return the reason that a reviewer gave, or "" if the credentials are not suspended."""
    return last_reason(f"client:{client.client_id}", Event.CLIENT_SUSPENDED) if client.suspended_at else ""


def suspensions_of(team: Team) -> QuerySet[Entry]:
    """Return the ledger's entries of each time that staff suspended a team's credentials or lifted that, newest first."""
    return Entry.objects.filter(chain=team.chain_name, event__in=[Event.CLIENT_SUSPENDED, Event.CLIENT_LIFTED])
