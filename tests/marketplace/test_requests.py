"""Request templates: who may run them, and what comes back, even when the vendor fails."""

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


def request_url(multi, name):
    return f"/api/v1/installations/{multi.installation.pk}/requests/{name}"


def call(browser, multi, name, /, **sent):
    """Call like a page of the portal, with its session's CSRF token."""
    browser.get(f"/installations/{multi.installation.pk}/")
    data = {"context": {"id": "7"}, **sent}
    return browser.post(request_url(multi, name), json.dumps(data), content_type="application/json")


def secret_of(multi, cast):
    _row, secret = credentials.rotate_secret(multi.client, overlap_hours=0, by=cast.dev)
    return multi.client, secret


def description_of(answer):
    return answer.json()["error_description"]


# --- who ---


def test_an_admin_uses_the_accounts_connection(connected_app, browse, cast, vendors):
    answer = call(browse(cast.admin), connected_app, "events")
    assert answer.status_code == 200, answer.content
    result = answer.json()
    echoed = json.loads(result["body"])
    assert (result["status"], echoed["method"], echoed["path"]) == (200, "GET", "/api/items/7")
    assert result["headers"]["content-type"] == "application/json" and answer["Cache-Control"] == "no-store"
    sent = vendors[0].log("/api")[-1]["headers"]["authorization"]
    assert sent == f"Bearer {Connection.objects.get(integration='calendar').tokens['access_token']}"


def test_the_app_runs_a_template_with_its_own_access_token(connected_app, cast, client):
    factories.agree(connected_app.client, cast.acme, cast.admin)
    side = AppSide(client, *secret_of(connected_app, cast))
    token = side.client_credentials(cast.acme.slug).json()["access_token"]
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}", "content_type": "application/json"}
    answer = Browser(enforce_csrf_checks=True).post(
        request_url(connected_app, "events"), '{"context": {"id": 7}}', **headers
    )
    assert answer.status_code == 200, answer.content
    # Which agent's connection would it use?
    refused = Browser().post(request_url(connected_app, "cards"), "{}", **headers)
    assert (
        refused.status_code == 403
        and "This template uses each agent’s own connection, so the agent must run it." in description_of(refused)
    )
    installing.uninstall(connected_app.installation, by=cast.admin)
    ended = Browser().post(request_url(connected_app, "events"), "{}", **headers)
    assert ended.status_code == 401 and "uninstalled" in description_of(ended)


def test_an_agent_uses_only_their_own_connection(connected_app, browse, cast):
    axel, ana = browse(cast.agent), browse(cast.agent2)
    assert json.loads(call(axel, connected_app, "cards").json()["body"])["path"] == "/api/items"
    waiting = call(ana, connected_app, "cards")
    assert waiting.status_code == 409 and "not connected" in description_of(waiting)
    assert waiting.json()["connect_url"].endswith(f"/installations/{connected_app.installation.pk}/")
    # Nor can an admin use an agent's.
    assert call(browse(cast.admin), connected_app, "cards").status_code == 409
    assert call(axel, connected_app, "events").status_code == 403


def test_agents_use_the_accounts_connection_if_the_package_and_the_listing_say_so(cast, browse, vendors):
    multi = installed_with_vendors(cast, vendors, agents=True)
    connecting.finish_connection(
        multi.installation, "calendar", by=cast.admin, **code_of_vendor(multi, "calendar", {"room": "4"})
    )
    axel = browse(cast.agent)
    assert call(axel, multi, "events").status_code == 200
    assert "Every agent in the account can use what the admin connected for:" in text(
        axel.get(f"/marketplace/{multi.app.slug}/")
    )


def test_strangers_learn_nothing(connected_app, browse, cast, client):
    """E1"""
    for who in (cast.globex_admin, cast.globex_agent, cast.dev, cast.other_dev):
        browser = Browser()
        sign_in(browser, who)
        answer = browser.post(request_url(connected_app, "events"), "{}", content_type="application/json")
        assert answer.status_code == 404
        assert browser.get(f"/installations/{connected_app.installation.pk}/console/").status_code == 404
    out = client.post(request_url(connected_app, "events"), "{}", content_type="application/json")
    assert out.status_code == 401 and out["WWW-Authenticate"].startswith("Bearer ") and "error" not in out.json()
    strict = Browser(enforce_csrf_checks=True)
    sign_in(strict, cast.admin)
    assert strict.post(request_url(connected_app, "events"), "{}", content_type="application/json").status_code == 403
    made_up = client.post(
        request_url(connected_app, "events"), "{}", content_type="application/json", HTTP_AUTHORIZATION="Bearer x"
    )
    assert made_up.status_code == 401
    for method in ("get", "put", "patch", "delete"):
        assert getattr(browse(cast.admin), method)(request_url(connected_app, "events")).status_code == 405


