"""T5: who is told, by mail and on which pages, of what ends before long; each of 30, 7 and 1 days ahead once."""

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
from portal.celery import app as celery
from tests import factories
from tests.clock import advance, eventually
from tests.factories import VIEW
from tests.oauth import shown
from tests.volume import grow_agreements
from tests.worlds import shared

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


def sweep():
    """Run what the sweep queues, and return the mails that this sent as (to, subject)."""
    mail.outbox.clear()
    for account_id, membership_id in reminding.whom_to_tell():
        tasks.tell_of_ends(account_id, membership_id and str(membership_id))
    return [(*message.to, message.subject) for message in mail.outbox]


def told():
    return [to for to, _subject in sweep()]


@shared
def agreed(installed, cast):
    """An account-level app that Ada agreed to."""
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin)
    return installed


@shared
def by_agent(installed_agent, cast):
    installed_agent.consent = factories.agree(installed_agent.client, cast.acme, cast.agent)
    return installed_agent


def days_left(days):
    """Let so many days, less an hour, be left of a consent just given."""
    advance((365 - days) * DAY + HOUR)


def test_each_of_the_three_is_told_once(agreed, cast):
    days_left(31)
    assert told() == []
    for days in (30, 7, 1):
        left = Consent.objects.get().expires_at
        advance(left - dt.timedelta(days=days) - dt.datetime.now(dt.UTC) + HOUR)
        assert told() == [cast.admin.email], days
        assert told() == [], days
        advance(HOUR)
        assert told() == [], days
    advance(DAY)
    assert told() == []


@pytest.mark.parametrize(("left", "later"), [(29, 7), (5, 1), (0.5, None)])
def test_a_late_start_tells_of_the_nearest_only(agreed, cast, left, later):
    days_left(left)
    assert told() == [cast.admin.email] and told() == []
    if later:
        advance((left - later) * DAY)
        assert told() == [cast.admin.email] and told() == []


def test_the_account_s_is_told_to_every_admin_and_to_nobody_else(agreed, cast):
    colleague = factories.member(cast.acme, "admin", "Abe")
    gone = factories.member(cast.acme, "admin", "Amy")
    people.deactivate_person(gone, by=None)
    days_left(7)
    assert sorted(told()) == sorted([cast.admin.email, colleague.email])
    body = mail.outbox[0].body
    assert "What Insights may do in Acme ends on" in mail.outbox[0].subject
    assert f"/consents/{agreed.consent.pk}/renew/" in body and "/authorizations/ending/" in body


def test_an_agents_is_told_to_that_agent_alone(by_agent, cast):
    other = factories.agree(by_agent.client, cast.acme, cast.agent2)
    advance(7 * DAY)
    ending.revoke_consent(other, by=cast.agent2)
    days_left(7 + 7)
    assert told() == [cast.agent.email] and "for you" in mail.outbox[0].body


def test_one_mail_tells_of_all_that_one_person_can_renew(cast):
    for number in range(reminding.LISTED + 2):
        client, _secret = factories.client(cast.dev, kind="external", name=f"Tool {number:02}")
        factories.agree(client, cast.acme, cast.admin, requested={VIEW})
    days_left(30)
    assert told() == [cast.admin.email]
    body = mail.outbox[0].body
    assert body.count("/renew/") == reminding.LISTED and "and 2 more" in body and "the first on" in mail.outbox[0].subject  # fmt: skip
    assert told() == []


ENDED = {
    "renewed": lambda w: factories.agree(w.client, w.cast.acme, w.person, ask_again=True),
    "replaced": lambda w: factories.agree(w.client, w.cast.acme, w.person, replace=True),
    "revoked": lambda w: ending.revoke_consent(w.consent, by=w.cast.admin),
    "uninstalled": lambda w: installing.uninstall(w.installation, by=w.cast.admin),
    "its account suspended": lambda w: accounts.suspend_account(w.cast.acme, reason="Unpaid", by=None),
    "its client suspended": lambda w: suspend_client(w.client, reason="Harm", by=factories.reviewer()),
}
AGENT_ENDED = {
    "its agent removed": lambda w: memberships.end_membership(w.consent.membership, by=w.cast.admin),
    "its agent deactivated": lambda w: people.deactivate_person(w.person, by=None),
}


