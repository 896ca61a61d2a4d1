"""The nine steps of the story, over HTTP, with Authlib as the app and a real Celery worker."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from consent.models import Access, AccessToken
from tests import factories
from tests.browsing import CALLBACK, Browser, app_side, begin, finish
from tests.clock import eventually
from tests.factories import CREATE, DELETE, EDIT, VIEW
from tests.people.forms import receipt_in

TICKETS = "/sandbox/api/v2/tickets"


@pytest.mark.django_db(transaction=True, serialized_rollback=False)
def test_the_whole_story(live_server, settings, worker):
    base = settings.BASE_URL = live_server.url

    factories.product()
    dev, reviewer = factories.person("Dev"), factories.reviewer()
    acme = factories.account("acme")
    admin, agent = factories.member(acme, "admin", "Ada"), factories.member(acme, "agent", "Axel")

    # 1. A developer creates OAuth credentials; the secret is shown once.
    browser = Browser(base, dev)
    assert "OAuth credentials" in browser.open("/settings/").text
    assert "Create OAuth Credentials" in browser.open("/credentials/").text
    made = {}
    for name, kind, level, scopes in (
        ("Insights", "platform", "account", [VIEW, CREATE, DELETE]),
        ("Helper", "platform", "agent", [VIEW]),
        ("Runner", "external", "account", [VIEW, EDIT]),
    ):
        page = browser.open("/credentials/new/")
        assert "Create New OAuth Credentials" in page.text
        fields = {"name": name, "redirect_uris": CALLBACK, "kind": kind, "level": level, "scope": scopes}
        fields["team"] = str(factories.team_of(dev).pk)
        done = browser.submit(page, **fields, **{f"why:{DELETE}": "To tidy up"})
        assert done.status_code == 201, done.text
        client_id, secret = (
            re.search(r'id="client-id" value="(\w+)"', done.text)[1],
            re.search(r'value="(amp_cs_[^"]+)"', done.text)[1],
        )
        assert secret not in browser.open(f"/credentials/{client_id}/").text
        made[name] = (client_id, secret)

    # 2. An app, and its first version.
    def add_app(slug, name, client_name, levels, install_url=""):
        page = browser.open("/apps/new/")
        choice = re.search(rf'<option value="(\d+)">{client_name}</option>', page.text)[1]
        browser.submit(page, team=str(factories.team_of(dev).pk), name=name, slug=slug, client=choice)
        page = browser.open(f"/apps/{slug}/versions/new/")
        fields = {
            "number": "1.0", "name": name, "tagline": "Short", "category": "other", "release_notes": "First", "install_url": install_url,
            "description": "Good <script>alert(1)</script> [x](javascript:alert(1))",
            **{f"level:{scope}": level for scope, level in levels.items()},
        }  # fmt: skip
        page = browser.submit(page, **fields)
        assert "Submit for review" in page.text, page.text
        version = re.search(r"/versions/(\d+)/", str(page.url))[1]
        page = browser.submit(browser.open(f"/apps/{slug}/versions/{version}/submit/"))
        assert "In review" in page.text
        return version

    versions = {
        "insights": add_app("insights", "Insights", "Insights", {VIEW: "required", CREATE: "optional"}),
        "helper": add_app("helper", "Helper", "Helper", {VIEW: "required"}, "http://127.0.0.1:9999/install"),
    }

    # 3. A reviewer approves; the developer publishes.
    staff = Browser(base, reviewer)
    for slug, version in versions.items():
        page = staff.open(f"/admin/marketplace/version/{version}/change/")
        assert "View tickets" in page.text and "Approve" in page.text
        page = staff.open(f"/admin/marketplace/version/{version}/press/approve/")
        staff.submit(page, reason="Fine")
        page = browser.open(f"/apps/{slug}/versions/{version}/publish/")
        assert "Published" in browser.submit(page).text

    # 4. An admin installs: the portal hosts the flow, Cancel leaves it unfinished, Agree finishes it.
    ada = Browser(base, admin)
    listing = ada.open("/marketplace/insights/")
    assert (
        "View tickets" in listing.text
        and "<script>alert" not in listing.text
        and 'href="javascript' not in listing.text
    )
    page = ada.open("/marketplace/insights/install/")
    consent = ada.submit(page, account=acme.slug)
    assert "Agree" in consent.text and "View tickets" in consent.text
    page = ada.submit(consent, decision="cancel")
    assert "Not finished" in page.text and "and agree" in page.text and "Discard" in page.text
    installation = re.search(r"/installations/([0-9a-f-]{36})/", str(page.url))[1]
    assert not AccessToken.objects.exists()
    consent = ada.open(f"/installations/{installation}/connect/")
    page = ada.submit(consent, decision="agree", optional=CREATE)
    assert "Ready" in page.text and "Ada" in page.text

    # 5. The app works with client credentials, and is told which scope it lacks.
    insights = app_side(base, *made["Insights"], "")
    insights.fetch_token(f"{base}/oauth/token", grant_type="client_credentials", account=acme.slug)
    assert insights.token["installation"] == installation
    made_ticket = insights.post(base + TICKETS, json={"subject": "Broken"})
    assert made_ticket.status_code == 201
    assert insights.get(base + TICKETS).json()["total"] == 1
    refused = insights.delete(f"{base}{TICKETS}/{made_ticket.json()['ticket']['id']}")
    assert refused.status_code == 401 and refused.json()["error"] == "insufficient_scope"
    assert refused.json()["scope"] == DELETE and 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]

    # 6. An external app sends the admin to authorize, exchanges the code, refreshes and revokes.
    runner = app_side(base, *made["Runner"], f"{VIEW} {EDIT}")
    url, state, verifier = begin(runner, base, account=acme.slug)
    consent = ada.open(url)
    assert "Unverified developer" in consent.text
    finish(runner, base, ada.submit(consent, _follow=False, decision="agree"), state, verifier)
    assert runner.get(base + TICKETS).status_code == 200
    before = dict(runner.token)
    runner.refresh_token(f"{base}/oauth/token")
    assert runner.token["refresh_token"] != before["refresh_token"]
    assert runner.get(base + TICKETS).status_code == 200
    assert "Runner" in ada.open(f"/installations/?account={acme.slug}").text

    # 7. An agent authorizes an agent-level app for themself.
    page = ada.submit(ada.open("/marketplace/helper/install/"), account=acme.slug)
    helper_installation = re.search(r"/installations/([0-9a-f-]{36})/", str(page.url))[1]
    axel = Browser(base, agent)
    assert "Not authorized" in axel.open("/installations/").text
    sent = axel.open(f"/installations/{helper_installation}/connect/")
    hints = {name: value[0] for name, value in parse_qs(urlsplit(sent.headers["Location"]).query).items()}
    assert hints == {"account": acme.slug, "installation": helper_installation}
    helper = app_side(base, *made["Helper"], VIEW)
    url, state, verifier = begin(helper, base, **hints)
    token = finish(helper, base, axel.submit(axel.open(url), _follow=False, decision="agree"), state, verifier)
    assert token["agent"] and helper.get(base + TICKETS).status_code == 200
    assert "Ready" in axel.open("/installations/").text

    # 8. The admin uninstalls: from that commit everything is refused; the worker stamps and counts.
    assert axel.open(f"/installations/{helper_installation}/uninstall/").status_code == 404
    for pk in (installation, helper_installation):
        receipt = ada.submit(ada.open(f"/installations/{pk}/uninstall/"))
        assert "no longer has access" in receipt.text
    assert insights.get(base + TICKETS).status_code == 401
    assert helper.get(base + TICKETS).status_code == 401
    assert helper.get(base + TICKETS).json()["error"] == "invalid_token"
    access = Access.objects.get(installation_id=helper_installation)
    eventually(lambda: Access.objects.get(pk=access.pk).revoked_at)
    access.refresh_from_db()
    assert access.revoked_counts == {"refresh_tokens": 1, "access_tokens": 1}
    assert "1 authorization and 1 access token," in ada.open(receipt_in(receipt)).text
    assert runner.get(base + TICKETS).status_code == 200
    page = ada.submit(ada.open("/marketplace/insights/install/"), account=acme.slug)
    assert "Agree" in page.text

    # 9. The ledger tells it, to each what is theirs.
    assert "App uninstalled" in ada.open("/ledger/").text
    assert (
        "Agreed to the app’s permissions" in axel.open("/ledger/").text
        and "App uninstalled" not in axel.open("/ledger/").text.split("<tbody>")[1]
    )
    assert "OAuth credentials created" in browser.open("/ledger/").text
    from portal.ledger.actions import verify
    from portal.ledger.models import Chain

    assert [verify(chain) for chain in Chain.objects.all() if verify(chain)] == []
