"""Whether a consent, a family, a code or an access token is good now (T2): read from the rows, never copied or cached."""

import datetime as dt
from typing import NamedTuple

from django.db.models import QuerySet
from django.db.models.functions import Now

from .models import AccessToken, AuthorizationCode, Consent, RefreshToken

_CONSENT_PATH = ("access__client__team", "access__account", "membership__user")


class Ended(NamedTuple):
    """Why something is no longer good: an ASCII text for developers, and whether a person could agree again."""

    text: str
    can_reauthorize: bool = False


def _day(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def with_validity(rows: QuerySet) -> QuerySet:
    """Join, in the one statement that reads `rows`, all that their validity hangs on, and the database's clock as `now`."""
    prefix = "" if rows.model is Consent else "consent__"
    joins = [prefix + path for path in _CONSENT_PATH]
    if rows.model is AccessToken:
        joins.append("family")
    return rows.select_related(*joins).annotate(now=Now())


def why_consent_ended(consent: Consent, now: dt.datetime) -> Ended | None:
    """Return why nothing may be issued or accepted under a consent, or None where it is good."""
    access = consent.access
    if access.client.suspended_at:
        return Ended("The client is suspended")
    if access.account.suspended_at:
        return Ended("The account is suspended")
    if access.ended_at:
        what = "The app was uninstalled" if access.installation_id else "The access was revoked"
        return Ended(f"{what} on {_day(access.ended_at)}")
    if consent.membership and (consent.membership.ended_at or not consent.membership.user.is_active):
        return Ended("The agent is no longer a member of the account")
    if consent.expires_at <= now:
        return Ended(f"The consent ended on {_day(consent.expires_at)}", can_reauthorize=True)
    if consent.revoked_at:
        return Ended(f"The consent was revoked on {_day(consent.revoked_at)}", can_reauthorize=True)
    return None


def _made_too_early(made_at: dt.datetime, consent: Consent) -> Ended | None:
    not_before = consent.access.client.not_before
    if not_before and made_at <= not_before:
        return Ended("All tokens of this client were ended because a secret leaked")
    return None


def why_family_ended(family: RefreshToken, now: dt.datetime) -> Ended | None:
    """Return why a family gives no more tokens, or None where it is good."""
    if family.ended_at:
        return Ended(f"The refresh token was ended on {_day(family.ended_at)}: {family.reason}")
    return _made_too_early(family.created_at, family.consent) or why_consent_ended(family.consent, now)


def why_code_ended(code: AuthorizationCode, now: dt.datetime) -> Ended | None:
    """Return why a code cannot be exchanged, or None where it is good."""
    if code.expires <= now:
        return Ended("The authorization code has expired")
    return _made_too_early(code.created, code.consent) or why_consent_ended(code.consent, now)


def why_token_ended(token: AccessToken, now: dt.datetime) -> Ended | None:
    """Return why an access token that has not expired is refused all the same, or None where it is good."""
    if ended := why_consent_ended(token.consent, now):
        return ended
    if token.family and token.family.ended_at:
        return Ended(f"The authorization was ended on {_day(token.family.ended_at)}: {token.family.reason}")
    if token.revoked_at:
        return Ended("The access token was revoked")
    return _made_too_early(token.created, token.consent)


def live_consents() -> QuerySet:
    """Return the consents that are good now, as one set-based condition; the same rule as `why_consent_ended`."""
    return unended_consents().filter(access__account__suspended_at=None, access__client__suspended_at=None)


def unended_consents() -> QuerySet:
    """Return the consents that nothing has ended: those that are good now, and those that a suspension holds back."""
    agents = Consent.objects.filter(membership__ended_at=None, membership__user__is_active=True)
    account_level = Consent.objects.filter(membership=None)
    return (agents | account_level).filter(revoked_at=None, expires_at__gt=Now(), access__ended_at=None)
