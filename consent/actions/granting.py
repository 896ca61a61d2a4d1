"""Opening an access, and agreeing under it."""

import hmac
from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from credentials.models import Client
from portal.accounts.actions import Refused
from portal.accounts.models import Account, Membership, Role, User
from portal.database import database_now, lock
from portal.ledger.actions import record

from ..models import Access, Consent
from ..screen import MayNotConsent, Screen, build_screen
from .ending import end_consent, expire_consent, queue_revoke_tokens


class AccessIsOpen(Refused):
    pass


class ScreenIsStale(Refused):
    """What the person read is no longer what would be agreed to; show the new page."""


@transaction.atomic
def open_access(
    client: Client,
    account: Account,
    *,
    by: User,
    required: list[str] | None = None,
    optional: list[str] | None = None,
    app_name: str = "",
    app_version: str = "",
    installation_id=None,
) -> Access:
    """Open an account's access for a client, with the terms that consents under it stay within.

    Raises AccessIsOpen where one is live, MayNotConsent where `by` may not open it.
    """
    account = lock(Account, account.pk)
    roles = Membership.objects.live().filter(account=account, user=by)
    if client.is_platform or not client.is_agent_level:
        roles = roles.filter(role=Role.ADMIN)
    if account.suspended_at or not roles.exists():
        raise MayNotConsent(_("Only an admin of %(account)s can do this.") % {"account": account})
    if Access.objects.filter(client=client, account=account, ended_at=None).exists():
        raise AccessIsOpen(_("%(client)s already has access to %(account)s.") % {"client": client, "account": account})
    access = Access.objects.create(
        client=client,
        account=account,
        required_scopes=sorted(required or []),
        optional_scopes=sorted(optional or []),
        app_name=app_name,
        app_version=app_version,
        installation_id=installation_id,
        opened_by=by,
    )
    record(
        account.chain_name,
        "access.opened",
        by=by,
        subject=f"access:{access.pk}",
        client=client.client_id,
        name=access.name,
        installation=str(installation_id) if installation_id else None,
        required=access.required_scopes,
        optional=access.optional_scopes,
    )
    return access


@transaction.atomic
def grant_consent(
    client: Client,
    account: Account,
    *,
    by: User,
    shown: str,
    chosen: Iterable[str] = (),
    requested: set[str] | None = None,
    ask_again: bool = False,
    replace: bool = False,
) -> Consent:
    """Agree to what a screen showed: the digest `shown` proves that it is still what would be shown now.

    `chosen` are the optional scopes switched on; those shown and not chosen are left off. Makes the consent, widens
    and renews the live one, or with `replace` ends it and makes a new one (T4). An external client's first consent
    opens its access. Raises ScreenIsStale, and what `build_screen` raises.
    """
    account = lock(Account, account.pk)
    client = lock(Client, client.pk)
    if client.suspended_at:
        raise MayNotConsent(_("%(client)s is suspended.") % {"client": client})
    membership = (
        Membership.objects.select_for_update(no_key=True).filter(account=account, user=by, ended_at=None).first()
    )
    access = Access.objects.select_for_update(no_key=True).filter(client=client, account=account, ended_at=None).first()
    own = membership if client.is_agent_level else None
    live = (
        Consent.objects.select_for_update(no_key=True).filter(access=access, membership=own, revoked_at=None).first()
        if access
        else None
    )
    now = database_now()
    screen = build_screen(client, account, by=by, now=now, requested=requested, ask_again=ask_again, replace=replace)
    # As bytes: of text it takes ASCII alone, and anything may have been posted.
    if not hmac.compare_digest(screen.digest().encode(), shown.encode()):
        raise ScreenIsStale(_("Something changed while you were reading. Please read this page again."))
    new = {row.scope.name for row in screen.new_required}
    offered = {row.scope.name for row in screen.new_optional}
    new |= offered & set(chosen)
    if screen.access is None:
        screen.access = open_access(client, account, by=by)
    if screen.consent and not replace:
        consent, event = screen.consent, "consent.widened" if new else "consent.renewed"
        consent.granted = sorted({*consent.granted, *new})
        consent.left_off = sorted(({*consent.left_off} | offered) - {*consent.granted})
        consent.trimmed = sorted({*consent.trimmed} - {*consent.granted})
        consent.revision += 1
    else:
        if screen.consent:
            end_consent(screen.consent, by=by, reason="replaced")
        elif live:
            expire_consent(live)
        consent = Consent(access=screen.access, membership=screen.membership)
        consent.granted, consent.left_off = sorted(new), sorted(offered - new)
        event = "consent.replaced" if screen.consent else "consent.granted"
    consent.granted_at, consent.granted_by = now, by
    consent.expires_at = now + settings.CONSENT_LIFETIME
    consent.save()
    queue_revoke_tokens(screen.access)
    _record(screen, event, consent, by)
    return consent


def _record(screen: Screen, event: str, consent: Consent, by: User) -> None:
    record(
        screen.account.chain_name,
        event,
        by=by,
        subject=f"consent:{consent.pk}",
        access=str(consent.access_id),
        client=screen.client.client_id,
        name=screen.name,
        level=screen.client.level,
        granted=consent.granted,
        left_off=consent.left_off,
        expires_at=consent.expires_at.isoformat(),
        text_hash=screen.text_hash(),
        language=screen.text()["language"],
    )


@transaction.atomic
def decline_consent(client: Client, account: Account, *, by: User) -> None:
    """Note that a person pressed Cancel; nothing else changes. Raises MayNotConsent for a stranger."""
    if not Membership.objects.live().filter(account=account, user=by).exists():
        raise MayNotConsent(_("You do not belong to this account."))
    record(
        account.chain_name,
        "consent.declined",
        by=by,
        subject=f"client:{client.client_id}",
        client=client.client_id,
        name=client.name,
    )
