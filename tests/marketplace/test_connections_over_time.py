"""What becomes of a connection: refreshed ahead, refused for good, ended, told of and erased."""

import datetime as dt

import pytest
from django.core import mail
from django.db.models.functions import Now

from marketplace import tasks
from marketplace.actions import installing
from marketplace.models import Connection
from marketplace.vendors import actions as connecting
from marketplace.vendors.oauth_client import VendorError
from portal.accounts.actions import memberships, people
from portal.foundation.database import database_now
from portal.ledger.models import Entry
from tests.marketplace.connected import connect, row, url_of, works
from tests.migrating import back_to, column, forward
from tests.people.forms import text

pytestmark = pytest.mark.django_db


# --- refreshing ---


def due(**more):
    Connection.objects.filter(pk=row().pk).update(refresh_at=Now(), **more)
    return row()


@pytest.mark.parametrize("refresh", ["rotated", "kept", "unreturned"])
def test_tokens_are_refreshed_ahead_of_their_end(multi, ada, calendar, refresh):
    calendar.switch(refresh=refresh)
    connect(ada, multi, "calendar")
    first = row()
    left = first.expires_at - first.refresh_at
    assert dt.timedelta(seconds=299) < left < dt.timedelta(seconds=301)
    for _round in range(2):
        connecting.refresh_connection(due())
    now = row()
    assert now.tokens["access_token"] != first.tokens["access_token"] and now.generation == 3
    assert works(calendar, now)
    # Not due, not again.
    connecting.refresh_connection(now)
    assert row().generation == 3


def test_a_refresh_that_is_refused_for_good_is_told_once_to_who_can_help(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    calendar.switch(refresh_refused=True)
    with pytest.raises(VendorError):
        connecting.refresh_connection(due())
    assert row().broken_at and row().refresh_at is None and "invalid_grant" in row().problem
    for _twice in range(2):
        tasks.tell_of_broken_connection(str(row().pk))
    assert [message.to for message in mail.outbox] == [[cast.admin.email]]
    assert url_of(multi, "calendar") in mail.outbox[0].body and "Example Calendar" in mail.outbox[0].body
    shown = text(ada.get(f"/installations/{multi.installation.pk}/"))
    assert "Connect again" in shown and "invalid_grant" in shown
    assert "Connect again" in text(ada.get("/installations/"))
    calendar.switch(refresh_refused=False)
    connect(ada, multi, "calendar")
    assert row().is_connected and not row().problem and row().told_at is None
    assert Entry.objects.filter(event="connection.broken").count() == 1


def test_a_connection_that_nothing_can_renew_is_told_in_the_words_of_who_reads_it(multi, ada, calendar):
    """Only a vendor's own words are kept as they were said."""
    connect(ada, multi, "calendar")
    kept = row()
    kept.tokens = {"access_token": kept.tokens["access_token"], "refresh_token": None}
    kept.refresh_at, kept.renews = Now(), False
    kept.save()
    connecting.refresh_connection(row())
    assert row().broken_at and row().problem == ""
    checklist = f"/installations/{multi.installation.pk}/"
    assert "It cannot be renewed." in text(ada.get(checklist))
    back_to("marketplace", "0007_upgrades")
    assert column("marketplace_connection", "problem", [str(kept.pk)])[0].startswith("The access ran out")
    forward()
    assert row().problem == "" and "It cannot be renewed." in text(ada.get(checklist))


def test_an_agent_is_told_of_their_own(multi, browse, cast, vendors):
    axel = browse(cast.agent)
    connect(axel, multi, "boards")
    vendors[1].switch(refresh_refused=True)
    Connection.objects.update(refresh_at=Now())
    tasks.refresh_connection(str(row("boards").pk))
    tasks.tell_of_broken_connection(str(row("boards").pk))
    assert [message.to for message in mail.outbox] == [[cast.agent.email]]


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 0}, {"status": 400, "body": "no"}])
def test_a_refresh_that_fails_for_now_is_tried_again_later(multi, ada, calendar, fault):
    connect(ada, multi, "calendar")
    calendar.switch(token_fault={**fault, "times": 2})
    for number, wait in ((1, 30), (2, 60)):
        with pytest.raises(VendorError):
            connecting.refresh_connection(due())
        now = row()
        assert now.is_connected and now.refresh_failures == number
        assert wait - 2 < (now.refresh_at - database_now()).total_seconds() <= wait
    connecting.refresh_connection(due())
    assert row().refresh_failures == 0 and row().generation == 2


