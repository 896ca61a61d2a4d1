"""An invitation: one mail, one link that works once, for one proved address, for seven days."""

import datetime as dt
import re
from unittest.mock import patch

import pytest
from allauth.account.models import EmailAddress
from django.contrib.sessions.models import Session
from django.test import Client as Browser

from portal.accounts import tasks
from portal.accounts.actions import inviting, memberships
from portal.accounts.actions.inviting import AlreadyInvited, hash_of, invitations_to_mail
from portal.accounts.actions.memberships import AlreadyMember
from portal.accounts.models import Invitation, Membership, TeamMembership, User
from portal.foundation.limits import rates
from portal.foundation.models import OutgoingMail
from portal.ledger.models import Entry
from tests import factories
from tests.clock import advance
from tests.factories import PASSWORD, invited, mailed_token
from tests.mailing import outbox
from tests.people.forms import forms_of, text
from tests.rows import changed, contents
from tests.worlds import shared

pytestmark = pytest.mark.django_db
NEW = {"name": "Nia", "email": "nia@example.com", "password1": PASSWORD}


def opened(browser, token):
    """The page that a link leads to."""
    return browser.get(f"/invitations/{token}/", follow=True)


def deliver():
    """What a worker does of what the sweep finds."""
    with patch.object(tasks.tell_of_invitation, "delay", tasks.tell_of_invitation):
        tasks.sweep_invitations()


@shared
def offer(cast):
    """Acme's admin invites Otto, who has an account on the portal and none in Acme."""
    cast.invitation, cast.token = invited(cast.acme, cast.other_dev.email, by=cast.admin)
    return cast.invitation


# --- inviting ---


def test_an_admin_invites_by_mail_and_the_link_leads_in(cast, browse):
    ada = browse(cast.admin)
    form = {"email": f" {cast.other_dev.email.upper()} ", "role": "admin"}
    page = ada.post(f"/members/{cast.acme.slug}/invite/", form, follow=True)
    assert "Invited. An email is on its way to" in text(page) and cast.other_dev.email in text(page)
    deliver()
    assert outbox()[-1].to == [cast.other_dev.email] and "Acme" in outbox()[-1].subject
    assert f"/invitations/{mailed_token()}/" in outbox()[-1].body
    otto = browse(cast.other_dev)
    assert "You are invited to Acme" in text(opened(otto, mailed_token()))
    assert "Welcome to Acme" in text(otto.post("/invitations/", follow=True))
    assert Membership.objects.live().get(user=cast.other_dev, account=cast.acme).role == "admin"
    told = Entry.objects.get(event="member.added", subject=f"person:{cast.other_dev.public_id}")
    assert told.actor == told.subject and told.details["invitation"] == str(Invitation.objects.get().pk)


def test_an_owner_invites_to_a_team_and_an_owner_gets_its_test_account(cast, browse):
    team = factories.team_of(cast.dev)
    browse(cast.dev).post(f"/teams/{team.public_id}/invite/", {"email": cast.other_dev.email, "role": "owner"})
    deliver()
    otto = browse(cast.other_dev)
    opened(otto, mailed_token())
    assert "Welcome to" in text(otto.post("/invitations/", follow=True))
    assert TeamMembership.objects.owners().filter(user=cast.other_dev, team=team).exists()
    assert Membership.objects.admins().filter(user=cast.other_dev, account=team.test_account).exists()