@pytest.mark.parametrize(
    ("level", "how"), [*(("agreed", how) for how in ENDED), *(("by_agent", how) for how in {**ENDED, **AGENT_ENDED})]
)
def test_what_goes_on_or_has_ended_is_not_told_of(request, cast, browse, level, how):
    side = request.getfixturevalue(level)
    side.cast, side.person = cast, cast.admin if level == "agreed" else cast.agent
    days_left(7)
    {**ENDED, **AGENT_ENDED}[how](side)
    assert told() == []
    for path in ("/", "/authorizations/ending/"):
        if side.person.is_active:
            assert "/renew/" not in browse(side.person).get(path).content.decode(), path


def test_renewed_it_is_told_of_again_a_year_later(agreed, cast):
    for _year in range(2):
        days_left(30)
        assert told() == [cast.admin.email] and told() == []
        factories.agree(agreed.client, cast.acme, cast.admin, ask_again=True)
        assert told() == []
    assert Consent.objects.count() == 1


def test_a_suspension_that_is_lifted_is_told_of_then(agreed, cast):
    reviewer = factories.reviewer()
    suspend_client(agreed.client, reason="Harm", by=reviewer)
    days_left(7)
    assert told() == []
    lift_client(agreed.client, reason="Well", secret_leaked=False, by=reviewer)
    assert told() == [cast.admin.email]


def test_a_mail_server_that_is_away_is_tried_again(agreed, cast, monkeypatch):
    days_left(7)
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr("portal.foundation.mail.EmailMessage.send", lambda self: (_ for _ in ()).throw(OSError("away")))
        sweep()
    assert told() == [cast.admin.email] and told() == []


def test_an_address_that_is_refused_keeps_no_other_admin_from_the_mail(agreed, cast, monkeypatch):
    factories.member(cast.acme, "admin", "Abe")
    days_left(7)
    sent = []

    def send(self):
        sent.append(*self.to)
        if self.to == [cast.admin.email]:
            raise smtplib.SMTPRecipientsRefused({})

    monkeypatch.setattr("portal.foundation.mail.EmailMessage.send", send)
    sweep()
    assert len(sent) == 2
    sweep()
    assert len(sent) == 2


def test_the_sweep_is_bounded_and_takes_the_nearest_end_first(cast, by_agent, monkeypatch):
    advance(DAY)
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    days_left(7)
    queued = []
    monkeypatch.setattr(tasks, "SWEEP_BATCH", 1)
    monkeypatch.setattr(tasks.tell_of_ends, "delay", lambda *arguments: queued.append(arguments))
    tasks.sweep_ends()
    assert queued == [(cast.acme.pk, str(by_agent.consent.membership_id))]


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_tells_of_it(agreed, worker):
    days_left(7)
    celery.send_task("consent.tasks.sweep_ends")
    eventually(lambda: Consent.objects.get().told_at)


# --- pages ---


def text(response):
    return response.content.decode()


def test_pages_tell_of_the_end_from_30_days_on_with_the_button(agreed, cast, browse):
    ada, axel = browse(cast.admin), browse(cast.agent)
    page, renew = (
        f"/installations/{agreed.installation.pk}/",
        f"/consents/{agreed.consent.pk}/renew/",
    )
    days_left(31)
    for path in (page, "/"):
        assert "ends on" not in text(ada.get(path)), path
    advance(DAY)
    for path in (page, "/"):
        told = text(ada.get(path))
        assert "What Insights may do in Acme ends on" in told and told.count(renew) >= 1, path
    # An agent reads it where the app is, without the button.
    assert "An admin of the account can agree again" in text(axel.get(page)) and renew not in text(axel.get(page))
    assert "ends on" not in text(axel.get("/"))


