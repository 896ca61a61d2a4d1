"""The installer leaves: nothing ends, the admins who stay are told once, and one of them confirms."""

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from consent import tasks
from consent.actions import ending, succeeding
from consent.actions.succeeding import NotNeeded
from consent.models import Consent
from consent.screen import ScreenIsStale
from consent.succession import statement_of, without_admin
from credentials.models import Scope
from marketplace.actions import installing
from portal.accounts.actions import memberships, people
from portal.celery import app as celery
from portal.ledger.models import Entry
from tests import factories
from tests.factories import EDIT
from tests.people.forms import forms_of, text
from tests.volume import grow_agreements
from tests.worlds import shared

pytestmark = pytest.mark.django_db


def sweep():
    """Run what the sweep finds, and return to whom mails went."""
    mail.outbox.clear()
    succeeding.forget_who_came_back()
    for account in succeeding.whom_to_ask():
        tasks.ask_for_successor(account.pk)
    return sorted(to for message in mail.outbox for to in message.to)


def demote(user, account, role="agent"):
    memberships.change_role(account.memberships.get(user=user, ended_at=None), role=role, by=None)


@shared
def agreed(installed, cast):
    """An app that works by what Ada agreed to for Acme, which Abe and Bea administer too."""
    cast.abe, cast.bea = (factories.member(cast.acme, "admin", name) for name in ("Abe", "Bea"))
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin, chosen=[EDIT])
    installed.access_token = installed.client_credentials(cast.acme.slug).json()["access_token"]
    return installed


@shared
def left(agreed, cast):
    demote(cast.admin, cast.acme)
    return agreed


def confirm(consent, by):
    return succeeding.confirm_consent(consent, by=by, shown=statement_of(consent, by).digest())


leavings = pytest.mark.parametrize("leave", [
    lambda cast: demote(cast.admin, cast.acme),
    lambda cast: memberships.end_membership(cast.acme.memberships.get(user=cast.admin), by=cast.abe),
    lambda cast: people.deactivate_person(cast.admin, by=None),
], ids=["demoted", "removed", "deactivated"])  # fmt: skip


@leavings
def test_nothing_ends_however_the_admin_leaves_and_the_others_are_told_once(agreed, cast, leave):
    before = Consent.objects.values("granted", "expires_at", "revoked_at").get()
    assert sweep() == []
    leave(cast)
    assert agreed.call(agreed.access_token).status_code == 200
    assert agreed.client_credentials(cast.acme.slug).status_code == 200
    assert Consent.objects.values("granted", "expires_at", "revoked_at").get() == before
    assert sweep() == sorted([cast.abe.email, cast.bea.email])
    assert f"/consents/{agreed.consent.pk}/confirm/" in mail.outbox[0].body
    assert sweep() == []


def test_who_is_asked_to_let_somebody_go_reads_what_others_will_take_over(agreed, external, cast, browse):
    abe, url = browse(cast.abe), f"/members/{cast.acme.slug}/"

    def told(user, page):
        member = cast.acme.memberships.get(user=user, ended_at=None)
        return text(abe.get(f"{url}{member.pk}/{page}/"))

    for page in ("remove", "role"):
        assert "One app works by what this person agreed to for the account" in told(cast.admin, page)
        # Nobody has to take over anything of these.
        for user in (cast.agent, cast.bea):
            assert "agreed to" not in told(user, page)
    factories.agree(external.client, cast.acme, cast.admin)
    with CaptureQueriesContext(connection) as queries:
        assert "2 apps work by what" in told(cast.admin, "remove")
    assert len(queries) < 12
    # What somebody else answers for already is not in question.
    demote(cast.admin, cast.acme)
    for consent in without_admin():
        confirm(consent, cast.bea)
    demote(cast.admin, cast.acme, "admin")
    assert "agreed to" not in told(cast.admin, "remove")
    assert "agreed to" not in told(cast.bea, "remove")


@leavings
def test_the_others_are_told_as_soon_as_it_is_committed(
    agreed, cast, leave, monkeypatch, django_capture_on_commit_callbacks
):
    """The sweep comes every ten minutes, for what is lost on the way (T3)."""
    mail.outbox.clear()
    monkeypatch.setattr(celery, "send_task", lambda name, args=(), **more: celery.tasks[name](*args))
    with django_capture_on_commit_callbacks(execute=True):
        leave(cast)
        assert not mail.outbox
    assert {to for message in mail.outbox for to in message.to} == {cast.abe.email, cast.bea.email}
    assert not sweep()


def test_an_agents_own_consent_has_no_successor(installed_agent, cast):
    factories.agree(installed_agent.client, cast.acme, cast.agent)
    memberships.end_membership(cast.acme.memberships.get(user=cast.agent), by=None)
    assert not without_admin().exists() and sweep() == []


def test_one_mail_tells_of_all_apps_of_an_account(left, external, cast):
    memberships.change_role(cast.acme.memberships.get(user=cast.admin), role="admin", by=None)
    factories.agree(external.client, cast.acme, cast.admin)
    demote(cast.admin, cast.acme)
    assert len(sweep()) == 2
    assert mail.outbox[0].body.count("/confirm/") == 2


