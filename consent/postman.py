"""A Postman collection (v2.1) and environment for a client: OAuth 2.0 with PKCE, and the operations that its scopes open."""

import re
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.models import Client, Endpoint, Product
from credentials.registry import endpoints_for

from .trying.snippets import POSTMAN_CALLBACK

_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_PARAMETER = re.compile(r"\{([^{}/]+)\}")
# Methods whose calls usually have a body.
_WITH_BODY = ("POST", "PUT", "PATCH")


def _operations(client: Client) -> list[Endpoint]:
    """Return the operations that some scope of a client opens, by product and path."""
    return list(endpoints_for(client.scope_names()).order_by("product__slug", "path", "method"))


def _variable(product: Product) -> str:
    return f"{product.slug.replace('-', '_')}_url"


def _request(endpoint: Endpoint) -> dict[str, Any]:
    host, names = f"{{{{{_variable(endpoint.product)}}}}}", _PARAMETER.findall(endpoint.path)
    path = _PARAMETER.sub(r":\1", endpoint.path)
    asked: dict[str, Any] = {
        "method": endpoint.method,
        "header": [],
        "url": {
            "raw": host + path,
            "host": [host],
            "path": path.strip("/").split("/"),
            "variable": [{"key": name, "value": "1"} for name in names],
        },
        "description": _("Needs one of: %(scopes)s") % {"scopes": ", ".join(endpoint.scopes)},
    }
    if endpoint.method in _WITH_BODY:
        asked["body"] = {"mode": "raw", "raw": "{}", "options": {"raw": {"language": "json"}}}
        asked["header"] = [{"key": "Content-Type", "value": "application/json"}]
    return {"name": f"{endpoint.method} {endpoint.path}", "request": asked}


def collection(client: Client) -> dict[str, Any]:
    oauth = {
        "grant_type": "authorization_code_with_pkce",
        "authUrl": f"{{{{portal_url}}}}{reverse('oauth-authorize')}",
        "accessTokenUrl": f"{{{{portal_url}}}}{reverse('oauth-token')}",
        "clientId": "{{client_id}}",
        "clientSecret": "{{client_secret}}",
        "scope": "{{scope}}",
        "challengeAlgorithm": "S256",
        "redirect_uri": POSTMAN_CALLBACK,
        "client_authentication": "header",
        "tokenName": client.name,
        "accessToken": "{{access_token}}",
        "addTokenTo": "header",
        "headerPrefix": "Bearer",
    }
    folders = groupby(_operations(client), key=lambda endpoint: endpoint.product)
    return {
        "info": {
            "name": client.name,
            "schema": _SCHEMA,
            "description": _(
                "Choose the environment that came with this collection, and enter the client secret there. Then press “Get New Access Token” under Authorization, and “Use Token”."
            ),
        },
        "auth": {
            "type": "oauth2",
            "oauth2": [{"key": key, "value": value, "type": "string"} for key, value in oauth.items()],
        },
        "item": [{"name": product.name, "item": [_request(each) for each in listed]} for product, listed in folders],
    }


def environment(client: Client) -> dict[str, Any]:
    """Return the values of the collection's variables. The secret and the token are empty, for their owner to enter."""
    products = {endpoint.product.pk: endpoint.product for endpoint in _operations(client)}.values()
    known = {
        "portal_url": settings.BASE_URL,
        "client_id": client.client_id,
        # A marketplace app asks for what its installed version has, which is what no scope means.
        "scope": "" if client.is_platform else " ".join(sorted(client.scope_names())),
        **{_variable(product): _origin(product.base_address) for product in products},
    }
    values = [{"key": key, "value": value, "type": "default", "enabled": True} for key, value in known.items()]
    secret = [{"key": key, "value": "", "type": "secret", "enabled": True} for key in ("client_secret", "access_token")]
    return {"name": client.name, "values": [*values, *secret], "_postman_variable_scope": "environment"}


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if address else ""
