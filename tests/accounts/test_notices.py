"""Developers and reviewers get a mail when a version is submitted or decided on, and when credentials are suspended or lifted."""

from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core import mail

from credentials import actions as credentials
from marketplace.actions import publishing
from portal.accounts import tasks
from portal.accounts.actions import notifying, people, teams
from portal.accounts.models import Notice, User
from portal.foundation.mail import RETRIES
from portal.foundation.refusals import Refused
from tests import factories
from tests.clock import advance
from tests.mailing import no_mail_server, outbox
from tests.worlds import shared

pytestmark = pytest.mark.django_db


@shared
def version(cast):
    client, _secret = factories.client(cast.dev)
    return factories.app(cast.dev, client)


@shared
def rita(cast):
    return factories.reviewer()


def deliver():
    """What a worker does of what the sweep finds; return the mails by who got them."""
    mail.outbox.clear()
    with patch.object(tasks.tell_of_notice, "delay", tasks.tell_of_notice):
        tasks.sweep_notices()
    return {message.to[0]: message for message in outbox()}


def told(mails, person, subject, *words):
    message = mails[person.email]
    assert message.subject == subject
    for each in words:
        assert each in message.body, message.body
    return True


def test_submitting_taking_back_and_deciding_are_mailed_to_the_team_and_to_reviewers(cast, version, rita):
    page = f"{settings.BASE_URL}/apps/{version.app.slug}/versions/{version.pk}/"
    window = f"{settings.BASE_URL}/admin/marketplace/version/{version.pk}/change/"
    version = publishing.submit_version(version, by=cast.dev)
    mails = deliver()
    assert told(mails, cast.dev, "Submitted for review: Insights 1.0", "is waiting for a reviewer", page)
    assert told(
        mails, rita, "Submitted for review: Insights 1.0", "submitted this version. It is in the review queue.", window
    )
    assert len(mails) == 2 and not deliver()
    publishing.reject_version(version, reason="It asks for\nmore than it says.", by=rita)
    mails = deliver()
    assert told(mails, cast.dev, "Rejected: Insights 1.0", "Reason: It asks for\nmore than it says.", page)
    assert told(mails, rita, "Rejected: Insights 1.0", "more than it says.", window)
    draft = publishing.create_version(version.app, by=cast.dev, **factories.version_fields("1.1"))
    publishing.approve_version(publishing.submit_version(draft, by=cast.dev), reason="Well done", by=rita)
    subjects = {message.subject for message in outbox()} if deliver() else set()
    assert subjects == {"Submitted for review: Insights 1.1", "Approved: Insights 1.1"}
    draft = publishing.create_version(version.app, by=cast.dev, **factories.version_fields("1.2"))
    publishing.take_back_version(publishing.submit_version(draft, by=cast.dev), by=cast.dev)
    mails = deliver()
    assert told(mails, cast.dev, "Submission canceled: Insights 1.2", "copy it to a new draft")
    assert told(mails, rita, "Submission canceled: Insights 1.2", "No decision is needed")


def test_suspending_and_lifting_are_mailed_with_the_reason(cast, version, rita):
    client, mate = version.app.client, factories.person("Mia", team=False)
    teams.add_teammate(client.team, mate, role="member", by=cast.dev)
    page = f"{settings.BASE_URL}/credentials/{client.client_id}/"
    credentials.suspend_client(client, reason="It mails strangers", by=rita)
    mails = deliver()
    assert told(mails, cast.dev, "Suspended: Insights", "It mails strangers", "None of their tokens works", page)
    assert told(mails, mate, "Suspended: Insights", page)
    assert told(mails, rita, "Suspended: Insights", f"/admin/credentials/client/{client.pk}/change/")
    credentials.lift_client(client, reason="Mended", secret_leaked=False, by=rita)
    assert told(deliver(), cast.dev, "Suspension lifted: Insights", "Mended", "work again")
    credentials.suspend_client(client, reason="Leaked", by=rita)
    credentials.lift_client(client, reason="New secret", secret_leaked=True, by=rita)
    deliver()
    assert any("earlier tokens and secrets no longer work" in message.body for message in outbox())


def test_only_people_who_may_read_a_notice_get_its_mail(cast, version, rita):
    """Not former teammates, nor staff who do not review; a reviewer of the team's own reads it as a developer."""
    team, former, own = version.app.team, factories.person("Fay", team=False), factories.reviewer()
    teams.end_teammate(teams.add_teammate(team, former, role="member", by=cast.dev), by=cast.dev)
    teams.add_teammate(team, own, role="member", by=cast.dev)
    gone = factories.reviewer()
    people.deactivate_person(gone, by=None)
    User.objects.filter(pk=cast.other_dev.pk).update(is_staff=True)
    cast.agent.groups.add(Group.objects.get(name="Reviewers"))
    publishing.submit_version(version, by=cast.dev)
    mails = deliver()
    assert mails.keys() == {cast.dev.email, own.email, rita.email}
    assert "/admin/" not in mails[own.email].body and len(outbox()) == 3


def test_a_reviewer_turns_off_mail_about_versions_and_still_reads_of_suspensions(cast, version, rita):
    User.objects.filter(pk=rita.pk).update(unwanted_mail=["reviews"])
    publishing.submit_version(version, by=cast.dev)
    assert deliver().keys() == {cast.dev.email}
    credentials.suspend_client(version.app.client, reason="Harm", by=rita)
    assert deliver().keys() == {cast.dev.email, rita.email}


def test_what_was_refused_or_rolled_back_is_mailed_to_nobody(cast, version, rita):
    version = publishing.submit_version(version, by=cast.dev)
    deliver()
    for refused in (
        lambda: publishing.submit_version(version, by=cast.dev),
        lambda: publishing.approve_version(version, by=cast.dev),
        lambda: credentials.suspend_client(version.app.client, reason=" ", by=rita),
    ):
        with pytest.raises(Refused):
            refused()
    assert not deliver()


def test_a_mail_that_could_not_be_sent_is_sent_later_and_then_once(cast, version, rita):
    publishing.submit_version(version, by=cast.dev)
    with no_mail_server():
        assert not deliver()
    assert not Notice.objects.filter(told_at=None).exists() and not deliver()
    advance(RETRIES[0])
    assert deliver().keys() == {cast.dev.email, rita.email} and not deliver()


def test_a_team_fills_no_reviewers_mailbox(cast, version, rita, monkeypatch):
    monkeypatch.setattr(notifying, "MAX_TO_REVIEWERS", 3)
    for _number in range(4):
        version = publishing.take_back_version(publishing.submit_version(version, by=cast.dev), by=cast.dev)
        version = publishing.copy_version(version, by=cast.dev)
    deliver()
    assert sum(message.to == [rita.email] for message in outbox()) == 3
    assert sum(message.to == [cast.dev.email] for message in outbox()) == 8
    assert not deliver()