def test_another_apps_token_runs_nothing_here(connected_app, cast, client):
    other, secret = factories.client(cast.dev, name="Another")
    app = factories.app(cast.dev, other, required_scopes=[VIEW])
    publishing.publish_custom(app, accounts={cast.acme.slug}, by=cast.dev)
    installing.install(app.app, cast.acme, by=cast.admin)
    factories.agree(other, cast.acme, cast.admin)
    token = AppSide(client, other, secret).client_credentials(cast.acme.slug).json()["access_token"]
    answer = client.post(
        request_url(connected_app, "events"),
        "{}",
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {token}",
    )
    assert answer.status_code == 404


# --- what comes back ---


def test_secrets_are_masked_in_what_comes_back(connected_app, vendors):
    token = Connection.objects.get(integration="calendar").tokens["access_token"]
    vendors[0].switch(
        api_fault={"status": 200, "body": f'{{"token": "{token}"}}', "headers": {"Location": f"/?{token}"}}
    )
    result = run_template(connected_app)
    assert token not in result.body + str(result.headers) + repr(result) and filling.MASK in result.body
    vendors[0].switch(
        api_fault={"status": 200, "headers": {"Set-Cookie": "a=b", "X-Inner": "1", "Content-Type": "text/plain"}}
    )
    assert run_template(connected_app).headers.keys() <= running._SHOWN


def test_a_secret_that_contains_another_is_masked_completely():
    secrets = {f"secret-{'x' * length}" for length in range(20)}
    request = filling.Request("GET", "https://vendor.com/", {}, secrets=secrets)
    for around in (b"", b"\xff"):
        answer = egress.Answer(200, httpx.Headers(), around + max(secrets).encode())
        result = running._result(request, answer, 1)
        body = base64.b64decode(result.body) if result.is_binary else result.body.encode()
        assert body == around + filling.MASK.encode()


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 0}])
def test_a_temporary_failure_is_retried_as_often_as_the_template_says(connected_app, vendors, fault):
    vendors[0].switch(api_fault={**fault, "times": 2})
    assert (run_template(connected_app).status, run_template(connected_app).attempts) == (200, 1)
    assert len(vendors[0].log("/api")) == 4
    vendors[0].switch(api_fault=fault)
    vendors[0].clear_log()
    if fault["status"]:
        assert (result := run_template(connected_app)).status == fault["status"] and result.attempts == 3
    else:
        with pytest.raises(running.VendorFailed):
            run_template(connected_app)
    assert len(vendors[0].log("/api")) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(connected_app, vendors, as_date):
    """RFC 9110, section 10.2.3."""
    wait = format_datetime(database_now() + timedelta(seconds=2), usegmt=True) if as_date else "1"
    vendors[0].switch(api_fault={"status": 429, "times": 1, "headers": {"Retry-After": wait}})
    result = run_template(connected_app)
    first, second = vendors[0].log("/api")
    assert result.status == 200 and second["time"] - first["time"] >= 0.5
    # A longer delay than the time limit is left to the caller.
    vendors[0].switch(api_fault={"status": 429, "headers": {"Retry-After": "3600"}})
    started = time.monotonic()
    result = run_template(connected_app)
    assert (result.status, result.headers["retry-after"], result.attempts) == (429, "3600", 1)
    assert time.monotonic() - started < 3600


def test_a_vendor_that_hangs_or_sends_too_much_is_reported_as_failing(
    connected_app, browse, cast, vendors, monkeypatch
):
    monkeypatch.setattr(running, "SECONDS", 0.7)
    vendors[0].switch(api_fault={"seconds": 5})
    answer = call(browse(cast.admin), connected_app, "events")
    assert answer.status_code == 504 and answer.json()["side"] == "vendor"
    monkeypatch.setattr(running, "SECONDS", 15)
    vendors[0].switch(api_fault={"status": 200, "body": "x" * 1024, "repeat": 7 * 1024})
    answer = call(browse(cast.admin), connected_app, "events")
    assert answer.status_code == 502 and "too large" in description_of(answer)


