"""Tell whether a consent, family, code or access token is good now (T2). Read from the rows, never copied or cached."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from credentials.models import Client
from portal.ledger.models import Entry

from .models import AccessToken, AuthorizationCode, Consent, RefreshToken, Why
from .reasons import ConsentEnd, FamilyEnd


# The one home of how long an agreement lasts (T5); texts take the number of days from here. The guard of consents states
# it once more, in the newest migration that writes consent_consent_agreed(); a test compares the two.
def agreement_end(agreed_at: dt.datetime) -> dt.datetime:
    """Return when an agreement made at a given time ends unless somebody agrees again."""
    return agreed_at + settings.CONSENT_LIFETIME


def agreement_days() -> int:
    return settings.CONSENT_LIFETIME.days


_CONSENT_PATH = ("access__client__team", "access__account", "membership__user")
_FAMILY_ENDS = {
    FamilyEnd.REUSED: (
        Why.REPLAYED,
        "A refresh token was used again after it had been replaced, which ended the authorization",
    ),
    FamilyEnd.CODE_REUSED: (Why.REPLAYED, "The authorization code was used again, which ended the authorization"),
    FamilyEnd.GIVEN_BACK: (Why.GIVEN_BACK, "The refresh token was revoked by the app"),
}


class Ended(NamedTuple):
    """Why something is no longer good: an ASCII text for developers that names nobody, and whether a person could agree again."""

    why: Why
    text: str
    can_reauthorize: bool = False


class _End(NamedTuple):
    at: dt.datetime
    why: Why
    text: str


def _day(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def with_validity(rows: QuerySet) -> QuerySet:
    """Join everything that the validity of `rows` depends on, and the database's clock as `now`, in one statement."""
    prefix = "" if rows.model is Consent else "consent__"
    joins = [prefix + path for path in _CONSENT_PATH]
    if rows.model is AccessToken:
        joins.append("family")
    return rows.select_related(*joins).annotate(now=Now())


def _revoked(consent: Consent) -> tuple[Why, str]:
    if consent.is_replaced:
        return Why.REPLACED, "The consent was replaced by a new agreement"
    if consent.reason == ConsentEnd.EXPIRED:
        return Why.AGREEMENT_EXPIRED, "The consent expired"
    if consent.revoked_by_id is None:
        return Why.REVOKED, "The consent was revoked"
    return Why.REVOKED, f"The consent was revoked by {'the agent' if consent.is_revoked_by_agent else 'an admin'}"


def _ends(consent: Consent, now: dt.datetime) -> Iterator[_End]:
    """Yield everything that ended a consent for good."""
    access, agent = consent.access, consent.membership
    if access.ended_at and access.installation_id:
        yield _End(access.ended_at, Why.UNINSTALLED, "The app was uninstalled")
    elif access.ended_at:
        yield _End(access.ended_at, Why.REVOKED, "The access was revoked by an admin")
    if agent and agent.ended_at:
        yield _End(agent.ended_at, Why.LEFT, "The agent left the account")
    if consent.revoked_at:
        yield _End(consent.revoked_at, *_revoked(consent))
    elif consent.expires_at <= now:
        yield _End(consent.expires_at, Why.AGREEMENT_EXPIRED, "The consent expired")


def _made_too_early(made_at: dt.datetime, consent: Consent) -> Iterator[_End]:
    not_before = consent.access.client.not_before
    if not_before and made_at <= not_before:
        yield _End(not_before, Why.LEAKED, "A secret of the client leaked, so all its tokens were ended")


def suspension(client: Client) -> Ended | None:
    """Return why a suspended client gets nothing, or None if it is not suspended."""
    if not client.suspended_at:
        return None
    return Ended(Why.SUSPENDED, f"The client was suspended on {_day(client.suspended_at)}")


def _held_back(consent: Consent) -> Ended | None:
    """Return what suspends a consent that has not ended."""
    access, agent = consent.access, consent.membership
    if suspended := suspension(access.client):
        return suspended
    if access.account.suspended_at:
        return Ended(Why.SUSPENDED, f"The account was suspended on {_day(access.account.suspended_at)}")
    if agent and not agent.user.is_active:
        return Ended(Why.LEFT, "The agent is no longer a member of the account")
    return None


