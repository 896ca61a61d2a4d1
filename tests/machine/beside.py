"""Do each act in the model and in the portal, and compare the results."""

import contextlib
import datetime as dt
import time
from queue import Empty

from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import Client as Browser
from django.test import TestCase

from consent.models import Access, Consent, RefreshToken
from credentials.models import Client, ClientSecret
from marketplace.models import App, Installation, Version
from portal.accounts.models import Account, Invitation, Membership, Team, TeamMembership, User
from portal.celery import app as celery
from portal.foundation.refusals import Refused
from tests.clock import advance

from . import things

ROWS = {
    things.Person: User, things.Team: Team, things.Account: Account, things.Member: Membership,
    things.Teammate: TeamMembership, things.Invitation: Invitation, things.Client: Client,
    things.Secret: ClientSecret, things.App: App, things.Version: Version, things.Installation: Installation,
    things.Access: Access, things.Consent: Consent, things.Family: RefreshToken,
}  # fmt: skip
REFS = {"Person": "public_id", "Team": "public_id", "Account": "slug", "Client": "client_id", "App": "slug"}


def row(thing):
    """Return the portal's row of a thing, freshly read as in a view; None stands for the portal itself."""
    return thing and ROWS[type(thing)].objects.get(pk=thing.pk)


def name(thing, found):
    """Let a thing of the model stand for a row."""
    thing.pk, thing.ref = found.pk, str(getattr(found, REFS.get(type(thing).__name__, "pk")))
    return thing


def messages():
    """Take the messages that wait in Redis for a worker, as (task, arguments)."""
    with (
        celery.connection_for_write() as connection,
        connection.SimpleQueue("revoke") as waiting,
        contextlib.suppress(Empty),
    ):
        while True:
            message = waiting.get_nowait()
            message.ack()
            yield message.headers["task"], message.payload[0]


class Beside:
    """The model beside the portal. Every method is one act."""

    def __init__(self, model=None):
        self.model = model
        self.http = Browser()
        self.ahead = 0.0
        list(messages())

    def now(self):
        return time.monotonic() + self.ahead

    def act(self, name_of_act, portal, *arguments, **more):
        """Do one act in both; return the model's thing and the portal's result, or None where both refuse."""
        self.model.now = self.now()
        try:
            thing, refused = getattr(self.model, name_of_act)(*arguments, **more), False
        except things.No:
            refused = True
        with TestCase.captureOnCommitCallbacks(execute=True):
            try:
                with transaction.atomic():
                    result = portal()
            except (Refused, ValidationError) as refusal:
                assert refused, f"{name_of_act}: the portal refuses what the model allows: {refusal}"
                return None
        assert not refused, f"{name_of_act}: the portal allows what the model refuses"
        return thing, result

    def make(self, *arguments, **more):
        done = self.act(*arguments, **more)
        return done and name(*done)

    def wait(self, seconds):
        self.ahead += seconds
        advance(dt.timedelta(seconds=seconds))
