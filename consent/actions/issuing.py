"""Issue codes and tokens under a consent: by code, refresh and client credentials (RFC 6749 sections 4.1, 4.4, 6)."""

import contextlib
import datetime as dt
import hmac
import secrets as random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from credentials.models import Client
from credentials.secrets import (
    ACCESS_TOKEN,
    AUTHORIZATION_CODE,
    RefreshTokenParts,
    challenge_of,
    digest,
    generate,
    is_genuine,
    is_well_formed,
    make_access_token,
    make_refresh_token,
    read_refresh_token,
)
from portal.accounts.models import Account, Membership, User
from portal.foundation.database import database_now, lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import record

from ..asking import membership_for
from ..events import Event
from ..models import Access, AccessToken, AuthorizationCode, Consent, RefreshToken, Why
from ..reasons import FamilyEnd
from ..validity import Ended, all_taken_back, why_code_ended, why_consent_ended, why_family_ended, with_validity
from .path import lock_path


class InvalidGrant(Refused):
    """RFC 6749 `invalid_grant`. The text is ASCII, for developers. What was written before it is raised stays written.

    `consent` is the one that the request was for, if what was sent proves that it is this client's. A person could
    agree to it again if `can_reauthorize`.
    """

    def __init__(
        self, text: str, why: Why = Why.UNKNOWN, consent: Consent | None = None, *, can_reauthorize: bool = False
    ) -> None:
        super().__init__(text)
        self.why, self.consent, self.can_reauthorize = why, consent, can_reauthorize


def _refuse(ended: Ended, consent: Consent, before: str = "") -> InvalidGrant:
    return InvalidGrant(before + ended.text, ended.why, consent, can_reauthorize=ended.can_reauthorize)


class InvalidScope(Refused):
    """RFC 6749 `invalid_scope`."""


@dataclass
class Issue:
    """What a token request is entitled to; `issue_tokens` writes it."""

    consent: Consent
    scopes: set[str]
    code: AuthorizationCode | None = None
    family: RefreshToken | None = None
    # The generation of the family that this request leads to. Client credentials have no family.
    family_id: uuid.UUID | None = None
    salt: bytes = field(default=b"", repr=False)
    generation: int = 1
    # A refresh repeated within the retry window gets the pair of the first reply.
    repeated: AccessToken | None = None
    key: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        self.key = self.key or settings.TOKEN_KEYS[0]
        if self.family_id:
            self.access_token = make_access_token(self.family_id, self.salt, self.generation, self.key)
        else:
            self.access_token = generate(ACCESS_TOKEN)

    @property
    def refresh_token(self) -> str | None:
        return make_refresh_token(self.family_id, self.salt, self.generation, self.key) if self.family_id else None


@transaction.atomic
def issue_code(consent: Consent, *, by: User, scopes: set[str], redirect_uri: str, code_challenge: str) -> str:
    """Issue an authorization code for `scopes` of a live consent, and return it. Raises InvalidGrant, MayNotConsent."""
    members = Membership.objects.select_for_update(no_key=True)
    members.filter(account=consent.access.account_id, user=by, ended_at=None).first()
    lock_path(consent)
    fresh = with_validity(Consent.objects.filter(pk=consent.pk)).get()
    # With or without a screen, a code goes to an admin (account level) or to the agent whose consent it is (T12).
    membership = membership_for(fresh.access.client, fresh.access.account, by)
    if fresh.membership_id and fresh.membership_id != membership.pk:
        raise InvalidGrant("The consent is another member's")
    if ended := why_consent_ended(fresh, fresh.now):
        raise _refuse(ended, fresh)
    if not scopes or not scopes <= {*fresh.granted}:
        raise InvalidScope("The scopes were not agreed to")
    value = generate(AUTHORIZATION_CODE)
    AuthorizationCode.objects.create(
        code=digest(value),
        consent=fresh,
        expires=Now() + settings.AUTHORIZATION_CODE_LIFETIME,
        redirect_uri=redirect_uri,
        scope=" ".join(sorted(scopes)),
        code_challenge=code_challenge,
        code_challenge_method="S256",
    )
    return value