def _first(consent: Consent, now: dt.datetime, own: Iterable[_End] = ()) -> Ended | None:
    """Return the earliest end: nothing that ended lives again (T4), so later ends changed nothing."""
    held_back, ends = _held_back(consent), [*_ends(consent, now), *own]
    if not ends:
        return held_back
    first = min(ends, key=lambda end: end.at)
    void = held_back or consent.access.ended_at or (consent.membership and consent.membership.ended_at)
    could_agree = not void and bool(consent.revoked_at or consent.expires_at <= now)
    return Ended(first.why, f"{first.text} on {_day(first.at)}", could_agree)


def why_consent_ended(consent: Consent, now: dt.datetime) -> Ended | None:
    """Return why nothing may be issued or accepted under a consent, or None if it is good."""
    return _first(consent, now)


def _family_ends(family: RefreshToken) -> Iterator[_End]:
    if family.ended_at:
        # Any other reason is a worker's stamp, which is later than the end itself.
        stamped = (Why.REVOKED, "The authorization was ended")
        yield _End(family.ended_at, *_FAMILY_ENDS.get(family.reason, stamped))


def why_family_ended(family: RefreshToken, now: dt.datetime) -> Ended | None:
    """Return why a family gives no more tokens, or None if it is good."""
    early = _made_too_early(family.created_at, family.consent)
    return _first(family.consent, now, [*_family_ends(family), *early])


def why_code_ended(code: AuthorizationCode, now: dt.datetime) -> Ended | None:
    """Return why a code cannot be exchanged, or None if it is good."""
    if code.expires <= now:
        return Ended(Why.EXPIRED, "The authorization code has expired")
    return _first(code.consent, now, _made_too_early(code.created, code.consent))


def why_token_ended(token: AccessToken, now: dt.datetime) -> Ended | None:
    """Return why an access token is refused apart from expiry, or None."""
    ends = [*_made_too_early(token.created, token.consent)]
    if token.family:
        ends += _family_ends(token.family)
    if token.revoked_at:
        ends.append(_End(token.revoked_at, Why.GIVEN_BACK, "The access token was revoked by the app"))
    return _first(token.consent, now, ends)


# A bound, so that taking back and allowing again without end slows down no call.
MAX_NARROWINGS = 50


def _narrowings(consent: Consent) -> QuerySet[Entry]:
    """Return the ledger's entries that narrowed a consent, newest first: the consent itself does not store the times."""
    trimmed = Q(subject=f"consent:{consent.pk}", details__has_key="trimmed")
    return Entry.objects.filter(trimmed | Q(subject=f"access:{consent.access_id}", details__removed__0__isnull=False))


def _lost(consent: Consent) -> Iterator[tuple[str, str, dt.datetime]]:
    """Yield each scope that a consent lost: how (the name of the ledger's detail), its name and when, newest first."""
    for act in _narrowings(consent)[:MAX_NARROWINGS]:
        for how in ("trimmed", "removed"):
            for name in act.details.get(how, ()):
                yield how, name, act.at


def taken_back_at(consent: Consent) -> dict[str, dt.datetime]:
    """Return when each of a consent's trimmed scopes was last taken back, as far as its newest entries say."""
    when: dict[str, dt.datetime] = {}
    for how, name, at in _lost(consent) if consent.trimmed else ():
        if how == "trimmed" and name in consent.trimmed:
            when.setdefault(name, at)
    return when


def why_scopes_lack(consent: Consent, scopes: Iterable[str]) -> Ended:
    """Return why a token has none of `scopes`, if the consent tells; the text is empty for scopes it never had.

    A person could agree again to what a person took back, but not to what the installed version no longer requests.
    """
    access, wanted = consent.access, {*scopes}
    trimmed = wanted & {*consent.trimmed}
    dropped = wanted - access.terms - trimmed if access.installation_id else set()
    when: dict[str, str] = {}
    for how, name, at in _lost(consent) if trimmed or dropped else ():
        if how == "trimmed" and name in trimmed:
            when.setdefault(name, f"{name} was taken back on {_day(at)}")
        elif how == "removed" and name in dropped:
            when.setdefault(name, f"{name} is asked for no more since the upgrade on {_day(at)}")
    for name in wanted & {*consent.granted}:
        when[name] = (
            f"{name} is agreed to, but this token is older or was asked for without it: authorize again for one that has it"
        )
    text = "; ".join(when[name] for name in sorted(when))
    return Ended(Why.TAKEN_BACK if trimmed else Why.SCOPE, text, bool(trimmed))


