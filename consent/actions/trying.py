"""Trying credentials: what a session keeps meanwhile, and ending an access token before its time."""

import datetime as dt
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least, Now

from credentials.models import Client
from credentials.secrets import digest
from portal.accounts.models import User
from portal.accounts.rights import require_teammate

from ..models import AccessToken, Trial

KEPT = dt.timedelta(hours=1)
ERASE_BATCH = 1000


def _key(session_key: str, client: Client) -> str:
    return digest(f"{session_key} {client.client_id}")


def load_trial(session_key: str, client: Client, *, browser_key: str) -> dict[str, Any]:
    """Return what this session is trying with this client; {} for nothing, or where the key that encrypted it is gone."""
    try:
        trial = Trial.objects.filter(key=_key(session_key, client), expires_at__gt=Now()).first()
        return json.loads(Fernet(browser_key).decrypt(trial.state)) if trial else {}
    except InvalidToken:
        return {}


def keep_trial(session_key: str, client: Client, state: dict[str, Any], *, browser_key: str) -> None:
    """Keep a trial, encrypted with a key that its browser alone has: it has tokens and a secret, which we do not store (T7)."""
    sealed = Fernet(browser_key).encrypt(json.dumps(state).encode()).decode()
    Trial.objects.update_or_create(
        key=_key(session_key, client), defaults={"state": sealed, "expires_at": Now() + KEPT}
    )


def erase_trials() -> int:
    """Erase a bounded number of those that are over."""
    over = Trial.objects.filter(expires_at__lte=Now()).order_by("expires_at")
    return Trial.objects.filter(pk__in=list(over.values_list("pk", flat=True)[:ERASE_BATCH])).delete()[0]


@transaction.atomic
def expire_token(client: Client, *, token: str, by: User) -> None:
    """Have an access token of the team's test account expire now. Raises NotATeammate."""
    require_teammate(client.team, by)
    AccessToken.objects.filter(
        token_checksum=digest(token),
        consent__access__client=client,
        consent__access__account__test_of_team=client.team_id,
    ).update(expires=Least(F("expires"), Now()))
