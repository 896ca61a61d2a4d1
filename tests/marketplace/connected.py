"""An app with three integrations, installed and ready to be connected to the example vendors."""

from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

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


def installed_with_vendors(cast, vendors, *, slug="planner", client=True, agents=False, boards=None, **changes):
    """A version of a package, installed in Acme; `changes` are of its calendar integration, `boards` of the other vendor's.

    With `agents`, they may run the template of what the account connected.
    """
    row = factories.client(cast.dev)[0]
    files = packages.three(row, *vendors)
    files["config/oauth_config.json"]["integrations"]["calendar"] |= changes
    files["config/oauth_config.json"]["integrations"]["boards"] |= boards or {}
    files["config/requests.json"]["events"]["options"]["agents"] = agents
    if not client:
        # It asks for nothing of the company's own products.
        del files["config/oauth_config.json"]["integrations"]["portal"], files["config/iparams.json"]
    owner = row if client else None
    app = publishing.create_app(factories.team_of(cast.dev), slug=slug, category="other", client=owner, by=cast.dev)
    version = publishing.create_version(app, by=cast.dev, **factories.version_fields(required_scopes=[]))
    version = publishing.change_version(version, by=cast.dev, package=files)
    register(vendors, slug)
    publishing.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    installation = installing.install(app, cast.acme, by=cast.admin)
    return SimpleNamespace(app=app, client=owner, version=version, installation=installation)


def register(vendors, slug):
    """Have the vendors know where the portal has people sent back to."""
    for vendor, name in zip(vendors, ("calendar", "boards"), strict=True):
        vendor.register(f"{settings.BASE_URL}/oauth/callback/{slug}/{name}")


def sent_back(url, decision="allow"):
    """What the vendor does with a person sent to `url`: the path, with its query, that it sends them back to."""
    answer = httpx.get(f"{url}&auto={decision}", follow_redirects=False, trust_env=False)
    assert answer.status_code == 302, answer.text
    there = urlsplit(answer.headers["location"])
    return f"{there.path}?{there.query}"


def code_of_vendor(multi, name, values):
    """What finishing a connection takes, as a person has it who comes back from the vendor."""
    draft = Connection(installation=multi.installation, integration=name, values=values)
    query = urlsplit(sent_back(connecting.vendor_of(draft).authorization_url("state", VERIFIER))).query
    return {"values": values, "code": parse_qs(query)["code"][0], "verifier": VERIFIER}


def url_of(multi, name, step=""):
    return f"/installations/{multi.installation.pk}/connections/{name}/{step}"


def set_out(browser, multi, name, **values):
    """Press Connect; returns the vendor's address that the person is sent to."""
    given = {"calendar": {"value-room": "4"}, "boards": {}}[name] | values
    answer = browser.post(url_of(multi, name), given)
    assert answer.status_code == 302, text(answer)
    return answer["Location"]


def connect(browser, multi, name, decision="allow", **values):
    back = browser.get(sent_back(set_out(browser, multi, name, **values), decision), follow=True)
    return text(back)


def row(name="calendar", **more):
    return Connection.objects.get(integration=name, ended_at=None, **more)


def works(vendor, connection):
    """Whether the vendor takes the access token that is kept."""
    bearer = {"Authorization": f"Bearer {connection.tokens['access_token']}"}
    return httpx.get(f"{vendor.url}/api/me", headers=bearer, trust_env=False).status_code == 200


def run_template(multi, name="events", *, by=None, **more):
    """Run a template as a person, or as the app itself."""
    caller = running.Caller(by and by.memberships.get(account=multi.installation.account), is_app=by is None)
    installation = type(multi.installation).objects.get(pk=multi.installation.pk)
    return running.run(installation, name, **{"context": {"id": "7"}, "caller": caller, **more})
