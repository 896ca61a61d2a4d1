"""Good token requests, in two round trips: one statement finds the client's secret, the other judges and writes.

For client credentials one statement does both. The statement that writes locks what it decides on, in the order of T11,
and where it waited for a lock it judges the locked rows as they then are:

- access and consent FOR SHARE: nothing is issued after an end, nor beyond what a trim left. Families under one consent,
  account or client do not wait for each other. PostgreSQL would let ever new sharers pass an act that waits to change the
  access, so that both first queue in a line that keeps its order (`portal/foundation/database.py::lock`).
- the code FOR NO KEY UPDATE, which lets one exchange through. A family is locked by its UPDATE, which lets one request of a
  generation through.

Client, account, membership and person are read as they were when the statement began. What changes there meanwhile is
caught at each check: a member who left never returns to that membership (T4), a suspension or deactivation holds back
every token, older and newer ones, and a leak ends what was `created` before it (C1). That is the time when the secret was
found good, and the client not suspended: a leak is told when a suspension is lifted.
"""

import secrets as random
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import structlog
from django.conf import settings
from django.db import Error, OperationalError
from django.db.models import (
    BigIntegerField,
    BooleanField,
    ExpressionWrapper,
    QuerySet,
    TextField,
    UUIDField,
)
from django.db.models.functions import Cast, Least, Now

from credentials.authentication import MalformedBasic, active_secrets_of_client, read_basic, touch_is_due
from credentials.models import ClientSecret
from credentials.secrets import (
    ACCESS_TOKEN,
    AUTHORIZATION_CODE,
    CLIENT_SECRET,
    digest,
    generate,
    is_genuine,
    is_well_formed,
    make_access_token,
    make_refresh_token,
    read_refresh_token,
)
from portal.foundation.database import queue_of, queue_shared
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import Mark, TooMany, begin_to_spend
from portal.foundation.statements import Build, Parameter, Statement

from ..actions.issuing import note_issued, note_of_issue_is_due, verifier_fits
from ..models import Access, AuthorizationCode, RefreshToken
from ..parameters import clean_scope
from ..steps import COUNTED, NEEDED, VERIFIER, Counted
from ..validity import good_codes, good_families, live_consents_of_accounts
from .answers import Answer, json_answer, read_form

log = structlog.get_logger(__name__)

_OF_CLIENT = {"grant_type", "client_id", "client_secret"}
_FIELDS = {
    "refresh_token": _OF_CLIENT | {"refresh_token", "scope"},
    "authorization_code": _OF_CLIENT | {"code", "code_verifier", "redirect_uri"},
    "client_credentials": _OF_CLIENT | {"account", "scope"},
}
_ALL_FIELDS = frozenset().union(*_FIELDS.values())


# Set in the environ of a request that has to be answered with 503.
DATABASE_AWAY = "consent.database_away"


class Request(NamedTuple):
    """What a client that proved itself asks for: the statement that writes it if it is good, and what it hands out."""

    write: Statement
    given: dict[str, Any]
    access_token: str
    refresh_token: str | None = None
    # The secret's key, and whether its use is to be recorded; None if `write` still has to find the secret.
    use: Iterable[Any] | None = None


# --- who asks ---


def _secret() -> QuerySet[Any, Any]:
    """Select the secret that was sent, if it is active and its client is not suspended."""
    due = ExpressionWrapper(touch_is_due(), output_field=BooleanField())
    found = active_secrets_of_client(Parameter("client")).filter(hash=Parameter("secret"), client__suspended_at=None)
    # Text skips the conversion to datetime: the value only goes back to PostgreSQL.
    return found.order_by().values_list("pk", due, Cast(Now(), TextField()), "client")


def _caller_sql(columns: str, sent: str = "{query}") -> str:
    """Return SQL that joins the secret that was `sent` to the {asked} row of the same client, and selects `columns` of it."""
    return f"""
        SELECT secret, touch_is_due, asked_at, {columns}
        FROM ({sent}) caller (secret, touch_is_due, asked_at, client), ({{asked}}) asked ({columns}, client)
        WHERE asked.client = caller.client
    """  # noqa: S608 (constants)


