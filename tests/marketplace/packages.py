"""A valid app package with everything in it, for tests to break in one place at a time."""

import io
import json
import zipfile
from copy import deepcopy
from types import SimpleNamespace

from django.conf import settings

from tests.factories import EDIT, VIEW
from tests.vendors import CLIENT_ID, SECRET

PORTAL = {
    "display_name": "Freshservice",
    "authorize_url": f"{settings.BASE_URL}/oauth/authorize",
    "token_url": f"{settings.BASE_URL}/oauth/token",
    "token_type": "account",
    "options": {"scope": f"{VIEW} {EDIT}", "optional_scope": EDIT},
}
VENDOR = {
    "display_name": "Octo",
    "client_id": "<%= oauth_iparams.id %>",
    "client_secret": "<%= oauth_iparams.secret %>",
    "authorize_url": "https://octo.dev/login/oauth/authorize",
    "token_url": "https://octo.dev/login/oauth/access_token",
    "token_type": "account",
    "options": {"scope": ["repo", "user"], "customHeaders": {"Accept": "application/json"}},
    "oauth_iparams": {
        "id": {"display_name": "Client ID", "type": "text", "required": True},
        "secret": {"display_name": "Client secret", "type": "text", "required": True, "secure": True},
    },
}
REQUESTS = {
    "issues": {
        "schema": {
            "method": "GET",
            "host": "api.octo.dev",
            "path": "/repos/<%= iparam.owner %>/<%= context.repo %>/issues",
            "headers": {"Authorization": "Bearer <%= access_token %>", "X-Key": "<%= encode(iparam.key + ':x') %>"},
            "query": {"state": "<%= context.state == 'all' ? 'all' : 'open' %>"},
        },
        "options": {"oauth": "octo", "maxAttempts": 3, "retryDelay": 500},
    },
    "tickets": {
        "schema": {
            "method": "GET",
            "host": "<%= iparam.owner %>.freshservice.com",
            "path": "/api/v2/tickets/<%= context.ticket %>",
            "headers": {"Authorization": "Bearer <%= access_token %>"},
        },
        "options": {"oauth": "portal"},
    },
}
GOOD = {
    "manifest.json": {
        "platform-version": "3.0",
        "modules": {"common": {"requests": {"issues": {}, "tickets": {}}}, "service_ticket": {}},
        "engines": {"node": "18.20.8", "fdk": "9.4.0"},
    },
    "config/oauth_config.json": {"integrations": {"portal": PORTAL, "octo": VENDOR}},
    "config/requests.json": REQUESTS,
    "config/iparams.json": {
        "owner": {"display_name": "Owner", "type": "text", "required": True},
        "key": {"display_name": "Key", "type": "text", "secure": True},
    },
}
OLD = {
    "manifest.json": {
        "platform-version": "2.3",
        "product": {
            "freshservice": {"location": {"ticket_sidebar": {"url": "index.html"}}, "requests": {"issues": {}}}
        },
        "engines": {"node": "18.20.8", "fdk": "9.4.0"},
    },
    "config/oauth_config.json": {key: value for key, value in VENDOR.items() if key != "display_name"},
    "config/requests.json": {
        "issues": {"schema": REQUESTS["issues"]["schema"], "options": {"isOAuth": True}},
    },
    "config/iparams.json": GOOD["config/iparams.json"],
}


def good(client, **options):
    """Return the files of a valid package whose first-party integration uses this client, with the given `options`."""
    files = deepcopy(GOOD)
    portal = files["config/oauth_config.json"]["integrations"]["portal"]
    portal |= {"client_id": client.client_id, "options": options or portal["options"]}
    return files


def as_bytes(files):
    """Encode files as a developer's indented JSON. Bytes and texts stay unchanged."""
    return {name: _bytes(value) for name, value in files.items()}


def _bytes(value):
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value, indent=2).encode()


def as_zip(files, *, prefix="", compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in as_bytes(files).items():
            archive.writestr(prefix + name, data)
    return out.getvalue()


def vendor(one, level, **more):
    """Return an integration with an example vendor (tests/vendors.py), using the client registered there."""
    return {
        "display_name": one.name,
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "authorize_url": f"{one.url}/authorize",
        "token_url": f"{one.url}/token",
        "token_type": level,
        "options": {"scope": "read write"},
        **more,
    }


def three(client, calendar, boards):
    """Return a package with three integrations: the portal's, one vendor for the account, and one for each agent."""

    def call(one, path, **options):
        protocol, host = one.url.split("://")
        schema = {"protocol": protocol, "method": "GET", "host": host, "path": path}
        return {"schema": {**schema, "headers": {"Authorization": "Bearer <%= access_token %>"}}, "options": options}

    files = good(client)
    files["config/oauth_config.json"]["integrations"] = {
        "portal": files["config/oauth_config.json"]["integrations"]["portal"],
        "calendar": vendor(
            calendar, "account",
            oauth_iparams={"room": {"display_name": "Room", "type": "text", "required": True}},
            options={"scope": "read write", "room": "<%= oauth_iparams.room %>"},
        ),
        "boards": vendor(boards, "agent"),
    }  # fmt: skip
    files["config/requests.json"] = {
        "events": call(calendar, "/api/items/<%= context.id %>", oauth="calendar", maxAttempts=3),
        "cards": call(boards, "/api/items", oauth="boards"),
    }
    files["config/iparams.json"] = {"owner": {"display_name": "Owner", "type": "text", "required": True}}
    files["manifest.json"]["modules"]["common"]["requests"] = {"events": {}, "cards": {}}
    return files


def planner(row):
    """Return a package whose vendors are never called."""
    calendar, boards = (SimpleNamespace(name=f"Vendor {name}", url=f"https://{name}.octo.dev") for name in ("a", "b"))
    return three(row, calendar, boards)
