"""What happens to OAuth credentials, in story order."""

import datetime as dt
import uuid

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.accounts.actions.notifying import put_notices
from portal.accounts.actions.suspensions import put_suspension
from portal.accounts.models import NoticeKind, Team, User
from portal.accounts.rights import require_reviewer, require_staff, require_teammate
from portal.foundation.database import database_now, lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import PORTAL, record

from . import redirect_uris as uris
from . import resources
from .events import Event
from .models import Client, ClientScope, ClientSecret, Kind, Level, Product, ProductSecret, Scope
from .secrets import CLIENT_SECRET, PRODUCT_SECRET, digest, generate, shown_prefix

MAX_OVERLAP_HOURS = 168
MAX_JUSTIFICATION = 500
# How long a secret works that is made to try the flow with.
TEST_SECRET_LIFETIME = dt.timedelta(hours=1)


class UnknownScope(Refused):
    pass


class DeprecatedScope(Refused):
    pass


class JustificationMissing(Refused):
    pass


class JustificationTooLong(Refused):
    pass


class InvalidRedirectUri(Refused):
    field = "redirect_uris"


class TwoSecretsActive(Refused):
    pass


class SecretNotActive(Refused):
    pass


class AlreadySuspended(Refused):
    pass


class NotSuspended(Refused):
    pass


class ReasonMissing(Refused):
    field = "reason"


class AddressTaken(Refused):
    pass


def _checked_uris(values: list[str], kind: str) -> str:
    unique = list(dict.fromkeys(value.strip() for value in values if value.strip()))
    if len(unique) > uris.MAX_COUNT:
        raise InvalidRedirectUri(_("Enter at most %(count)d redirect URLs.") % {"count": uris.MAX_COUNT})
    if not unique and kind == Kind.EXTERNAL:
        raise InvalidRedirectUri(_("An external app needs at least one redirect URL."))
    try:
        return " ".join(uris.validate(value) for value in unique)
    except ValidationError as error:
        raise InvalidRedirectUri(error.message) from None


def _insert_scopes(client: Client, wanted: dict[str, str], by: User) -> list[str]:
    """Insert what is not there yet, and return the names inserted. `wanted` maps scope names to justifications."""
    scopes = {scope.name: scope for scope in Scope.objects.filter(name__in=wanted)}
    for name in sorted(wanted):
        if name not in scopes:
            raise UnknownScope(_("There is no scope named %(name)s.") % {"name": name})
    new = sorted(scopes.keys() - client.scope_names())
    for name in new:
        if scopes[name].deprecated_at:
            raise DeprecatedScope(_("%(name)s is deprecated and can no longer be added.") % {"name": name})
    unexplained = [
        scopes[name] for name in new if scopes[name].risk_level.needs_justification and not wanted[name].strip()
    ]
    if unexplained:
        named = ", ".join(f"“{scope.sentence}”" for scope in unexplained)
        raise JustificationMissing(_("Explain to people why the app needs this: %(scopes)s.") % {"scopes": named})
    wordy = [scopes[name] for name in new if len(wanted[name].strip()) > MAX_JUSTIFICATION]
    if wordy:
        raise JustificationTooLong(
            _("Shorten the reason why the app needs “%(scope)s” to at most %(count)d characters.")
            % {"count": MAX_JUSTIFICATION, "scope": wordy[0].sentence}
        )
    ClientScope.objects.bulk_create(
        [
            ClientScope(client=client, scope=scopes[name], justification=wanted[name].strip(), added_by=by)
            for name in new
        ]
    )
    return new


def insert_secret(client: Client, by: User, value: str | None, *, for_trying: bool = False) -> tuple[ClientSecret, str]:
    value = value or generate(CLIENT_SECRET)
    row = ClientSecret.objects.create(
        client=client,
        hash=digest(value),
        prefix=shown_prefix(value),
        created_by=by,
        expires_at=database_now() + TEST_SECRET_LIFETIME if for_trying else None,
        is_for_trying=for_trying,
    )
    return row, value


