"""Connect an installation to its vendors: fill in, connect, refresh, disconnect, clean up (T2, T3)."""

import datetime as dt
import uuid
from collections.abc import Mapping

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from portal.accounts.models import Account, Membership, User
from portal.accounts.rights import require_admin
from portal.foundation.broker import queue_on_commit
from portal.foundation.database import alone, database_now, lock
from portal.foundation.limits.slots import waiting_for_vendors
from portal.foundation.mail import Mail, mail_once
from portal.foundation.models import MailKind
from portal.foundation.refusals import Refused
from portal.ledger.actions import record

from ..events import Event
from ..models import Connection, Installation
from ..package import formats
from ..package.contents import Contents, asked_to_connect
from . import settings_values as values_
from .oauth_client import Tokens, Vendor, VendorError, when_to_refresh

# Seconds to wait before the vendor is asked again; the last one repeats.
RETRIES = (30, 60, 300, 900, 3600)
# After these, give up on a vendor that cannot be reached. Its tokens are erased all the same.
REVOKE_RETRIES = (60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600)


class NotThere(Refused):
    """The installation has ended, or has no such integration."""


class NotConnected(Refused):
    pass


def vendors_of(installation: Installation) -> dict[str, formats.Integration]:
    return Contents.of(installation.version).vendors


def vendor_name(installation: Installation, name: str) -> str:
    """Return an integration's name for people, or its name in the package if this version no longer has it."""
    integration = vendors_of(installation).get(name)
    return integration.display_name if integration else name


def vendor_of(connection: Connection) -> Vendor:
    """Return the vendor of a connection. Raises NotThere if the installation's version no longer has the integration."""
    installation = connection.installation
    version = connection.version or installation.version
    integration = Contents.of(version).vendors.get(connection.integration)
    if integration is None:
        raise NotThere(_("This version of the app has no such connection."))
    # From then on, what an admin fills in may be for another vendor of the same name.
    values = connection.values if connection.version else _values(connection)
    return Vendor(installation.app, connection.integration, integration, values)


def _values(connection: Connection) -> dict[str, str]:
    """Return the values filled in by the person who connected, and by an admin for all."""
    prefix = f"{connection.integration}."
    return connection.values | {
        name.removeprefix(prefix): value
        for name, value in connection.installation.values.items()
        if name.startswith(prefix)
    }


def _member(account: Account, by: User) -> Membership:
    """Return a person's live membership, locked. Raises NotThere."""
    members = Membership.objects.select_for_update(no_key=True, of=("self",)).live()
    if not (found := members.filter(account=account, user=by, user__is_active=True).first()):
        raise NotThere(_("You do not belong to this account."))
    return found


def _lock(installation: Installation, by: User, name: str | None) -> tuple[Installation, Membership | None]:
    """Lock what a connection depends on (T11); return it with the membership that the connection belongs to, if an agent's.

    Without a `name`, lock for the whole account. Raises NotThere, NotAnAdmin.
    """
    account = lock(Account, installation.account_id)
    member = _member(account, by)
    installation = Installation.objects.select_for_update(no_key=True, of=("self",)).get(pk=installation.pk)
    integration = vendors_of(installation).get(name) if name else None
    if installation.uninstalled_at or account.suspended_at or (name and integration is None):
        raise NotThere(_("Nothing can be connected here any more."))
    if integration and integration.token_type == "agent":
        return installation, member
    require_admin(account, by)
    return installation, None


def _lock_connection(installation: Installation, name: str, membership: Membership | None) -> Connection | None:
    """Return the connection that has not ended, locked, or None if nothing has been filled in yet."""
    rows = Connection.objects.select_for_update(no_key=True)
    return rows.filter(installation=installation, integration=name, membership=membership, ended_at=None).first()


def check_same_version(installation: Installation, version: int) -> None:
    """Raise NotThere if an upgrade came between: the same name may now mean another vendor (RFC 9700, 4.4)."""
    if installation.version_id != version:
        raise NotThere(_("The app was updated in the meantime. Connect again."))


