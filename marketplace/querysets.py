"""Querysets of versions, of installations (installed or unfinished), of connections (live or ended) and of offers (open or decided)."""

from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Exists, F, Func, OuterRef, Q, Value
from django.db.models.functions import Now
from django.db.models.lookups import IsNull

from consent.models import Consent
from credentials.models import Level
from portal.foundation.database import looked_up

# The integrations of a version's package that are not the app's own.
_VENDORS = '$."config/oauth_config.json"."integrations".* ? (@."client_id" != $own)'


class VersionQuerySet(models.QuerySet):
    def published_for(self, slugs: list[Any]) -> Self:
        """Return the versions that accounts with these slugs may install: published for all, or for one of them (M3)."""
        from .models import Audience, Status

        listed = Q(audience=Audience.CUSTOM, app__custom_accounts__overlap=slugs)
        return self.filter(Q(audience=Audience.PUBLIC) | listed, status=Status.PUBLISHED)


class InstallationQuerySet(models.QuerySet):
    def begun(self) -> Self:
        """Return installations that are, or were, more than unfinished: agreed to, connected, or since moved to another version.

        An agent-level app waits for nobody in particular, and an app that asks for nothing works from the start.
        """
        # Imported here, since these models refer to installations.
        from .models import Connection, Offer

        connects = Func(
            "version__package",
            Func(Value(_VENDORS), template="%(expressions)s::jsonpath"),
            Func("app__client__client_id", template="jsonb_build_object('own', %(expressions)s)"),
            function="jsonb_path_exists",
            output_field=models.BooleanField(),
        )
        connected = Connection.objects.filter(installation=OuterRef("pk")).exclude(connected_at=None)
        moved = Offer.objects.filter(installation=OuterRef("pk")).exclude(taken_at=None)
        agreed = Consent.objects.filter(access=OuterRef("access"))
        return self.filter(
            Q(access=None) & ~Q(connects)
            | Q(access__client__level=Level.AGENT)
            | looked_up(agreed)
            | Exists(connected)
            | Exists(moved)
        )

    def installed(self) -> Self:
        """Return the installations that count as installed; unfinished ones do not."""
        return self.begun().filter(uninstalled_at=None)


class ConnectionQuerySet(models.QuerySet):
    def live(self) -> Self:
        """Return the connections that may be used: nothing that they depend on has ended (T2)."""
        agents = Q(membership=None) | Q(membership__ended_at=None, membership__user__is_active=True)
        return self.filter(
            agents,
            ended_at=None,
            installation__uninstalled_at=None,
            installation__account__suspended_at=None,
            installation__app__client__suspended_at=None,
        )

    def with_vendor(self) -> Self:
        """Load what it takes to talk to the vendor in one query: the app, its version's package and its client."""
        return self.select_related("installation__app", "installation__version__app__client")

    def over(self) -> Self:
        """Return the connections that ended in any way and whose tokens have yet to be revoked and erased."""
        ended = Q(ended_at__isnull=False) | Q(installation__uninstalled_at__isnull=False)
        left = Q(membership__ended_at__isnull=False) | Q(membership__user__is_active=False)
        return self.filter(ended | left, erased_at=None)


class OfferQuerySet(models.QuerySet):
    def open(self) -> Self:
        """Return the offers that still hold: neither installation nor version has moved on, and no offer is newer.

        An unfinished installation is offered nothing until somebody has agreed to it.
        """
        # Imported here, since these models refer to offers.
        from .models import Audience, Installation, Status, Version

        theirs = Version.objects.published_for([OuterRef("installation__account__slug")])
        # Or one of those for chosen accounts, as long as it is among them.
        listed = Exists(theirs.filter(pk=OuterRef("version")))
        newer = Q(published_at__gt=OuterRef("version__published_at")) | Q(IsNull(OuterRef("version"), True))
        return self.filter(
            ~Exists(theirs.filter(newer, app=OuterRef("installation__app"))),
            Exists(Installation.objects.installed().filter(pk=OuterRef("installation"))),
            Q(version=None) | Q(version__status=Status.PUBLISHED, version__audience=Audience.PUBLIC) | listed,
            taken_at=None,
            installation__version=F("from_version"),
            installation__account__suspended_at=None,
            installation__app__client__suspended_at=None,
        )

    def pending(self) -> Self:
        """Return the open offers that no admin has decided on."""
        return self.open().filter(declined_at=None)

    def to_tell(self) -> Self:
        """Return the offers that the account's admins have yet to be mailed about."""
        from .models import Offer, OfferKind

        today = Offer.objects.filter(installation=OuterRef("installation"), told_at__gt=Now() - timedelta(days=1))
        # However often a developer publishes and withdraws: one mail a day, and one more if a withdrawal follows
        # it. A withdrawal turns what was asked into an offer of its own, so asking looks at both.
        asked = Q(kind=OfferKind.ASK, declined_at=None) & ~Exists(today)
        withdrawn = Q(kind=OfferKind.WITHDRAWN) & ~Exists(today.filter(kind=OfferKind.WITHDRAWN))
        return self.open().filter(asked | withdrawn, told_at=None)