def _family() -> QuerySet[Any, Any]:
    families = RefreshToken.objects.filter(pk=Parameter("family", UUIDField()))
    return families.values_list("consent__access", "salt", "consent__access__client")


def _code() -> QuerySet[Any, Any]:
    codes = AuthorizationCode.objects.filter(code=Parameter("code"))
    return codes.values_list("consent__access", "code_challenge", "redirect_uri", "consent__access__client")


def _access() -> QuerySet[Any, Any]:
    accesses = Access.objects.filter(account__slug=Parameter("account"), ended_at=None)
    return accesses.values_list("pk", "client")


_FIND_FAMILY = Statement(_secret, _caller_sql("access, salt"), asked=_family)
_FIND_CODE = Statement(_secret, _caller_sql("access, code_challenge, redirect_uri"), asked=_code)


# --- what is issued ---


def _told(until: Any, consent: str = "") -> list[Any]:
    """Return until when a consent or code is good, and what the answer and the records need to know of the consent."""
    due = ExpressionWrapper(note_of_issue_is_due(consent), output_field=BooleanField())
    names = ("access__account__slug", "access__installation_id", "membership_id")
    return [until, *(consent + name for name in names), due]


# PostgreSQL evaluates this before it reads or locks any row.
_QUEUED = "(SELECT access FROM queue) IS NOT NULL"


def _statement(
    build: Build,
    writes: str,
    own_lock: str = "",
    *,
    caller: str = "SELECT %(access)s::uuid access",
    queued: str = _QUEUED,
    **others: Build,
) -> Statement:
    """Return a statement that queues for the caller's access, judges and locks what `build` returns, and `writes`."""
    name = f"'{queue_of(Access, '')}' || access"
    queue = f"SELECT caller.*, {queue_shared(name)} FROM ({caller}) caller"  # noqa: S608 (constants)
    locks = f"FOR SHARE OF consent_access, consent_consent {own_lock}"
    good = "good (id, consent, scope, until, account, installation, agent, note_is_due)"
    around = f"""
        WITH queue AS MATERIALIZED ({queue}), {good} AS MATERIALIZED ({{query}} {locks}), {writes}
        SELECT good.consent, account, installation, agent, note_is_due, issued.* FROM good, issued
    """  # noqa: S608 (constants)
    return Statement(lambda: build().extra(where=[queued]), around, **others)  # noqa: S610 (constants)


