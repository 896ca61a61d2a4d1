"""Vendors' client secrets, which the portal keeps encrypted and apart from packages."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.accounts.rights import require_teammate
from portal.foundation.database import database_now, lock
from portal.ledger.actions import record

from ..events import Event
from ..models import App, VendorSecret
from ..package import formats


@transaction.atomic
def keep_vendor_secret(app: App, integration: str, *, secret: str, by: User) -> VendorSecret:
    """Keep a vendor's client secret for an app's integration, in place of an earlier one; from now on that one is used.

    Raises NotATeammate, ValidationError.
    """
    require_teammate(app.team, by)
    app = lock(App, app.pk)
    if not secret or len(secret) > formats.MAX_VALUE or not secret.isprintable():
        raise ValidationError(_("Enter the client secret as the vendor shows it, on one line."))
    kept, _made = VendorSecret.objects.update_or_create(
        app=app, integration=integration, defaults={"secret": secret, "saved_at": database_now(), "saved_by": by}
    )
    record(
        app.team.chain_name,
        Event.VENDOR_SECRET_KEPT,
        by=by,
        subject=f"app:{app.slug}",
        name=app.slug,
        integration=integration,
    )
    return kept