def verifier_fits(challenge: str, verifier: str) -> bool:
    """Tell whether a code_verifier is the one of a code_challenge by S256 (RFC 7636 section 4.6)."""
    return hmac.compare_digest(challenge_of(verifier), challenge)


def find_code(client: Client, value: object) -> AuthorizationCode | None:
    """Return a client's code with its validity, locked with its path, or None for any other value."""
    if not is_well_formed(value, AUTHORIZATION_CODE):
        return None
    codes = AuthorizationCode.objects.filter(code=digest(str(value)), consent__access__client=client)
    found = codes.select_related("consent").first()
    if found is None:
        return None
    lock_path(found.consent)
    lock(AuthorizationCode, found.pk)
    return with_validity(codes).first()


def redeem_code(client: Client, *, code: object, redirect_uri: str | None, verifier: str) -> Issue:
    """Return what a code entitles its client to. Call it inside the transaction that issues (RFC 6749 section 4.1.3).

    A code replayed with the right verifier ends the family it made. Raises InvalidGrant.
    """
    found = find_code(client, code)
    if found is None:
        raise InvalidGrant("The authorization code is unknown, or another client's")
    if not verifier_fits(found.code_challenge, verifier):
        raise InvalidGrant("The code_verifier does not fit the code_challenge", consent=found.consent)
    if redirect_uri is not None and redirect_uri != found.redirect_uri:
        raise InvalidGrant("The redirect_uri is not the one of the authorization request", consent=found.consent)
    if found.used_at:
        if found.family_id:
            family = lock(RefreshToken, found.family_id)
            if not family.ended_at:
                _end_family(family, found.consent, FamilyEnd.CODE_REUSED)
        raise InvalidGrant("The authorization code was used already", Why.REPLAYED, found.consent)
    now = database_now()
    if ended := why_code_ended(found, now):
        raise _refuse(ended, found.consent)
    scopes = {*found.scope.split()}
    if not scopes:
        raise _refuse(all_taken_back("authorization code", found.consent), found.consent)
    return Issue(found.consent, scopes, code=found, family_id=uuid.uuid4(), salt=random.token_bytes(32))


@transaction.atomic
def use_up_code(client: Client, value: str) -> None:
    """Mark a code used without redeeming it, when the portal itself is the recipient. Raises InvalidGrant."""
    found = find_code(client, value)
    if found is None or found.used_at or why_code_ended(found, database_now()):
        raise InvalidGrant("The authorization code is unknown, used or expired")
    AuthorizationCode.objects.filter(pk=found.pk).update(used_at=Now())


def _end_family(family: RefreshToken, consent: Consent, reason: FamilyEnd) -> None:
    RefreshToken.objects.filter(pk=family.pk).update(ended_at=Now(), reason=reason)
    record(
        consent.access.account.chain_name,
        Event.FAMILY_REUSE_DETECTED,
        by=f"client:{consent.access.client.client_id}",
        subject=f"family:{family.pk}",
        consent=str(consent.pk),
        client=consent.access.client.client_id,
        name=consent.access.name,
        reason=reason,
    )


def _lock_family(client: Client, parts: RefreshTokenParts) -> RefreshToken | None:
    """Return the family of a genuine token of this client, locked with its path, or None for any other token."""
    families = RefreshToken.objects.filter(pk=parts.family, consent__access__client=client)
    found = families.select_related("consent").first()
    if found is None or not is_genuine(parts, bytes(found.salt)):
        return None
    lock_path(found.consent)
    lock(RefreshToken, found.pk)
    return with_validity(families).first()


