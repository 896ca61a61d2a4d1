"""Find the IP address that a request comes from."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings


def address_of(meta: Mapping[str, Any]) -> str:
    """Return the IP address that a request comes from; for IPv6 its network, since one customer has a whole /64.

    Behind proxies it is what the outermost of settings.TRUSTED_PROXIES saw; anybody could have written the rest.
    """
    hops = [hop.strip() for hop in meta.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    trusted = min(settings.TRUSTED_PROXIES, len(hops))
    for text in (hops[-trusted] if trusted else "", meta.get("REMOTE_ADDR", "")):
        host = text[1:].partition("]")[0] if text.startswith("[") else text
        if host.count(":") == 1:
            host = host.partition(":")[0]
        try:
            found = ipaddress.ip_address(host)
        except ValueError:
            continue
        found = getattr(found, "ipv4_mapped", None) or found
        if found.version == 6:
            return str(ipaddress.IPv6Network((int(found), 64), strict=False).network_address)
        return str(found)
    return "unknown"
