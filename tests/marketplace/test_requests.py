"""Request templates: who may run them, and what comes back when the other side fails."""

import base64
import json
import time
from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest
from django.core.cache import cache
from django.test import Client as Browser

from credentials import actions as credentials
from marketplace.actions import installing, publishing
from marketplace.models import Connection
from marketplace.package.contents import Contents
from marketplace.vendors import actions as connecting
from marketplace.vendors import filling, running
from marketplace.vendors.oauth_client import Vendor, VendorError
from portal.foundation import egress
from portal.foundation.database import database_now
from portal.foundation.limits import rates
from tests import factories
from tests.factories import VIEW
from tests.marketplace.connected import code_of_vendor, installed_with_vendors, run_template
from tests.oauth import AppSide, sign_in
from tests.people.forms import text

pytestmark = pytest.mark.django_db


def address(multi, name):
    return f"/api/v1/installations/{multi.installation.pk}/requests/{name}"


def call(browser, multi, name, /, **sent):
    """As a page of the portal calls, with the token of its session."""
    browser.get(f"/installations/{multi.installation.pk}/")
    data = {"context": {"id": "7"}, **sent}
    return browser.post(address(multi, name), json.dumps(data), content_type="application/json")


def secret_of(multi, cast):
    _row, secret = credentials.rotate_secret(multi.client, overlap_hours=0, by=cast.dev)
    return multi.client, secret


def said(answer):
    return answer.json()["error_description"]


# --- who ---


def test_an_admin_runs_what_the_account_connected(connected, browse, cast, vendors):
    answer = call(browse(cast.admin), connected, "events")
    assert answer.status_code == 200, answer.content
    found = answer.json()
    echoed = json.loads(found["body"])
    assert (found["status"], echoed["method"], echoed["path"]) == (200, "GET", "/api/items/7")
    assert found["headers"]["content-type"] == "application/json" and answer["Cache-Control"] == "no-store"
    sent = vendors[0].log("/api")[-1]["headers"]["authorization"]
    assert sent == f"Bearer {Connection.objects.get(integration='calendar').tokens['access_token']}"


def test_the_app_runs_it_with_its_own_access_token(connected, cast, client):
    factories.agree(connected.client, cast.acme, cast.admin)
    side = AppSide(client, *secret_of(connected, cast))
    token = side.client_credentials(cast.acme.slug).json()["access_token"]
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}", "content_type": "application/json"}
    answer = Browser(enforce_csrf_checks=True).post(address(connected, "events"), '{"context": {"id": 7}}', **headers)
    assert answer.status_code == 200, answer.content
    # Of whom would the agent's be?
    refused = Browser().post(address(connected, "cards"), "{}", **headers)
    assert refused.status_code == 403 and "the agent runs it" in said(refused)
    installing.uninstall(connected.installation, by=cast.admin)
    ended = Browser().post(address(connected, "events"), "{}", **headers)
    assert ended.status_code == 401 and "uninstalled" in said(ended)


def test_an_agent_runs_their_own_and_no_others(connected, browse, cast):
    axel, ana = browse(cast.agent), browse(cast.agent2)
    assert json.loads(call(axel, connected, "cards").json()["body"])["path"] == "/api/items"
    waiting = call(ana, connected, "cards")
    assert waiting.status_code == 409 and "not connected" in said(waiting)
    assert waiting.json()["connect_url"].endswith(f"/installations/{connected.installation.pk}/")
    # An admin has no more of an agent's than anybody.
    assert call(browse(cast.admin), connected, "cards").status_code == 409
    assert call(axel, connected, "events").status_code == 403


def test_agents_run_what_the_account_connected_where_the_package_and_the_listing_say_so(cast, browse, vendors):
    multi = installed_with_vendors(cast, vendors, agents=True)
    connecting.finish_connection(
        multi.installation, "calendar", by=cast.admin, **code_of_vendor(multi, "calendar", {"room": "4"})
    )
    axel = browse(cast.agent)
    assert call(axel, multi, "events").status_code == 200
    assert "Every agent of the account may use" in text(axel.get(f"/marketplace/{multi.app.slug}/"))


