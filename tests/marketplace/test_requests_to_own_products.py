"""Request templates that call the company's products with the app's own credentials."""

import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from consent.models import AccessToken
from credentials.models import Level
from marketplace.actions import installing, publishing
from marketplace.vendors import running
from tests import factories
from tests.factories import VIEW
from tests.marketplace import packages
from tests.marketplace.connected import run_template
from tests.oauth import agree

pytestmark = pytest.mark.django_db


@pytest.mark.django_db(transaction=True)
def test_a_template_for_the_companys_products_gets_a_token_for_one_call(cast, servers, browse):
    """In-process, under the live consent: no token is stored, and the one used is invalid after the call."""
    row = factories.client(cast.dev)[0]
    files = packages.good(row, scope=VIEW)
    files["config/oauth_config.json"]["integrations"].pop("octo")
    files["config/requests.json"] = {
        "tickets": {
            "schema": {
                "protocol": "http", "method": "GET", "host": f"127.0.0.1:{servers[0].port}", "path": "/sandbox/api/v2/tickets",
                "headers": {"Authorization": "Bearer <%= access_token %>"},
            },
            "options": {"oauth": "portal"},
        }
    }  # fmt: skip
    files["manifest.json"]["modules"]["common"]["requests"] = {"tickets": {}}
    files.pop("config/iparams.json")
    app = publishing.create_app(factories.team_of(cast.dev), slug="own", client=row, by=cast.dev)
    version = publishing.create_version(app, by=cast.dev, **factories.version_fields())
    version = publishing.change_version(version, by=cast.dev, package=files)
    factories.product().endpoints.create(method="GET", path="/sandbox/api/v2/tickets", scopes=[VIEW])
    publishing.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    multi = type("Own", (), {"installation": installing.install(app, cast.acme, by=cast.admin), "app": app})
    with pytest.raises(running.NeedsConnection):
        run_template(multi, "tickets", by=cast.admin)
    consent = factories.agree(row, cast.acme, cast.admin)
    assert "tickets" in json.loads(run_template(multi, "tickets", by=cast.admin).body)
    [token] = AccessToken.objects.all()
    assert token.consent == consent and token.revoked_at and token.family is None
    assert token.expires - token.created <= timedelta(minutes=1)
    installing.uninstall(multi.installation, by=cast.admin)
    with pytest.raises(running.NeedsConnection):
        run_template(multi, "tickets", by=cast.admin)


def test_an_agent_level_hosted_app_needs_no_install_url(cast, browse):
    """It works through its request templates; each agent authorizes it in the portal's own flow."""
    row = factories.client(cast.dev, level=Level.AGENT)[0]
    draft = factories.app(cast.dev, row, required_scopes=[VIEW])
    with pytest.raises(publishing.NotReady, match="needs an install URL or request templates"):
        publishing.submit_version(draft, by=cast.dev)
    files = packages.good(row, scope=VIEW)
    files["config/oauth_config.json"]["integrations"] = {
        "portal": files["config/oauth_config.json"]["integrations"]["portal"] | {"token_type": "agent"}
    }
    files["config/requests.json"] = {"tickets": files["config/requests.json"]["tickets"]}
    files["manifest.json"]["modules"]["common"]["requests"] = {"tickets": {}}
    draft = publishing.change_version(draft, by=cast.dev, package=files)
    publishing.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    installation = installing.install(draft.app, cast.acme, by=cast.admin)
    axel = browse(cast.agent)
    asked = axel.get(f"/installations/{installation.pk}/connect/")["Location"]
    assert asked.startswith("/oauth/authorize?")
    answer = agree(axel, asked)
    assert answer.status_code == 303 and "/oauth/callback?" in answer["Location"]
    there = urlsplit(answer["Location"])
    assert axel.get(f"{there.path}?{there.query}").status_code == 302
    caller = running.Caller(cast.agent.memberships.get())
    assert running.templates_for(installation, caller).keys() == {"tickets"}
    # Another agent has not agreed, so there is no token for them.
    with pytest.raises(running.NeedsConnection):
        running.run(
            installation, "tickets", context={"ticket": 1}, caller=running.Caller(cast.agent2.memberships.get())
        )
