"""Import a product's published scopes and endpoints, and find the endpoint that a call is for."""

import re
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from portal.accounts.models import User
from portal.foundation.database import lock
from portal.foundation.refusals import Refused
from portal.ledger.actions import PORTAL, record

from .events import Event
from .models import Endpoint, Product, Risk, Scope

METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}
_PARAMETER = re.compile(r"\{[^{}/]+\}")
# Characters that mean the same to the gateway and to the product behind it.
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,=:@-]+)+/?")


class MalformedDocument(Refused):
    pass


def _read_scopes(document: Any) -> dict[str, Any]:
    found = {}
    for name, scheme in document["components"]["securitySchemes"].items():
        if scheme.get("type") != "oauth2":
            continue
        risks = scheme.get("x-scope-risk") or {}
        for flow in scheme["flows"].values():
            for scope, sentence in flow["scopes"].items():
                risk = (flow.get("x-scope-risk") or risks).get(scope, Risk.MEDIUM)
                if risk not in Risk.values or not sentence or not re.fullmatch(r"[!#-\[\]-~]{1,120}", scope):
                    raise MalformedDocument(
                        _(
                            "components.securitySchemes.%(name)s: the scope “%(scope)s” has no sentence, an unknown risk or a name that is not a scope token."
                        )
                        % {"name": name, "scope": scope}
                    )
                found[scope] = (sentence[:200], risk)
    return found


def _pattern(path: str) -> str:
    parts = _PARAMETER.split(path)
    return "^" + "[^/]+".join(re.escape(part) for part in parts) + "$"


def _read_endpoints(document: Any, scopes: dict[str, Any]) -> Iterator[Endpoint]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in METHODS:
                continue
            needed = []
            for requirement in operation.get("security", []):
                for names in requirement.values():
                    needed += names
            for unknown in sorted(set(needed) - scopes.keys()):
                raise MalformedDocument(
                    _("paths.%(path)s.%(method)s: the scope “%(scope)s” is not defined.")
                    % {"path": path, "method": method, "scope": unknown}
                )
            yield Endpoint(method=method.upper(), path=path, pattern=_pattern(path), scopes=sorted(set(needed)))


@transaction.atomic
def import_document(product: Product, document: Any, *, by: User | None = None) -> dict[str, list[str]]:
    """Bring the registry in line with a product's OpenAPI 3 document; return the names of {"added", "deprecated"} scopes.

    A scope no longer listed is deprecated, never removed. Raises MalformedDocument.
    """
    try:
        scopes = _read_scopes(document)
        endpoints = list(_read_endpoints(document, scopes))
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedDocument(
            _("This is not an OpenAPI 3 document with OAuth scopes: %(what)s.") % {"what": error}
        ) from None
    product = lock(Product, product.pk)
    if taken := Scope.objects.filter(name__in=scopes).exclude(product=product).first():
        raise MalformedDocument(_("The scope “%(name)s” belongs to another product.") % {"name": taken.name})
    known = dict(Scope.objects.filter(product=product).values_list("name", "deprecated_at"))
    Scope.objects.bulk_create(
        [Scope(product=product, name=name, sentence=sentence, risk=risk) for name, (sentence, risk) in scopes.items()],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["sentence", "risk", "deprecated_at"],
    )
    gone = sorted(name for name, deprecated_at in known.items() if name not in scopes and deprecated_at is None)
    Scope.objects.filter(product=product, name__in=gone).update(deprecated_at=Now())
    for endpoint in endpoints:
        endpoint.product = product
    Endpoint.objects.bulk_create(
        endpoints,
        update_conflicts=True,
        unique_fields=["product", "method", "path"],
        update_fields=["pattern", "scopes"],
    )
    listed = {(endpoint.method, endpoint.path) for endpoint in endpoints}
    stale = [row.pk for row in Endpoint.objects.filter(product=product) if (row.method, row.path) not in listed]
    Endpoint.objects.filter(pk__in=stale).delete()
    Product.objects.filter(pk=product.pk).update(published=uuid.uuid4())
    result = {"added": sorted(scopes.keys() - known.keys()), "deprecated": gone}
    record(PORTAL, Event.REGISTRY_IMPORTED, by=by, subject=f"product:{product.slug}", name=product.name, **result)
    return result


def methods_of(method: str) -> tuple[str, ...]:
    """Return the methods whose endpoints can answer a call: HEAD is GET without the body (RFC 9110 section 9.3.2)."""
    method = method.upper()
    return ("HEAD", "GET") if method == "HEAD" else (method,)


def endpoints_for(scopes: Iterable[str]) -> QuerySet[Endpoint]:
    """Return the published endpoints that some of these scopes open, with their products."""
    return Endpoint.objects.filter(scopes__overlap=sorted(scopes)).select_related("product")


def operations_of(scopes: Iterable[str]) -> dict[str, list[Endpoint]]:
    """Return {scope name: the published endpoints that it opens}; the list may be empty."""
    opened: dict[str, list[Endpoint]] = {name: [] for name in scopes}
    for endpoint in Endpoint.objects.filter(scopes__overlap=sorted(opened)):
        for name in opened.keys() & {*endpoint.scopes}:
            opened[name].append(endpoint)
    return opened


class Published(NamedTuple):
    """What a product published: its endpoints by method, and the names of its scopes in order."""

    endpoints: dict[str, list[Endpoint]]
    scopes: list[str]

    def resolve(self, method: str, uri: str) -> Endpoint | None:
        """Return the endpoint that a call is for, or None."""
        return match((one for name in methods_of(method) for one in self.endpoints.get(name, ())), uri)


@lru_cache(maxsize=100)
def published(slug: str, version: uuid.UUID) -> Published:
    """Return what a product published, kept for as long as the version in its row is this one.

    What is read here is of this version or a later one, so that nothing old is kept under a new one.
    """
    endpoints: dict[str, list[Endpoint]] = {}
    for endpoint in Endpoint.objects.filter(product__slug=slug):
        endpoints.setdefault(endpoint.method, []).append(endpoint)
    scopes = Scope.objects.filter(product__slug=slug).order_by("name").values_list("name", flat=True)
    return Published(endpoints, list(scopes))


@lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    # re itself caches only a few hundred patterns.
    return re.compile(pattern)


def match(endpoints: Iterable[Endpoint], uri: str) -> Endpoint | None:
    """Return the one of a product's endpoints (all for `methods_of` a call) that the call is for, or None.

    A path that two systems could read differently matches none. A published HEAD comes before GET at the same path.
    """
    # Not urlsplit, which drops tabs and line ends silently.
    path = uri.partition("?")[0]
    segments = path.split("/")
    if not _PLAIN_PATH.fullmatch(path) or "." in segments or ".." in segments:
        return None
    path = path.rstrip("/")
    candidates = [endpoint for endpoint in endpoints if _compiled(endpoint.pattern).match(path)]
    # From the left, a literal segment beats a parameter.
    return min(candidates, key=_specificity, default=None)


def _specificity(endpoint: Endpoint) -> tuple[list[bool], bool]:
    return ["{" in part for part in endpoint.path.split("/")], endpoint.method != "HEAD"
