"""Request templates: who may run them, what of a value goes where, and what comes back when the other side fails."""

import json
import time
from datetime import timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from django.core.cache import cache
from django.db.models.functions import Now
from django.test import Client as Browser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.models import AccessToken
from credentials import actions as credentials
from credentials.models import Level
from marketplace import actions as marketplace
from marketplace import requests
from marketplace.connections import Vendor, VendorError
from marketplace.models import Connection
from marketplace.package import Contents, formats
from portal import egress, limits
from portal.database import database_now
from tests import factories
from tests.factories import VIEW
from tests.marketplace import packages
from tests.marketplace.connected import code_of_vendor, installed_with_vendors
from tests.marketplace.test_packaging import text
from tests.oauth import AppSide, agree, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def connected(multi, cast):
    """The calendar is connected for the account, and the boards for Axel."""
    for name, values, by in (("calendar", {"room": "4"}, cast.admin), ("boards", {}, cast.agent)):
        code = code_of_vendor(multi, name, values)
        marketplace.finish_connection(multi.installation, name, by=by, **code)
    return multi


def address(multi, name):
    return f"/api/v1/installations/{multi.installation.pk}/requests/{name}"


def call(browser, multi, name, /, **sent):
    """As a page of the portal calls, with the token of its session."""
    browser.get(f"/installations/{multi.installation.pk}/")
    data = {"context": {"id": "7"}, **sent}
    return browser.post(address(multi, name), json.dumps(data), content_type="application/json")


def run(multi, name="events", *, by=None, **more):
    caller = requests.Caller(by and by.memberships.get(account=multi.installation.account), is_app=by is None)
    installation = type(multi.installation).objects.get(pk=multi.installation.pk)
    return requests.run(installation, name, **{"context": {"id": "7"}, "caller": caller, **more})


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
    assert refused.status_code == 403
    marketplace.uninstall(connected.installation, by=cast.admin)
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
    marketplace.finish_connection(
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
    marketplace.publish_custom(app, accounts={cast.acme.slug}, by=cast.dev)
    marketplace.install(app.app, cast.acme, by=cast.admin)
    factories.agree(other, cast.acme, cast.admin)
    token = AppSide(client, other, secret).client_credentials(cast.acme.slug).json()["access_token"]
    answer = client.post(
        address(connected, "events"), "{}", content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}"
    )
    assert answer.status_code == 404


# --- what is sent ---


def filled(schema, values=None, fields=None, **sent):
    """A template filled in, without sending it."""
    template = formats.RequestTemplate.model_validate({"schema": {"method": "POST", "host": "api.octo.dev", **schema}})
    contents = Contents({"config/iparams.json": fields or {}})
    return requests._fill(contents, template, values or {}, requests._texts(sent), "token-0123456789", None)


SCHEMA = {
    "path": "/a/<%= context.x %>/b",
    "query": {"q": "<%= context.x %>", "fixed": "1"},
    "headers": {"X-Value": "<%= encode(context.x) %>", "Authorization": "Bearer <%= access_token %>"},
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_a_value_adds_no_segment_no_parameter_no_header_and_no_host(value):
    """Whatever it is: it arrives as it was, in its place, or is refused."""
    try:
        request = filled(SCHEMA, x=value)
    except requests.BadInput:
        assert value in ("", ".", "..") or "\0" in value
        return
    url = urlsplit(request.url)
    assert (url.scheme, url.netloc, url.fragment) == ("https", "api.octo.dev", "")
    assert [unquote(part) for part in url.path.split("/")] == ["", "a", value, "b"]
    assert parse_qsl(url.query, keep_blank_values=True) == [("q", value), ("fixed", "1")]
    assert request.headers.keys() == {"X-Value", "Authorization"}
    assert not any(character in header for header in request.headers.values() for character in "\r\n\0")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "☃"])
def test_a_value_adds_no_header(value):
    with pytest.raises(requests.BadInput):
        filled({"headers": {"X-Value": "<%= context.x %>"}}, x=value)


