"""Limits: people who try too often are told how long to wait, strangers lock nobody out, and Redis may be away."""

from urllib.parse import urlencode

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.core.cache import cache
from django.test import Client as Browser
from django.urls import reverse

from credentials.actions import make_product_secret
from credentials.models import Kind, Product
from credentials.secrets import CLIENT_SECRET, generate
from portal.foundation.limits import breaker, rates
from tests import factories
from tests.oauth import PASSWORD, AppSide, authorize_url, basic, pkce
from tests.portal.test_counting import keys

pytestmark = pytest.mark.django_db
HERE, ELSEWHERE = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}
FORM = "application/x-www-form-urlencoded"


def is_refused(response, wait=60):
    """Tell whether an answer is an uncached 429 that says in its text and a header how long to wait."""
    assert response.status_code == 429, response.content
    assert 0 < int(response["Retry-After"]) <= wait and "no-store" in response["Cache-Control"]
    assert f"Wait {response['Retry-After']} second" in response.content.decode()
    return True


# --- token, revoke, introspect, check ---


def ask(client, path, auth, where, **form):
    return client.post(path, urlencode(form), content_type=FORM, **basic(*auth), **where)


def token(client, side, where=HERE, secret=None):
    form = {"grant_type": "client_credentials", "account": "nobody"}
    return ask(client, "/oauth/token", (side.client.client_id, secret or side.secret), where, **form)


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
def test_wrong_secrets_are_refused_after_twenty_a_minute_and_lock_nobody_out_elsewhere(
    rate, external, cast, client, path
):
    form = {"grant_type": "client_credentials", "account": "nobody", "token": "x"}
    # The real number, but per hour, so that a slow machine does not make room for another.
    rate("token failed by address and client", rates.RATES["token failed by address and client"][0], 3600)
    names = {"/oauth/token": ["grant_type", "account"], "/oauth/revoke": ["token"]}[path]
    form = {name: form[name] for name in names}
    mine, works = (external.client.client_id, external.secret), {"/oauth/token": 400, "/oauth/revoke": 200}[path]
    for _number in range(20):
        assert ask(client, path, (mine[0], "amp_cs_wrong"), HERE, **form).status_code == 401
    refused = ask(client, path, (mine[0], "amp_cs_wrong"), HERE, **form)
    assert is_refused(refused, 3600) and refused.json()["error"] == "temporarily_unavailable"
    for where in (HERE, ELSEWHERE):
        assert ask(client, path, mine, where, **form).status_code == works, "a worker with the right secret continues"
    other = AppSide(client, *factories.client(cast.other_dev, kind=Kind.EXTERNAL))
    assert ask(client, path, (other.client.client_id, other.secret), HERE, **form).status_code == works


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/api/v1/packages/check"])
def test_the_right_secret_passes_after_any_number_of_wrong_ones_from_its_address(rate, external, client, path):
    for name in ("token failed by address", "token failed by address and client", "introspection failed by address"):
        rate(name, 1, 3600)
    product = path == "/oauth/introspect"
    name, secret = (
        ("freshservice", make_product_secret(Product.objects.get(), by=None))
        if product
        else (external.client.client_id, external.secret)
    )
    form = {"grant_type": "client_credentials", "account": "nobody"} if path == "/oauth/token" else {"token": "x"}

    def status(secret):
        return ask(client, path, (name, secret), HERE, **form).status_code

    assert [status(secret[:-1] + "!") for _number in range(3)] == [401, 429, 429]
    assert status(secret) not in (401, 429)
    assert status(secret[:-1] + "!") == 429


