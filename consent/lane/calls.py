"""Good checks and introspections, by one statement each."""

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import Exists, Subquery
from django.db.models.functions import Now

from credentials.authentication import MalformedBasic, active_secrets_of_product, read_basic, touch_is_due
from credentials.models import Product, ProductSecret
from credentials.registry import published
from credentials.secrets import ACCESS_TOKEN, PRODUCT_SECRET, digest, is_well_formed
from portal.foundation.statements import Parameter, Statement

from ..answers import NO_STORE
from ..check import bearer_of, bearer_token, good_token, introspection, original_call, told_to_gateway
from .answers import Answer, json_answer, read_form

_SLUG = re.compile(r"[-a-zA-Z0-9_]+")
_FIELDS = frozenset({"token", "token_type_hint"})


def _version() -> Subquery:
    return Subquery(Product.objects.filter(slug=Parameter("product")).values("published"))


def _secret() -> Any:
    return active_secrets_of_product(Parameter("product")).filter(hash=Parameter("secret"))


_CHECKED = Statement(lambda: good_token(version=_version()))
_INTROSPECTED = Statement(
    lambda: good_token(
        version=_version(),
        secret=Subquery(_secret().values("pk")[:1]),
        touch=Exists(_secret().filter(touch_is_due())),
    )
)


def check(environ: Mapping[str, Any], slug: str) -> Answer | None:
    value = bearer_token(environ.get("HTTP_AUTHORIZATION", ""))
    if not _SLUG.fullmatch(slug) or not is_well_formed(value, ACCESS_TOKEN):
        return None
    row = _CHECKED.row(checksum=digest(str(value)), product=slug)
    if row is None or row[-1] is None:
        return None
    bearer, found = bearer_of(row[:-1]), published(slug, row[-1])
    endpoint = found.resolve(*original_call(environ))
    if endpoint is None or bearer.scopes.isdisjoint(endpoint.scopes):
        return None
    return Answer({"Content-Type": "text/plain", **NO_STORE, **told_to_gateway(bearer, found.scopes)})


def introspect(environ: dict[str, Any]) -> Answer | None:
    try:
        basic = read_basic(environ.get("HTTP_AUTHORIZATION", ""))
    except MalformedBasic:
        return None
    slug, secret = basic or ("", "")
    if not _SLUG.fullmatch(slug) or not is_well_formed(secret, PRODUCT_SECRET):
        return None
    value = read_form(environ, _FIELDS).get("token")
    if not is_well_formed(value, ACCESS_TOKEN):
        return None
    row = _INTROSPECTED.row(checksum=digest(str(value)), product=slug, secret=digest(secret))
    if row is None:
        return None
    *told, version, secret_id, touch = row
    if secret_id is None:
        return None
    if touch:
        ProductSecret.objects.filter(pk=secret_id).update(last_used_at=Now())
    return json_answer(introspection(bearer_of(told), published(slug, version).scopes))