@pytest.mark.parametrize(
    "email",
    [
        "", "nobody", "a@b", "x" * 250 + "@example.com", "a@example.com\0", "a@example.com\nBcc: b@example.com",
        '"a\vSubject:Else"@example.com', '"a\f<h1>Else</h1>"@example.com', '"http://else.example/now"@example.com',
        "a@exam\u200bple.com", "a@example\u2028.com",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_on_the_form(cast, browse, email):
    answer = browse(cast.admin).post(f"/members/{cast.acme.slug}/invite/", {"email": email, "role": "agent"})
    assert answer.status_code in (400, 422) and not Invitation.objects.exists()


def test_whether_an_address_is_known_here_makes_no_difference_to_who_invites(cast, browse):
    """Nothing of the answer, of what is written or of the mail tells."""
    told = []
    for email in (cast.other_dev.email, "stranger@example.com"):
        before = contents()
        page = browse(cast.admin).post(
            f"/members/{cast.acme.slug}/invite/", {"email": email, "role": "agent"}, follow=True
        )
        wrote = changed(before)
        deliver()
        body = outbox()[-1].body.replace(mailed_token(), "")
        messages = [str(message).replace(email, "") for message in page.context["messages"]]
        told.append((page.status_code, messages, wrote, re.sub(r"\d\d?:\d\d", "", body)))
    assert told[0] == told[1]


def test_nobody_is_invited_twice_or_where_they_are_already(cast):
    with pytest.raises(AlreadyMember):
        inviting.invite(cast.acme, email=cast.agent.email.upper(), role="admin", by=cast.admin)
    inviting.invite(cast.acme, email="Nia@Example.com", role="agent", by=cast.admin)
    with pytest.raises(AlreadyInvited):
        inviting.invite(cast.acme, email="nia@example.com", role="admin", by=cast.admin)
    inviting.invite(cast.globex, email="nia@example.com", role="agent", by=cast.globex_admin)


def test_the_form_offers_the_lesser_role_first(cast, browse):
    team = factories.team_of(cast.dev)
    for who, path, role in (
        (cast.admin, f"/members/{cast.acme.slug}/invite/", "agent"),
        (cast.dev, f"/teams/{team.public_id}/invite/", "member"),
    ):
        (form,) = [form for form in forms_of(browse(who).get(path)) if "email" in form.fields]
        assert form.values["role"] == role


def test_a_refusal_is_told_on_the_form(cast, browse):
    answer = browse(cast.admin).post(f"/members/{cast.acme.slug}/invite/", {"email": cast.agent.email, "role": "agent"})
    assert answer.status_code == 422 and "already belongs" in text(answer)


def test_a_mail_holds_no_name_that_anybody_may_choose(cast):
    """A team's name is its owner's to write: strangers would read it as the portal's words."""
    team = factories.team_of(cast.dev)
    type(team).objects.filter(pk=team.pk).update(name="Locked! Visit http://evil.example/")
    type(team.test_account).objects.filter(pk=team.test_account.pk).update(name="http://evil.example/ (test)")
    User.objects.filter(pk=cast.dev.pk).update(name="http://evil.example/")
    team.refresh_from_db()
    for organisation, role in ((team, "member"), (team.test_account, "agent")):
        invited(organisation, "vic@example.com", role=role, by=User.objects.get(pk=cast.dev.pk))
        assert "evil" not in outbox()[-1].body + outbox()[-1].subject
        assert cast.dev.email in outbox()[-1].body


# --- the token ---


def test_a_token_is_kept_as_its_hash_only(offer, cast, browse):
    """Nor is it in the ledger, the session or the address of a page."""
    browser = Browser()
    page = opened(browser, cast.token)
    assert page.request["PATH_INFO"] == "/invitations/" and cast.token not in page.content.decode()
    offer.refresh_from_db()
    assert offer.token_hash == hash_of(cast.token) and len(cast.token) >= 43
    kept = (
        str(list(Invitation.objects.values()))
        + str(list(OutgoingMail.objects.values()))
        + str(list(Entry.objects.values()))
        + str(dict(browser.session))
    )
    assert cast.token not in kept
    assert "no-store" in browser.get(f"/invitations/{cast.token}/")["Cache-Control"]


def test_a_mail_is_sent_once_and_found_by_the_sweep_until_it_was(cast):
    invitation = inviting.invite(cast.acme, email="nia@example.com", role="agent", by=cast.admin)
    assert invitations_to_mail().exists()
    deliver()
    deliver()
    inviting.tell_of_invitation(invitation)
    assert len(outbox()) == 1 and not invitations_to_mail().exists()


def test_an_unknown_token_and_no_token_are_told(cast, browse):
    for browser in (Browser(), browse(cast.other_dev)):
        assert browser.get("/invitations/").status_code == 404
        for token in ("made-up", "x" * 500, "ünknown", "%20"):
            assert "This invitation does not exist. A newer email may have replaced it." in text(opened(browser, token))
        assert browser.post("/invitations/").status_code == 404


# --- accepting ---


def test_signed_out_it_asks_to_sign_in_and_comes_back(offer, cast):
    browser = Browser()
    page = opened(browser, cast.token)
    assert page.status_code == 200 and "Sign in with the address" in text(page)
    assert browser.post("/invitations/")["Location"] == "/accounts/login/?next=/invitations/"
    answer = browser.post("/accounts/login/?next=/invitations/", {"login": cast.other_dev.email, "password": PASSWORD})
    assert answer["Location"] == "/invitations/"
    assert "Accept" in text(browser.get("/invitations/"))
    assert "Welcome to Acme" in text(browser.post("/invitations/", follow=True))


def test_somebody_without_an_account_signs_up_first_and_comes_back(cast):
    _row, token = invited(cast.acme, NEW["email"], by=cast.admin)
    browser = Browser()
    asked = "ask an admin of your company’s account to invite you"
    assert asked in text(browser.get("/accounts/signup/"))
    opened(browser, token)
    page = browser.get("/accounts/signup/")
    assert "You are invited to Acme" in text(page) and asked not in text(page)
    assert page.context["form"]["email"].value() == NEW["email"]
    mails = len(outbox())
    assert browser.post("/accounts/signup/", NEW)["Location"] == "/invitations/"
    assert len(outbox()) == mails, "the invitation proved the address: it went to no other"
    assert "Welcome to Acme" in text(browser.post("/invitations/", follow=True))


@pytest.mark.parametrize("why", ["another address", "taken back", "resent", "expired"])
def test_an_invitation_proves_only_the_address_it_went_to_and_only_while_it_is_good(cast, why):
    row, token = invited(cast.acme, NEW["email"], by=cast.admin)
    browser = Browser()
    opened(browser, token)
    if why == "taken back":
        inviting.revoke_invitation(row, by=cast.admin)
    if why == "resent":
        inviting.resend_invitation(row, by=cast.admin)
    if why == "expired":
        advance(dt.timedelta(days=7, seconds=1))
    email = "other@example.com" if why == "another address" else NEW["email"]
    browser.post("/accounts/signup/", {**NEW, "email": email})
    assert not EmailAddress.objects.get(email=email).verified and outbox()[-1].to == [email]
    assert browser.get("/settings/").status_code == 302
    link = re.search(r"https?://\S+(/accounts/confirm-email/\S+)", outbox()[-1].body)[1]
    assert browser.post(link)["Location"] == "/invitations/"


def test_signing_up_tells_of_no_invitation_that_is_over(cast):
    row, token = invited(cast.acme, NEW["email"], by=cast.admin)
    browser = Browser()
    opened(browser, token)
    inviting.revoke_invitation(row, by=cast.admin)
    page = browser.get("/accounts/signup/")
    assert page.status_code == 200 and "invited to" not in text(page) and not page.context["form"]["email"].value()


def test_the_wrong_person_is_told_so_and_nothing_else(offer, cast, browse):
    gus = browse(cast.globex_admin)
    page = opened(gus, cast.token)
    assert page.status_code == 403 and "This invitation is for someone else" in text(page)
    assert "Acme" not in text(page) and cast.other_dev.email not in text(page)
    assert gus.post("/invitations/").status_code == 403
    assert not Membership.objects.filter(user=cast.globex_admin, account=cast.acme).exists()


def test_an_address_counts_once_it_is_confirmed(cast, browse):
    """Another of one's own addresses will do, but only a proved one."""
    _row, token = invited(cast.acme, "second@example.com", by=cast.admin)
    second = EmailAddress.objects.create(user=cast.other_dev, email="Second@example.com", verified=False)
    otto = browse(cast.other_dev)
    assert opened(otto, token).status_code == 403 and otto.post("/invitations/").status_code == 403
    second.verified = True
    second.save()
    assert otto.post("/invitations/").status_code == 302


def test_letters_that_only_look_the_same_in_upper_case_are_another_address(cast, browse):
    _row, token = invited(cast.acme, "mike@example.org", by=cast.admin)
    EmailAddress.objects.create(user=cast.other_dev, email="mıke@example.org", verified=True)
    assert opened(browse(cast.other_dev), token).status_code == 403


def test_a_link_works_once(offer, cast, browse):
    otto = browse(cast.other_dev)
    opened(otto, cast.token)
    otto.post("/invitations/")
    assert otto.post("/invitations/").status_code == 404
    for browser in (otto, Browser(), browse(cast.admin)):
        page = opened(browser, cast.token)
        assert page.status_code == 410 and "was already used" in text(page)
        assert browser.post("/invitations/").status_code == 410
    assert Membership.objects.filter(user=cast.other_dev, account=cast.acme).count() == 1
    offer.refresh_from_db()
    assert offer.email == "", "nobody needs it any more"


def test_it_ends_after_seven_days(offer, cast, browse):
    otto = browse(cast.other_dev)
    opened(otto, cast.token)
    advance(dt.timedelta(days=7, seconds=1))
    page = otto.post("/invitations/")
    assert page.status_code == 410 and "has expired" in text(page)
    assert "Expired" in text(browse(cast.admin).get(f"/members/{cast.acme.slug}/"))


def test_an_admin_takes_it_back(offer, cast, browse):
    otto, ada = browse(cast.other_dev), browse(cast.admin)
    opened(otto, cast.token)
    url = f"/invitations/{offer.pk}/revoke/"
    assert cast.other_dev.email in text(ada.get(url))
    assert "Invitation canceled" in text(ada.post(url, follow=True))
    assert ada.post(url).status_code == 404, "replayed"
    page = otto.post("/invitations/")
    assert page.status_code == 410 and "canceled" in text(page)
    assert cast.other_dev.email not in text(ada.get(f"/members/{cast.acme.slug}/"))


def test_sent_again_only_the_newest_link_works(offer, cast, browse):
    otto, old = browse(cast.other_dev), cast.token
    opened(otto, old)
    advance(dt.timedelta(days=8))
    ada = browse(cast.admin)
    assert "Invitation resent. The link in the previous email no longer works." in text(
        ada.post(f"/invitations/{offer.pk}/resend/", follow=True)
    )
    assert ada.get(f"/invitations/{offer.pk}/resend/").status_code == 405
    for _before_and_after_the_mail in range(2):
        assert otto.post("/invitations/").status_code == 404
        assert "newer email" in text(opened(otto, old))
        deliver()
    opened(otto, mailed_token())
    assert otto.post("/invitations/").status_code == 302


def test_it_is_void_once_its_sender_may_not_invite_until_another_sends_it(offer, cast, browse):
    """Whoever is removed leaves no door open behind them (T2)."""
    abe = factories.member(cast.acme, "admin", "Abe")
    memberships.end_membership(Membership.objects.get(user=cast.admin, account=cast.acme), by=abe)
    otto = browse(cast.other_dev)
    page = opened(otto, cast.token)
    assert (
        page.status_code == 410
        and "The person who sent this invitation can no longer invite people there. Ask someone else to resend it."
        in text(page)
    )
    assert otto.post("/invitations/").status_code == 410
    assert "The sender left" in text(browse(abe).get(f"/members/{cast.acme.slug}/"))
    inviting.resend_invitation(offer, by=abe)
    deliver()
    opened(otto, mailed_token())
    assert otto.post("/invitations/").status_code == 302


def test_who_was_added_meanwhile_is_told(offer, cast, browse):
    otto = browse(cast.other_dev)
    opened(otto, cast.token)
    memberships.add_member(cast.acme, cast.other_dev, role="admin", by=None)
    page = otto.post("/invitations/")
    assert page.status_code == 409 and "already belongs" in text(page)
    assert Membership.objects.get(user=cast.other_dev, account=cast.acme).role == "admin"


def test_no_other_method_opens_or_accepts(offer, cast, browse):
    otto = browse(cast.other_dev)
    opened(otto, cast.token)
    for method in ("put", "patch", "delete"):
        assert getattr(otto, method)("/invitations/").status_code == 405
        assert getattr(otto, method)(f"/invitations/{cast.token}/").status_code == 405
    assert otto.post(f"/invitations/{cast.token}/").status_code == 405
    assert not Membership.objects.filter(user=cast.other_dev, account=cast.acme).exists()


# --- how often ---


def test_so_many_mails_go_to_one_address_and_from_one_person(offer, cast, browse, limited):
    ada, again = browse(cast.admin), f"/invitations/{offer.pk}/resend/"
    assert [ada.post(again).status_code for _time in range(6)] == [302] * 5 + [429]
    url = f"/members/{cast.acme.slug}/invite/"
    answers = [ada.post(url, {"email": f"n{number}@example.com", "role": "agent"}) for number in range(26)]
    assert [answer.status_code for answer in answers] == [302] * 25 + [429]
    assert "Too many attempts" in text(answers[-1]) and int(answers[-1]["Retry-After"]) > 0
    assert Invitation.objects.count() == 26


def test_links_are_tried_so_often_from_one_address(limited, db, monkeypatch):
    monkeypatch.setitem(rates.RATES, "invitations opened by address", (3, 600))
    browser = Browser()
    assert {browser.get(f"/invitations/guess-{number}/").status_code for number in range(3)} == {302}
    assert browser.get("/invitations/guess/").status_code == 429


def test_who_was_removed_does_not_come_back_by_an_invitation_of_before(offer, cast, browse):
    """Whoever removed them did not know that it was still about; a new one, sent on purpose, lets them in."""
    otto = browse(cast.other_dev)
    opened(otto, cast.token)
    membership = memberships.add_member(cast.acme, cast.other_dev, role="agent", by=cast.admin)
    memberships.end_membership(membership, by=cast.admin)
    page = otto.post("/invitations/")
    assert page.status_code == 409 and "You have left since this invitation was sent. Ask for a new one." in text(page)
    inviting.resend_invitation(offer, by=cast.admin)
    deliver()
    opened(otto, mailed_token())
    assert otto.post("/invitations/").status_code == 302


def test_a_made_up_link_leaves_nothing_in_the_database(cast, client):
    before = Session.objects.count()
    for number in range(3):
        assert client.get(f"/invitations/made-up-{number}/").status_code == 302
        client.cookies.clear()
    assert Session.objects.count() == before
