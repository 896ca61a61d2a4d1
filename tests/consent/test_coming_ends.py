"""T5: mails and pages remind people of agreements that end soon; mails go 30, 7 and 1 days ahead, each once."""

import datetime as dt
import re
import smtplib

import pytest
from django.core import mail
from django.db.models.functions import Now
from django.test import Client as Browser

from consent import tasks
from consent.actions import ending, reminding
from consent.models import Consent
from credentials.actions import lift_client, suspend_client
from marketplace.actions import installing
from portal.accounts.actions import accounts, memberships, people
from tests import factories
from tests.clock import advance, eventually_swept
from tests.factories import VIEW
from tests.mailing import no_mail_server, outbox
from tests.oauth import shown
from tests.volume import grow_agreements
from tests.worlds import shared

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


def sweep():
    """Run the tasks that the sweep queues, and return the mails sent as (to, subject)."""
    mail.outbox.clear()
    for account_id, membership_id in reminding.whom_to_tell():
        tasks.tell_of_ends(account_id, membership_id and str(membership_id))
    return [(*message.to, message.subject) for message in outbox()]


def recipients():
    return [to for to, _subject in sweep()]


@shared
def agreed_app(installed, cast):
    """An account-level app that Ada agreed to."""
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin)
    return installed


@shared
def by_agent(installed_agent, cast):
    installed_agent.consent = factories.agree(installed_agent.client, cast.acme, cast.agent)
    return installed_agent


def leave_days(days):
    """Advance to so many days, less an hour, before the end of a consent just given."""
    advance((365 - days) * DAY + HOUR)


def test_each_of_the_three_reminders_is_sent_once(agreed_app, cast):
    leave_days(31)
    assert recipients() == []
    for days in (30, 7, 1):
        end = Consent.objects.get().expires_at
        advance(end - dt.timedelta(days=days) - dt.datetime.now(dt.UTC) + HOUR)
        assert recipients() == [cast.admin.email], days
        assert recipients() == [], days
        advance(HOUR)
        assert recipients() == [], days
    advance(DAY)
    assert recipients() == []


@pytest.mark.parametrize(("left", "later"), [(29, 7), (5, 1), (0.5, None)])
def test_a_late_start_sends_only_the_nearest_reminder(agreed_app, cast, left, later):
    leave_days(left)
    assert recipients() == [cast.admin.email] and recipients() == []
    if later:
        advance((left - later) * DAY)
        assert recipients() == [cast.admin.email] and recipients() == []


def test_every_admin_and_nobody_else_is_reminded_of_the_accounts_agreement(agreed_app, cast):
    colleague = factories.member(cast.acme, "admin", "Abe")
    gone = factories.member(cast.acme, "admin", "Amy")
    people.deactivate_person(gone, by=None)
    leave_days(7)
    assert sorted(recipients()) == sorted([cast.admin.email, colleague.email])
    body = outbox()[0].body
    assert "Agreement with Insights in Acme ends on" in outbox()[0].subject
    assert f"/consents/{agreed_app.consent.pk}/renew/" in body and "/authorizations/ending/" in body


def test_only_the_agent_is_reminded_of_an_agents_agreement(by_agent, cast):
    other = factories.agree(by_agent.client, cast.acme, cast.agent2)
    advance(7 * DAY)
    ending.revoke_consent(other, by=cast.agent2)
    leave_days(7 + 7)
    assert recipients() == [cast.agent.email] and "for you" in outbox()[0].body


def test_one_mail_lists_everything_that_a_person_can_renew(cast):
    for number in range(reminding.LISTED + 2):
        client, _secret = factories.client(cast.dev, kind="external", name=f"Tool {number:02}")
        factories.agree(client, cast.acme, cast.admin, requested={VIEW})
    leave_days(30)
    assert recipients() == [cast.admin.email]
    body = outbox()[0].body
    assert body.count("/renew/") == reminding.LISTED and "and 2 more" in body and "the first on" in outbox()[0].subject  # fmt: skip
    assert recipients() == []


