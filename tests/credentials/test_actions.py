"""What happens to OAuth credentials: it works, the wrong person, the wrong state, twice."""

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from credentials import actions
from credentials.actions import (
    AlreadySuspended,
    DeprecatedScope,
    InvalidRedirectUri,
    JustificationMissing,
    NotSuspended,
    ReasonMissing,
    SecretNotActive,
    TwoSecretsActive,
    UnknownScope,
)  # fmt: skip
from credentials.authentication import check_client_secret, check_product_secret, touch
from credentials.models import Client, ClientScope, ClientSecret, Kind, Level, Scope
from portal.accounts.actions import people
from portal.accounts.rights import NotAReviewer, NotATeammate
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance
from tests.factories import DELETE, EDIT, REDIRECT_URI, VIEW
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def made(cast):
    return factories.client(cast.dev)


@shared
def row(made):
    return made[0]


def new(team, by, **more):
    fields = {"name": "App", "redirect_uris": [REDIRECT_URI], "scopes": {VIEW: ""}, "kind": Kind.PLATFORM}
    return actions.create_client(team, by=by, **{"level": Level.ACCOUNT, **fields, **more})


def events(row):
    return list(Entry.objects.filter(subject=f"client:{row.client_id}").order_by("at").values_list("event", flat=True))


# --- create_client ---


def test_a_client_is_made_with_a_secret_that_works(cast, made):
    row, secret = made
    assert check_client_secret(row, secret) and row.scope_names() == {VIEW, EDIT}
    assert events(row) == ["client.created"]


def test_only_a_teammate_makes_or_changes_a_client(cast, row):
    team = row.team
    for act in (
        lambda by: new(team, by),
        lambda by: actions.add_scopes(row, scopes={DELETE: "Why"}, by=by),
        lambda by: actions.change_client(row, redirect_uris=[], description="x", by=by),
        lambda by: actions.rotate_secret(row, overlap_hours=0, by=by),
        lambda by: actions.end_secret(row.secrets.first(), by=by),
    ):
        for who in (cast.other_dev, cast.admin):
            with pytest.raises(NotATeammate):
                act(who)
    assert events(row) == ["client.created"] and Client.objects.count() == 1


def test_a_teammate_who_was_deactivated_makes_nothing(cast, row):
    people.deactivate_person(cast.dev, by=None)
    cast.dev.refresh_from_db()
    with pytest.raises(NotATeammate):
        actions.rotate_secret(row, overlap_hours=0, by=cast.dev)


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"scopes": {"made.up": ""}}, UnknownScope),
        ({"scopes": {DELETE: "  "}}, JustificationMissing),
        ({"redirect_uris": ["http://app.example/"]}, InvalidRedirectUri),
        ({"redirect_uris": [], "kind": Kind.EXTERNAL}, InvalidRedirectUri),
        ({"redirect_uris": [f"https://app.example/{n}" for n in range(21)]}, InvalidRedirectUri),
        ({"name": " "}, ValidationError),
        ({"name": "x" * 61}, ValidationError),
        ({"description": "x" * 501}, ValidationError),
        ({"kind": "other"}, ValueError),
        ({"level": "other"}, ValueError),
    ],
)
def test_bad_credentials_are_refused_and_make_nothing(cast, changed, refusal):
    with pytest.raises(refusal):
        new(factories.team_of(cast.dev), cast.dev, **changed)
    assert not Client.objects.exists() and not ClientSecret.objects.exists()


def test_a_redirect_uri_given_twice_is_kept_once(cast):
    row, _secret = new(factories.team_of(cast.dev), cast.dev, redirect_uris=[REDIRECT_URI, f" {REDIRECT_URI} ", ""])
    assert row.redirect_uris == REDIRECT_URI


# --- scopes ---


def test_scopes_are_added_once_with_who_and_why(cast, row):
    assert actions.add_scopes(row, scopes={DELETE: " To tidy up ", VIEW: ""}, by=cast.dev) == [DELETE]
    assert actions.add_scopes(row, scopes={DELETE: "Another reason"}, by=cast.dev) == []
    added = ClientScope.objects.get(scope__name=DELETE)
    assert (added.justification, added.added_by) == ("To tidy up", cast.dev)
    assert events(row) == ["client.created", "client.scopes_added"]


def test_a_deprecated_scope_can_no_longer_be_added_but_is_kept_by_who_has_it(cast, row):
    """C6"""
    Scope.objects.filter(name__in=[VIEW, DELETE]).update(deprecated_at=timezone.now())
    with pytest.raises(DeprecatedScope):
        actions.add_scopes(row, scopes={DELETE: "Why"}, by=cast.dev)
    assert row.scope_names() == {VIEW, EDIT}
    assert actions.add_scopes(row, scopes={VIEW: ""}, by=cast.dev) == []


# --- secrets ---