def test_what_a_vendor_says_of_a_token_has_no_token_in_it(multi, ada, cast, calendar):
    """Some repeat what they refuse: “Invalid refresh token: …”."""
    body = '{{"error": "invalid_grant", "error_description": "{} Invalid token: {}"}}'
    connect(ada, multi, "calendar")
    for padding in ("", "x" * 250):
        Connection.objects.update(refresh_at=Now(), broken_at=None)
        kept = row().tokens["refresh_token"]
        calendar.switch(token_fault={"status": 400, "body": body.format(padding[:190], kept)})
        with pytest.raises(VendorError) as refused:
            connecting.refresh_connection(row())
        assert kept[:8] not in row().problem + str(refused.value)
        assert "invalid_grant" in row().problem


# --- ending ---


def test_disconnecting_ends_it_at_once_and_tells_the_vendor(multi, ada, calendar):
    connect(ada, multi, "calendar")
    kept = row()
    assert "Disconnect" in text(ada.get(url_of(multi, "calendar", "disconnect/")))
    assert ada.post(url_of(multi, "calendar", "disconnect/")).status_code == 302
    assert not Connection.objects.live().exists()
    with pytest.raises(connecting.NotConnected):
        connecting.refresh_connection(kept)
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.erased_at and kept.tokens is None and kept.values == {}
    assert not calendar.tokens()
    assert ada.post(url_of(multi, "calendar", "disconnect/")).status_code == 404
    assert "Not connected" in text(ada.get(f"/installations/{multi.installation.pk}/"))


def test_nobody_ends_what_is_somebody_elses(multi, browse, cast):
    """An agent's is the agent's own; the page offers it to nobody else, and the action refuses them."""
    connect(browse(cast.agent), multi, "boards")
    for by in (cast.admin, cast.agent2):
        with pytest.raises(connecting.NotThere):
            connecting.disconnect(row("boards"), by=by)
    assert row("boards").is_connected


@pytest.mark.parametrize("how", ["uninstall", "agent removed", "agent deactivated"])
def test_whatever_ends_it_the_vendor_is_told_and_the_tokens_are_erased(multi, browse, cast, vendors, how):
    axel = browse(cast.agent)
    connect(axel, multi, "boards")
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
def test_a_vendor_that_cannot_be_told_changes_nothing_here(multi, ada, cast, calendar, revocation):
    calendar.switch(revocation=revocation)
    connect(ada, multi, "calendar")
    kept = row()
    connecting.disconnect(kept, by=cast.admin)
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.erased_at and kept.tokens is None


def test_a_vendor_that_is_away_is_told_later_and_in_the_end_the_tokens_go_all_the_same(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    kept = row()
    connecting.disconnect(kept, by=cast.admin)
    calendar.switch(revoke_fault={"status": 503})
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.tokens and kept.revoke_attempts == 1
    # Not before its time.
    tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.revoke_attempts == 1
    for _try in range(7):
        Connection.objects.update(revoke_at=Now())
        tasks.revoke_connection(str(kept.pk))
    kept.refresh_from_db()
    assert kept.erased_at and kept.tokens is None


def test_uninstalling_counts_the_connections_in_its_receipt(multi, ada, cast, calendar):
    connect(ada, multi, "calendar")
    assert "1 connection to a vendor" in text(ada.get(f"/installations/{multi.installation.pk}/uninstall/"))
    receipt = installing.uninstall(multi.installation, by=cast.admin)
    assert receipt.details["connections"] == 1


def test_uninstalling_erases_what_was_filled_in(multi, ada, cast):
    ada.post(f"/installations/{multi.installation.pk}/settings/", {"value-owner": "acme"})
    installing.uninstall(multi.installation, by=cast.admin)
    multi.installation.refresh_from_db()
    assert multi.installation.values == {}