ENDINGS = {
    "renewed": lambda w: factories.agree(w.client, w.cast.acme, w.person, ask_again=True),
    "replaced": lambda w: factories.agree(w.client, w.cast.acme, w.person, replace=True),
    "revoked": lambda w: ending.revoke_consent(w.consent, by=w.cast.admin),
    "uninstalled": lambda w: installing.uninstall(w.installation, by=w.cast.admin),
    "its account suspended": lambda w: accounts.suspend_account(w.cast.acme, reason="Unpaid", by=None),
    "its client suspended": lambda w: suspend_client(w.client, reason="Harm", by=factories.reviewer()),
}
AGENT_ENDINGS = {
    "its agent removed": lambda w: memberships.end_membership(w.consent.membership, by=w.cast.admin),
    "its agent deactivated": lambda w: people.deactivate_person(w.person, by=None),
}


@pytest.mark.parametrize(
    ("level", "how"),
    [*(("agreed_app", how) for how in ENDINGS), *(("by_agent", how) for how in {**ENDINGS, **AGENT_ENDINGS})],
)
def test_nobody_is_reminded_of_what_was_renewed_or_has_ended(request, cast, browse, level, how):
    side = request.getfixturevalue(level)
    side.cast, side.person = cast, cast.admin if level == "agreed_app" else cast.agent
    leave_days(7)
    {**ENDINGS, **AGENT_ENDINGS}[how](side)
    assert recipients() == []
    for path in ("/", "/authorizations/ending/"):
        if side.person.is_active:
            assert "/renew/" not in browse(side.person).get(path).content.decode(), path


def test_a_renewed_agreement_is_reminded_of_again_a_year_later(agreed_app, cast):
    for _year in range(2):
        leave_days(30)
        assert recipients() == [cast.admin.email] and recipients() == []
        factories.agree(agreed_app.client, cast.acme, cast.admin, ask_again=True)
        assert recipients() == []
    assert Consent.objects.count() == 1


def test_a_reminder_held_back_by_a_suspension_is_sent_when_it_is_lifted(agreed_app, cast):
    reviewer = factories.reviewer()
    suspend_client(agreed_app.client, reason="Harm", by=reviewer)
    leave_days(7)
    assert recipients() == []
    lift_client(agreed_app.client, reason="Well", secret_leaked=False, by=reviewer)
    assert recipients() == [cast.admin.email]


def test_a_reminder_is_retried_when_the_mail_server_is_away(agreed_app, cast):
    leave_days(7)
    with no_mail_server():
        assert recipients() == []
    advance(HOUR)
    assert recipients() == [cast.admin.email] and recipients() == []


def test_a_refused_address_does_not_keep_other_admins_from_the_mail(agreed_app, cast, monkeypatch):
    factories.member(cast.acme, "admin", "Abe")
    leave_days(7)
    sent = []

    def send(self):
        sent.append(*self.to)
        if self.to == [cast.admin.email]:
            raise smtplib.SMTPRecipientsRefused({})

    monkeypatch.setattr("portal.foundation.mail.EmailMultiAlternatives.send", send)
    sweep()
    assert len(sent) == 2
    sweep()
    assert len(sent) == 2


def test_the_sweep_is_bounded_and_takes_the_nearest_end_first(cast, by_agent, monkeypatch):
    advance(DAY)
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    leave_days(7)
    queued = []
    monkeypatch.setattr(tasks, "SWEEP_BATCH", 1)
    monkeypatch.setattr(tasks.tell_of_ends, "delay", lambda *arguments: queued.append(arguments))
    tasks.sweep_ends()
    assert queued == [(cast.acme.pk, str(by_agent.consent.membership_id))]


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
def test_a_real_worker_sends_the_reminder(agreed_app, worker):
    leave_days(7)
    eventually_swept(lambda: Consent.objects.get().told_at, "consent.tasks.sweep_ends")


# --- pages ---


def text(response):
    return response.content.decode()


def test_pages_announce_the_end_30_days_ahead_with_a_button(agreed_app, cast, browse):
    ada, axel = browse(cast.admin), browse(cast.agent)
    page, renew = (
        f"/installations/{agreed_app.installation.pk}/",
        f"/consents/{agreed_app.consent.pk}/renew/",
    )
    leave_days(31)
    for path in (page, "/"):
        assert "ends on" not in text(ada.get(path)), path
    advance(DAY)
    for path in (page, "/"):
        page_text = text(ada.get(path))
        assert "agreement with Insights" in page_text and page_text.count(renew) >= 1, path
    # An agent reads it on the app's page, without the button.
    assert "An admin of the account can agree again" in text(axel.get(page)) and renew not in text(axel.get(page))
    assert "ends on" not in text(axel.get("/"))


