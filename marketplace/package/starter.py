"""A package to start from: this app's own credentials, their scopes, and a request where one can be made."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from credentials.models import Client
from credentials.registry import endpoints_for

from .archive import MANIFEST, OAUTH, REQUESTS

# The name of the integration in the package.
OURS = "portal"
_ENGINES = {"node": "18.20.8", "fdk": "9.4.0"}


def starter(client: Client) -> dict[str, Any]:
    """Return the files of a package that asks for all scopes of a client; the checks find nothing wrong with it."""
    calls = _calls(client)
    modules: dict[str, Any] = {"common": {"requests": {name: {} for name in calls}}, "service_ticket": {}}
    files: dict[str, Any] = {MANIFEST: {"platform-version": "3.0", "modules": modules, "engines": _ENGINES}}
    if scopes := sorted(client.scope_names()):
        integration = {
            "display_name": client.name,
            "client_id": client.client_id,
            "authorize_url": settings.BASE_URL + reverse("oauth-authorize"),
            "token_url": settings.BASE_URL + reverse("oauth-token"),
            "token_type": client.level,
            "options": {"scope": " ".join(scopes)},
        }
        files[OAUTH] = {"integrations": {OURS: integration}}
    if calls:
        files[REQUESTS] = calls
    return files


def _calls(client: Client) -> dict[str, Any]:
    """Return a request template for the shortest route that a scope of the client lets an app read, if it is served."""
    served = endpoints_for(client.scope_names()).filter(method="GET", product__base_address__startswith="https://")
    fixed = served.exclude(path__contains="{")
    first = min(fixed, key=lambda each: (len(each.path), each.path), default=None)
    if first is None:
        return {}
    schema = {
        "method": "GET",
        "host": urlsplit(first.product.base_address).netloc,
        "path": first.path,
        "headers": {"Authorization": "Bearer <%= access_token %>"},
    }
    return {"first": {"schema": schema, "options": {"oauth": OURS}}}
