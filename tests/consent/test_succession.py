"""When the installer leaves, nothing ends, the remaining admins are told once, and one of them confirms."""

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from consent import tasks
from consent.actions import ending, succeeding
from consent.actions.succeeding import NotNeeded
from consent.models import Consent
from consent.succession import statement_of, without_admin
from credentials.models import Scope
from marketplace.actions import installing
from portal.accounts.actions import memberships, people
from portal.celery import app as celery
from portal.foundation.seals import ScreenIsStale
from portal.ledger.models import Entry
from tests import factories
from tests.factories import EDIT
from tests.mailing import outbox
from tests.people.forms import forms_of, text
from tests.volume import grow_agreements
from tests.worlds import shared

pytestmark = pytest.mark.django_db


def sweep():
    """Run what the sweep finds, and return the recipients of mails."""
    mail.outbox.clear()
    succeeding.forget_who_came_back()
    for account in succeeding.whom_to_ask():
        tasks.ask_for_successor(account.pk)
    return sorted(to for message in outbox() for to in message.to)


def demote(user, account, role="agent"):
    memberships.change_role(account.memberships.get(user=user, ended_at=None), role=role, by=None)


@shared
def agreed_app(installed, cast):
    """An app that works by Ada's consent for Acme, which Abe and Bea administer too."""
    cast.abe, cast.bea = (factories.member(cast.acme, "admin", name) for name in ("Abe", "Bea"))
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin, chosen=[EDIT])
    installed.access_token = installed.client_credentials(cast.acme.slug).json()["access_token"]
    return installed


@shared
def app_without_admin(agreed_app, cast):
    demote(cast.admin, cast.acme)
    return agreed_app


def confirm(consent, by):
    return succeeding.confirm_consent(consent, by=by, shown=statement_of(consent, by).digest())


leavings = pytest.mark.parametrize("leave", [
    lambda cast: demote(cast.admin, cast.acme),
    lambda cast: memberships.end_membership(cast.acme.memberships.get(user=cast.admin), by=cast.abe),
    lambda cast: people.deactivate_person(cast.admin, by=None),
], ids=["demoted", "removed", "deactivated"])  # fmt: skip


@leavings
def test_nothing_ends_however_the_admin_leaves_and_the_other_admins_are_told_once(agreed_app, cast, leave):
    before = Consent.objects.values("granted", "expires_at", "revoked_at").get()
    assert sweep() == []
    leave(cast)
    assert agreed_app.call(agreed_app.access_token).status_code == 200
    assert agreed_app.client_credentials(cast.acme.slug).status_code == 200
    assert Consent.objects.values("granted", "expires_at", "revoked_at").get() == before
    assert sweep() == sorted([cast.abe.email, cast.bea.email])
    assert f"/consents/{agreed_app.consent.pk}/confirm/" in outbox()[0].body
    assert sweep() == []


def test_pages_that_remove_or_demote_an_admin_say_what_others_will_take_over(agreed_app, external, cast, browse):
    abe, url = browse(cast.abe), f"/members/{cast.acme.slug}/"

    def page_text(user, page):
        member = cast.acme.memberships.get(user=user, ended_at=None)
        return text(abe.get(f"{url}{member.pk}/{page}/"))

    for page in ("remove", "role"):
        assert (
            "One app relies on what this person agreed to for the account. It keeps working, and the other admins are asked to confirm the agreement."
            in page_text(cast.admin, page)
        )
        # There is nothing to take over from these two.
        for user in (cast.agent, cast.bea):
            assert "agreed to" not in page_text(user, page)
    factories.agree(external.client, cast.acme, cast.admin)
    with CaptureQueriesContext(connection) as queries:
        assert "2 apps rely on what" in page_text(cast.admin, "remove")
    assert len(queries) < 12
    # Somebody else answers for these already.
    demote(cast.admin, cast.acme)
    for consent in without_admin():
        confirm(consent, cast.bea)
    demote(cast.admin, cast.acme, "admin")
    assert "agreed to" not in page_text(cast.admin, "remove")
    assert "agreed to" not in page_text(cast.bea, "remove")


@leavings
def test_the_other_admins_are_told_as_soon_as_it_is_committed(
    agreed_app, cast, leave, monkeypatch, django_capture_on_commit_callbacks
):
    """The sweep, every ten minutes, is only for lost messages (T3)."""
    outbox().clear()
    monkeypatch.setattr(celery, "send_task", lambda name, args=(), **more: celery.tasks[name](*args))
    with django_capture_on_commit_callbacks(execute=True):
        leave(cast)
        assert not outbox()
    assert {to for message in outbox() for to in message.to} == {cast.abe.email, cast.bea.email}
    assert not sweep()


