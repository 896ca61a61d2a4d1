"""The life of a connection: refreshed ahead of time, refused for good, ended, revoked at the vendor and erased."""

import datetime as dt

import pytest
from django.db.models.functions import Now

from marketplace import tasks
from marketplace.actions import installing
from marketplace.models import Connection
from marketplace.vendors import actions as connecting
from marketplace.vendors.oauth_client import VendorError
from portal.accounts.actions import memberships, people
from portal.accounts.models import Account
from portal.foundation.database import database_now
from portal.ledger.models import Entry
from tests.mailing import outbox
from tests.marketplace.connected import connect, connect_directly, row, url_of, works
from tests.migrating import back_to, column, forward
from tests.people.forms import text

pytestmark = pytest.mark.django_db


# --- refreshing ---


def due(**more):
    Connection.objects.filter(pk=row().pk).update(refresh_at=Now(), **more)
    return row()


@pytest.mark.parametrize("refresh", ["rotated", "kept", "unreturned"])
def test_tokens_are_refreshed_before_they_expire(multi, calendar, refresh):
    calendar.switch(refresh=refresh)
    connect_directly(multi)
    first = row()
    left = first.expires_at - first.refresh_at
    assert dt.timedelta(seconds=299) < left < dt.timedelta(seconds=301)
    for _round in range(2):
        connecting.refresh_connection(due())
    now = row()
    assert now.tokens["access_token"] != first.tokens["access_token"] and now.generation == 3
    assert works(calendar, now)
    # It is not due, so it is not refreshed again.
    connecting.refresh_connection(now)
    assert row().generation == 3


def test_a_refresh_refused_for_good_is_reported_once_to_whoever_can_help(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    calendar.switch(refresh_refused=True)
    with pytest.raises(VendorError):
        connecting.refresh_connection(due())
    assert row().broken_at and row().refresh_at is None and "invalid_grant" in row().problem
    for _twice in range(2):
        tasks.tell_of_broken_connection(str(row().pk))
    assert [message.to for message in outbox()] == [[cast.admin.email]]
    assert url_of(multi, "calendar") in outbox()[0].body and "Example Calendar" in outbox()[0].body
    shown = text(ada.get(f"/installations/{multi.installation.pk}/"))
    assert "Connect again" in shown and "invalid_grant" in shown
    home = text(ada.get("/"))
    assert (
        "can no longer reach Example Calendar for Acme" in home
        and url_of(multi, "calendar") in ada.get("/").content.decode()
    )
    Account.objects.filter(pk=cast.acme.pk).update(suspended_at=Now())
    assert "can no longer reach" not in text(ada.get("/"))
    Account.objects.filter(pk=cast.acme.pk).update(suspended_at=None)
    assert "Connect again" in text(ada.get("/installations/"))
    calendar.switch(refresh_refused=False)
    connect(ada, multi, "calendar")
    assert row().is_connected and not row().problem and row().told_at is None
    assert Entry.objects.filter(event="connection.broken").count() == 1


def test_a_connection_without_a_refresh_token_is_explained_in_the_readers_language(multi, ada, calendar):
    """Only a vendor's own words are stored as text."""
    connect_directly(multi)
    connection = row()
    connection.tokens = {"access_token": connection.tokens["access_token"], "refresh_token": None}
    connection.refresh_at, connection.renews = Now(), False
    connection.save()
    connecting.refresh_connection(row())
    assert row().broken_at and row().problem == ""
    checklist = f"/installations/{multi.installation.pk}/"
    assert "The connection cannot be renewed." in text(ada.get(checklist))
    back_to("marketplace", "0007_upgrades")
    assert column("marketplace_connection", "problem", [str(connection.pk)])[0].startswith("The access ran out")
    forward()
    assert row().problem == "" and "The connection cannot be renewed." in text(ada.get(checklist))


def test_an_agent_is_told_about_their_own_broken_connection(multi, cast, vendors):
    connect_directly(multi, "boards", by=cast.agent)
    vendors[1].switch(refresh_refused=True)
    Connection.objects.update(refresh_at=Now())
    tasks.refresh_connection(str(row("boards").pk))
    tasks.tell_of_broken_connection(str(row("boards").pk))
    assert [message.to for message in outbox()] == [[cast.agent.email]]


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 0}, {"status": 400, "body": "no"}])
def test_a_refresh_that_fails_temporarily_is_retried(multi, calendar, fault):
    connect_directly(multi)
    calendar.switch(token_fault={**fault, "times": 2})
    for number, wait in ((1, 30), (2, 60)):
        began = database_now()
        with pytest.raises(VendorError):
            connecting.refresh_connection(due())
        now = row()
        assert now.is_connected and now.refresh_failures == number
        assert began <= now.refresh_at - dt.timedelta(seconds=wait) <= database_now()
    connecting.refresh_connection(due())
    assert row().refresh_failures == 0 and row().generation == 2