@pytest.mark.parametrize(
    "value", ["evil.dev/", "evil.dev#", "a.b", "a@evil.dev", "a:80", "", "-", "a b", "127.0.0.1", "a%2e"]
)
def test_a_field_is_one_label_of_the_vendors_domain(value):
    fields = {"shop": {"display_name": "Shop"}}
    with pytest.raises(requests.BadInput):
        filled({"host": "<%= iparam.shop %>.octo.dev"}, {"shop": value}, fields)
    assert filled({"host": "<%= iparam.shop %>.octo.dev"}, {"shop": "acme"}, fields).url.startswith(
        "https://acme.octo.dev/"
    )


@pytest.mark.parametrize(
    "context",
    [
        [],
        "x",
        {"a": []},
        {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
        {"a": "x" * 2001},
        {str(n): n for n in range(101)},
        {"a": "\ud800"},
        {"a": "\0"},
    ],
)
def test_a_context_that_cannot_be_used_is_refused(connected, context):
    with pytest.raises(requests.BadInput):
        run(connected, context=context)


def test_a_body_is_sent_as_it_was_given(connected, cast, vendors):
    files = connected.version.package
    template = formats.RequestTemplate.model_validate(
        files["config/requests.json"]["events"]
        | {"schema": {**files["config/requests.json"]["events"]["schema"], "method": "POST"}}
    )
    contents = Contents(files)
    for body, kind, arrived in (({"a": 1}, "application/json", '{"a": 1}'), ("plain ☃", "text/plain", "plain ☃")):
        request = requests._fill(contents, template, {}, {"context.id": "7"}, "t", body)
        assert request.body.decode() == arrived and request.headers["Content-Type"].startswith(kind)
    with pytest.raises(requests.BadInput, match="has no body"):
        run(connected, body={"a": 1})


# --- what comes back ---


def test_secrets_are_masked_in_what_comes_back(connected, vendors):
    token = Connection.objects.get(integration="calendar").tokens["access_token"]
    vendors[0].switch(
        api_fault={"status": 200, "body": f'{{"token": "{token}"}}', "headers": {"Location": f"/?{token}"}}
    )
    result = run(connected)
    assert token not in result.body + str(result.headers) + repr(result) and requests.MASK in result.body
    vendors[0].switch(
        api_fault={"status": 200, "headers": {"Set-Cookie": "a=b", "X-Inner": "1", "Content-Type": "text/plain"}}
    )
    assert run(connected).headers.keys() <= requests._SHOWN


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 0}])
def test_what_passes_is_tried_again_as_often_as_the_template_says(connected, vendors, fault):
    vendors[0].switch(api_fault={**fault, "times": 2})
    assert (run(connected).status, run(connected).attempts) == (200, 1)
    assert len(vendors[0].log("/api")) == 4
    vendors[0].switch(api_fault=fault)
    vendors[0].clear_log()
    if fault["status"]:
        assert (result := run(connected)).status == fault["status"] and result.attempts == 3
    else:
        with pytest.raises(requests.VendorFailed):
            run(connected)
    assert len(vendors[0].log("/api")) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(connected, vendors, as_date):
    """RFC 9110, section 10.2.3."""
    wait = format_datetime(database_now() + timedelta(seconds=2), usegmt=True) if as_date else "1"
    vendors[0].switch(api_fault={"status": 429, "times": 1, "headers": {"Retry-After": wait}})
    result = run(connected)
    first, second = vendors[0].log("/api")
    assert result.status == 200 and second["time"] - first["time"] >= 0.5
    # What is longer than there is time is the caller's to wait.
    vendors[0].switch(api_fault={"status": 429, "headers": {"Retry-After": "3600"}})
    started = time.monotonic()
    result = run(connected)
    assert (result.status, result.headers["retry-after"], result.attempts) == (429, "3600", 1)
    assert time.monotonic() - started < 5


def test_a_vendor_that_hangs_or_sends_too_much_is_the_one_that_failed(connected, browse, cast, vendors, monkeypatch):
    monkeypatch.setattr(requests, "SECONDS", 0.7)
    vendors[0].switch(api_fault={"seconds": 5})
    answer = call(browse(cast.admin), connected, "events")
    assert answer.status_code == 504 and answer.json()["side"] == "vendor"
    monkeypatch.setattr(requests, "SECONDS", 15)
    vendors[0].switch(api_fault={"status": 200, "body": "x" * 1024, "repeat": 7 * 1024})
    answer = call(browse(cast.admin), connected, "events")
    assert answer.status_code == 502 and "too large" in said(answer)