def test_rotation_keeps_the_old_secret_for_the_hours_chosen(cast, made):
    """C3"""
    row, old = made
    _secret, value = actions.rotate_secret(row, overlap_hours=168, by=cast.dev)
    assert check_client_secret(row, old) and check_client_secret(row, value)
    advance(dt.timedelta(hours=168, seconds=1))
    assert not check_client_secret(row, old) and check_client_secret(row, value)


def test_rotation_without_overlap_ends_the_old_secret_at_once(cast, made):
    row, old = made
    _secret, value = actions.rotate_secret(row, overlap_hours=0, by=cast.dev)
    assert not check_client_secret(row, old) and check_client_secret(row, value)


def test_at_most_two_secrets_are_active(cast, row):
    actions.rotate_secret(row, overlap_hours=24, by=cast.dev)
    with pytest.raises(TwoSecretsActive):
        actions.rotate_secret(row, overlap_hours=1, by=cast.dev)
    assert actions.active_secrets(row).count() == 2
    # A leak cannot wait for the overlap to end.
    actions.rotate_secret(row, overlap_hours=0, by=cast.dev)
    assert actions.active_secrets(row).count() == 1


@pytest.mark.parametrize("hours", [-1, 169])
def test_an_overlap_is_0_to_168_hours(cast, row, hours):
    with pytest.raises(ValidationError):
        actions.rotate_secret(row, overlap_hours=hours, by=cast.dev)
    assert row.secrets.count() == 1


def test_an_older_secret_is_ended_once_and_the_current_one_never(cast, made):
    row, old = made
    first = row.secrets.get()
    with pytest.raises(SecretNotActive):
        actions.end_secret(first, by=cast.dev)
    actions.rotate_secret(row, overlap_hours=24, by=cast.dev)
    actions.end_secret(first, by=cast.dev)
    assert not check_client_secret(row, old)
    with pytest.raises(SecretNotActive):
        actions.end_secret(first, by=cast.dev)


def test_the_last_use_of_a_secret_is_written_once_a_minute(made, django_assert_num_queries):
    """A write on each request would serialise a client's calls."""
    row, secret = made
    touch(check_client_secret(row, secret))
    used = check_client_secret(row, secret)
    assert used.last_used_at
    with django_assert_num_queries(0):
        touch(used)
    ClientSecret.objects.update(last_used_at=timezone.now() - dt.timedelta(seconds=61))
    used.refresh_from_db()
    with django_assert_num_queries(1):
        touch(used)


def test_a_product_has_one_secret_at_a_time():
    product = factories.product()
    old = actions.make_product_secret(product, by=None)
    assert check_product_secret("freshservice", old) == product
    new_secret = actions.make_product_secret(product, by=None)
    assert check_product_secret("freshservice", new_secret) == product
    for slug, value in (("freshservice", old), ("other", new_secret), ("fresh\0", new_secret), ("freshservice", "x")):
        assert check_product_secret(slug, value) is None


# --- suspend, lift ---


def test_a_client_is_suspended_and_lifted_by_a_reviewer_with_a_reason(cast, made):
    row, secret = made
    rita = factories.reviewer()
    row = actions.suspend_client(row, reason="Harmful", by=rita)
    with pytest.raises(AlreadySuspended):
        actions.suspend_client(row, reason="Again", by=rita)
    row = actions.lift_client(row, reason="Fixed", secret_leaked=False, by=rita)
    assert row.suspended_at is None and row.not_before is None and check_client_secret(row, secret)
    with pytest.raises(NotSuspended):
        actions.lift_client(row, reason="Again", secret_leaked=False, by=rita)
    for chain in (row.team.chain_name, "portal"):
        told = Entry.objects.filter(chain=chain, subject=f"client:{row.client_id}", event__in=["client.suspended", "client.lifted"])  # fmt: skip
        assert sorted(entry.details["reason"] for entry in told) == ["Fixed", "Harmful"]


def test_lifting_after_a_leak_ends_the_secrets_made_before_the_suspension(cast, made):
    row, leaked = made
    rita = factories.reviewer()
    row = actions.suspend_client(row, reason="Leak", by=rita)
    _row, fresh = actions.rotate_secret(row, overlap_hours=24, by=cast.dev)
    row = actions.lift_client(row, reason="Rotated", secret_leaked=True, by=rita)
    assert row.not_before and not check_client_secret(row, leaked) and check_client_secret(row, fresh)


def test_only_a_reviewer_suspends_and_lifts_and_says_why(cast, row):
    staff = factories.person("Stan", is_staff=True, is_superuser=True)
    for who in (staff, cast.dev, cast.admin):
        with pytest.raises(NotAReviewer):
            actions.suspend_client(row, reason="Harmful", by=who)
    with pytest.raises(ReasonMissing):
        actions.suspend_client(row, reason="  ", by=factories.reviewer())
    row = actions.suspend_client(row, reason="Harmful", by=factories.reviewer())
    with pytest.raises(NotAReviewer):
        actions.lift_client(row, reason="Nice", secret_leaked=False, by=staff)
    row.refresh_from_db()
    assert row.suspended_at