def test_a_token_repeated_in_a_vendors_error_is_masked(multi, cast, calendar):
    """Some vendors repeat what they refuse: “Invalid refresh token: …”."""
    body = '{{"error": "invalid_grant", "error_description": "{} Invalid token: {}"}}'
    connect_directly(multi)
    for padding in ("", "x" * 250):
        Connection.objects.update(refresh_at=Now(), broken_at=None)
        token = row().tokens["refresh_token"]
        calendar.switch(token_fault={"status": 400, "body": body.format(padding[:190], token)})
        with pytest.raises(VendorError) as refused:
            connecting.refresh_connection(row())
        assert token[:8] not in row().problem + str(refused.value)
        assert "invalid_grant" in row().problem


# --- ending ---


def test_disconnecting_ends_the_connection_at_once_and_revokes_at_the_vendor(multi, ada, calendar):
    connect_directly(multi)
    connection = row()
    assert "Disconnect" in text(ada.get(url_of(multi, "calendar", "disconnect/")))
    assert ada.post(url_of(multi, "calendar", "disconnect/")).status_code == 302
    assert not Connection.objects.live().exists()
    with pytest.raises(connecting.NotConnected):
        connecting.refresh_connection(connection)
    tasks.revoke_connection(str(connection.pk))
    connection.refresh_from_db()
    assert connection.erased_at and connection.tokens is None and connection.values == {}
    assert not calendar.tokens()
    assert ada.post(url_of(multi, "calendar", "disconnect/")).status_code == 404
    assert "Not connected" in text(ada.get(f"/installations/{multi.installation.pk}/"))


def test_nobody_can_disconnect_somebody_elses_connection(multi, cast):
    """An agent's connection is their own: the page offers this to nobody else, and the action refuses others."""
    connect_directly(multi, "boards", by=cast.agent)
    for by in (cast.admin, cast.agent2):
        with pytest.raises(connecting.NotThere):
            connecting.disconnect(row("boards"), by=by)
    assert row("boards").is_connected


@pytest.mark.parametrize("how", ["uninstall", "agent removed", "agent deactivated"])
def test_every_ending_revokes_at_the_vendor_and_erases_the_tokens(multi, cast, vendors, how):
    connect_directly(multi, "boards", by=cast.agent)
    if how == "uninstall":
        installing.uninstall(multi.installation, by=cast.admin)
    elif how == "agent removed":
        memberships.end_membership(cast.agent.memberships.get(account=cast.acme), by=None)
    else:
        people.deactivate_person(cast.agent, by=None)
    assert not Connection.objects.live().exists()
    [over] = Connection.objects.over()
    tasks.revoke_connection(str(over.pk))
    over.refresh_from_db()
    assert over.erased_at and over.tokens is None and not vendors[1].tokens()


@pytest.mark.parametrize("revocation", ["absent", "refused"])
def test_tokens_are_erased_even_if_the_vendor_cannot_revoke(multi, cast, calendar, revocation):
    calendar.switch(revocation=revocation)
    connect_directly(multi)
    connection = row()
    connecting.disconnect(connection, by=cast.admin)
    tasks.revoke_connection(str(connection.pk))
    connection.refresh_from_db()
    assert connection.erased_at and connection.tokens is None


def test_revoking_at_an_unavailable_vendor_is_retried_until_the_tokens_are_erased_anyway(multi, cast, calendar):
    connect_directly(multi)
    connection = row()
    connecting.disconnect(connection, by=cast.admin)
    calendar.switch(revoke_fault={"status": 503})
    tasks.revoke_connection(str(connection.pk))
    connection.refresh_from_db()
    assert connection.tokens and connection.revoke_attempts == 1
    # It is not retried before its time.
    tasks.revoke_connection(str(connection.pk))
    connection.refresh_from_db()
    assert connection.revoke_attempts == 1
    for _try in range(7):
        Connection.objects.update(revoke_at=Now())
        tasks.revoke_connection(str(connection.pk))
    connection.refresh_from_db()
    assert connection.erased_at and connection.tokens is None


def test_uninstalling_counts_the_connections_in_its_receipt(multi, ada, cast, calendar):
    connect_directly(multi)
    assert "1 connection to a vendor" in text(ada.get(f"/installations/{multi.installation.pk}/uninstall/"))
    receipt = installing.uninstall(multi.installation, by=cast.admin)
    assert receipt.details["connections"] == 1


def test_uninstalling_erases_the_settings(multi, ada, cast):
    ada.post(f"/installations/{multi.installation.pk}/settings/", {"value-owner": "acme"})
    installing.uninstall(multi.installation, by=cast.admin)
    multi.installation.refresh_from_db()
    assert multi.installation.values == {}