def test_a_token_that_the_vendor_rejects_is_renewed_once_and_the_call_repeated(connected, vendors):
    vendors[0].end_tokens("access")
    assert run(connected).status == 200
    assert Connection.objects.get(integration="calendar").generation == 2
    vendors[0].switch(api_fault={"status": 401})
    vendors[0].clear_log()
    assert run(connected).status == 401
    assert len(vendors[0].log("/api")) == 2 and len(vendors[0].log("/token")) == 1


@pytest.mark.parametrize("says_so", [False, True])
def test_what_cannot_be_renewed_breaks_only_where_the_vendor_says_that_the_token_is_over(connected, vendors, says_so):
    """A 401 alone may mean that this call is not permitted; no caller must be able to end an account's connection so."""
    row = Connection.objects.get(integration="calendar")
    row.tokens |= {"refresh_token": None}
    row.save(update_fields=["tokens"])
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if says_so else {}
    vendors[0].switch(api_fault={"status": 401, "headers": headers})
    assert run(connected).status == 401
    assert (Connection.objects.get(integration="calendar").broken_at is not None) == says_so


def test_a_connection_that_broke_says_so_at_every_call(connected, browse, cast, vendors):
    vendors[0].end_tokens()
    assert call(browse(cast.admin), connected, "events").json()["status"] == 401
    for _again in range(2):
        answer = call(browse(cast.admin), connected, "events")
        assert answer.status_code == 409 and "connected again" in said(answer)


def test_redirects_are_not_followed_to_another_host(connected, vendors):
    vendors[0].switch(api_fault={"status": 302, "headers": {"Location": f"{vendors[1].url}/api/items"}})
    assert run(connected).status == 302 and not vendors[1].log("/api")


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


def test_fifty_calls_a_minute_for_each_app_and_account(connected, browse, cast, settings):
    settings.LIMITS_ARE_ON = True
    cache.clear()
    mark = ("requests by app and account", connected.app.slug, cast.acme.slug)
    for _number in range(49):
        limits.spend(mark)
    # Shared by all who call, through Redis.
    assert call(browse(cast.admin), connected, "events").status_code == 200
    for who in (cast.admin, cast.agent):
        answer = call(browse(who), connected, "events" if who == cast.admin else "cards")
        assert answer.status_code == 429 and int(answer["Retry-After"]) > 0 and answer.json()["error"]
    limits.spend(("requests by app and account", connected.app.slug, cast.globex.slug))
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
    caller = requests.Caller(None, is_app=True)
    with pytest.raises(requests.BadInput, match="not the URL of a public address"):
        requests.run(installation, "events", context={"id": "7"}, caller=caller)
    calendar = Contents(package).integrations["calendar"].model_copy(update={"token_url": "https://octo.dev/token"})
    with pytest.raises(VendorError, match="not the URL of a public address"):
        Vendor(connected.app, "calendar", calendar, {"room": "4"}).exchange("code", "v" * 43)


# --- the company's own products ---


@pytest.mark.django_db(transaction=True)
def test_a_template_of_the_portals_own_has_a_token_for_that_one_call(cast, servers, browse):
    """Under the live consent, in-process: nothing is kept, and what was used is dead when the call is over."""
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
    app = marketplace.create_app(factories.team_of(cast.dev), slug="own", category="other", client=row, by=cast.dev)
    version = marketplace.create_version(app, by=cast.dev, **factories.version_fields())
    version = marketplace.change_version(version, by=cast.dev, package=files)
    factories.product().endpoints.create(method="GET", path="/sandbox/api/v2/tickets", scopes=[VIEW])
    marketplace.publish_custom(version, accounts={cast.acme.slug}, by=cast.dev)
    own = type("Own", (), {"installation": marketplace.install(app, cast.acme, by=cast.admin), "app": app})
    with pytest.raises(requests.NeedsConnection):
        run(own, "tickets", by=cast.admin)
    consent = factories.agree(row, cast.acme, cast.admin)
    assert "tickets" in json.loads(run(own, "tickets", by=cast.admin).body)
    [token] = AccessToken.objects.all()
    assert token.consent == consent and token.revoked_at and token.family is None
    assert token.expires - token.created <= timedelta(minutes=1)
    marketplace.uninstall(own.installation, by=cast.admin)
    with pytest.raises(requests.NeedsConnection):
        run(own, "tickets", by=cast.admin)


