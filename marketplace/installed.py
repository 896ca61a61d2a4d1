"""Which installations are installed, and which are only unfinished: nobody agreed to them yet."""

from django.db import models
from django.db.models import Exists, Func, OuterRef, Q, Value

from consent.models import Consent
from credentials.models import Level

# The integrations of a version's package that are not the app's own.
_VENDORS = '$."config/oauth_config.json"."integrations".* ? (@."client_id" != $own)'


class InstallationQuerySet(models.QuerySet):
    def begun(self):
        """Those that are, or were, more than unfinished: agreed to or connected, or moved to another version since.

        An agent-level app waits for nobody in particular, and one that asks for nothing works from the start.
        """
        # Here, since they refer to installations.
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
            | Exists(agreed)
            | Exists(connected)
            | Exists(moved)
        )

    def installed(self):
        """Those that are counted and called installed; an unfinished one is not."""
        return self.begun().filter(uninstalled_at=None)