@pytest.mark.parametrize("kind", ["installed", "external"])
def test_agreeing_again_adds_a_year_and_interrupts_nothing(request, kind, cast, browse):
    """T5: the consent stays the same, so tokens issued under it stay valid."""
    side, ada = request.getfixturevalue(kind), browse(cast.admin)
    tokens = side.tokens_for(ada, account=cast.acme.slug, scope=VIEW)
    leave_days(3)
    tokens = side.refresh(tokens["refresh_token"]).json()
    consent = Consent.objects.get()
    renew = f"/consents/{consent.pk}/renew/"
    assert renew in text(ada.get("/")) and renew in text(ada.get("/authorizations/ending/"))
    page = ada.get(renew)
    assert "Already allowed" in text(page) and "connect again" not in text(page)
    assert ada.post(renew, {"decision": "agree", "shown": "x"}).status_code == 409
    answered = ada.post(renew, {"decision": "agree", "shown": shown(page)}, follow=True)
    assert "another 365 days" in text(answered) and "View receipt" in text(answered)
    renewed = Consent.objects.get()
    assert renewed.expires_at - consent.expires_at > 361 * DAY and renewed.granted == consent.granted
    assert side.call(tokens["access_token"]).status_code == 200
    advance(4 * DAY)
    assert side.refresh(tokens["refresh_token"]).status_code == 200
    advance(366 * DAY)
    assert "already ended" in text(ada.get(renew, follow=True))


def test_an_external_apps_page_announces_the_end(external, cast, browse):
    access = factories.agree(external.client, cast.acme, cast.admin).access
    leave_days(3)
    page = text(browse(cast.admin).get(f"/authorizations/{access.pk}/"))
    assert "agreement with Insights" in page


def test_an_agents_own_pages_announce_the_end_and_other_agents_pages_do_not(by_agent, cast, browse):
    leave_days(3)
    for path in (f"/installations/{by_agent.installation.pk}/", "/authorizations/", "/"):
        for who, seen in ((cast.agent, True), (cast.agent2, False), (cast.admin, False), (cast.globex_admin, False)):
            response = browse(who).get(path)
            told = re.search(r"Your (?:agreement with|authorization of) Insights in Acme ends on", text(response))
            assert bool(told) == seen, (path, who)


def test_the_list_shows_the_next_60_days_by_week(agreed_app, cast, browse):
    ada = browse(cast.admin)
    leave_days(61)
    assert "No agreements end soon" in text(ada.get("/authorizations/ending/"))
    advance(DAY)
    page = text(ada.get("/authorizations/ending/"))
    assert "Week of" in page and "Insights" in page and "/renew/" in page
    for path in ("/installations/", "/"):
        assert "/authorizations/ending/" in text(ada.get(path)), path


def test_the_list_shows_agents_their_own_and_admins_those_of_all_agents(by_agent, cast, browse):
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    leave_days(20)
    seen = {
        who: {*re.findall(r">\s*(Axel|Ana)\s*<", text(browse(who).get("/authorizations/ending/")))}
        for who in (cast.admin, cast.agent, cast.agent2, cast.globex_admin, cast.dev)
    }
    assert [*seen.values()] == [{"Axel", "Ana"}, {"Axel"}, {"Ana"}, set(), set()]
    # Nobody can renew for somebody else.
    assert "/renew/" not in text(browse(cast.admin).get("/authorizations/ending/"))
    assert Browser().get("/authorizations/ending/").status_code == 302


def test_the_list_is_paged(external, cast, browse):
    grow_agreements(factories.agree(external.client, cast.acme, cast.admin), 29)
    leave_days(20)
    page = browse(cast.admin).get("/authorizations/ending/?page=2")
    assert "Page 2 of 2" in text(page) and len(page.context["page_obj"]) == 5


# --- recently ended ---


def let_expire(side, *, stamped):
    """Let a consent expire, with or without the worker's stamp."""
    advance(366 * DAY)
    if stamped:
        assert ending.expire_consents() == 1


