"""Headers: every kind of answer carries them with the production settings, whoever asks."""

import gzip
import re

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.test import Client as Browser
from django.urls import get_resolver

from credentials.models import Product
from marketplace.views import market
from portal.accounts.models import User
from portal.foundation.limits import breaker
from tests import factories
from tests.oauth import PASSWORD, authorize_url, pkce, sign_in
from tests.test_settings import production as environment
from tests.test_settings import settings_with

pytestmark = pytest.mark.django_db
KINDS = ("SECURE_", "SESSION_COOKIE_", "CSRF_COOKIE_", "LANGUAGE_COOKIE_", "CONTENT_SECURITY")
# Pages that an app's popup goes through (tests/browser/test_popup.py), without the others.
IN_AN_APPS_WINDOW = re.compile(
    "/oauth/authorize|/accounts/(login|logout|signup|inactive|confirm-email|password/reset|(2fa/)?reauthenticate"
    "|2fa/authenticate)/"
)
HTTPS = {"HTTP_X_FORWARDED_PROTO": "https"}


@pytest.fixture
def production(settings):
    """Use production's values for all settings that affect headers and cookies."""
    for name, value in settings_with(environment()).items():
        if name.startswith(KINDS):
            setattr(settings, name, value)


def has_all_headers(response, secure=True):
    policy = {part.split()[0]: part.split()[1:] for part in response["Content-Security-Policy"].split("; ")}
    assert policy["default-src"] == ["'self'"] and policy["frame-ancestors"] == ["'none'"]
    assert policy["object-src"] == policy["base-uri"] == ["'none'"]
    assert not re.search(r"unsafe|\*|https?:", response["Content-Security-Policy"])
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    in_an_apps_window = IN_AN_APPS_WINDOW.match(response.request["PATH_INFO"])
    assert response.get("Cross-Origin-Opener-Policy") == (None if in_an_apps_window else "same-origin")
    assert "camera=()" in response["Permissions-Policy"]
    if secure:
        assert response["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    for cookie in response.cookies.values():
        # A deleted cookie has no value.
        if cookie["max-age"] != 0:
            assert cookie["secure"] and cookie["httponly"] and cookie["samesite"] in ("Lax", "Strict"), (
                cookie.OutputString()
            )
    if response.headers.get("Content-Type", "").startswith("text/html") and not response.streaming:
        inline = r"<style|\sstyle=|\son\w+=\"|javascript:|<script(?![^>]*(\ssrc=|application/json))"
        assert not re.search(inline, response.content.decode())
    return True


def url_patterns_of(resolver=None, prefix=""):
    for pattern in (resolver or get_resolver()).url_patterns:
        text = prefix + str(pattern.pattern).replace("\\Z", "").strip("^$")
        if hasattr(pattern, "url_patterns"):
            yield from url_patterns_of(pattern, text)
        else:
            yield text


@pytest.mark.parametrize(
    ("who", "method"),
    [("nobody", "get"), ("nobody", "post"), ("developer", "get"), ("admin", "get"), ("staff", "get")],
)
def test_every_url_answers_everybody_with_all_headers(who, method, cast, installed, production):
    """Staff open the admin site alone: elsewhere they are somebody without a team."""
    User.objects.filter(pk=(staff := factories.reviewer()).pk).update(is_superuser=True)
    person = {"developer": cast.dev, "admin": cast.admin, "staff": User.objects.get(pk=staff.pk)}.get(who)
    known = {
        "slug": installed.version.app.slug, "client_id": installed.client.client_id, "product": "freshservice",
        "int": installed.version.pk, "uuid": installed.installation.pk, "object_id": installed.version.pk,
        "app_label": "accounts", "kind": "csv", "access_id": installed.installation.access.pk,
    }  # fmt: skip

    def fill(found):
        kind, name = found[1] or "str", found[2]
        return str(known.get(name) or known.get(kind) or "1")

    # Without a CSRF token, every URL answers and nothing changes.
    browser = Browser(enforce_csrf_checks=True)
    if person:
        sign_in(browser, person)
    kinds, seen = set(), 0
    for address in sorted(set(url_patterns_of())):
        path = re.sub(r"<(?:(\w+):)?(\w+)>", fill, re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", address))
        if "logout" in path or (who != "nobody" and path.startswith("admin/") != (who == "staff")):
            continue
        response = getattr(browser, method)(f"/{path}", **HTTPS)
        assert response.status_code < 500, path
        assert has_all_headers(response), path
        kinds.add(response.status_code)
        seen += 1
    assert seen > (30 if who == "staff" else 60)
    assert ({200, 302, 404, 403 if who == "staff" else 405} if method == "get" else {403}) <= kinds


def test_answers_without_a_view_have_all_headers_too(cast, browse, production, monkeypatch, settings):
    settings.WHITENOISE_USE_FINDERS = True
    client = browse(cast.dev)
    client.raise_request_exception = False
    for path, status in (
        ("/static/css/portal.css", 200),
        ("/static/bootstrap/css/bootstrap.min.css", 200),
        ("/static/nowhere.css", 404),
        ("/nowhere/", 404),
        ("/marketplace/?q=%00", 400),
        ("/marketplace/?q=" + "x" * 70000, 414),
        ("/.well-known/oauth-authorization-server", 200),
        ("/favicon.ico", 302),
    ):
        response = client.get(path, **HTTPS)
        assert response.status_code == status and has_all_headers(response), path
    response = client.post("/oauth/token", "x" * 2_000_000, content_type="application/json", **HTTPS)
    assert response.status_code == 413 and has_all_headers(response)
    for browser, path in ((Browser(), "/accounts/login/"), (client, "/settings/")):
        browser.handler.enforce_csrf_checks = True
        response = browser.post(path, {}, **HTTPS)
        assert response.status_code == 403 and has_all_headers(response)
    assert has_all_headers(client.get("/", **HTTPS, HTTP_HOST="elsewhere.example"))
    for problem, status in ((RuntimeError(), 500), (OperationalError(), 503)):
        monkeypatch.setattr(market, "paginate", lambda *_args, problem=problem, **_more: (_ for _ in ()).throw(problem))
        response = client.get("/marketplace/", **HTTPS)
        assert response.status_code == status and has_all_headers(response)
    settings.LIMITS_ARE_ON = True
    monkeypatch.setattr(breaker.breaker, "call", lambda *_: 7)
    response = client.get("/oauth/authorize", **HTTPS)
    assert response.status_code == 429 and response["Retry-After"] == "7" and has_all_headers(response)


def test_http_only_redirects_to_https(client, db, production):
    for path in ("/", "/accounts/login/", "/static/css/portal.css"):
        response = client.get(path)
        assert response.status_code == 301 and response["Location"] == f"https://testserver{path}"
        assert has_all_headers(response, secure=False)


def test_signing_in_sets_no_cookie_that_scripts_or_other_sites_can_use(cast, production):
    browser = Browser()
    browser.get("/accounts/login/", **HTTPS)
    response = browser.post("/accounts/login/", {"login": cast.admin.email, "password": PASSWORD}, **HTTPS)
    assert response.status_code == 302 and has_all_headers(response)
    assert {"sessionid", "csrftoken"} <= set(response.cookies)
    assert has_all_headers(browser.get(response.url, **HTTPS))


def not_cached(response, status=200):
    assert response.status_code == status, (response.status_code, response.content[:500])
    assert "no-store" in response["Cache-Control"], response.request["PATH_INFO"]
    return response


def test_pages_of_consent_and_secrets_are_not_cached(cast, installed, external, browse):
    admin, dev = browse(cast.admin), browse(cast.dev)
    url = authorize_url(external.client, pkce()[1], account=cast.acme.slug)
    not_cached(admin.get(url))
    not_cached(admin.post(url, {"decision": "agree", "shown": "stale"}), 409)
    not_cached(admin.get("/oauth/authorize"), 400)
    not_cached(admin.get(f"/authorizations/{installed.installation.access.pk}/reauthorize/"))
    installed.tokens_for(admin, account=cast.acme.slug)
    not_cached(dev.get("/credentials/new/"))
    fields = {
        "team": factories.team_of(cast.dev).pk, "name": "N", "redirect_uris": "https://app.example/cb", "kind": "external",
        "level": "account", "scope": [factories.VIEW],
    }  # fmt: skip
    assert "amp_cs_" in not_cached(dev.post("/credentials/new/", fields), 201).content.decode()
    not_cached(dev.get(f"/credentials/{installed.client.client_id}/"))
    path = f"/credentials/{installed.client.client_id}/secrets/"
    assert "amp_cs_" in not_cached(dev.post(path, {"overlap_hours": 1})).content.decode()


def test_a_products_secret_is_not_cached(cast, browse):
    staff = factories.reviewer()
    User.objects.filter(pk=staff.pk).update(is_superuser=True)
    product = Product.objects.get()
    staff.groups.add(*Group.objects.all())
    response = browse(staff).post(f"/admin/credentials/product/{product.pk}/press/secret/", {})
    assert "amp_ps_" in not_cached(response).content.decode()


def test_pages_of_passwords_and_second_factors_are_not_cached(cast):
    browser = Browser()
    for path in ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"):
        not_cached(browser.get(path))
    sign_in(browser, cast.admin)
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = not_cached(browser.get("/accounts/2fa/totp/activate/")).content.decode()
    assert "otpauth" in page or "secret" in page
    for path in ("/accounts/2fa/", "/accounts/password/change/", "/accounts/email/"):
        not_cached(browser.get(path))


def test_answers_to_programs_are_not_cached(external, installed, browse, cast, client):
    tokens = external.tokens_for(browse(cast.admin), account=cast.acme.slug)
    not_cached(external.refresh(tokens["refresh_token"]))
    not_cached(external.token(grant_type="password"), 400)
    not_cached(external.revoke(tokens["access_token"]))
    not_cached(external.call("x"), 401)
    not_cached(client.get("/oauth/check/freshservice"), 401)
    not_cached(client.post("/oauth/introspect"), 401)
    not_cached(browse(cast.admin).get("/ledger/export.csv"))


@pytest.mark.parametrize(
    "path",
    [
        "/oauth/check/freshservice", "/oauth/introspect", "/healthz", "/readyz", "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["get", "post", "head"])
def test_requests_of_gateways_products_and_probes_are_never_redirected(production, path, method):
    """They ask over http inside the network, and follow no redirects."""
    answer = getattr(Browser(), method)(path)
    assert not 300 <= answer.status_code < 400 and not answer.has_header("Location")
    assert Browser().get("/").status_code == 301, "pages are redirected to https"


def test_pages_are_compressed_and_answers_to_programs_are_not(client):
    accepts = {"HTTP_ACCEPT_ENCODING": "gzip, br"}
    page = client.get("/accounts/login/", **accepts)
    assert page["Content-Encoding"] == "gzip" and "Accept-Encoding" in page["Vary"]
    assert b"Sign in" in gzip.decompress(page.content)
    assert "Content-Encoding" not in client.get("/accounts/login/")
    assert "Content-Encoding" not in client.get("/.well-known/oauth-authorization-server", **accepts)
    assert "Content-Encoding" not in client.post("/oauth/token", **accepts)
