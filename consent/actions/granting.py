"""Open an access, and agree under it."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from credentials.models import Client
from docs.verify_receipt import text_hash
from portal.accounts.models import Account, Membership, User
from portal.foundation.database import database_now, lock
from portal.foundation.refusals import Refused
from portal.foundation.seals import check_shown
from portal.ledger.actions import record

from ..asking import MayNotConsent, Terms, agent_membership, may_open, newly_required
from ..events import Event
from ..models import Access, Consent, ShownText
from ..reasons import ConsentEnd
from ..screen import Screen, build_screen
from .ending import end_consent, expire_consent, forget_refusals, narrow
from .path import queue_revoke_tokens, record_access, record_consent


class AccessIsOpen(Refused):
    pass


@transaction.atomic
def open_access(
    client: Client,
    account: Account,
    *,
    by: User,
    terms: Terms | None = None,
) -> Access:
    """Open an account's access for a client; for a platform client, with the terms that limit its consents.

    Raises AccessIsOpen if one is live, MayNotConsent if `by` may not open it.
    """
    account = lock(Account, account.pk)
    membership = Membership.objects.live().filter(account=account, user=by).first()
    if account.suspended_at or membership is None or not may_open(client, membership.role):
        raise MayNotConsent(_("Only an admin of %(account)s can do this.") % {"account": account})
    if Access.objects.filter(client=client, account=account, ended_at=None).exists():
        raise AccessIsOpen(_("%(client)s already has access to %(account)s.") % {"client": client, "account": account})
    access = Access(client=client, account=account, opened_by=by)
    if terms:
        terms.write_to(access)
    access.save(force_insert=True)
    record_access(access, Event.ACCESS_OPENED, by=by, required=access.required_scopes, optional=access.optional_scopes)
    return access


@transaction.atomic
def change_terms(access: Access, terms: Terms, *, by: User | None) -> Access:
    """Replace an access's terms with an upgraded version's. Consents and tokens lose the scopes no longer requested (T1).

    The caller has locked the account and checked that this is allowed (M4). Nothing is granted here.
    """
    return _change_terms(lock(Access, access.pk), terms, by)


def _change_terms(access: Access, terms: Terms, by: User | None) -> Access:
    live = Consent.objects.filter(access=access, revoked_at=None)
    list(live.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    removed = access.terms - terms.scopes
    narrowed = narrow(live, removed) if removed else 0
    if forgotten := removed | newly_required(access, terms):
        # Forget refusals of scopes that are no longer requested, or that everybody is now asked for.
        forget_refusals(live, forgotten)
    terms.write_to(access)
    access.save(
        update_fields=["required_scopes", "optional_scopes", "app_name", "app_version", "installation_id", "services"]
    )
    record_access(
        access,
        Event.ACCESS_TERMS_CHANGED,
        by=by,
        version=access.app_version,
        required=access.required_scopes,
        optional=access.optional_scopes,
        removed=sorted(removed),
        consents=narrowed,
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
    replace: bool = False,
    terms: Terms | None = None,
    **asked: Any,
) -> Consent:
    """Agree to what a screen showed. The digest `shown` proves that the same would be shown now.

    `chosen` are the optional scopes switched on; others that were shown are declined. `replace` ends a live
    consent and makes a new one (T4). An external client's first consent opens its access. `terms`, if given, become the
    access's terms, which is opened if there is none. `asked` is what else the screen was built with. Raises
    ScreenIsStale, and what `build_screen` raises.
    """
    account = lock(Account, account.pk)
    client = lock(Client, client.pk)
    if client.suspended_at:
        raise MayNotConsent(_("%(client)s is suspended.") % {"client": client})
    members = Membership.objects.select_for_update(no_key=True).filter(account=account, user=by, ended_at=None)
    membership = members.first()
    # Under the account's lock none is opened or ended.
    access = Access.objects.filter(client=client, account=account, ended_at=None).first()
    access = access and lock(Access, access.pk)
    agent = agent_membership(client, membership)
    consents = Consent.objects.select_for_update(no_key=True).filter(access=access, membership=agent, revoked_at=None)
    live = consents.first() if access else None
    now = database_now()
    screen = build_screen(client, account, by=by, now=now, replace=replace, terms=terms, **asked)
    check_shown(shown, screen.digest())
    new = {row.scope.name for row in screen.new_required}
    offered = {row.scope.name for row in screen.new_optional}
    new |= offered & set(chosen)
    if access is None:
        access = screen.access = open_access(client, account, by=by, terms=terms)
    elif terms:
        _change_terms(access, terms, by)
        if screen.consent:
            screen.consent.refresh_from_db()
    if screen.consent is None:
        consent, event = _first(access, screen.membership, live)
    elif replace:
        consent, event = _replace(access, screen.membership, screen.consent, by)
    elif new:
        consent, event = _widen(screen.consent)
    else:
        consent, event = _renew(screen.consent)
    consent.granted = sorted({*consent.granted, *new})
    consent.left_off = sorted(({*consent.left_off} | offered) - {*consent.granted})
    consent.trimmed = sorted({*consent.trimmed} - {*consent.granted})
    consent.granted_at, consent.granted_by = now, by
    consent.expires_at = screen.ends_at
    consent.text = _keep_text(screen)
    consent.save()
    queue_revoke_tokens(access)
    record_consent(
        consent,
        event,
        by=by,
        level=client.level,
        left_off=consent.left_off,
        expires_at=consent.expires_at.isoformat(),
        **consent.said,
    )
    return consent


def _first(access: Access, membership: Membership | None, expired: Consent | None) -> tuple[Consent, Event]:
    """Agree where there is no live consent. Stamp an expired one that no worker has stamped yet."""
    if expired:
        expire_consent(expired)
    return Consent(access=access, membership=membership), Event.CONSENT_GRANTED


def _replace(access: Access, membership: Membership | None, live: Consent, by: User) -> tuple[Consent, Event]:
    """End the live consent and everything issued under it, and make a new one (T4)."""
    end_consent(live, by=by, reason=ConsentEnd.REPLACED)
    return Consent(access=access, membership=membership), Event.CONSENT_REPLACED


def _widen(live: Consent) -> tuple[Consent, Event]:
    """Add scopes to the live consent. What was issued under it stays as narrow as before (T10)."""
    live.revision += 1
    return live, Event.CONSENT_WIDENED


def _renew(live: Consent) -> tuple[Consent, Event]:
    """Agree to the same scopes for as long again (T5)."""
    live.revision += 1
    return live, Event.CONSENT_RENEWED


def _keep_text(screen: Screen) -> ShownText:
    """Store the words that were read, unless the same text is stored already."""
    words = screen.text()
    text = ShownText(id=text_hash(words), words=words)
    ShownText.objects.bulk_create([text], ignore_conflicts=True)
    return text


@transaction.atomic
def decline_consent(client: Client, account: Account, *, by: User) -> None:
    """Record that a person pressed Cancel. Nothing else changes. Raises MayNotConsent for a stranger."""
    if not Membership.objects.live().filter(account=account, user=by).exists():
        raise MayNotConsent(_("You do not belong to this account."))
    record(
        account.chain_name,
        Event.CONSENT_DECLINED,
        by=by,
        subject=f"client:{client.client_id}",
        client=client.client_id,
        name=client.name,
    )