def all_taken_back(what: str, consent: Consent) -> Ended:
    """Return why something without any scope left gives no more tokens."""
    last = _narrowings(consent).first()
    when = f"had been taken back by {_day(last.at)}" if last else "were taken back"
    return Ended(Why.TAKEN_BACK, f"All scopes of the {what} {when}", bool(consent.trimmed))


# --- what is good, as conditions in SQL: the same rules as above, which say why something is not ---


def _stands(consent: str = "") -> Q:
    """Return the condition that neither the consent at a lookup path, such as `consent__`, nor its access has ended."""
    own = {"revoked_at": None, "expires_at__gt": Now(), "access__ended_at": None}
    return Q(**{consent + name: value for name, value in own.items()})


def _agent_stays(consent: str = "") -> Q:
    """Return the condition that a consent is an account's own, or of an agent who is a member still."""
    agents = {f"{consent}membership__ended_at": None, f"{consent}membership__user__is_active": True}
    return Q(**{f"{consent}membership": None}) | Q(**agents)


def _not_suspended(consent: str = "") -> Q:
    return Q(**{f"{consent}access__{who}__suspended_at": None for who in ("account", "client")})


def _unended(consent: str = "") -> Q:
    return _stands(consent) & _agent_stays(consent)


def _live(consent: str = "") -> Q:
    return _unended(consent) & _not_suspended(consent)


def _made_in_time(made_at: str, client: str) -> Q:
    return Q(**{f"{client}__not_before": None}) | Q(**{f"{made_at}__gt": F(f"{client}__not_before")})


def unended_consents() -> QuerySet[Any]:
    """Return the consents that nothing has ended: those good now, and those held back by a suspension."""
    return Consent.objects.filter(_unended())


def not_by(end: str, at: dt.datetime | None) -> Q:
    """Return the condition that a time of an end, at a lookup path, is not set, or is later than `at`."""
    return Q(**{end: None}) | (Q(**{f"{end}__gt": at}) if at else Q())


def consents_unended_by(at: dt.datetime) -> QuerySet[Any]:
    """Return the consents that nothing had ended by a time, leaving aside the end of their access.

    Nobody knows since when a person is inactive: the consents of such an agent are left out.
    """
    left = not_by("membership__ended_at", at) & ~Q(membership__user__is_active=False)
    return Consent.objects.filter(not_by("revoked_at", at), left, expires_at__gt=at)


def live_consents() -> QuerySet[Any]:
    """Return the consents of which `why_consent_ended` tells no end."""
    return Consent.objects.filter(_live())


def live_consents_of_accounts() -> QuerySet[Any]:
    """Return the live consents that are an account's own, without joining memberships and people."""
    return Consent.objects.filter(_stands(), _not_suspended(), membership=None)


def good_families() -> QuerySet[Any]:
    """Return the families of which `why_family_ended` tells no end."""
    in_time = _made_in_time("created_at", "consent__access__client")
    return RefreshToken.objects.filter(in_time, _live("consent__"), ended_at=None)


def good_codes() -> QuerySet[Any]:
    """Return the codes of which `why_code_ended` tells no end, whether or not they were used."""
    in_time = _made_in_time("created", "consent__access__client")
    return AuthorizationCode.objects.filter(in_time, _live("consent__"), expires__gt=Now())


def good_tokens() -> QuerySet[AccessToken]:
    """Return the access tokens that have not expired and of which `why_token_ended` tells no end."""
    of_family = Q(family=None) | Q(family__ended_at=None)
    in_time = _made_in_time("created", "consent__access__client")
    return AccessToken.objects.filter(of_family, in_time, _live("consent__"), revoked_at=None, expires__gt=Now())
