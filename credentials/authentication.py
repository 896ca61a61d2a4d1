"""Check the secrets of clients and products (RFC 6749 section 2.3.1)."""

import base64
import datetime as dt
import hmac
from typing import Any
from urllib.parse import unquote_plus

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from .models import Client, ClientSecret, Product, ProductSecret
from .secrets import CLIENT_SECRET, PRODUCT_SECRET, digest, is_well_formed

# Writing the last use on each request would serialise a client's calls.
LAST_USE_PRECISION = dt.timedelta(minutes=1)


class MalformedBasic(Exception):
    """The Authorization header says Basic but holds no id and secret."""


def read_basic(header: str) -> tuple[str, str] | None:
    """Return the id and secret of an Authorization header, or None if it is not HTTP Basic (RFC 6749 section 2.3.1)."""
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:
        # Not base64, not ASCII, or not UTF-8 within.
        raise MalformedBasic from None
    if not colon:
        raise MalformedBasic
    return unquote_plus(client_id), unquote_plus(secret)


def _active(secrets: QuerySet[Any]) -> QuerySet[Any]:
    return secrets.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))


def active_secrets_of_client(client_id: Any) -> QuerySet[Any]:
    return _active(ClientSecret.objects.filter(client__client_id=client_id))


def active_secrets_of_product(slug: Any) -> QuerySet[Any]:
    return _active(ProductSecret.objects.filter(product__slug=slug))


def touch_is_due() -> Q:
    """Return the condition that a secret's last use has to be recorded (`touch`)."""
    return Q(last_used_at=None) | Q(last_used_at__lt=Now() - LAST_USE_PRECISION)


def _find(secrets: QuerySet[Any], value: str) -> Any:
    """Return the row whose hash is the value's, comparing all in constant time, or None."""
    given, found = digest(value), None
    for row in _active(secrets):
        if hmac.compare_digest(row.hash, given):
            found = row
    return found


def check_client_secret(client: Client, value: object) -> ClientSecret | None:
    """Return the client's active secret that matches `value`, or None."""
    if not is_well_formed(value, CLIENT_SECRET):
        return None
    return _find(ClientSecret.objects.filter(client=client), str(value))


def check_product_secret(slug: str, value: object) -> Product | None:
    """Return the product whose secret `value` is, or None."""
    if not is_well_formed(value, PRODUCT_SECRET) or "\0" in slug:
        return None
    row = _find(ProductSecret.objects.filter(product__slug=slug).select_related("product"), str(value))
    if row is None:
        return None
    touch(row)
    return row.product


def touch(secret: ClientSecret | ProductSecret) -> None:
    """Record that a secret was used, to the minute. Call it outside the request's transaction."""
    if secret.last_used_at is None or timezone.now() - secret.last_used_at > LAST_USE_PRECISION:
        type(secret).objects.filter(pk=secret.pk).update(last_used_at=Now())
