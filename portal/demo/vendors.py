"""The demo's Team Planner: an app with three integrations, whose two vendors `make run` starts (portal/demo/example_vendor)."""

import sys

from django.conf import settings

from credentials.models import Client
from marketplace.models import App
from marketplace.package.contents import Contents
from marketplace.vendors.oauth_client import redirect_uri

SLUG = "team-planner"
CLIENT_ID, SECRET = "team-planner", "a-secret-of-the-demo"
# By the integration's name: what it is called, whose it is, and how far its port is from the portal's.
VENDORS = {"calendar": ("Example Calendar", "account", 1000), "boards": ("Example Boards", "agent", 2000)}


def port(name: str) -> int:
    return (settings.PORT + VENDORS[name][2] - 1024) % (65536 - 1024) + 1024


def command(name: str) -> list[str]:
    """What starts a vendor, on a port of its own; it keeps what it issued over a restart."""
    title = VENDORS[name][0]
    return [
        sys.executable, "-m", "portal.demo.example_vendor", "--port", str(port(name)), "--name", title,
        "--state", str(settings.VAR / f"vendor-{name}.json"),
        "--client", CLIENT_ID, SECRET, redirect_uri(App(slug=SLUG), name),
    ]  # fmt: skip


def _integration(name: str) -> dict[str, object]:
    title, level, _offset = VENDORS[name]
    url = f"http://127.0.0.1:{port(name)}"
    return {
        "display_name": title,
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "authorize_url": f"{url}/authorize",
        "token_url": f"{url}/token",
        "token_type": level,
        "options": {"scope": "read write"},
    }


def _request(host: str, path: str, oauth: str, **options: object) -> dict[str, object]:
    schema = {"protocol": "http", "method": "GET", "host": host, "path": path}
    headers = {"Authorization": "Bearer <%= access_token %>"}
    return {"schema": {**schema, "headers": headers}, "options": {"oauth": oauth, **options}}


def package(client: Client, scopes: list[str], optional: list[str]) -> bytes:
    """Its app package, as a .zip."""
    portal = {
        "display_name": "Freshservice",
        "client_id": client.client_id,
        "authorize_url": f"{settings.BASE_URL}/oauth/authorize",
        "token_url": f"{settings.BASE_URL}/oauth/token",
        "token_type": client.level,
        "options": {"scope": [*scopes, *optional], "optional_scope": optional},
    }
    requests = {
        "tickets": _request(f"127.0.0.1:{settings.PORT}", "/sandbox/api/v2/tickets", "portal"),
        "events": _request(f"127.0.0.1:{port('calendar')}", "/api/items/<%= context.day %>", "calendar", agents=True),
        "cards": _request(f"127.0.0.1:{port('boards')}", "/api/items", "boards"),
    }
    files = {
        "manifest.json": {
            "platform-version": "3.0",
            "modules": {"common": {"requests": {name: {} for name in requests}}, "service_ticket": {}},
            "engines": {"node": "18.20.8", "fdk": "9.4.0"},
        },
        "config/oauth_config.json": {
            "integrations": {"portal": portal, **{name: _integration(name) for name in VENDORS}}
        },
        "config/requests.json": requests,
        "config/iparams.json": {
            "team": {"display_name": "Name of your team", "type": "text", "required": True},
        },
    }
    return Contents(files).archive()
