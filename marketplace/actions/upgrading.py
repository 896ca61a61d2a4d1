"""Move an installation to another version of its app, or decline it (M4)."""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from consent.actions.granting import change_terms, grant_consent, open_access
from consent.screen import Screen, build_screen
from credentials.models import Client
from portal.accounts.models import Account, Membership, User
from portal.accounts.rights import require_admin
from portal.foundation.database import database_now, lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import record

from ..differences import Difference
from ..events import Event
from ..models import App, Installation, Offer, OfferKind, Version
from ..vendors.actions import end_connections
from .installing import installable_version, record_installation, terms_of
from .offering import forecast


class NotOffered(Refused):
    """This installation cannot have the version, or no longer can."""


def offered_version(installation: Installation) -> Version | None:
    """Return the version that an installation can be moved to: the newest for its account, unless it has that already."""
    version = installable_version(installation.app, installation.account)
    return None if version is None or version.pk == installation.version_id else version


class Step(NamedTuple):
    """What moving an installation means: the difference, and the consent screen if the account is asked."""

    difference: Difference
    screen: Screen | None

    @property
    def asks(self) -> bool:
        """Tell whether an admin's permission is needed (M4)."""
        difference, screen = self
        if screen:
            return bool(screen.new_required or screen.new_optional or difference.always_asks)
        return bool(difference.always_asks or difference.raised_scopes)


def step_to(installation: Installation, version: Version, *, by: User) -> Step:
    """Work out what moving to a version means, and what `by` would agree to. Raises MayNotConsent."""
    client = version.app.client
    difference = Difference(installation.version, version)
    if not version.scopes or client is None or client.is_agent_level:
        return Step(difference, None)
    terms = terms_of(version, installation.pk)
    return Step(difference, build_screen(client, installation.account, by=by, now=database_now(), terms=terms))


@transaction.atomic
def upgrade(
    installation: Installation, version: Version, *, by: User, shown: str = "", chosen: Iterable[str] = ()
) -> Installation:
    """Move an installation to the version it was offered, as an admin read it.

    `shown` is the digest of the consent screen, if something new is asked for, and `chosen` are the optional scopes
    switched on. Every consent and token loses what the version no longer requests, at this commit (T1). Raises
    NotAnAdmin, NotOffered, and what agreeing raises.
    """
    installation, version = _lock(installation, version, by)
    # Set wherever a version asks for scopes.
    client = cast(Client, version.app.client)
    terms, step = terms_of(version, installation.pk), step_to(installation, version, by=by)
    access = installation.access
    if step.screen and (step.screen.new_required or step.screen.new_optional):
        consent = grant_consent(client, installation.account, by=by, shown=shown, chosen=chosen, terms=terms)
        access = consent.access
    elif access:
        change_terms(access, terms, by=by)
    elif version.scopes:
        access = open_access(client, installation.account, by=by, terms=terms)
    return _move(installation, step.difference, access, by)


@transaction.atomic
def upgrade_itself(offer: Offer, version: Version) -> None:
    """Update to an offered version without a click, if that is still wanted and still asks for nothing new."""
    installation = offer.installation
    try:
        installation, version = _lock(installation, version, None)
    except Refused:
        # Another version came, or it is not possible now. A person can still accept it, if it is offered.
        Offer.objects.filter(pk=offer.pk).update(kind=OfferKind.CLICK)
        return
    if Offer.objects.get(pk=offer.pk).declined_at:
        return
    now = forecast(version).filter(pk=installation.pk).values_list("kind", flat=True).first()  # type: ignore[misc]
    if now != OfferKind.ITSELF:
        Offer.objects.filter(pk=offer.pk).update(kind=now or OfferKind.CLICK)
        return
    if installation.access:
        change_terms(installation.access, terms_of(version, installation.pk), by=None)
    _move(installation, Difference(installation.version, version), installation.access, None)


def _lock(installation: Installation, version: Version, by: User | None) -> tuple[Installation, Version]:
    """Lock what a step depends on (T11), and check that it is allowed. None is the portal itself."""
    account = lock(Account, installation.account_id)
    app = App.objects.select_related("client", "team").get(pk=installation.app_id)
    client = lock(Client, app.client_id) if app.client_id else None
    version = lock(Version, version.pk)
    version.app = app
    if by:
        Membership.objects.select_for_update(no_key=True).filter(account=account, user=by, ended_at=None).first()
        require_admin(account, by)
    installation = lock(Installation, installation.pk)
    installation.account, installation.app = account, app
    if installation.uninstalled_at or account.suspended_at or (client and client.suspended_at):
        raise NotOffered(_("This app cannot be updated here now."))
    offered = offered_version(installation)
    if offered is None or offered.pk != version.pk:
        raise NotOffered(_("This version is no longer offered. Check what is offered now."))
    return installation, version


def _move(installation: Installation, difference: Difference, access: Any, by: User | None) -> Installation:
    old, new = difference.old, difference.new
    ended = end_connections(installation, difference.removed_integrations | difference.changed_integrations, by=by)
    # What was filled in for one question does not answer another of the same name.
    dropped = difference.added_fields | difference.removed_fields
    moved = difference.removed_integrations | difference.changed_integrations
    values = {
        name: value
        for name, value in installation.values.items()
        if name not in dropped and name.partition(".")[0] not in moved
    }
    Installation.objects.filter(pk=installation.pk).update(version=new, access=access, values=values)
    Offer.objects.filter(installation=installation, from_version=old, version=new, taken_at=None).update(taken_at=Now())
    details = {"connections": ended} if ended else {}
    record_installation(installation, Event.INSTALLATION_UPGRADED, by, new, from_version=old.number, **details)
    return Installation.objects.select_related("account", "app__client", "version", "access").get(pk=installation.pk)


@transaction.atomic
def decline_upgrade(installation: Installation, version: Version, *, by: User) -> None:
    """Record that an admin declined what a version asks for. Nothing else changes (M4). Raises NotAnAdmin, NotOffered."""
    installation, version = _lock(installation, version, by)
    offer, _made = Offer.objects.get_or_create(
        installation=installation, from_version=installation.version, version=version, defaults={"kind": OfferKind.ASK}
    )
    if offer.declined_at:
        return
    Offer.objects.filter(pk=offer.pk).update(declined_at=Now(), declined_by=by)
    record_installation(installation, Event.INSTALLATION_UPGRADE_DECLINED, by, version)


@transaction.atomic
def set_upgrades_itself(installation: Installation, *, on: bool, by: User) -> Installation:
    """Turn automatic updates on or off, for versions that ask for nothing new. Raises NotAnAdmin, NotOffered."""
    account = lock(Account, installation.account_id)
    require_admin(account, by)
    installation = lock(Installation, installation.pk)
    if installation.uninstalled_at:
        raise NotOffered(_("This app cannot be updated here now."))
    if installation.upgrades_itself == on:
        return installation
    installation.upgrades_itself = on
    installation.save(update_fields=["upgrades_itself"])
    record(
        account.chain_name,
        Event.INSTALLATION_UPGRADES_ITSELF_CHANGED,
        by=by,
        subject=f"installation:{installation.pk}",
        name=installation.version.name,
        upgrades_itself=on,
    )
    return installation