def rotate(client: Client, *, refresh_token: object) -> Issue:
    """Return what a refresh token entitles its client to. Call it inside the transaction that issues (T6).

    Reuse ends the family. Raises InvalidGrant.
    """
    parts = read_refresh_token(refresh_token)
    family = parts and _lock_family(client, parts)
    if not parts or not family:
        raise InvalidGrant("The refresh token is unknown, or another client's")
    now = database_now()
    if ended := why_family_ended(family, now):
        raise _refuse(ended, family.consent)
    behind = family.generation - parts.generation
    scopes = {*family.scope.split()}
    if behind == 0:
        if not scopes:
            raise _refuse(all_taken_back("refresh token", family.consent), family.consent)
        return Issue(
            family.consent,
            scopes,
            family=family,
            family_id=family.pk,
            salt=bytes(family.salt),
            generation=family.generation + 1,
        )
    if behind == 1 and now - family.current_made_at <= settings.REFRESH_RETRY_WINDOW:
        return _repeat(family, scopes)
    if behind == 2 and family.previous_made_at and now - family.previous_made_at < settings.REFRESH_RETRY_WINDOW:
        raise InvalidGrant("The refresh token was replaced twice; use the newest", Why.REPLAYED, family.consent)
    if behind < 0:
        raise InvalidGrant("The refresh token is unknown, or another client's")
    _end_family(family, family.consent, FamilyEnd.REUSED)
    reused = "The refresh token was used again after it had been replaced; the authorization is ended"
    raise InvalidGrant(reused, Why.REPLAYED, family.consent)


def _repeat(family: RefreshToken, scopes: set[str]) -> Issue:
    """Derive the successor pair again, with the key that made it."""
    for key in settings.TOKEN_KEYS:
        issue = Issue(
            family.consent,
            scopes,
            family=family,
            family_id=family.pk,
            salt=bytes(family.salt),
            generation=family.generation,
            key=key,
        )
        issue.repeated = AccessToken.objects.filter(token_checksum=digest(issue.access_token)).first()
        if issue.repeated:
            return issue
    lost = "The refresh token was replaced, and its successor can no longer be repeated"
    raise InvalidGrant(lost, Why.REPLAYED, family.consent)


# How precisely a consent records when a token was last issued under it.
ISSUED_TO_WITHIN = dt.timedelta(hours=1)


def note_of_issue_is_due(consent: str = "") -> Q:
    """Return the condition that it has to be recorded that a token is issued under the consent at a lookup path."""
    last = f"{consent}last_issued_at"
    return Q(**{last: None}) | Q(**{f"{last}__lte": Now() - ISSUED_TO_WITHIN})


def note_issued(consent_id: uuid.UUID) -> None:
    """Record that a token is issued under a consent, unless that is recorded already.

    While others share the consent's lock, the next request records it: to wait for them might take long.
    """
    due = Consent.objects.filter(note_of_issue_is_due(), pk=consent_id)
    free = due.select_for_update(skip_locked=True, no_key=True).values("pk")
    with transaction.atomic():
        Consent.objects.filter(pk__in=free).update(last_issued_at=Now())


# The same text for every account without a live consent for this client, unless it had one there before.
NO_CONSENT = "There is no live consent for this client in that account"


def standing_consent(client: Client, *, account: str) -> Issue:
    """Return what client credentials entitle an account-level client to in an account: the consent's scopes.

    Call it inside the transaction that issues (RFC 6749 section 4.4). Raises InvalidGrant.
    """
    consents = Consent.objects.filter(access__client=client, access__account__slug=account, membership=None)
    latest = consents.order_by("-granted_at").first()
    if latest is None:
        raise InvalidGrant(NO_CONSENT, Why.NO_CONSENT)
    # A new consent may have replaced it meanwhile. With the access locked, the latest stays the latest.
    access = lock(Access, latest.access_id)
    latest = lock(Consent, consents.filter(access=access).latest("granted_at").pk)
    fresh = with_validity(consents.filter(pk=latest.pk)).get()
    if ended := why_consent_ended(fresh, database_now()):
        raise _refuse(ended, fresh, f"{NO_CONSENT}. ")
    if not fresh.granted:
        raise _refuse(all_taken_back("consent", fresh), fresh, f"{NO_CONSENT}. ")
    return Issue(fresh, {*fresh.granted})