def test_a_token_rejected_by_the_vendor_is_refreshed_once_and_the_call_repeated(connected_app, vendors):
    vendors[0].end_tokens("access")
    assert run_template(connected_app).status == 200
    assert Connection.objects.get(integration="calendar").generation == 2
    vendors[0].switch(api_fault={"status": 401})
    vendors[0].clear_log()
    assert run_template(connected_app).status == 401
    assert len(vendors[0].log("/api")) == 2 and len(vendors[0].log("/token")) == 1


@pytest.mark.parametrize("says_so", [False, True])
def test_a_connection_without_refresh_breaks_only_if_the_vendor_calls_its_token_invalid(
    connected_app, vendors, says_so
):
    """A 401 alone may mean that the call is not permitted, and callers must not be able to end an account's connection."""
    row = Connection.objects.get(integration="calendar")
    row.tokens |= {"refresh_token": None}
    row.save(update_fields=["tokens"])
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if says_so else {}
    vendors[0].switch(api_fault={"status": 401, "headers": headers})
    assert run_template(connected_app).status == 401
    assert (Connection.objects.get(integration="calendar").broken_at is not None) == says_so


def test_a_connection_that_broke_says_so_at_every_call(connected_app, browse, cast, vendors):
    vendors[0].end_tokens()
    assert call(browse(cast.admin), connected_app, "events").json()["status"] == 401
    for _again in range(2):
        answer = call(browse(cast.admin), connected_app, "events")
        assert answer.status_code == 409 and "connected again" in description_of(answer)


def test_redirects_are_not_followed_to_another_host(connected_app, vendors):
    vendors[0].switch(api_fault={"status": 302, "headers": {"Location": f"{vendors[1].url}/api/items"}})
    assert run_template(connected_app).status == 302 and not vendors[1].log("/api")


def test_a_malformed_request_is_explained_and_changes_nothing(connected_app, browse, cast):
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
        answer = browser.post(request_url(connected_app, "events"), sent, content_type="application/json")
        assert answer.status_code == 400 and description_of(answer), sent[:20]
    assert browser.post(request_url(connected_app, "none"), "{}", content_type="application/json").status_code == 404
    assert (
        browser.post(
            request_url(connected_app, "events"), b"x" * (6 * 2**20 + 1), content_type="application/json"
        ).status_code
        == 413
    )


def test_each_app_may_make_fifty_calls_a_minute_per_account(connected_app, browse, cast, settings, monkeypatch):
    settings.LIMITS_ARE_ON = True
    assert rates.RATES["requests by app and account"] == (50, 60)
    # Over a longer time, so that a busy machine does not make room for another call.
    monkeypatch.setitem(rates.RATES, "requests by app and account", (50, 6000))
    cache.clear()
    mark = ("requests by app and account", connected_app.app.slug, cast.acme.slug)
    for _number in range(49):
        rates.spend(mark)
    # All callers share the limit, through Redis.
    assert call(browse(cast.admin), connected_app, "events").status_code == 200
    for who in (cast.admin, cast.agent):
        answer = call(browse(who), connected_app, "events" if who == cast.admin else "cards")
        assert answer.status_code == 429 and int(answer["Retry-After"]) > 0 and answer.json()["error"]
    rates.spend(("requests by app and account", connected_app.app.slug, cast.globex.slug))
    cache.clear()


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1", "127.0.0.1"])
def test_a_name_that_resolves_to_an_internal_address_is_never_called(connected_app, monkeypatch, settings, address):
    """E3: whatever the package's check saw, the address is checked when the connection is made."""
    settings.EGRESS_ALLOW_LOOPBACK = False
    monkeypatch.setattr(egress, "_resolve", lambda host: [address])
    installation = connected_app.installation
    package = installation.version.package
    package["config/requests.json"]["events"]["schema"] |= {"protocol": "https", "host": "api.octo.dev"}
    caller = running.Caller(None, is_app=True)
    with pytest.raises(running.BadInput, match="not the URL of a public address"):
        running.run(installation, "events", context={"id": "7"}, caller=caller)
    calendar = Contents(package).integrations["calendar"].model_copy(update={"token_url": "https://octo.dev/token"})
    with pytest.raises(VendorError, match="not the URL of a public address"):
        Vendor(connected_app.app, "calendar", calendar, {"room": "4"}).exchange("code", "v" * 43)
