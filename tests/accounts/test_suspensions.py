"""The admins of all accounts that a suspension concerns are mailed, each once, and again when it is lifted."""

from unittest.mock import patch

import pytest
from django.conf import settings
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from consent.actions import ending
from consent.reasons import AccessEnd
from credentials import actions as credentials
from marketplace.actions import installing
from portal.accounts import tasks
from portal.accounts.actions import accounts, memberships, suspensions
from portal.accounts.models import SuspensionNotice
from portal.foundation.models import OutgoingMail
from tests import factories
from tests.mailing import outbox
from tests.worlds import shared

pytestmark = pytest.mark.django_db
REASON = "It mails strangers"


@shared
def rita(cast):
    return factories.reviewer()


@shared
def app(cast, installed):
    """Installed in Acme, and agreed to there."""
    factories.agree(installed.client, cast.acme, cast.admin)
    return installed


def deliver():
    """What a worker does of what the sweep finds; return the mails to admins by who got them."""
    mail.outbox.clear()
    with patch.object(tasks.tell_of_suspension, "delay", tasks.tell_of_suspension):
        tasks.sweep_suspensions()
    sent = [message for message in outbox() if "/credentials/" not in message.body]
    assert len(sent) == len({message.to[0] for message in sent})
    return {message.to[0]: message for message in sent}


def suspend(app, by):
    return credentials.suspend_client(app.client, reason=REASON, by=by)


def also_in(app, account, admin):
    """Have another account use the app."""
    return installing.install(app.version.app, account, by=admin)


def test_admins_read_what_is_suspended_where_that_it_has_no_access_and_whom_to_ask(cast, app, rita):
    """Not the reason, which is for its developers; nobody else is told."""
    team = app.client.team
    suspend(app, rita)
    mails = deliver()
    assert mails.keys() == {cast.admin.email} and not deliver()
    message = mails[cast.admin.email]
    assert message.subject == "Suspended: Insights"
    for said in ("suspended the app Insights on", "It has no access to these accounts now", "- Acme",
                 f"Its developer, {team}, can tell you more", f"{settings.BASE_URL}/installations/",
                 "Security emails are always sent"):  # fmt: skip
        assert said in message.body, message.body
    assert REASON not in message.body and "Globex" not in message.body
    credentials.lift_client(app.client, reason="Mended", secret_leaked=False, by=rita)
    message = deliver()[cast.admin.email]
    assert (
        message.subject == "Suspension lifted: Insights" and "It again has the access to these accounts" in message.body
    )
    suspend(app, rita)
    credentials.lift_client(app.client, reason="Mended", secret_leaked=True, by=rita)
    assert "its earlier tokens no longer work" in deliver()[cast.admin.email].body


def test_the_admins_of_a_suspended_account_are_told_and_again_when_it_is_lifted(cast):
    accounts.suspend_account(cast.acme, reason=REASON, by=None)
    message = deliver()[cast.admin.email]
    assert message.subject == "Suspended: Acme" and "No app has access to it now" in message.body
    assert "The portal team can tell you more." in message.body and REASON not in message.body
    accounts.lift_account(cast.acme, reason="Paid", by=None)
    mails = deliver()
    assert mails.keys() == {cast.admin.email}
    assert "Its apps have the access again that they had before" in mails[cast.admin.email].body


def test_who_administers_several_of_the_accounts_gets_one_mail_that_lists_them(cast, app, rita, monkeypatch):
    monkeypatch.setattr(suspensions, "LISTED", 1)
    also_in(app, cast.globex, cast.globex_admin)
    memberships.add_member(cast.globex, cast.admin, role="admin", by=None)
    suspend(app, rita)
    mails = deliver()
    assert mails.keys() == {cast.admin.email, cast.globex_admin.email}
    assert "- Acme\n\nand 1 more." in mails[cast.admin.email].body
    assert "- Globex" in mails[cast.globex_admin.email].body and "Acme" not in mails[cast.globex_admin.email].body


def test_accounts_whose_access_ended_are_not_concerned(cast, app, rita):
    ending.end_access(app.installation.access, by=cast.admin, reason=AccessEnd.REVOKED)
    suspend(app, rita)
    assert not deliver()


def test_a_suspension_makes_no_mail_itself_and_batches_that_were_cut_off_are_resumed(cast, app, rita, monkeypatch):
    """T3: whoever was told is not told again, wherever the worker died; no admin costs a statement of their own."""
    for number in range(5):
        factories.member(cast.acme, "admin", f"Abe{number}")
    suspend(app, rita)
    assert not OutgoingMail.objects.exists()
    notice = SuspensionNotice.objects.get()
    counts = []
    for size in (1, 2):
        monkeypatch.setattr(suspensions, "BATCH", size)
        with CaptureQueriesContext(connection) as queries:
            assert suspensions.tell_of_suspension(notice.pk)
        counts.append(len(queries))
    assert counts[0] == counts[1] and OutgoingMail.objects.count() == 3
    told = {message.to[0] for message in outbox()}
    rest = deliver().keys()
    assert len(told) == len(rest) == 3 and not told & rest and not deliver()
    assert not suspensions.tell_of_suspension(notice.pk)


def test_what_is_no_longer_true_is_told_to_nobody(cast, app, rita):
    suspend(app, rita)
    credentials.lift_client(app.client, reason="A mistake", secret_leaked=False, by=rita)
    assert [message.subject for message in deliver().values()] == ["Suspension lifted: Insights"]
    assert not SuspensionNotice.objects.filter(told_at=None).exists()