@transaction.atomic
def create_client(
    team: Team,
    *,
    name: str,
    description: str = "",
    redirect_uris: list[str],
    scopes: dict[str, str],
    kind: str,
    level: str,
    by: User,
    value: str | None = None,
    for_trying: bool = False,
) -> tuple[Client, str]:
    """Make OAuth credentials; return the client and its secret, which is shown this once (C3).

    `value` is a secret that the caller derived. `scopes` maps scope names to justifications. The secret of credentials `for_trying`
    works for an hour. Raises NotATeammate, InvalidRedirectUri, UnknownScope,
    DeprecatedScope, JustificationMissing, JustificationTooLong, and ValidationError for a name or description that does not fit.
    """
    require_teammate(team, by)
    client = Client(
        team=team,
        user=by,
        client_id=uuid.uuid4().hex,
        name=name.strip(),
        description=description.strip(),
        redirect_uris=_checked_uris(redirect_uris, kind),
        kind=Kind(kind),
        level=Level(level),
        is_for_trying=for_trying,
    )
    client.clean_fields()
    client.save(force_insert=True)
    added = _insert_scopes(client, scopes, by)
    secret, value = insert_secret(client, by, value, for_trying=for_trying)
    record(
        team.chain_name,
        Event.CLIENT_CREATED,
        by=by,
        subject=f"client:{client.client_id}",
        name=client.name,
        kind=client.kind,
        level=client.level,
        redirect_uris=client.redirect_uris.split(),
        scopes=added,
        secret=secret.prefix,
    )
    return client, value


@transaction.atomic
def add_scopes(client: Client, *, scopes: dict[str, str], by: User) -> list[str]:
    """Add scopes to a client and return the names added; widens no token and no consent (C2).

    Raises NotATeammate, UnknownScope, DeprecatedScope, JustificationMissing, JustificationTooLong.
    """
    require_teammate(client.team, by)
    client = lock(Client, client.pk)
    added = _insert_scopes(client, scopes, by)
    if added:
        record_client(client, Event.CLIENT_SCOPES_ADDED, by, scopes=added)
    return added


@transaction.atomic
def change_client(client: Client, *, redirect_uris: list[str], description: str, by: User) -> Client:
    """Change what may change of a client (C4). Raises NotATeammate, InvalidRedirectUri, ValidationError."""
    require_teammate(client.team, by)
    client = lock(Client, client.pk)
    before = client.redirect_uris, client.description
    client.redirect_uris = _checked_uris(redirect_uris, client.kind)
    client.description = description.strip()
    client.clean_fields()
    if before == (client.redirect_uris, client.description):
        return client
    client.save(update_fields=["redirect_uris", "description", "updated"])
    record_client(
        client,
        Event.CLIENT_CHANGED,
        by,
        redirect_uris=client.redirect_uris.split(),
    )
    return client


@transaction.atomic
def rotate_secret(
    client: Client, *, overlap_hours: int, by: User, value: str | None = None
) -> tuple[ClientSecret, str]:
    """Make a new secret and return it; the old one works for `overlap_hours` (0 to 168) more (C3).

    `value` is a secret that the caller derived. Raises NotATeammate, TwoSecretsActive while an earlier rotation's overlap lasts, ValidationError.
    """
    require_teammate(client.team, by)
    if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
        raise ValidationError(_("Choose an overlap of 0 to %(hours)d hours.") % {"hours": MAX_OVERLAP_HOURS})
    client = lock(Client, client.pk)
    now = database_now()
    active = list(active_secrets(client))
    if len(active) > 1 and overlap_hours:
        raise TwoSecretsActive(_("Two secrets are active. End the older one first, or wait for its overlap to end."))
    for secret in active:
        ends = min(filter(None, [secret.expires_at, now + dt.timedelta(hours=overlap_hours)]))
        ClientSecret.objects.filter(pk=secret.pk).update(expires_at=ends)
    secret, value = insert_secret(client, by, value)
    record_client(
        client,
        Event.CLIENT_SECRET_ROTATED,
        by,
        secret=secret.prefix,
        overlap_hours=overlap_hours,
    )
    return secret, value


@transaction.atomic
def end_secret(secret: ClientSecret, *, by: User) -> ClientSecret:
    """End an older secret before its overlap is over. Raises NotATeammate, SecretNotActive for any other."""
    require_teammate(secret.client.team, by)
    client = lock(Client, secret.client_id)
    if not ClientSecret.objects.filter(pk=secret.pk, expires_at__gt=Now()).exists():
        raise SecretNotActive(
            _("You can end only an older secret that still works. To replace the current one, rotate it.")
        )
    ClientSecret.objects.filter(pk=secret.pk).update(expires_at=Now())
    secret.refresh_from_db()
    record_client(
        client,
        Event.CLIENT_SECRET_ENDED,
        by,
        secret=secret.prefix,
    )
    return secret


@transaction.atomic
def suspend_client(client: Client, *, reason: str, by: User) -> Client:
    """Stop a client's tokens at once (C1). Raises NotAReviewer, AlreadySuspended, ReasonMissing."""
    require_reviewer(by)
    client = lock(Client, client.pk)
    if client.suspended_at:
        raise AlreadySuspended(_("%(client)s is already suspended.") % {"client": client})
    check_reason(reason)
    Client.objects.filter(pk=client.pk).update(suspended_at=Now())
    client.refresh_from_db()
    _notify(client, NoticeKind.SUSPENDED, reason)
    _record_review(client, Event.CLIENT_SUSPENDED, by, reason=reason)
    return client