@pytest.mark.parametrize("stamped", [False, True])
def test_an_expired_agreement_is_shown_for_30_days_with_a_link_to_authorize_again(agreed_app, cast, browse, stamped):
    ada, again = browse(cast.admin), f"/authorizations/{agreed_app.consent.access_id}/reauthorize/"
    let_expire(agreed_app, stamped=stamped)
    for path, expected in (
        ("/authorizations/ending/", "Ended on"),
        ("/", "The agreement with Insights in Acme expired on"),
    ):
        page = text(ada.get(path))
        assert expected in page and again in page, path
    # An agent cannot renew the account's agreement.
    assert "expired on" not in text(browse(cast.agent).get("/"))
    for who in (cast.agent, cast.globex_admin, cast.dev):
        assert "Ended on" not in text(browse(who).get("/authorizations/ending/"))
    page = ada.get(again)
    ada.post(again, {"decision": "agree", "shown": shown(page)})
    assert "expired on" not in text(ada.get("/")) and "Ended on" not in text(ada.get("/authorizations/ending/"))


def test_an_expired_agreement_is_no_longer_shown_a_month_later(agreed_app, cast, browse):
    let_expire(agreed_app, stamped=True)
    advance(30 * DAY)
    for path in ("/", "/authorizations/ending/"):
        page = text(browse(cast.admin).get(path))
        assert "nded on" not in page and "expired on" not in page, path


def test_an_agent_authorizes_their_expired_agreement_again_and_an_admin_only_sees_it(by_agent, cast, browse):
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    let_expire(by_agent, stamped=False)
    again = f"/authorizations/{by_agent.consent.access_id}/reauthorize/"
    for who, names in ((cast.agent, 1), (cast.agent2, 1), (cast.admin, 2)):
        page = text(browse(who).get("/authorizations/ending/"))
        assert page.count("Ended on") == names and (again in page) == (who != cast.admin), who
        assert ("Your authorization of Insights in Acme expired on" in text(browse(who).get("/"))) == (
            who != cast.admin
        ), who
    # One agent's new consent renews no other agent's.
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    assert "Ended on" in text(browse(cast.agent).get("/authorizations/ending/"))
    assert "Ended on" not in text(browse(cast.agent2).get("/authorizations/ending/"))


@pytest.mark.parametrize(
    ("level", "how"),
    [
        *((level, how) for how in ("uninstalled", "its account suspended", "its client suspended") for level in ("agreed_app", "by_agent")),
        *(("by_agent", how) for how in AGENT_ENDINGS),
    ],
)  # fmt: skip
def test_an_expired_agreement_that_nobody_can_authorize_again_is_not_shown(request, cast, browse, level, how):
    side = request.getfixturevalue(level)
    side.cast, side.person = cast, cast.admin if level == "agreed_app" else cast.agent
    let_expire(side, stamped=False)
    {**ENDINGS, **AGENT_ENDINGS}[how](side)
    for who in (cast.admin, cast.agent):
        for path in ("/", "/authorizations/ending/"):
            if who.is_active:
                assert "nded on" not in text(browse(who).get(path)), (who, path)


def test_an_agreement_revoked_before_its_end_is_not_shown_as_expired(agreed_app, cast, browse):
    ending.revoke_consent(agreed_app.consent, by=cast.admin)
    advance(366 * DAY)
    assert "Ended on" not in text(browse(cast.admin).get("/authorizations/ending/"))


def test_the_list_of_expired_agreements_is_paged_and_home_shows_three(external, cast, browse):
    grow_agreements(factories.agree(external.client, cast.acme, cast.admin), 29)
    Consent.objects.update(expires_at=Now() - DAY)
    ada = browse(cast.admin)
    assert text(ada.get("/authorizations/ending/?ended=2")).count("Ended on") == 5
    assert text(ada.get("/")).count(" expired on ") >= 3


def test_the_navigation_shows_the_list_under_apps_as_its_back_link_does(agreed_app, cast, browse):
    ada = browse(cast.admin)
    for path, name in (
        ("/authorizations/ending/", "Installed apps"),
        ("/authorizations/", "My access"),
        ("/installations/", "Installed apps"),
    ):
        page = text(ada.get(path))
        assert {*re.findall(r'aria-current="page">([^<]+)<', page)} == {name}, path