@pytest.mark.parametrize("kind", ["used", "external"])
def test_agreeing_again_goes_on_for_a_year_and_stops_nothing(request, kind, cast, browse):
    """T5: the same consent, so whatever was issued under it lives on."""
    side, ada = request.getfixturevalue("installed" if kind == "used" else kind), browse(cast.admin)
    tokens = side.tokens_for(ada, account=cast.acme.slug, scope=VIEW)
    days_left(3)
    tokens = side.refresh(tokens["refresh_token"]).json()
    consent = Consent.objects.get()
    renew = f"/consents/{consent.pk}/renew/"
    assert renew in text(ada.get("/")) and renew in text(ada.get("/authorizations/ending/"))
    page = ada.get(renew)
    assert "Already allowed" in text(page) and "connect again" not in text(page)
    assert ada.post(renew, {"decision": "agree", "shown": "x"}).status_code == 409
    answered = ada.post(renew, {"decision": "agree", "shown": shown(page)}, follow=True)
    assert "another 365 days" in text(answered) and "See the receipt" in text(answered)
    renewed = Consent.objects.get()
    assert renewed.expires_at - consent.expires_at > 361 * DAY and renewed.granted == consent.granted
    assert side.call(tokens["access_token"]).status_code == 200
    advance(4 * DAY)
    assert side.refresh(tokens["refresh_token"]).status_code == 200
    advance(366 * DAY)
    assert "ended already" in text(ada.get(renew, follow=True))


def test_an_external_apps_page_tells_of_it(external, cast, browse):
    access = factories.agree(external.client, cast.acme, cast.admin).access
    days_left(3)
    told = text(browse(cast.admin).get(f"/authorizations/{access.pk}/"))
    assert "What Insights may do in Acme ends on" in told


def test_an_agent_is_told_on_their_own_pages_and_no_other_agent(by_agent, cast, browse):
    days_left(3)
    for path in (f"/installations/{by_agent.installation.pk}/", "/authorizations/", "/"):
        for who, seen in ((cast.agent, True), (cast.agent2, False), (cast.admin, False), (cast.globex_admin, False)):
            response = browse(who).get(path)
            assert ("may do for you in Acme ends on" in text(response)) == seen, (path, who)


def test_the_list_has_the_coming_60_days_by_week(agreed, cast, browse):
    ada = browse(cast.admin)
    days_left(61)
    assert "Nothing ends soon" in text(ada.get("/authorizations/ending/"))
    advance(DAY)
    page = text(ada.get("/authorizations/ending/"))
    assert "Week of" in page and "Insights" in page and "/renew/" in page
    for path in ("/installations/", "/"):
        assert "/authorizations/ending/" in text(ada.get(path)), path


def test_the_list_has_an_agents_own_and_for_an_admin_all_agents(by_agent, cast, browse):
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    days_left(20)
    seen = {
        who: {*re.findall(r">\s*(Axel|Ana)\s*<", text(browse(who).get("/authorizations/ending/")))}
        for who in (cast.admin, cast.agent, cast.agent2, cast.globex_admin, cast.dev)
    }
    assert [*seen.values()] == [{"Axel", "Ana"}, {"Axel"}, {"Ana"}, set(), set()]
    # Nobody renews for another.
    assert "/renew/" not in text(browse(cast.admin).get("/authorizations/ending/"))
    assert Browser().get("/authorizations/ending/").status_code == 302


def test_the_list_goes_on_by_page(external, cast, browse):
    grow_agreements(factories.agree(external.client, cast.acme, cast.admin), 29)
    days_left(20)
    page = browse(cast.admin).get("/authorizations/ending/?page=2")
    assert "Page 2 of 2" in text(page) and len(page.context["page_obj"]) == 5


# --- what ended lately ---


def over(side, *, stamped):
    """Let a consent run out, with or without the worker having stamped it."""
    advance(366 * DAY)
    if stamped:
        assert ending.expire_consents() == 1