def test_an_agents_own_consent_has_no_successor(installed_agent, cast):
    factories.agree(installed_agent.client, cast.acme, cast.agent)
    memberships.end_membership(cast.acme.memberships.get(user=cast.agent), by=None)
    assert not without_admin().exists() and sweep() == []


def test_one_mail_lists_all_apps_of_an_account(app_without_admin, external, cast):
    memberships.change_role(cast.acme.memberships.get(user=cast.admin), role="admin", by=None)
    factories.agree(external.client, cast.acme, cast.admin)
    demote(cast.admin, cast.acme)
    assert len(sweep()) == 2
    assert outbox()[0].body.count("/confirm/") == 2


def test_the_first_new_admin_is_told_if_none_was_left(agreed_app, cast):
    for user in (cast.admin, cast.abe, cast.bea):
        people.deactivate_person(user, by=None)
    assert sweep() == []
    new = factories.member(cast.acme, "admin", "Nia")
    assert sweep() == [new.email]


def test_an_admin_reads_and_confirms_and_nothing_changes_for_the_app(app_without_admin, cast, browse):
    """T5: permissions and the end of the consent stay the same."""
    abe, url = browse(cast.abe), f"/consents/{app_without_admin.consent.pk}/confirm/"
    for path in ("/", f"/installations/{app_without_admin.installation.pk}/"):
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
    page = text(abe.get(f"/installations/{app_without_admin.installation.pk}/"))
    assert "Read and confirm" not in page and "Abe" in page
    assert "Nothing changed for the app" in text(abe.post(url, form.values, follow=True)), (
        "the first press confirmed it"
    )
    assert "No confirmation is needed now." in text(browse(cast.bea).get(url, follow=True))
    assert Entry.objects.filter(event="consent.confirmed").count() == 1


def test_an_external_apps_page_asks_too(agreed_app, external, cast, browse):
    consent = factories.agree(external.client, cast.acme, cast.admin)
    demote(cast.admin, cast.acme)
    abe, page = browse(cast.abe), f"/authorizations/{consent.access_id}/"
    assert f"/consents/{consent.pk}/confirm/" in abe.get(page).content.decode()
    confirm(consent, cast.abe)
    assert "confirmed by Abe" in text(abe.get(page))


def test_only_what_was_read_can_be_confirmed(app_without_admin, cast, browse):
    """Not somebody else's page, an earlier wording or an earlier extent."""
    statement = statement_of(app_without_admin.consent, cast.abe)
    with pytest.raises(ScreenIsStale):
        succeeding.confirm_consent(app_without_admin.consent, by=cast.bea, shown=statement.digest())
    Scope.objects.filter(name=EDIT).update(sentence="Edit and resolve tickets")
    with pytest.raises(ScreenIsStale):
        succeeding.confirm_consent(app_without_admin.consent, by=cast.abe, shown=statement.digest())
    statement = statement_of(app_without_admin.consent, cast.abe)
    ending.trim_consent(app_without_admin.consent, scopes={EDIT}, by=cast.bea)
    url = f"/consents/{app_without_admin.consent.pk}/confirm/"
    for shown in (statement.digest(), "", "ü"):
        page = browse(cast.abe).post(url, {"shown": shown})
        assert (
            page.status_code == 409
            and "Something changed while you were reading. Read this page again before you continue." in text(page)
            and "resolve" not in text(page)
        )
    assert Consent.objects.get().confirmed_by is None


def test_if_the_successor_leaves_too_the_remaining_admins_are_told(app_without_admin, cast):
    sweep()
    confirm(app_without_admin.consent, cast.abe)
    assert sweep() == []
    demote(cast.abe, cast.acme)
    assert sweep() == [cast.bea.email]
    confirm(Consent.objects.get(), cast.bea)
    assert not without_admin().exists()


def test_an_admin_who_returns_answers_again_and_their_next_departure_is_told(app_without_admin, cast):
    assert len(sweep()) == 2
    demote(cast.admin, cast.acme, role="admin")
    assert not without_admin().exists() and sweep() == []
    with pytest.raises(NotNeeded):
        confirm(app_without_admin.consent, cast.abe)
    demote(cast.admin, cast.acme)
    assert len(sweep()) == 2


def test_an_admin_who_agrees_anew_answers_for_the_app(app_without_admin, cast):
    factories.agree(app_without_admin.client, cast.acme, cast.abe)
    assert not without_admin().exists()


def test_nobody_is_asked_about_what_has_ended(app_without_admin, cast):
    installing.uninstall(app_without_admin.installation, by=cast.abe)
    assert not without_admin().exists() and sweep() == []


def test_the_mail_takes_as_many_queries_for_many_as_for_few_and_names_twenty(app_without_admin, external, cast):
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
    assert "and 11 more" in outbox()[0].body