def _check_not_suspended(installation: Installation) -> None:
    client = installation.app.client
    if client and client.suspended_at:
        raise NotThere(_("This app is suspended and cannot be connected now."))


@transaction.atomic
def change_values(installation: Installation, *, values: Mapping[str, str], by: User) -> Installation:
    """Store what the package asks for at install. Raises NotThere, NotAnAdmin, ValidationError."""
    installation, _none = _lock(installation, by, None)
    fields = Contents.of(installation.version).fields
    cleaned = values_.clean(fields, values, installation.values)
    if cleaned == installation.values:
        return installation
    installation.values = cleaned
    installation.save(update_fields=["values"])
    _record(installation, Event.INSTALLATION_SETTINGS_CHANGED, by)
    return installation


@transaction.atomic
def prepare_connection(installation: Installation, name: str, *, values: Mapping[str, str], by: User) -> Connection:
    """Store what was filled in for a vendor, before anybody is sent there. A working connection stays as it is.

    Returns the connection with the new values, unsaved if it works already. Raises NotThere, NotAnAdmin,
    ValidationError.
    """
    installation, membership = _lock(installation, by, name)
    _check_not_suspended(installation)
    row = _lock_connection(installation, name, membership) or Connection(
        installation=installation, integration=name, membership=membership
    )
    if values_.lacks_credentials(Contents.of(installation.version), name, installation.values):
        raise NotConnected(_("An admin must fill in the app’s settings first."))
    cleaned = values_.clean(asked_to_connect(vendors_of(installation)[name]), values, row.values)
    changes = row._state.adding or cleaned != row.values
    row.values = cleaned
    if changes and not row.connected_at:
        row.save()
    return row


def finish_connection(
    installation: Installation,
    name: str,
    *,
    values: Mapping[str, str],
    code: str,
    verifier: str,
    by: User,
    iss: str = "",
) -> Connection:
    """Exchange the code that a vendor sent a person back with, and store the tokens. `iss` came with it (RFC 9207).

    Raises VendorError, TooMany, and as preparing does.
    """
    with transaction.atomic():
        found, membership = _lock(installation, by, name)
        _check_not_suspended(found)
        check_same_version(found, installation.version_id)
    draft = Connection(installation=found, integration=name, membership=membership, values=dict(values))
    # Outside of any transaction, since a vendor may take long.
    with waiting_for_vendors.take(found.app.team_id):
        vendor = vendor_of(draft)
        tokens = vendor.exchange(code, verifier)
        draft.revocation_url = vendor.revocation_url(iss)
    return _keep(draft, tokens, by)


@transaction.atomic
def _keep(draft: Connection, tokens: Tokens, by: User) -> Connection:
    version = draft.installation.version
    try:
        installation, membership = _lock(draft.installation, by, draft.integration)
        check_same_version(installation, version.pk)
    except Refused:
        # It ended meanwhile. Store the tokens all the same, on an ended connection, so that they are revoked.
        draft.values, draft.ended_at, draft.version = _values(draft), database_now(), version
        _fill(draft, tokens, by)
        _queue("revoke_connection", draft)
        draft.save()
        return draft
    row = _lock_connection(installation, draft.integration, membership)
    again = row is not None and row.connected_at is not None
    # Earlier tokens are not revoked: at many vendors that would end the new ones.
    row = row or draft
    row.values, row.revocation_url = draft.values, draft.revocation_url
    _fill(row, tokens, by)
    row.save()
    _record(installation, Event.CONNECTION_RENEWED if again else Event.CONNECTION_CONNECTED, by, row)
    return row


