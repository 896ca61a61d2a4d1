"""Sample tickets: 20 for each team's test account, put there with the team and back whenever its developers want."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction

from portal.accounts.models import Account, User
from portal.accounts.rights import require_teammate
from portal.foundation.database import lock

from .models import Ticket

SUBJECTS = [
    "Printer on floor 3 is jammed", "VPN drops every hour", "New laptop for Monday", "Cannot open the payroll page",
    "Meeting room screen is black", "Password reset does not arrive", "Please add me to the design group",
    "Phone shows no signal", "Shared drive is full", "Mail to customers bounces", "Monitor flickers", "Badge does not open door B",
]  # fmt: skip
SAMPLES = 20


def samples(name: str, count: int = SAMPLES) -> Iterator[dict[str, Any]]:
    """Yield the fields of sample tickets of an account with this name, the same ones each time."""
    for number in range(count):
        again = f" ({number // len(SUBJECTS) + 1})" if number >= len(SUBJECTS) else ""
        yield {
            "subject": SUBJECTS[number % len(SUBJECTS)] + again,
            "description": f"Reported by {name}, desk {number + 1}.",
            "status": [2, 2, 3, 4, 5][number % 5],
            "priority": number % 4 + 1,
        }


def put_samples(account: Account, count: int = SAMPLES) -> None:
    Ticket.objects.bulk_create(Ticket(account=account, **fields) for fields in samples(account.name, count))


@transaction.atomic
def reset_samples(account: Account, *, by: User) -> None:
    """Replace all tickets of a team's test account by the sample tickets. Raises NotATeammate."""
    if account.test_of_team is None:
        raise ValueError(account)
    require_teammate(account.test_of_team, by)
    # So that two resets at once leave 20 tickets too.
    lock(Account, account.pk)
    Ticket.objects.filter(account=account).delete()
    put_samples(account)