def test_strangers_are_told_nothing(connected, browse, cast, client):
    """E1"""
    for who in (cast.globex_admin, cast.globex_agent, cast.dev, cast.other_dev):
        browser = Browser()
        sign_in(browser, who)
        answer = browser.post(address(connected, "events"), "{}", content_type="application/json")
        assert answer.status_code == 404
        assert browser.get(f"/installations/{connected.installation.pk}/console/").status_code == 404
    out = client.post(address(connected, "events"), "{}", content_type="application/json")
    assert out.status_code == 401 and out["WWW-Authenticate"].startswith("Bearer ") and "error" not in out.json()
    strict = Browser(enforce_csrf_checks=True)
    sign_in(strict, cast.admin)
    assert strict.post(address(connected, "events"), "{}", content_type="application/json").status_code == 403
    made_up = client.post(
        address(connected, "events"), "{}", content_type="application/json", HTTP_AUTHORIZATION="Bearer x"
    )
    assert made_up.status_code == 401
    for method in ("get", "put", "patch", "delete"):
        assert getattr(browse(cast.admin), method)(address(connected, "events")).status_code == 405


def test_anothers_token_runs_nothing_here(connected, cast, client):
    other, secret = factories.client(cast.dev, name="Another")
    app = factories.app(cast.dev, other, required_scopes=[VIEW])
    publishing.publish_custom(app, accounts={cast.acme.slug}, by=cast.dev)
    installing.install(app.app, cast.acme, by=cast.admin)
    factories.agree(other, cast.acme, cast.admin)
    token = AppSide(client, other, secret).client_credentials(cast.acme.slug).json()["access_token"]
    answer = client.post(
        address(connected, "events"), "{}", content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
    )
    assert answer.status_code == 404


# --- what comes back ---


def test_secrets_are_masked_in_what_comes_back(connected, vendors):
    token = Connection.objects.get(integration="calendar").tokens["access_token"]
    vendors[0].switch(
        api_fault={"status": 200, "body": f'{{"token": "{token}"}}', "headers": {"Location": f"/?{token}"}}
    )
    result = run_template(connected)
    assert token not in result.body + str(result.headers) + repr(result) and filling.MASK in result.body
    vendors[0].switch(
        api_fault={"status": 200, "headers": {"Set-Cookie": "a=b", "X-Inner": "1", "Content-Type": "text/plain"}}
    )
    assert run_template(connected).headers.keys() <= running._SHOWN


def test_of_a_secret_that_holds_another_nothing_is_left():
    secrets = {f"secret-{'x' * length}" for length in range(20)}
    request = filling.Request("GET", "https://vendor.com/", {}, secrets=secrets)
    for around in (b"", b"\xff"):
        answer = egress.Answer(200, httpx.Headers(), around + max(secrets).encode())
        result = running._result(request, answer, 1)
        body = base64.b64decode(result.body) if result.is_binary else result.body.encode()
        assert body == around + filling.MASK.encode()


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 0}])
def test_what_passes_is_tried_again_as_often_as_the_template_says(connected, vendors, fault):
    vendors[0].switch(api_fault={**fault, "times": 2})
    assert (run_template(connected).status, run_template(connected).attempts) == (200, 1)
    assert len(vendors[0].log("/api")) == 4
    vendors[0].switch(api_fault=fault)
    vendors[0].clear_log()
    if fault["status"]:
        assert (result := run_template(connected)).status == fault["status"] and result.attempts == 3
    else:
        with pytest.raises(running.VendorFailed):
            run_template(connected)
    assert len(vendors[0].log("/api")) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(connected, vendors, as_date):
    """RFC 9110, section 10.2.3."""
    wait = format_datetime(database_now() + timedelta(seconds=2), usegmt=True) if as_date else "1"
    vendors[0].switch(api_fault={"status": 429, "times": 1, "headers": {"Retry-After": wait}})
    result = run_template(connected)
    first, second = vendors[0].log("/api")
    assert result.status == 200 and second["time"] - first["time"] >= 0.5
    # What is longer than there is time is the caller's to wait.
    vendors[0].switch(api_fault={"status": 429, "headers": {"Retry-After": "3600"}})
    started = time.monotonic()
    result = run_template(connected)
    assert (result.status, result.headers["retry-after"], result.attempts) == (429, "3600", 1)
    assert time.monotonic() - started < 3600


def test_a_vendor_that_hangs_or_sends_too_much_is_the_one_that_failed(connected, browse, cast, vendors, monkeypatch):
    monkeypatch.setattr(running, "SECONDS", 0.7)
    vendors[0].switch(api_fault={"seconds": 5})
    answer = call(browse(cast.admin), connected, "events")
    assert answer.status_code == 504 and answer.json()["side"] == "vendor"
    monkeypatch.setattr(running, "SECONDS", 15)
    vendors[0].switch(api_fault={"status": 200, "body": "x" * 1024, "repeat": 7 * 1024})
    answer = call(browse(cast.admin), connected, "events")
    assert answer.status_code == 502 and "too large" in said(answer)