_REFRESH = _statement(
    lambda: (
        good_families()
        .filter(pk=Parameter("family", UUIDField()), generation=Parameter("generation", BigIntegerField()))
        .exclude(scope="")
        .values_list("pk", "consent_id", "scope", *_told("consent__expires_at", "consent__"))
    ),
    # The time of both is read under the locks.
    """
    rotated AS (
        UPDATE consent_refreshtoken family
        SET generation = family.generation + 1, previous_made_at = current_made_at, current_made_at = clock_timestamp()
        FROM good
        WHERE family.id = good.id AND good.until > clock_timestamp()
            /* Whoever waited for another UPDATE is judged once more by what that one wrote. */
            AND family.generation = %(generation)s AND family.ended_at IS NULL AND family.scope = good.scope
            AND string_to_array(coalesce(%(scope)s, good.scope), ' ') <@ string_to_array(good.scope, ' ')
        RETURNING family.current_made_at
    ), issued AS (
        INSERT INTO consent_accesstoken (token_checksum, consent_id, family_id, created, expires, scope)
        SELECT %(checksum)s, consent, id, %(asked_at)s::timestamptz, current_made_at + %(lifetime)s, coalesce(%(scope)s, scope)
        FROM good, rotated
        RETURNING scope
    )
    """,
)
_EXCHANGE = _statement(
    lambda: (
        good_codes()
        .filter(code=Parameter("code"), used_at=None)
        .exclude(scope="")
        .values_list("pk", "consent_id", "scope", *_told(Least("expires", "consent__expires_at"), "consent__"))
    ),
    """
    family AS (
        INSERT INTO consent_refreshtoken (id, consent_id, scope, salt, generation, created_at, current_made_at, reason)
        SELECT %(family)s, consent, scope, %(salt)s, 1, %(asked_at)s::timestamptz, clock_timestamp(), '' FROM good
        WHERE good.until > clock_timestamp()
        RETURNING id, current_made_at
    ), used AS (
        UPDATE consent_authorizationcode code SET used_at = family.current_made_at, family_id = family.id
        FROM good, family
        WHERE code.id = good.id
    ), issued AS (
        INSERT INTO consent_accesstoken (token_checksum, consent_id, family_id, created, expires, scope)
        SELECT %(checksum)s, consent, family.id, %(asked_at)s::timestamptz, current_made_at + %(lifetime)s, scope
        FROM good, family
        RETURNING scope
    )
    """,
    "FOR NO KEY UPDATE OF consent_authorizationcode",
)
# Python computes nothing from what is found, so one statement finds the secret, judges and writes.
_STANDING = _statement(
    lambda: live_consents_of_accounts().exclude(granted=[]).values_list("pk", "pk", "granted", *_told("expires_at")),
    """
    issued AS (
        INSERT INTO consent_accesstoken (token_checksum, consent_id, created, expires, scope)
        SELECT %(checksum)s, consent, asked_at::timestamptz, clock_timestamp() + %(lifetime)s,
            coalesce(%(scope)s, array_to_string(scope, ' ')) /* what was granted is kept sorted */
        FROM good, queue
        WHERE until > clock_timestamp() AND coalesce(string_to_array(%(scope)s, ' '), '{}') <@ scope::text[]
        RETURNING scope, (SELECT secret FROM queue), (SELECT touch_is_due FROM queue)
    )
    """,
    caller=_caller_sql("access", "{secret}"),
    # Nothing can be found to lock before this value is known, so the queue comes first here too.
    queued="consent_access.id = (SELECT access FROM queue)",
    secret=_secret,
    asked=_access,
)


# --- a request ---


