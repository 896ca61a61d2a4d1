"""Which credentials a person sees (E1)."""

from django.db.models import QuerySet

from portal.accounts.models import User
from portal.accounts.seen import teams_seen_by

from .models import Client


def clients_seen_by(user: User) -> QuerySet[Client]:
    """Return the clients of a person's teams (E1)."""
    return Client.objects.filter(team__in=teams_seen_by(user)).select_related("team", "user")
