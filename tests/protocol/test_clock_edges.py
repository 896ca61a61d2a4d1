"""The exact moment at which each thing ends: the clock stands still one microsecond before it, then on it (T5, T6, C3)."""

import datetime as dt

import pytest

from consent.models import AccessToken, AuthorizationCode, Consent, RefreshToken
from credentials import actions as credentials
from credentials.actions import make_product_secret
from credentials.models import ClientSecret, ProductSecret
from tests import factories
from tests.clock import stopped
from tests.oauth import answer, authorize_url, basic, pkce
from tests.protocol.asking import nothing_changed, refused

pytestmark = pytest.mark.django_db

TICK = dt.timedelta(microseconds=1)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def clock(tokens):
    """A function that sets the clock, once everything is there."""
    with stopped() as set_clock:
        yield set_clock


def test_the_clock_of_these_tests_stands_still_for_all_that_asks(clock):
    """What the others rest on."""
    from django.db.models.functions import Now

    from portal.foundation.database import database_now

    time = dt.datetime(2031, 2, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
    clock(time)
    assert database_now() == AccessToken.objects.annotate(now=Now()).get().now == time


def test_an_access_token_is_good_before_its_last_moment_and_not_on_it(clock, external, tokens, send):
    """RFC 6749 section 4.2.2 (expires_in), RFC 7662 section 2.2 (exp)"""
    secret = make_product_secret(factories.product(), by=None)
    end = AccessToken.objects.get().expires

    def told():
        answer = send("introspect", f"token={tokens['access_token']}", **basic("freshservice", secret)).json()
        return external.call(tokens["access_token"]).status_code, answer["active"]

    clock(end - TICK)
    assert told() == (200, True)
    clock(end)
    assert told() == (401, False)
    assert external.call(tokens["access_token"]).json()["error_description"] == "The access token has expired"


@pytest.mark.parametrize(("late", "status"), [(-TICK, 200), (dt.timedelta(0), 400)])
def test_a_code_is_good_before_its_last_moment_and_not_on_it(clock, external, ada, cast, late, status):
    """RFC 6749 section 4.1.2"""
    clock(AccessToken.objects.get().created)
    code, verifier = external.code_for(ada, account=cast.acme.slug, prompt="consent")
    row = AuthorizationCode.objects.get(used_at=None)
    assert row.expires - AccessToken.objects.get().created == MINUTE
    clock(row.expires + late)
    response = external.exchange(code, verifier)
    assert response.status_code == status
    if status == 400:
        assert "expired" in refused(response, "invalid_grant")


def test_a_consent_is_good_before_its_last_moment_and_not_on_it(clock, external, tokens, ada, cast):
    """T5: for a call, a refresh, client credentials and the authorization endpoint alike (RFC 6749 sections 4.4, 6)."""
    consent = Consent.objects.get()
    url = authorize_url(external.client, pkce()[1], account=cast.acme.slug, prompt="none")
    clock(consent.expires_at - TICK)
    refreshed, standing = external.refresh(tokens["refresh_token"]), external.client_credentials(cast.acme.slug)
    assert refreshed.status_code == standing.status_code == 200
    assert answer(ada.get(url))["error"] == "interaction_required", "agreed to; a loopback redirect shows it"
    clock(consent.expires_at)
    for got in (refreshed.json(), standing.json()):
        assert external.call(got["access_token"]).json()["error"] == "invalid_token"
    with nothing_changed():
        refused(external.refresh(refreshed.json()["refresh_token"]), "invalid_grant")
        refused(external.client_credentials(cast.acme.slug), "invalid_grant")
    assert answer(ada.get(url))["error"] == "consent_required"


def test_a_secret_is_good_through_its_overlap_and_not_on_its_end(clock, external, tokens, cast):
    """C3, RFC 6749 section 2.3"""
    clock(AccessToken.objects.get().created)
    credentials.rotate_secret(external.client, overlap_hours=1, by=cast.dev)
    end = ClientSecret.objects.get(expires_at__isnull=False).expires_at
    clock(end - TICK)
    assert external.client_credentials(cast.acme.slug).status_code == 200
    clock(end)
    refused(external.client_credentials(cast.acme.slug), "invalid_client", 401)


def test_a_products_secret_is_good_before_its_end_and_not_on_it(clock, tokens, send):
    """RFC 7662 section 2.1"""
    clock(AccessToken.objects.get().created)
    secret = make_product_secret(factories.product(), by=None)
    end = AccessToken.objects.get().expires
    ProductSecret.objects.update(expires_at=end)
    clock(end - TICK)
    assert send("introspect", "token=x", **basic("freshservice", secret)).status_code == 200
    clock(end)
    refused(send("introspect", "token=x", **basic("freshservice", secret)), "invalid_client", 401)


def test_a_refresh_is_repeated_within_60_seconds_to_the_microsecond_and_then_is_reuse(clock, external, tokens):
    """T6: "within 60 seconds" is with the sixtieth, and what is later is reuse (RFC 9700 section 4.14.2)."""
    clock(AccessToken.objects.get().created)
    first = external.refresh(tokens["refresh_token"]).json()
    made = RefreshToken.objects.get().current_made_at
    clock(made + MINUTE)
    again = external.refresh(tokens["refresh_token"]).json()
    assert again["refresh_token"] == first["refresh_token"] and again["expires_in"] == 1740
    clock(made + MINUTE + TICK)
    refused(external.refresh(tokens["refresh_token"]), "invalid_grant")
    assert RefreshToken.objects.get().ended_at == made + MINUTE + TICK


@pytest.mark.parametrize(("after", "ends"), [(MINUTE - TICK, False), (MINUTE, True)])
def test_two_behind_ends_nothing_for_less_than_60_seconds(clock, external, tokens, after, ends):
    """T6: superseded less than 60 seconds ago is no reuse; on the sixtieth it is."""
    start = AccessToken.objects.get().created
    clock(start)
    second = external.refresh(tokens["refresh_token"]).json()
    clock(start + after / 2)
    external.refresh(second["refresh_token"])
    clock(start + after)
    refused(external.refresh(tokens["refresh_token"]), "invalid_grant")
    assert bool(RefreshToken.objects.get().ended_at) is ends


def test_a_token_issued_at_the_moment_of_its_revocation_is_as_dead_as_any(clock, external, tokens):
    """RFC 7009 section 2.1: of two things in one moment the ending wins."""
    clock(AccessToken.objects.get().created)
    got = external.refresh(tokens["refresh_token"]).json()
    assert external.revoke(got["refresh_token"]).status_code == 200
    assert external.call(got["access_token"]).status_code == 401
    refused(external.refresh(got["refresh_token"]), "invalid_grant")
