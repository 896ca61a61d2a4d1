"""A person's time zone is first taken from their browser; what they choose stays. Emails state times in it."""

import datetime as dt
import re

import pytest
from django.urls import reverse

from portal.accounts.models import Invitation, User
from portal.foundation.mail import write
from portal.foundation.models import MailKind
from tests import factories
from tests.factories import PASSWORD
from tests.portal.test_pages import SIGN_UP

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/login/"


def sign_in(client, user, zone=None):
    if zone is not None:
        client.cookies["time_zone"] = zone
    assert client.post(LOGIN, {"login": user.email, "password": PASSWORD}).status_code == 302
    user.refresh_from_db()
    assert user.last_login is not None
    return user.time_zone


def test_signing_up_takes_the_zone_of_the_browser(client):
    client.cookies["time_zone"] = "Europe/Berlin"
    client.post(reverse("account_signup"), SIGN_UP)
    assert User.objects.get(email=SIGN_UP["email"]).time_zone == "Europe/Berlin"


def test_who_did_not_sign_up_gets_the_zone_of_the_browser_of_their_first_sign_in(client, cast):
    assert cast.agent.time_zone == "UTC"
    assert sign_in(client, cast.agent, "Asia/Tokyo") == "Asia/Tokyo"
    client.logout()
    assert sign_in(client, cast.agent, "Europe/Berlin") == "Asia/Tokyo", "only the first time"


def test_a_chosen_zone_is_never_overwritten(client, cast):
    sign_in(client, cast.agent)
    assert client.post("/settings/", {"name": "Axel", "time_zone": "UTC"}).status_code == 302
    client.logout()
    assert sign_in(client, cast.agent, "Asia/Tokyo") == "UTC"
    User.objects.filter(pk=cast.agent2.pk).update(time_zone="Asia/Kathmandu")
    client.logout()
    assert sign_in(client, cast.agent2, "Asia/Tokyo") == "Asia/Kathmandu"


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "", "x" * 4000, "EST5EDT", "'; DROP TABLE"])
def test_a_zone_that_cannot_be_chosen_is_ignored(client, cast, zone):
    assert sign_in(client, cast.agent, zone) == "UTC"


def test_each_receiver_reads_times_in_their_own_zone(cast):
    User.objects.filter(pk=cast.dev.pk).update(time_zone="Asia/Tokyo")
    made, _token = factories.invited(factories.team_of(cast.dev), "new@example.com", role="member", by=cast.dev)
    at = dt.datetime(2026, 6, 30, 21, 30, tzinfo=dt.UTC)
    Invitation.objects.filter(pk=made.pk).update(expires_at=at)
    made.refresh_from_db()
    told = []
    for person in (cast.dev, cast.agent, None):
        if person:
            person.refresh_from_db()
        written = write(MailKind.INVITATION, "members/mail/invitation.txt", person, invitation=made, token="x")
        parts = (" ".join(written[part].split()) for part in ("text", "html"))
        told += [re.search(r"until (.*?)\. If you", part)[1] for part in parts]
    assert told == [*["July 1, 2026, 6:30 a.m. JST"] * 2, *["June 30, 2026, 9:30 p.m. UTC"] * 4]