def test_a_token_that_the_vendor_rejects_is_renewed_once_and_the_call_repeated(connected, vendors):
    vendors[0].end_tokens("access")
    assert run_template(connected).status == 200
    assert Connection.objects.get(integration="calendar").generation == 2
    vendors[0].switch(api_fault={"status": 401})
    vendors[0].clear_log()
    assert run_template(connected).status == 401
    assert len(vendors[0].log("/api")) == 2 and len(vendors[0].log("/token")) == 1


@pytest.mark.parametrize("says_so", [False, True])
def test_what_cannot_be_renewed_breaks_only_where_the_vendor_says_that_the_token_is_over(connected, vendors, says_so):
    """A 401 alone may mean that this call is not permitted; no caller must be able to end an account's connection so."""
    row = Connection.objects.get(integration="calendar")
    row.tokens |= {"refresh_token": None}
    row.save(update_fields=["tokens"])
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if says_so else {}
    vendors[0].switch(api_fault={"status": 401, "headers": headers})
    assert run_template(connected).status == 401
    assert (Connection.objects.get(integration="calendar").broken_at is not None) == says_so


def test_a_connection_that_broke_says_so_at_every_call(connected, browse, cast, vendors):
    vendors[0].end_tokens()
    assert call(browse(cast.admin), connected, "events").json()["status"] == 401
    for _again in range(2):
        answer = call(browse(cast.admin), connected, "events")
        assert answer.status_code == 409 and "connected again" in said(answer)


def test_redirects_are_not_followed_to_another_host(connected, vendors):
    vendors[0].switch(api_fault={"status": 302, "headers": {"Location": f"{vendors[1].url}/api/items"}})
    assert run_template(connected).status == 302 and not vendors[1].log("/api")


def test_what_is_no_request_is_told_and_changes_nothing(connected, browse, cast):
    browser = browse(cast.admin)
    for sent in (
        "no json",
        "[]",
        '{"other": 1}',
        '{"context": 7}',
        '{"context": {"id": "a\\u0000"}}',
        "[" * 100000,
        '{"context": {"id": "\\ud800"}}',
    ):
        answer = browser.post(address(connected, "events"), sent, content_type="application/json")
        assert answer.status_code == 400 and said(answer), sent[:20]
    assert browser.post(address(connected, "none"), "{}", content_type="application/json").status_code == 404
    assert (
        browser.post(address(connected, "events"), b"x" * (6 * 2**20 + 1), content_type="application/json").status_code
        == 413
    )


def test_fifty_calls_a_minute_for_each_app_and_account(connected, browse, cast, settings, monkeypatch):
    settings.LIMITS_ARE_ON = True
    assert rates.RATES["requests by app and account"] == (50, 60)
    # In a longer time, so that on a busy machine no room is made meanwhile for one more.
    monkeypatch.setitem(rates.RATES, "requests by app and account", (50, 6000))
    cache.clear()
    mark = ("requests by app and account", connected.app.slug, cast.acme.slug)
    for _number in range(49):
        rates.spend(mark)
    # Shared by all who call, through Redis.
    assert call(browse(cast.admin), connected, "events").status_code == 200
    for who in (cast.admin, cast.agent):
        answer = call(browse(who), connected, "events" if who == cast.admin else "cards")
        assert answer.status_code == 429 and int(answer["Retry-After"]) > 0 and answer.json()["error"]
    rates.spend(("requests by app and account", connected.app.slug, cast.globex.slug))
    cache.clear()


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1", "127.0.0.1"])
def test_a_name_that_leads_inside_is_called_neither_for_a_template_nor_for_a_vendor(
    connected, monkeypatch, settings, address
):
    """E3, where it counts: whatever the package's check saw, the address is judged when the connection is made."""
    settings.EGRESS_ALLOW_LOOPBACK = False
    monkeypatch.setattr(egress, "_resolve", lambda host: [address])
    installation = connected.installation
    package = installation.version.package
    package["config/requests.json"]["events"]["schema"] |= {"protocol": "https", "host": "api.octo.dev"}
    caller = running.Caller(None, is_app=True)
    with pytest.raises(running.BadInput, match="not the URL of a public address"):
        running.run(installation, "events", context={"id": "7"}, caller=caller)
    calendar = Contents(package).integrations["calendar"].model_copy(update={"token_url": "https://octo.dev/token"})
    with pytest.raises(VendorError, match="not the URL of a public address"):
        Vendor(connected.app, "calendar", calendar, {"room": "4"}).exchange("code", "v" * 43)