def test_a_token_request_asks_redis_once(rate, external, client, monkeypatch):
    """Twice where the secret might have been right: what was counted for its client is given back."""
    asked, call = [], breaker.breaker.call
    monkeypatch.setattr(breaker.breaker, "call", lambda *given: asked.append(1) or call(*given))
    for name, secret, times in (
        (external.client.client_id, external.secret, 1),
        (external.client.client_id, "x", 1),
        (external.client.client_id, generate(CLIENT_SECRET), 2),
        ("unknown", "x", 1),
    ):
        for account in ("nobody", "nowhere"):
            asked.clear()
            form = {"grant_type": "client_credentials", "account": account}
            assert ask(client, "/oauth/token", (name, secret), HERE, **form).status_code in (400, 401)
            assert len(asked) == times


def test_wrong_secrets_for_many_clients_are_refused_by_address(rate, external, client):
    rate("token failed by address", 5, 60)
    form = {"grant_type": "client_credentials", "account": "nobody"}
    for number in range(5):
        assert ask(client, "/oauth/token", (f"no-{number}", "x"), HERE, **form).status_code == 401
    assert is_refused(ask(client, "/oauth/token", ("no-5", "x"), HERE, **form))
    assert token(client, external, ELSEWHERE).status_code == 400


def test_a_client_is_limited_wherever_it_calls_from(rate, external, cast, client):
    rate("token by client", 3, 60)
    for number in range(10):
        token(client, external, {"REMOTE_ADDR": f"203.0.113.{number}"}, secret="amp_cs_wrong")
    for number in range(3):
        assert token(client, external, {"REMOTE_ADDR": f"198.51.100.{number}"}).status_code == 400, (
            "strangers do not count"
        )
    assert is_refused(token(client, external))
    assert token(client, AppSide(client, *factories.client(cast.dev, kind=Kind.EXTERNAL))).status_code == 400


def test_an_address_is_limited_whatever_client_it_names(rate, external, client):
    rate("token by address", 3, 60)
    for _number in range(3):
        assert token(client, external).status_code == 400
    assert is_refused(token(client, external))
    assert token(client, external, ELSEWHERE).status_code == 400


def test_a_refused_refresh_uses_up_nothing(rate, external, browse, cast):
    tokens = external.tokens_for(browse(cast.admin), account=cast.acme.slug)
    rate("token by client", 1, 60)
    cache.clear()
    tokens = external.refresh(tokens["refresh_token"]).json()
    assert is_refused(external.refresh(tokens["refresh_token"]))
    cache.clear()
    assert external.refresh(tokens["refresh_token"]).status_code == 200


def test_only_failed_introspection_counts_and_an_authenticated_product_is_never_refused(rate, cast, client):
    secret = make_product_secret(Product.objects.get(), by=None)

    def introspect(value):
        return ask(client, "/oauth/introspect", ("freshservice", value), HERE, token="x")

    rate("introspection failed by address", 5, 60)
    for _number in range(5):
        assert introspect("amp_ps_wrong").status_code == 401
    assert is_refused(introspect("amp_ps_wrong"))
    cache.clear()
    for _number in range(10):
        assert introspect(secret).status_code == 200
    assert keys() == []


def test_a_check_never_asks_redis(rate, client, cast, monkeypatch):
    """A gateway asks about every call, valid or not, from one address, and understands only 2xx, 401 and 403."""
    monkeypatch.setattr(breaker.breaker, "call", lambda *_: pytest.fail("Redis was asked"))
    headers = {"HTTP_X_ORIGINAL_METHOD": "GET", "HTTP_X_ORIGINAL_URI": "/api/v2/tickets"}
    for number in range(25):
        value = {"HTTP_AUTHORIZATION": f"Bearer amp_at_{number}"}
        assert client.get("/oauth/check/freshservice", **headers, **value).status_code == 401
        assert client.get("/sandbox/api/v2/tickets", **value).status_code == 401


def test_the_limits_let_a_client_refresh_thousands_of_accounts_at_once():
    by_client, by_address = rates.RATES["token by client"][0], rates.RATES["token by address"][0]
    assert 8 * 1000 < by_client < by_address


# --- pages ---


