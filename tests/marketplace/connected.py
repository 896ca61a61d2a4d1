"""An app with three integrations, installed and ready to be connected to the example vendors."""

from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import httpx
from django.conf import settings

from marketplace.actions import installing, publishing
from marketplace.models import Connection
from marketplace.vendors import actions as connecting
from marketplace.vendors import running
from tests import factories
from tests.marketplace import packages
from tests.people.forms import text

VERIFIER = "verifier-" + "v" * 40
# Shared, since each client reads the certificates of all authorities anew.
_HTTP = httpx.Client(trust_env=False)


def installed_with_vendors(cast, vendors, *, slug="planner", client=True, agents=False, boards=None, **changes):
    """Install a version of a package in Acme, with `changes` to its calendar integration and `boards` to the other vendor's.

    With `agents`, agents may run the template that uses the account's connection.
    """
    row = factories.client(cast.dev)[0]
    files = packages.three(row, *vendors)
    files["config/oauth_config.json"]["integrations"]["calendar"] |= changes
    files["config/oauth_config.json"]["integrations"]["boards"] |= boards or {}
    files["config/requests.json"]["events"]["options"]["agents"] = agents
    if not client:
        # It requests no scopes of the company's own products.
        del files["config/oauth_config.json"]["integrations"]["portal"], files["config/iparams.json"]
    owner = row if client else None
    app = publishing.create_app(factories.team_of(cast.dev), slug=slug, client=owner, by=cast.dev)
    version = publishing.create_version(app, by=cast.dev, **factories.version_fields(required_scopes=[]))
    version = publishing.change_version(version, by=cast.dev, package=files)
    register(vendors, slug)
    publishing.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    installation = installing.install(app, cast.acme, by=cast.admin)
    return SimpleNamespace(app=app, client=owner, version=version, installation=installation)


def register(vendors, slug):
    """Register the portal's redirect URIs at the vendors."""
    for vendor, name in zip(vendors, ("calendar", "boards"), strict=True):
        vendor.register(f"{settings.BASE_URL}/oauth/callback/{slug}/{name}")


def redirect_of_vendor(url, decision="allow"):
    """Return the path and query to which the vendor redirects a person sent to `url`."""
    answer = _HTTP.get(f"{url}&auto={decision}")
    assert answer.status_code == 302, answer.text
    there = urlsplit(answer.headers["location"])
    return f"{there.path}?{there.query}"


def code_of_vendor(multi, name, values):
    """Return the arguments for finishing a connection, as brought back from the vendor."""
    draft = Connection(installation=multi.installation, integration=name, values=values)
    url = connecting.vendor_of(draft).authorization_url("state", VERIFIER)
    answer = dict(parse_qsl(urlsplit(redirect_of_vendor(url)).query))
    return {"values": values, "code": answer["code"], "verifier": VERIFIER, "iss": answer.get("iss", "")}


def connect_directly(multi, name="calendar", by=None):
    """Connect without the portal's pages, as the admin who installed the app or as somebody else."""
    code = code_of_vendor(multi, name, {"calendar": {"room": "4"}, "boards": {}}[name])
    return connecting.finish_connection(multi.installation, name, by=by or multi.installation.installed_by, **code)


def url_of(multi, name, step=""):
    return f"/installations/{multi.installation.pk}/connections/{name}/{step}"


def start_connecting(browser, multi, name, **values):
    """Press Connect, and return the vendor's URL to which the person is sent."""
    values_sent = {"calendar": {"value-room": "4"}, "boards": {}}[name] | values
    answer = browser.post(url_of(multi, name), values_sent)
    assert answer.status_code == 302, text(answer)
    return answer["Location"]


def connect(browser, multi, name, decision="allow", **values):
    back = browser.get(redirect_of_vendor(start_connecting(browser, multi, name, **values), decision), follow=True)
    return text(back)


def row(name="calendar", **more):
    return Connection.objects.get(integration=name, ended_at=None, **more)


def works(vendor, connection):
    """Tell whether the vendor accepts the stored access token."""
    bearer = {"Authorization": f"Bearer {connection.tokens['access_token']}"}
    return _HTTP.get(f"{vendor.url}/api/me", headers=bearer).status_code == 200


def run_template(multi, name="events", *, by=None, **more):
    """Run a template as a person, or as the app itself."""
    caller = running.Caller(by and by.memberships.get(account=multi.installation.account), is_app=by is None)
    installation = type(multi.installation).objects.get(pk=multi.installation.pk)
    return running.run(installation, name, **{"context": {"id": "7"}, "caller": caller, **more})
