"""Use it: a client's own values, and programs that use them, each written once, in programs/. Tests run them as shown."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from credentials.redirect_uris import is_loopback
from credentials.trying import call_path
from portal.accounts.models import Account

from ..models import Access

# Where the programs wait for the code. A loopback port may vary (C5), so that one is chosen here.
PORT = 8400
LOCAL_CALLBACK = f"http://127.0.0.1:{PORT}/callback"
POSTMAN_CALLBACK = "https://oauth.pstmn.io/v1/callback"


@dataclass
class Values:
    """What a program has to know of a client, besides its secret."""

    client: Client
    account: str

    @cached_property
    def scope(self) -> str:
        """All that may be asked for there: of a marketplace client, what its installed version asks for (T1)."""
        access = Access.objects.filter(client=self.client, account__slug=self.account, ended_at=None).first()
        return " ".join(sorted(access.terms if access and self.client.is_platform else self.client.scope_names()))

    @property
    def local(self) -> str:
        """The client's own redirect URL on this machine, or "". The portal's own pages may be there too, in the demo."""
        own = (uri for uri in self.client.redirect_uris.split() if not uri.startswith(f"{settings.BASE_URL}/"))
        return next((uri for uri in own if is_loopback(uri) and "[" not in uri), "")

    @property
    def redirect_uri(self) -> str:
        """Where the programs wait for the code."""
        parts = urlsplit(self.local or LOCAL_CALLBACK)
        return parts._replace(netloc=f"{parts.hostname}:{PORT}").geturl()

    @property
    def endpoints(self) -> dict[str, str]:
        names = ("oauth-authorize", "oauth-token", "oauth-revoke", "oauth-server-metadata")
        authorize, token, revoke, metadata = (settings.BASE_URL + reverse(name) for name in names)
        return {"authorize": authorize, "token": token, "revoke": revoke, "metadata": metadata}

    @property
    def call(self) -> str:
        return f"{settings.BASE_URL}{call_path()}"

    def all(self) -> dict[str, str]:
        known = {"client_id": self.client.client_id, "account": self.account, "scope": self.scope, "call": self.call}
        return {**self.endpoints, **known, "redirect_uri": self.redirect_uri, "base": settings.BASE_URL}


def _program(name: str) -> Template:
    return Template((Path(__file__).parent / "programs" / f"{name}.txt").read_text())


def _shell(name: str, values: Values) -> str:
    known = values.all()
    query = {
        "response_type": "code",
        "client_id": known["client_id"],
        "redirect_uri": known["redirect_uri"],
        "scope": known["scope"],
        "account": known["account"],
    }
    known["authorize_url"] = f"{known['authorize']}?{urlencode(query)}"
    return _program(name).substitute({key: shlex.quote(value) for key, value in known.items()})


def _quoted(name: str, values: Values, **more: str) -> str:
    """Fill in strings as JSON has them, which Python and JavaScript read alike."""
    here = urlsplit(values.redirect_uri)
    quoted = {key: json.dumps(value) for key, value in values.all().items()}
    return _program(name).substitute(
        quoted, port=str(PORT), origin=json.dumps(f"{here.scheme}://{here.netloc}"), **more
    )


def curl(values: Values) -> str:
    return _shell("curl", values)


def python(values: Values) -> str:
    return _quoted("python", values)


def javascript(values: Values) -> str:
    # The library refuses http unless it is told to; there is none outside a machine of one's own.
    is_http = settings.BASE_URL.startswith("http://")
    return _quoted("javascript", values, options="{ [oauth.allowInsecureRequests]: true }" if is_http else "{}")


def workflow(values: Values) -> str:
    return "" if values.client.is_agent_level else _shell("workflow", values)


def postman_fields(values: Values) -> list[tuple[Any, str]]:
    """What Postman's tab *Authorization* asks for, by the names of its fields."""
    return [
        (_("Auth Type"), "OAuth 2.0"),
        (_("Grant type"), "Authorization Code (With PKCE)"),
        (_("Callback URL"), POSTMAN_CALLBACK),
        (_("Auth URL"), f"{values.endpoints['authorize']}?{urlencode({'account': values.account})}"),
        (_("Access Token URL"), values.endpoints["token"]),
        (_("Client ID"), values.client.client_id),
        (_("Client Secret"), "{{client_secret}}"),
        (_("Code Challenge Method"), "SHA-256"),
        (_("Scope"), values.scope),
        (_("Client Authentication"), "Send as Basic Auth header"),
    ]


def n8n_fields(values: Values) -> list[tuple[Any, str]]:
    """What n8n's credential *OAuth2 API* asks for, by the names of its fields."""
    return [
        (_("Grant Type"), "PKCE"),
        (_("Authorization URL"), values.endpoints["authorize"]),
        (_("Access Token URL"), values.endpoints["token"]),
        (_("Client ID"), values.client.client_id),
        (_("Scope"), values.scope),
        (_("Auth URI Query Parameters"), urlencode({"account": values.account})),
        (_("Authentication"), "Header"),
        (_("Additional Body Properties"), json.dumps({"account": values.account})),
    ]


def http_node_fields(values: Values) -> list[tuple[Any, str]]:
    """The token request of any workflow's HTTP node."""
    return [
        (_("Method and URL"), f"POST {values.endpoints['token']}"),
        (_("Authentication"), "Basic"),
        (_("User name"), values.client.client_id),
        (_("Body, as form"), urlencode({"grant_type": "client_credentials", "account": values.account})),
    ]


@dataclass(frozen=True)
class Tab:
    name: str
    title: Any
    program: Callable[[Values], str] | None = None
    fields: Callable[[Values], list[tuple[Any, str]]] | None = None


TABS = (
    Tab("curl", "curl", curl),
    Tab("python", _("Python"), python),
    Tab("javascript", _("JavaScript"), javascript),
    Tab("postman", "Postman", None, postman_fields),
    Tab("workflows", _("Workflows and scripts"), workflow),
)


def _lacking(values: Values, tab: Tab) -> tuple[str, str]:
    """Return the redirect URL that a tab needs and the client does not have, and the step of Try it that adds it."""
    if tab.name == "postman":
        return (
            ("", "") if POSTMAN_CALLBACK in values.client.redirect_uris.split() else (POSTMAN_CALLBACK, "add-postman")
        )
    return ("", "") if values.local or tab.name == "workflows" else (LOCAL_CALLBACK, "add-local")


def tabs(client: Client, account: Account, chosen: str) -> dict[str, Any]:
    """Return what the part *Use it* of a page shows, with one tab chosen."""
    values = Values(client, account.slug)
    tab = next((tab for tab in TABS if tab.name == chosen), TABS[0])
    is_workflow = tab.name == "workflows"
    return {
        "values": values,
        # What the chosen tab's program waits at, where it is not a redirect URL yet, and the step that adds it.
        "lacks": _lacking(values, tab),
        "tabs": TABS,
        "tab": tab,
        "program": tab.program(values) if tab.program else "",
        "fields": tab.fields(values) if tab.fields else [],
        "n8n_fields": n8n_fields(values) if is_workflow else [],
        "node_fields": http_node_fields(values) if is_workflow and not client.is_agent_level else [],
    }