@pytest.mark.parametrize("name", ["authorize by address", "authorize by address and client"])
def test_authorize_is_limited_with_a_page(rate, external, cast, browse, client, name):
    rate(name, 3, 60)
    url = authorize_url(external.client, pkce()[1], account=cast.acme.slug)
    admin = browse(cast.admin)
    for _number in range(3):
        assert admin.get(url, **HERE).status_code == 200
    for response in (admin.get(url, **HERE), admin.post(url, {"decision": "agree"}, **HERE), client.get(url, **HERE)):
        assert is_refused(response) and "css/portal.css" in response.content.decode()
    assert admin.get(url, **ELSEWHERE).status_code == 200
    other = authorize_url(factories.client(cast.dev, kind=Kind.EXTERNAL)[0], pkce()[1], account=cast.acme.slug)
    assert admin.get(other, **HERE).status_code == (429 if name == "authorize by address" else 200)


def sign_in(user, where=HERE, password=PASSWORD):
    return Browser().post(reverse("account_login"), {"login": user.email, "password": password}, **where)


def test_five_wrong_passwords_stop_the_sixth_there_and_let_the_owner_in_elsewhere(rate, cast):
    for _number in range(5):
        assert sign_in(cast.admin, password="wrong").status_code == 200
    for response in (sign_in(cast.admin, password="wrong"), sign_in(cast.admin)):
        assert is_refused(response) and "css/portal.css" in response.content.decode()
    assert sign_in(cast.admin, ELSEWHERE).status_code == 302
    assert sign_in(cast.agent).status_code == 302, "somebody else in the same office"


def test_a_successful_sign_in_does_not_count_as_a_failure(rate, cast):
    for _number in range(12):
        assert sign_in(cast.admin).status_code == 302


@pytest.mark.parametrize("name", ["sign-in by address", "sign-in failed by address"])
def test_an_address_that_tries_many_people_is_stopped(rate, cast, name):
    rate(name, 3, 60)
    for user in (cast.admin, cast.agent, cast.dev):
        assert sign_in(user, password="wrong").status_code == 200
    assert is_refused(sign_in(cast.agent2))
    assert sign_in(cast.agent2, ELSEWHERE).status_code == 302


def test_the_staffs_sign_in_has_the_same_limits(rate, cast):
    for _number in range(5):
        sign_in(cast.admin, password="wrong")
    where = Browser().get("/admin/", follow=True).redirect_chain[-1][0]
    assert is_refused(Browser().post(where, {"login": cast.admin.email, "password": PASSWORD}, **HERE))


def test_reauthenticating_by_password_is_limited_too(rate, cast, browse):
    browser = browse(cast.admin)
    for _number in range(5):
        assert browser.post(reverse("account_reauthenticate"), {"password": "wrong"}, **HERE).status_code == 200
    assert is_refused(browser.post(reverse("account_reauthenticate"), {"password": "wrong"}, **HERE))


def test_a_second_factor_is_limited_by_person_wherever_it_is_tried(rate, cast):
    """Only somebody who knows the password gets there, so strangers lock nobody out."""
    TOTP.activate(cast.admin, generate_totp_secret())
    for number in range(6):
        where = {"REMOTE_ADDR": f"203.0.113.{number}"}
        browser = Browser()
        response = browser.post(reverse("account_login"), {"login": cast.admin.email, "password": PASSWORD}, **where)
        assert response.url == reverse("mfa_authenticate")
        response = browser.post(response.url, {"code": "000000"}, **where)
        assert response.status_code == 200 if number < 5 else is_refused(response, 300)


def test_allauths_limits_answer_with_our_page(rate, cast, client):
    for _number in range(5):
        response = client.post(reverse("account_reset_password"), {"email": cast.admin.email}, **HERE)
        assert response.status_code == 302
    response = client.post(reverse("account_reset_password"), {"email": cast.admin.email}, **HERE)
    assert is_refused(response) and "css/portal.css" in response.content.decode()
    assert EmailAddress.objects.filter(user=cast.admin).exists()