@contextlib.contextmanager
def token_for_one_call(access: Access, membership: Membership | None) -> Iterator[str]:
    """Yield an access token under the live consent, good within the block and for at most a minute (T1, T2).

    For calls that the portal itself makes for an app. Raises InvalidGrant.
    """
    with transaction.atomic():
        consents = Consent.objects.filter(access=access, membership=membership)
        if (latest := consents.order_by("-granted_at").first()) is None:
            raise InvalidGrant(NO_CONSENT, Why.NO_CONSENT)
        consent = lock_path(latest)
        fresh = with_validity(consents.filter(pk=consent.pk)).get()
        if ended := why_consent_ended(fresh, database_now()):
            raise _refuse(ended, fresh, f"{NO_CONSENT}. ")
        value = generate(ACCESS_TOKEN)
        token = AccessToken.objects.create(
            token_checksum=digest(value),
            consent=fresh,
            expires=Now() + dt.timedelta(minutes=1),
            scope=" ".join(sorted(fresh.granted)),
        )
        note_issued(fresh.pk)
    try:
        yield value
    finally:
        AccessToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now())


def issue_tokens(issue: Issue, scopes: set[str], *, asked_at: dt.datetime) -> AccessToken:
    """Write the tokens of an Issue for a subset of its scopes; return the access token with `now` set.

    Call it in the transaction that made the Issue, so that its locks still hold. `asked_at` is when the
    client was read, by the database's clock, so that a request with a leaked secret gets nothing that outlives the leak (C1).
    """
    if issue.repeated:
        return AccessToken.objects.annotate(now=Now()).get(pk=issue.repeated.pk)
    if issue.code:
        issue.family = RefreshToken.objects.create(
            id=issue.family_id,
            consent=issue.consent,
            scope=" ".join(sorted(issue.scopes)),
            salt=issue.salt,
            created_at=asked_at,
        )
        AuthorizationCode.objects.filter(pk=issue.code.pk).update(used_at=Now(), family=issue.family)
    elif issue.family:
        RefreshToken.objects.filter(pk=issue.family.pk).update(
            generation=issue.generation,
            previous_made_at=issue.family.current_made_at,
            current_made_at=Now(),
        )
    token = AccessToken.objects.create(
        token_checksum=digest(issue.access_token),
        consent=issue.consent,
        family=issue.family,
        created=asked_at,
        expires=Now() + settings.ACCESS_TOKEN_LIFETIME,
        scope=" ".join(sorted(scopes)),
    )
    note_issued(issue.consent.pk)
    return AccessToken.objects.annotate(now=Now()).get(pk=token.pk)


@transaction.atomic
def revoke_token(client: Client, *, token: object) -> None:
    """Revoke a token that its client gives back: a refresh token with its family, an access token alone (RFC 7009).

    Anything else changes nothing, not even another client's token, so that nobody can probe for tokens.
    """
    if parts := read_refresh_token(token):
        family = _lock_family(client, parts)
        if family and not family.ended_at:
            RefreshToken.objects.filter(pk=family.pk).update(ended_at=Now(), reason=FamilyEnd.GIVEN_BACK)
            _record_given_back(family.consent, f"family:{family.pk}")
    elif is_well_formed(token, ACCESS_TOKEN):
        AccessToken.objects.filter(
            token_checksum=digest(str(token)), consent__access__client=client, revoked_at=None
        ).update(revoked_at=Now())


def _record_given_back(consent: Consent, subject: str) -> None:
    access: Access = consent.access
    account: Account = access.account
    record(
        account.chain_name,
        Event.FAMILY_REVOKED,
        by=f"client:{access.client.client_id}",
        subject=subject,
        consent=str(consent.pk),
        client=access.client.client_id,
        name=access.name,
    )