@transaction.atomic
def lift_client(client: Client, *, reason: str, secret_leaked: bool, by: User) -> Client:
    """Let a suspended client work again. Raises NotAReviewer, NotSuspended, ReasonMissing.

    Where a secret leaked, all codes and tokens made before are ended for good, and so are the secrets made before
    the suspension; one that the team made meanwhile stays.
    """
    require_reviewer(by)
    client = lock(Client, client.pk)
    if not client.suspended_at:
        raise NotSuspended(_("%(client)s is not suspended.") % {"client": client})
    check_reason(reason)
    if secret_leaked:
        client.not_before = database_now()
        active_secrets(client).filter(created_at__lte=client.suspended_at).update(expires_at=Now())
    client.suspended_at = None
    client.save(update_fields=["suspended_at", "not_before", "updated"])
    _notify(client, NoticeKind.LIFTED_AFTER_LEAK if secret_leaked else NoticeKind.LIFTED, reason)
    _record_review(client, Event.CLIENT_LIFTED, by, reason=reason, secret_leaked=secret_leaked)
    return client


def _notify(client: Client, kind: NoticeKind, reason: str) -> None:
    put_notices(
        client.team,
        kind,
        name=client.name,
        path=reverse("client-view", args=[client.client_id]),
        reviewers_path=reverse("admin:credentials_client_change", args=[client.pk]),
        reason=reason.strip(),
    )
    put_suspension(kind, subject=f"client:{client.client_id}", name=client.name, developer=client.team.name)


def check_reason(reason: str) -> None:
    """Raise ReasonMissing if a reason is empty."""
    if not reason.strip():
        raise ReasonMissing(_("Give a reason. The developers will read it."))


def record_client(client: Client, event: Event, by: User, **details: object) -> None:
    record(client.team.chain_name, event, by=by, subject=f"client:{client.client_id}", name=client.name, **details)


def _record_review(client: Client, event: Event, by: User, **details: object) -> None:
    for chain_name in (client.team.chain_name, PORTAL):
        record(chain_name, event, by=by, subject=f"client:{client.client_id}", name=client.name, **details)


# --- proving who one is ---


def active_secrets(client: Client) -> QuerySet[ClientSecret]:
    return ClientSecret.objects.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), client=client)


@transaction.atomic
def make_product_secret(product: Product, *, by: User | None, value: str | None = None) -> str:
    """Make the secret a product proves itself with, ending its earlier ones; it is shown this once. Raises NotStaff.

    `value` is a secret that the caller derived.
    """
    require_staff(by)
    product = lock(Product, product.pk)
    value = value or generate(PRODUCT_SECRET)
    ProductSecret.objects.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), product=product).update(expires_at=Now())
    secret = ProductSecret.objects.create(product=product, hash=digest(value), prefix=shown_prefix(value))
    _record_product(product, Event.PRODUCT_SECRET_MADE, by, secret=secret.prefix)
    return value


def _record_product(product: Product, event: Event, by: User | None, **details: object) -> None:
    record(PORTAL, event, by=by, subject=f"product:{product.slug}", **details)


# --- where a product's API is ---


@transaction.atomic
def set_base_address(product: Product, *, base_address: str, by: User | None) -> Product:
    """Set the URL of a product's API, or clear it with an empty one.

    Raises NotStaff, ValidationError, and AddressTaken where another product's metadata is at that address.
    """
    require_staff(by)
    address = resources.validate_base_address(base_address) if base_address.strip() else ""
    # Lock all products, so that no two take the same address at once.
    products = {row.pk: row for row in Product.objects.select_for_update(no_key=True).order_by("pk")}
    product = products.pop(product.pk)
    if address and any(other.base_address == address for other in products.values()):
        raise AddressTaken(_("Another product already has this base address."))
    if resources.own_path(address) in [other.slug for other in products.values()]:
        raise AddressTaken(_("The path of this address is another product’s slug. Choose another path."))
    if address == product.base_address:
        return product
    product.base_address = address
    product.save(update_fields=["base_address"])
    _record_product(product, Event.PRODUCT_BASE_ADDRESS_SET, by, base_address=address)
    return product


def create_product(*, slug: str, name: str) -> Product:
    """Make a product without scopes. Raises ValidationError, and AddressTaken if another's base address is at its slug."""
    product = Product(slug=slug, name=name)
    product.full_clean()
    if Product.objects.filter(base_address=f"{settings.BASE_URL}/{slug}").exists():
        raise AddressTaken(_("“%(slug)s” is the path of another product’s base address.") % {"slug": slug})
    product.save(force_insert=True)
    return product
