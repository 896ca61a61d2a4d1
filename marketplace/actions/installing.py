"""Install an app's version in an account, and uninstall it."""

import uuid
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from consent.actions.ending import end_access
from consent.actions.ending import what_ends as consents_that_end
from consent.actions.granting import open_access
from consent.asking import Terms
from consent.reasons import AccessEnd
from credentials.models import Client
from portal.accounts.models import Account, User
from portal.accounts.rights import require_admin, require_teammate
from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import record
from portal.ledger.models import Entry

from ..events import Event
from ..models import App, Installation, Status, Version
from ..package.contents import Contents
from ..vendors.actions import credentials_kept, queue_sweep, vendor_name
from .publishing import FIELDS, check_installable


class NotInstallable(Refused):
    pass


class NotADraft(Refused):
    pass


class AlreadyUninstalled(Refused):
    pass


class AlreadyInstalled(Refused):
    pass


class NotUnfinished(Refused):
    pass


def installable_version(app: App, account: Account) -> Version | None:
    """Return the version that would be installed: the newest published one for the account."""
    return Version.objects.published_for([account.slug]).filter(app=app).order_by("-published_at", "-pk").first()


def terms_of(version: Version, installation_id: uuid.UUID) -> Terms:
    """Return what a version asks of the company's own products, as terms of an access."""
    required, optional = frozenset(version.required_scopes), frozenset(version.optional_scopes)
    services = tuple(Contents.of(version).services)
    return Terms(required, optional, version.name, version.number, installation_id, services)


@transaction.atomic
def install(app: App, account: Account, *, by: User) -> Installation:
    """Install the newest version that the account may have. Consent comes next.

    Raises NotAnAdmin, NotInstallable, AlreadyInstalled.
    """
    account = lock(Account, account.pk)
    version = installable_version(app, account)
    if version is None:
        raise NotInstallable(_("This app cannot be installed in %(account)s.") % {"account": account})
    client = lock(Client, version.app.client_id) if version.app.client_id else None
    return _install(lock(Version, version.pk), client, account, by)


@transaction.atomic
def install_draft(version: Version, *, by: User) -> Installation:
    """Install a numbered copy of a draft on its team's own test account (M2, M3).

    An existing installation is uninstalled first. Raises NotATeammate, NotADraft, NotReady, NotAnAdmin.
    """
    team = version.app.team
    require_teammate(team, by)
    account = lock(Account, team.test_account.pk)
    check_installable(version)
    client = lock(Client, version.app.client_id) if version.app.client_id else None
    version = lock(Version, version.pk)
    if version.is_frozen:
        raise NotADraft(_("Only a draft can be tested this way."))
    # Read it again under the lock.
    check_installable(version)
    copies = version.app.versions.filter(status=Status.SNAPSHOT, number__startswith=f"{version.number}-draft.").count()
    fields = {name: getattr(version, name) for name in FIELDS} | {"number": f"{version.number}-draft.{copies + 1}"}
    snapshot = Version.objects.create(app=version.app, created_by=by, status=Status.SNAPSHOT, **fields)
    live = Installation.objects.filter(account=account, app=version.app, uninstalled_at=None).first()
    if live:
        uninstall(live, by=by)
    return _install(snapshot, client, account, by)


def install_to_try(client: Client, *, by: User) -> None:
    """Install a client's app on its team's test account: its newest draft, or else what is published.

    Raises NotADraft where there is neither, and what `install_draft` and `install` do.
    """
    versions = Version.objects.filter(app__client=client).select_related("app__team", "app__client")
    newest = versions.order_by("-created_at", "-pk")
    if draft := newest.filter(status=Status.DRAFT).first():
        install_draft(draft, by=by)
    elif published := newest.filter(status=Status.PUBLISHED).first():
        install(published.app, client.team.test_account, by=by)
    else:
        raise NotADraft(_("These credentials have no app with a version yet. Create the app and add a version first."))


def _install(version: Version, client: Client | None, account: Account, by: User) -> Installation:
    """Install a version. Account, client and version are locked."""
    require_admin(account, by)
    if version.status not in (Status.PUBLISHED, Status.SNAPSHOT) or account.suspended_at:
        raise NotInstallable(_("This app cannot be installed in %(account)s.") % {"account": account})
    if client and client.suspended_at:
        raise NotInstallable(_("This app is suspended and cannot be installed now."))
    if Installation.objects.filter(account=account, app=version.app, uninstalled_at=None).exists():
        raise AlreadyInstalled(_("%(app)s is already in this account.") % {"app": version.name})
    pk = uuid.uuid4()
    access = None
    if client and version.scopes:
        access = open_access(client, account, by=by, terms=terms_of(version, pk))
    installation = Installation.objects.create(
        id=pk, account=account, app=version.app, version=version, access=access, installed_by=by
    )
    record_installation(installation, Event.INSTALLATION_INSTALLED, by, version)
    return installation


def record_installation(
    installation: Installation, event: Event, by: User | None, version: Version, **details: Any
) -> Entry:
    """Record an act on an installation with its version. Call it last, like record()."""
    return record(
        installation.account.chain_name,
        event,
        by=by,
        subject=f"installation:{installation.pk}",
        name=version.name,
        app=installation.app.slug,
        version=version.number,
        **details,
    )


def is_begun(installation: Installation) -> bool:
    """Tell whether an installation is more than unfinished: it is then uninstalled instead of discarded."""
    return Installation.objects.begun().filter(pk=installation.pk).exists()


def what_ends(installation: Installation) -> dict[str, Any]:
    """Count what uninstalling ends: consents, tokens, and connections to vendors by name."""
    ends = consents_that_end(installation.access) if installation.access else {}
    return {**ends, **_connections_that_end(installation)}


def _connections_that_end(installation: Installation) -> dict[str, Any]:
    connected = installation.connections.filter(ended_at=None).exclude(connected_at=None)
    names = [vendor_name(installation, name) for name in connected.values_list("integration", flat=True)]
    return {"connections": len(names), "vendors": sorted({*names})} if names else {}


@transaction.atomic
def uninstall(installation: Installation, *, by: User) -> Entry:
    """End an installation and all its access, at this commit. An admin always can (M5).

    Returns the ledger's entry, for the receipt. Raises NotAnAdmin, AlreadyUninstalled.
    """
    return _end(installation, by, Event.INSTALLATION_UNINSTALLED, AccessEnd.UNINSTALLED)


@transaction.atomic
def discard(installation: Installation, *, by: User) -> Entry:
    """Discard an unfinished installation. Raises NotUnfinished, and what uninstalling raises."""
    lock(Account, installation.account_id)
    if is_begun(installation):
        raise NotUnfinished(_("This app was already agreed to. Uninstall it instead."))
    return _end(installation, by, Event.INSTALLATION_DISCARDED, AccessEnd.DISCARDED)


def _end(installation: Installation, by: User, event: Event, reason: AccessEnd) -> Entry:
    lock(Account, installation.account_id)
    installation = lock(Installation, installation.pk)
    if installation.uninstalled_at:
        raise AlreadyUninstalled(_("This app is already uninstalled."))
    ends = _connections_that_end(installation)
    values = credentials_kept(installation)
    Installation.objects.filter(pk=installation.pk).update(uninstalled_at=Now(), uninstalled_by=by, values=values)
    ended = installation.access and end_access(installation.access, by=by, reason=reason, **ends)
    entry = record_installation(installation, event, by, installation.version, **ends)
    queue_sweep()
    return ended or entry
