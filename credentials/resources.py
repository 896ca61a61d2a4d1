"""Where a product's API is, and where clients find its resource metadata (RFC 9728)."""

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import F, Func
from django.utils.translation import gettext as _

from . import redirect_uris
from .models import Endpoint, Product, Scope

WELL_KNOWN = "/.well-known/oauth-protected-resource"
MAX_LENGTH = 200
# Characters that every gateway and proxy reads alike: the path is part of the metadata's own address.
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def validate_base_address(value: str) -> str:
    """Return the address in canonical form: lower-case host, no default port, no trailing slash.

    Raises ValidationError, saying what to change.
    """
    value = value.strip()
    if "?" in value or "#" in value:
        raise ValidationError(
            _("A base address cannot have a query or a fragment. Remove “?” or “#” and everything after it.")
        )
    if len(value) > MAX_LENGTH:
        raise ValidationError(_("A base address can have at most %(count)d characters.") % {"count": MAX_LENGTH})
    redirect_uris.validate(value)
    parts = urlsplit(value)
    host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
    path = parts.path.rstrip("/")
    if not _PLAIN_PATH.fullmatch(path):
        raise ValidationError(
            _("The path of a base address can contain only letters, digits, . _ ~ - and single slashes.")
        )
    address = f"{parts.scheme}://{host}{path}"
    if address == settings.BASE_URL:
        raise ValidationError(_("This is the portal’s own address. Add the path where the product’s API starts."))
    return address


def own_path(address: str) -> str:
    """Return the path of an address on the portal's own host, without its first slash; empty for any other address."""
    prefix = f"{settings.BASE_URL}/"
    return address.removeprefix(prefix) if address.startswith(prefix) else ""


def metadata_url(path: str = "") -> str:
    """Return the URL of the metadata of the portal's API at `path`, or of the portal itself."""
    return "/".join(filter(None, [settings.BASE_URL + WELL_KNOWN, path]))


def metadata_url_of(product: Product | None) -> str:
    """Return the URL of a product's metadata; empty if staff set no base address, since then there is none."""
    if product is None or not product.base_address:
        return ""
    return metadata_url(own_path(product.base_address) or product.slug)


def find_product(path: str) -> Product | None:
    """Return the product whose document is at `path`: the inverse of `metadata_url_of`."""
    here = Product.objects.filter(base_address=f"{settings.BASE_URL}/{path}").first()
    if here or "/" in path:
        return here
    elsewhere = Product.objects.filter(slug=path).exclude(base_address="").first()
    return elsewhere if elsewhere and not own_path(elsewhere.base_address) else None


def scopes_needed(product: Product) -> list[str]:
    """Return the names of the scopes that the product's published routes need; deprecated ones cannot be chosen (C6)."""
    needed = Endpoint.objects.filter(product=product).annotate(name=Func(F("scopes"), function="unnest"))
    scopes = Scope.objects.filter(deprecated_at=None, name__in=needed.values("name"))
    return list(scopes.order_by("name").values_list("name", flat=True))


def document(resource: str, *, name: str, scopes: list[str]) -> dict[str, object]:
    """Describe an API as RFC 9728 section 2 does; section 3.2 leaves empty members out."""
    told = {
        "resource": resource,
        "resource_name": name,
        "authorization_servers": [settings.BASE_URL],
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],
    }
    return {key: value for key, value in told.items() if value}