def _fill(row: Connection, tokens: Tokens, by: User | None) -> None:
    """Put new tokens into a connection; the caller saves it."""
    now = database_now()
    kept = (row.tokens or {}).get("refresh_token") if by is None else None
    refresh = tokens.refresh_token or kept
    row.tokens = {"access_token": tokens.access_token, "refresh_token": refresh}
    row.generation += 1
    row.expires_at = now + dt.timedelta(seconds=tokens.expires_in) if tokens.expires_in is not None else None
    row.renews, row.lifetime = refresh is not None, tokens.expires_in
    if tokens.missing_scopes is not None:
        row.missing_scopes = tokens.missing_scopes
    wait = when_to_refresh(tokens.expires_in, has_refresh_token=refresh is not None)
    # An ended connection is not refreshed; its newest tokens are the ones to revoke.
    row.refresh_at = now + wait if wait is not None and not row.ended_at else None
    row.refresh_failures = 0
    if by:
        row.connected_at, row.connected_by = now, by
        row.broken_at, row.problem, row.told_at = None, "", None


def _end(row: Connection, by: User | None, installation: Installation) -> None:
    row.installation, row.version = installation, installation.version
    row.values, row.ended_at, row.ended_by, row.refresh_at = _values(row), database_now(), by, None
    row.save(update_fields=["values", "ended_at", "ended_by", "refresh_at", "version"])
    _queue("revoke_connection", row)


def end_connections(installation: Installation, names: set[str], *, by: User | None) -> int:
    """End a locked installation's connections of these integrations, which its next version lacks.

    Returns how many. They are revoked as the version before says.
    """
    rows = Connection.objects.select_for_update(no_key=True).filter(
        installation=installation, integration__in=names, ended_at=None
    )
    ended = list(rows.order_by("pk"))
    for row in ended:
        _end(row, by, installation)
    return len(ended)


@transaction.atomic
def disconnect(connection: Connection, *, by: User) -> Connection:
    """End a connection. From this commit nothing uses it. Raises NotThere, NotAnAdmin, NotConnected."""
    installation, membership = _lock(connection.installation, by, connection.integration)
    row = lock(Connection, connection.pk)
    if row.membership_id != (membership and membership.pk):
        raise NotThere(_("This connection belongs to someone else."))
    if row.ended_at:
        raise NotConnected(_("This is already disconnected."))
    _end(row, by, installation)
    _record(installation, Event.CONNECTION_DISCONNECTED, by, row)
    return row


# --- what workers do, each safe to run twice (T3) ---


def _queue(task: str, row: Connection) -> None:
    queue_on_commit(f"marketplace.tasks.{task}", str(row.pk))


def queue_sweep() -> None:
    """On commit, have workers revoke at the vendors what it ended; without a broker, beat does (T3)."""
    queue_on_commit("marketplace.tasks.sweep_connections")


def refresh_connection(connection: Connection, *, rejected: int | None = None) -> Connection:
    """Refresh the tokens if that is due, or if those of generation `rejected` were refused.

    Returns the connection as it then is. Raises NotConnected, VendorError.
    """
    with alone(f"connection:{connection.pk}"):
        if (row := Connection.objects.live().with_vendor().filter(pk=connection.pk).first()) is None:
            raise NotConnected(_("This connection has ended."))
        if not row.tokens or row.broken_at:
            return row
        due = row.refresh_at is not None and row.refresh_at <= database_now()
        if not due and (row.generation != rejected or row.refresh_failures > connection.refresh_failures):
            # Another process refreshed it, or failed to: simultaneous callers must not all wait for the vendor in turn.
            return row
        if not (refresh_token := row.tokens.get("refresh_token")):
            return _refused(row, VendorError("", is_final=True))
        try:
            tokens = vendor_of(row).refresh(refresh_token)
        except VendorError as error:
            _refused(row, error)
            raise
        return _refreshed(row, tokens)


@transaction.atomic
def _refreshed(row: Connection, tokens: Tokens) -> Connection:
    now = lock(Connection, row.pk)
    if now.erased_at or now.generation != row.generation:
        # A person connected again meanwhile.
        return now
    _fill(now, tokens, None)
    now.save()
    return now