def test_where_no_admin_is_left_the_first_new_one_is_told(agreed, cast):
    for user in (cast.admin, cast.abe, cast.bea):
        people.deactivate_person(user, by=None)
    assert sweep() == []
    new = factories.member(cast.acme, "admin", "Nia")
    assert sweep() == [new.email]


def test_an_admin_reads_and_confirms_and_nothing_changes_for_the_app(left, cast, browse):
    """T5: what may be done, and until when, stays."""
    abe, url = browse(cast.abe), f"/consents/{left.consent.pk}/confirm/"
    for path in ("/", f"/installations/{left.installation.pk}/"):
        assert url in abe.get(path).content.decode(), path
        assert url not in browse(cast.agent).get(path).content.decode(), path
    page = abe.get(url)
    assert "Ada" in text(page) and "View tickets" in text(page) and "Edit tickets" in text(page)
    (form,) = [form for form in forms_of(page) if "shown" in form.fields]
    before = Consent.objects.get()
    assert before.confirmed_by is None, "a GET changes nothing"
    assert "Nothing changed for the app" in text(abe.post(url, form.values, follow=True))
    after = Consent.objects.get()
    assert after.confirmed_by == cast.abe and after.confirmed_at
    for name in ("granted", "left_off", "trimmed", "expires_at", "granted_at", "granted_by_id", "revision"):
        assert getattr(after, name) == getattr(before, name)
    entry = Entry.objects.get(event="consent.confirmed")
    assert entry.details["agreed_by"] == f"person:{cast.admin.public_id}" and "Ada" not in str(entry.details)
    page = text(abe.get(f"/installations/{left.installation.pk}/"))
    assert "Read and confirm" not in page and "Abe" in page
    assert "Nothing changed for the app" in text(abe.post(url, form.values, follow=True)), "what the first press did"
    assert "Nobody has to confirm" in text(browse(cast.bea).get(url, follow=True))
    assert Entry.objects.filter(event="consent.confirmed").count() == 1


def test_an_external_apps_page_asks_too(agreed, external, cast, browse):
    consent = factories.agree(external.client, cast.acme, cast.admin)
    demote(cast.admin, cast.acme)
    abe, page = browse(cast.abe), f"/authorizations/{consent.access_id}/"
    assert f"/consents/{consent.pk}/confirm/" in abe.get(page).content.decode()
    confirm(consent, cast.abe)
    assert "confirmed by Abe" in text(abe.get(page))


def test_what_was_not_read_is_not_confirmed(left, cast, browse):
    """Another's page, another wording, another extent."""
    statement = statement_of(left.consent, cast.abe)
    with pytest.raises(ScreenIsStale):
        succeeding.confirm_consent(left.consent, by=cast.bea, shown=statement.digest())
    Scope.objects.filter(name=EDIT).update(sentence="Edit and resolve tickets")
    with pytest.raises(ScreenIsStale):
        succeeding.confirm_consent(left.consent, by=cast.abe, shown=statement.digest())
    statement = statement_of(left.consent, cast.abe)
    ending.trim_consent(left.consent, scopes={EDIT}, by=cast.bea)
    url = f"/consents/{left.consent.pk}/confirm/"
    for shown in (statement.digest(), "", "ü"):
        page = browse(cast.abe).post(url, {"shown": shown})
        assert page.status_code == 409 and "read this page again" in text(page) and "resolve" not in text(page)
    assert Consent.objects.get().confirmed_by is None


def test_where_the_successor_leaves_too_the_rest_are_told_anew(left, cast):
    sweep()
    confirm(left.consent, cast.abe)
    assert sweep() == []
    demote(cast.abe, cast.acme)
    assert sweep() == [cast.bea.email]
    confirm(Consent.objects.get(), cast.bea)
    assert not without_admin().exists()


def test_who_comes_back_answers_again_and_the_next_departure_is_told_anew(left, cast):
    assert len(sweep()) == 2
    demote(cast.admin, cast.acme, role="admin")
    assert not without_admin().exists() and sweep() == []
    with pytest.raises(NotNeeded):
        confirm(left.consent, cast.abe)
    demote(cast.admin, cast.acme)
    assert len(sweep()) == 2


def test_who_agrees_anew_answers_for_it(left, cast):
    factories.agree(left.client, cast.acme, cast.abe)
    assert not without_admin().exists()


def test_what_has_ended_asks_nobody(left, cast):
    installing.uninstall(left.installation, by=cast.abe)
    assert not without_admin().exists() and sweep() == []


def test_the_mail_takes_as_many_queries_for_many_as_for_few_and_names_twenty(left, external, cast):
    def queries():
        Consent.objects.update(successor_asked_at=None)
        with CaptureQueriesContext(connection) as queries:
            sweep()
        return len(queries)

    demote(cast.admin, cast.acme, role="admin")
    consent = factories.agree(external.client, cast.acme, cast.admin)
    demote(cast.admin, cast.acme)
    few = queries()
    grow_agreements(consent, 29)
    assert queries() == few
    assert "and 11 more" in mail.outbox[0].body
