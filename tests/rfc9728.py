"""A client that follows RFC 9728 from a 401 to the scopes to request, and stops where the RFC says so."""

import re
from urllib.parse import urlsplit

from django.conf import settings

_PARAMETER = re.compile(r'([a-z_]+)="([^"\\]*)"(?:, |$)')


def challenge(response):
    """Read the parameters of a Bearer challenge (RFC 6750 section 3, RFC 9110 section 11.6.1)."""
    assert response.status_code == 401
    scheme, _, rest = response["WWW-Authenticate"].partition(" ")
    found = _PARAMETER.findall(rest)
    assert scheme == "Bearer" and "".join(f'{name}="{value}", ' for name, value in found) == rest + ", "
    assert len(dict(found)) == len(found), "no parameter is repeated"
    return dict(found)


def well_known(resource):
    """Insert the well-known path between host and path (section 3.1)."""
    parts = urlsplit(resource)
    return parts._replace(path="/.well-known/oauth-protected-resource" + parts.path.rstrip("/")).geturl()


def covers(resource, url):
    """Tell whether a resource covers a URL: the same origin, and the same path or one above it."""
    one, other = urlsplit(resource), urlsplit(url)
    return one[:2] == other[:2] and (other.path + "/").startswith(one.path.rstrip("/") + "/")


def discover(http, response, url):
    """Follow a 401 that came from `url`; return the document and the scopes to ask for."""
    told = challenge(response)
    address = told["resource_metadata"]
    assert address.startswith(settings.BASE_URL + "/")
    document = http.get(address.removeprefix(settings.BASE_URL))
    assert document.status_code == 200 and document["Content-Type"] == "application/json"
    document = document.json()
    # Section 3.3: what names another resource must not be used.
    assert covers(document["resource"], url), (document["resource"], url)
    assert document["authorization_servers"] == [settings.BASE_URL]
    server = http.get("/.well-known/oauth-authorization-server").json()
    assert server["issuer"] == document["authorization_servers"][0]
    scopes = set(told["scope"].split()) if "scope" in told else None
    assert scopes is None or scopes <= set(document.get("scopes_supported", [])) <= set(server["scopes_supported"])
    return document, scopes