@transaction.atomic
def _refused(row: Connection, error: VendorError) -> Connection:
    now = lock(Connection, row.pk)
    if now.generation != row.generation or now.ended_at:
        return now
    if error.is_final:
        now.broken_at, now.problem, now.refresh_at = database_now(), str(error)[:300], None
        installation = Installation.objects.select_related("account", "version", "app").get(pk=now.installation_id)
        _queue("tell_of_broken_connection", now)
        now.save()
        _record(installation, Event.CONNECTION_BROKEN, None, now)
        return now
    now.refresh_failures += 1
    wait = RETRIES[min(now.refresh_failures, len(RETRIES)) - 1]
    now.refresh_at = database_now() + dt.timedelta(seconds=wait) if (now.tokens or {}).get("refresh_token") else None
    now.save(update_fields=["refresh_failures", "refresh_at"])
    return now


def revoke_connection(connection: Connection) -> None:
    """Revoke a connection at its vendor and erase its tokens: at once if that worked, or else after some tries."""
    with alone(f"connection:{connection.pk}"):
        row = Connection.objects.over().with_vendor().filter(pk=connection.pk).first()
        if row is None or (row.revoke_at and row.revoke_at > database_now()):
            return
        try:
            if row.tokens:
                vendor = vendor_of(row)
                # Connected before the endpoint was stored, so look it up now.
                url = vendor.revocation_url() if row.revocation_url is None else row.revocation_url
                if url:
                    vendor.revoke(row.tokens, url)
        except VendorError:
            if row.revoke_attempts < len(REVOKE_RETRIES):
                wait = dt.timedelta(seconds=REVOKE_RETRIES[row.revoke_attempts])
                Connection.objects.filter(pk=row.pk).update(
                    revoke_attempts=row.revoke_attempts + 1, revoke_at=database_now() + wait
                )
                return
        except (NotThere, ObjectDoesNotExist):
            pass
        Connection.objects.filter(pk=row.pk).update(
            tokens=None, values={}, refresh_at=None, revoke_at=None, erased_at=database_now()
        )
        _erase_credentials(row.installation_id)


def credentials_kept(installation: Installation) -> dict[str, str]:
    """Return the values of an installation that revoking at vendors takes, while there are tokens to revoke."""
    if not installation.connections.exclude(tokens=None).exists():
        return {}
    settings = Contents.of(installation.version).iparams
    return {name: value for name, value in installation.values.items() if name not in settings}


def _erase_credentials(installation_id: uuid.UUID) -> None:
    """Erase the rest of what was filled in once an uninstalled app's last vendor has been told."""
    left = Connection.objects.filter(installation=OuterRef("pk"), erased_at=None)
    ended = Installation.objects.filter(pk=installation_id, uninstalled_at__isnull=False)
    ended.exclude(Exists(left)).update(values={})


def tell_of_broken_connection(connection: Connection) -> None:
    """Mail, once, those who can connect it again: the account's admins, or the agent it belongs to."""
    rows = Connection.objects.live().with_vendor().select_related("installation__account")
    rows = rows.filter(pk=connection.pk, broken_at__isnull=False, told_at=None)
    mail_once(f"broken connection:{connection.pk}", rows, _mail)


def _mail(rows: list[Connection]) -> Mail:
    (connection,) = rows
    installation = connection.installation
    if connection.membership_id:
        members = Membership.objects.filter(pk=connection.membership_id)
    else:
        members = installation.account.memberships.admins()
    vendor = vendor_name(installation, connection.integration)
    context = {"installation": installation, "connection": connection, "vendor": vendor}
    return Mail(MailKind.CONNECTIONS, "marketplace/mail/connection_broken.txt", members.people(), context)


def _record(installation: Installation, event: Event, by: User | None, row: Connection | None = None) -> None:
    details = {"integration": row.integration, "vendor": vendor_name(installation, row.integration)} if row else {}
    record(
        installation.account.chain_name,
        event,
        by=by,
        subject=f"connection:{row.pk}" if row else f"installation:{installation.pk}",
        name=installation.version.name,
        installation=str(installation.pk),
        **details,
    )