def test_an_agent_level_app_that_the_portal_hosts_needs_no_install_url(cast, browse):
    """Its request templates are what it does; each agent authorizes it by the portal's own flow."""
    row = factories.client(cast.dev, level=Level.AGENT)[0]
    draft = factories.app(cast.dev, row, required_scopes=[VIEW])
    with pytest.raises(marketplace.NotReady, match="install URL, or request templates"):
        marketplace.submit_version(draft, by=cast.dev)
    files = packages.good(row, scope=VIEW)
    files["config/oauth_config.json"]["integrations"] = {
        "portal": files["config/oauth_config.json"]["integrations"]["portal"] | {"token_type": "agent"}
    }
    files["config/requests.json"] = {"tickets": files["config/requests.json"]["tickets"]}
    files["manifest.json"]["modules"]["common"]["requests"] = {"tickets": {}}
    draft = marketplace.change_version(draft, by=cast.dev, package=files)
    marketplace.publish_custom(draft, accounts={cast.acme.slug}, by=cast.dev)
    installation = marketplace.install(draft.app, cast.acme, by=cast.admin)
    axel = browse(cast.agent)
    asked = axel.get(f"/installations/{installation.pk}/connect/")["Location"]
    assert asked.startswith("/oauth/authorize?")
    answer = agree(axel, asked)
    assert answer.status_code == 303 and "/oauth/callback?" in answer["Location"]
    there = urlsplit(answer["Location"])
    assert axel.get(f"{there.path}?{there.query}").status_code == 302
    caller = requests.Caller(cast.agent.memberships.get())
    assert requests.templates_for(installation, caller).keys() == {"tickets"}
    # Another agent has not agreed, and so has nothing to call with.
    with pytest.raises(requests.NeedsConnection):
        requests.run(
            installation, "tickets", context={"ticket": 1}, caller=requests.Caller(cast.agent2.memberships.get())
        )


# --- the console ---


def test_the_console_shows_what_went_out_and_what_came_back(connected, browse, cast):
    browser, page = browse(cast.admin), f"/installations/{connected.installation.pk}/console/"
    assert "Try its requests" in text(browser.get(f"/installations/{connected.installation.pk}/"))
    assert '"id": ""' in text(browser.get(f"{page}?template=events"))
    shown = browser.post(page, {"template": "events", "context": '{"id": "a b"}', "body": ""})
    token = Connection.objects.get(integration="calendar").tokens["access_token"]
    assert "/api/items/a%20b" in text(shown) and "Bearer ••••••" in text(shown)
    assert "What came back: 200" in text(shown) and token not in shown.content.decode()
    for context, said in (("no", "not JSON"), ("[]", "Write an object")):
        answer = browser.post(page, {"template": "events", "context": context})
        assert answer.status_code == 422 and said in text(answer)
    assert "Nothing was sent" in text(browser.post(page, {"template": "events", "context": '{"id": ".."}'}))
    # An agent is offered what an agent may run.
    assert "events" not in text(browse(cast.agent).get(page)) and "cards" in text(browse(cast.agent).get(page))
    assert browse(cast.agent).post(page, {"template": "events", "context": "{}"}).status_code == 422


def test_the_consoles_failures_say_which_side_failed(connected, browse, cast, vendors):
    page = f"/installations/{connected.installation.pk}/console/"
    vendors[0].switch(api_fault={"status": 0})
    assert "The other side failed" in text(
        browse(cast.admin).post(page, {"template": "events", "context": '{"id": 1}'})
    )
    Connection.objects.update(broken_at=Now(), problem="invalid_grant")
    assert "Nothing was sent" in text(browse(cast.admin).post(page, {"template": "events", "context": '{"id": 1}'}))


def test_a_body_that_could_just_be_read_and_not_be_written_is_refused(connected):
    body = []
    for _level in range(2000):
        body = [body]
    with pytest.raises(requests.BadInput, match="nested"):
        requests._body("POST", body)