def token(environ: dict[str, Any]) -> Answer | None:
    """Answer a good token request (RFC 6749 section 3.2), or return None."""
    form = read_form(environ, _ALL_FIELDS)
    grant_type = form.get("grant_type", "")
    if grant_type not in _FIELDS or not form.keys() <= _FIELDS[grant_type] or not _is_whole(grant_type, form):
        return None
    client_id, secret = _credentials(environ, form)
    if not client_id or not is_well_formed(secret, CLIENT_SECRET):
        return None
    marks = ("token by address", address_of(environ)), ("token by client", client_id)
    # Redis counts while PostgreSQL looks.
    wait_until_counted = begin_to_spend(*marks)
    try:
        request = _ASKED[grant_type](form, {"client": client_id, "secret": digest(secret)})
    finally:
        # Django gives back what was counted for a client whose secret turns out to be wrong.
        environ[COUNTED] = _counted(wait_until_counted, marks)
    if request is None or environ[COUNTED].refusal:
        return None
    issued = _issue(environ, request)
    if issued is None:
        return None
    consent_id, account, installation, agent, note_due, scope, *use = issued
    _record_use(request.use or use, consent_id if note_due else None)
    told = {
        "access_token": request.access_token,
        "expires_in": int(settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
        "token_type": "Bearer",
        "scope": scope,
        "refresh_token": request.refresh_token,
        "account": account,
        "installation": installation and str(installation),
        "agent": agent and str(agent),
    }
    return json_answer({name: value for name, value in told.items() if value is not None})


def _is_whole(grant_type: str, form: dict[str, str]) -> bool:
    """Tell whether Django would ask who sends this: what it refuses before that must not count for the client that is named."""
    is_sent = form.keys() >= set(NEEDED[grant_type])
    return is_sent and bool(VERIFIER.fullmatch(form.get("code_verifier", "x" * 43)))


def _counted(wait_until_counted: Callable[[], None], marks: Iterable[Mark]) -> Counted:
    try:
        wait_until_counted()
    except TooMany as refusal:
        return Counted(refusal=refusal)
    return Counted(frozenset(marks))


def _record_use(use: Iterable[Any], consent_id: Any) -> None:
    """Record that a secret was used, if that is due, and that something was issued under a consent, unless it is None."""
    secret_id, is_due = use
    try:
        if is_due:
            ClientSecret.objects.filter(pk=secret_id).update(last_used_at=Now())
        if consent_id:
            note_issued(consent_id)
    except Error as error:
        # What was issued was committed. The next request records its use.
        log.warning("last_use_not_recorded", error=type(error).__name__)


def _credentials(environ: dict[str, Any], form: dict[str, str]) -> tuple[str, str]:
    """Return the client's id and secret, sent in one of the two ways, or empty strings."""
    try:
        basic = read_basic(environ.get("HTTP_AUTHORIZATION", ""))
    except MalformedBasic:
        return "", ""
    if basic is None:
        basic = form.get("client_id", ""), form.get("client_secret", "")
    elif "client_secret" in form or form.get("client_id", basic[0]) != basic[0]:
        return "", ""
    return ("", "") if len(basic[0]) > 100 or "\0" in basic[0] else basic


def _issue(environ: dict[str, Any], request: Request) -> Any:
    given = {"lifetime": settings.ACCESS_TOKEN_LIFETIME, "checksum": digest(request.access_token)}
    try:
        return request.write.row(**request.given, **given)
    except OperationalError:
        # It may have been committed. Trying again at once could take that for a replay.
        environ[DATABASE_AWAY] = True
        raise


def _refresh(form: dict[str, str], client: dict[str, str]) -> Request | None:
    parts = read_refresh_token(form["refresh_token"])
    row = parts and _FIND_FAMILY.row(**client, family=parts.family)
    if not parts or not row or not is_genuine(parts, bytes(row[-1])):
        return None
    *use, asked_at, access, salt = row
    given = {"family": parts.family, "generation": parts.generation, "scope": _scope(form), "asked_at": asked_at}
    pair = _pair(parts.family, bytes(salt), parts.generation + 1)
    return Request(_REFRESH, given | {"access": access}, *pair, use)


def _exchange(form: dict[str, str], client: dict[str, str]) -> Request | None:
    value, verifier = form["code"], form["code_verifier"]
    if not is_well_formed(value, AUTHORIZATION_CODE):
        return None
    row = _FIND_CODE.row(**client, code=digest(value))
    if row is None:
        return None
    *use, asked_at, access, challenge, redirect_uri = row
    if not verifier_fits(challenge, verifier) or form.get("redirect_uri", redirect_uri) != redirect_uri:
        return None
    family, salt = uuid.uuid4(), random.token_bytes(32)
    given = {"code": digest(value), "family": family, "salt": salt, "asked_at": asked_at, "access": access}
    return Request(_EXCHANGE, given, *_pair(family, salt, 1), use)


def _standing(form: dict[str, str], client: dict[str, str]) -> Request | None:
    return Request(_STANDING, {**client, "account": form["account"], "scope": _scope(form)}, generate(ACCESS_TOKEN))


_ASKED = {"refresh_token": _refresh, "authorization_code": _exchange, "client_credentials": _standing}


def _pair(family: uuid.UUID, salt: bytes, generation: int) -> tuple[str, str]:
    return make_access_token(family, salt, generation), make_refresh_token(family, salt, generation)


def _scope(form: dict[str, str]) -> str | None:
    """Return the scopes that are asked for, sorted, or None for all."""
    return " ".join(sorted({*clean_scope(form.get("scope", "")).split(" ")})) or None