@pytest.mark.parametrize("stamped", [False, True])
def test_what_ran_out_is_told_of_for_30_days_with_the_way_to_authorize_again(agreed, cast, browse, stamped):
    ada, again = browse(cast.admin), f"/authorizations/{agreed.consent.access_id}/reauthorize/"
    over(agreed, stamped=stamped)
    for path, told in (("/authorizations/ending/", "Ended on"), ("/", "What Insights may do in Acme ended on")):
        page = text(ada.get(path))
        assert told in page and again in page, path
    # An agent can do nothing about the account's.
    assert "ended on" not in text(browse(cast.agent).get("/"))
    for who in (cast.agent, cast.globex_admin, cast.dev):
        assert "Ended on" not in text(browse(who).get("/authorizations/ending/"))
    page = ada.get(again)
    ada.post(again, {"decision": "agree", "shown": shown(page)})
    assert "ended on" not in text(ada.get("/")) and "Ended on" not in text(ada.get("/authorizations/ending/"))


def test_a_month_later_it_is_not_told_of_any_more(agreed, cast, browse):
    over(agreed, stamped=True)
    advance(30 * DAY)
    for path in ("/", "/authorizations/ending/"):
        assert "nded on" not in text(browse(cast.admin).get(path)), path


def test_an_agents_own_that_ran_out_is_theirs_to_authorize_and_an_admin_sees_it(by_agent, cast, browse):
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    over(by_agent, stamped=False)
    again = f"/authorizations/{by_agent.consent.access_id}/reauthorize/"
    for who, names in ((cast.agent, 1), (cast.agent2, 1), (cast.admin, 2)):
        page = text(browse(who).get("/authorizations/ending/"))
        assert page.count("Ended on") == names and (again in page) == (who != cast.admin), who
        assert ("may do for you in Acme ended on" in text(browse(who).get("/"))) == (who != cast.admin), who
    # One agent's new consent renews nobody else's.
    factories.agree(by_agent.client, cast.acme, cast.agent2)
    assert "Ended on" in text(browse(cast.agent).get("/authorizations/ending/"))
    assert "Ended on" not in text(browse(cast.agent2).get("/authorizations/ending/"))


@pytest.mark.parametrize(
    ("level", "how"),
    [
        *((level, how) for how in ("uninstalled", "its account suspended", "its client suspended") for level in ("agreed", "by_agent")),
        *(("by_agent", how) for how in AGENT_ENDED),
    ],
)  # fmt: skip
def test_what_nobody_can_authorize_again_is_not_told_of_as_ended(request, cast, browse, level, how):
    side = request.getfixturevalue(level)
    side.cast, side.person = cast, cast.admin if level == "agreed" else cast.agent
    over(side, stamped=False)
    {**ENDED, **AGENT_ENDED}[how](side)
    for who in (cast.admin, cast.agent):
        for path in ("/", "/authorizations/ending/"):
            if who.is_active:
                assert "nded on" not in text(browse(who).get(path)), (who, path)


def test_what_was_revoked_before_its_end_is_not_told_of_as_ended(agreed, cast, browse):
    ending.revoke_consent(agreed.consent, by=cast.admin)
    advance(366 * DAY)
    assert "Ended on" not in text(browse(cast.admin).get("/authorizations/ending/"))


def test_the_list_of_what_ended_goes_on_by_page_and_home_names_three(external, cast, browse):
    grow_agreements(factories.agree(external.client, cast.acme, cast.admin), 29)
    Consent.objects.update(expires_at=Now() - DAY)
    ada = browse(cast.admin)
    assert text(ada.get("/authorizations/ending/?ended=2")).count("Ended on") == 5
    assert text(ada.get("/")).count("ended on") == 3


def test_the_page_belongs_to_the_apps_in_the_navigation_as_its_way_back_says(agreed, cast, browse):
    ada = browse(cast.admin)
    for path, name in (
        ("/authorizations/ending/", "Apps"),
        ("/authorizations/", "My authorizations"),
        ("/installations/", "Apps"),
    ):
        page = text(ada.get(path))
        assert {*re.findall(r'aria-current="page">([^<]+)<', page)} == {name}, path
