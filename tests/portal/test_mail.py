"""The outbox: what happened and the mail about it commit together; a mail is sent once, and then nothing of it is left."""

import re
import smtplib
from datetime import timedelta
from html import unescape

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import IntegrityError, connection, transaction
from django.test import override_settings

from portal.accounts.actions.inviting import invite, tell_of_invitation
from portal.foundation.mail import KEPT_FOR, RETRIES, forget_mail, mails_to_send, post, send, write
from portal.foundation.models import MailKind, OutgoingMail
from tests import factories
from tests.clock import advance, eventually_swept
from tests.mailing import no_mail_server, outbox
from tests.people.forms import text

pytestmark = pytest.mark.django_db
HERE = f"{__name__}."
SECRET_LINK = re.compile(r"/accounts/password/reset/key/|/invitations/[\w-]{40,}")


@pytest.fixture
def posted(cast, client):
    """The mail to Ada about a new password."""
    client.post("/accounts/password/reset/", {"email": cast.admin.email})
    return OutgoingMail.objects.get()


# --- the outbox ---


def test_a_mail_that_is_rolled_back_is_sent_to_nobody(cast):
    with transaction.atomic():
        post(MailKind.SECURITY, "account/email/password_reset_key.txt", to=cast.admin.email)
        transaction.set_rollback(True)
    assert not OutgoingMail.objects.exists() and not outbox()


def test_a_mail_is_sent_once_and_nothing_of_it_is_left(posted, cast):
    for _time in range(3):
        send(str(posted.pk))
        advance(timedelta(days=2))
    assert [message.to for message in mail.outbox] == [[cast.admin.email]]
    posted.refresh_from_db()
    assert posted.sent_at and posted.content is None
    with pytest.raises(IntegrityError, match="sent_mail_keeps_no_content"), transaction.atomic():
        OutgoingMail.objects.update(content={"to": "x"})


def test_what_waits_to_be_sent_cannot_be_read_in_the_database(posted, cast):
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM accounts_outgoingmail t")
        (row,) = cursor.fetchone()
    assert cast.admin.email not in row and "/accounts/" not in row and "password" not in row
    assert str(posted) == str(posted.pk) and cast.admin.email not in repr(posted)


def test_a_failed_mail_is_tried_again_ever_later_with_the_same_id_and_then_given_up(posted, caplog):
    for wait in RETRIES:
        with no_mail_server():
            send(str(posted.pk))
            send(str(posted.pk))
        assert OutgoingMail.objects.get().content and not mails_to_send().exists()
        advance(wait)
        assert mails_to_send().exists()
    tried = [record for record in caplog.records if "mail_not_sent" in str(record.msg)]
    assert len(tried) == len(RETRIES)
    with no_mail_server():
        send(str(posted.pk))
    posted.refresh_from_db()
    assert posted.content is None and posted.sent_at is None and "mail_given_up" in caplog.text
    assert not SECRET_LINK.search(caplog.text) and "example.com" not in caplog.text


class Dies(EmailBackend):
    """A mail server that answers, and a worker that is killed before it hears that."""

    def send_messages(self, messages):
        super().send_messages(messages)
        raise SystemExit


def test_a_mail_whose_worker_was_killed_is_sent_again_later_under_the_same_id(posted):
    with override_settings(EMAIL_BACKEND=f"{HERE}Dies"), pytest.raises(SystemExit):
        send(str(posted.pk))
    assert len(outbox()) == 1, "not while the worker might still be at it"
    advance(RETRIES[0])
    first, second = outbox()
    assert first.extra_headers["Message-ID"] == second.extra_headers["Message-ID"] == f"<{posted.pk}@127.0.0.1>"


class Twice(EmailBackend):
    """While one worker talks to the server, another gets the same message."""

    def send_messages(self, messages):
        for pk in OutgoingMail.objects.values_list("pk", flat=True):
            send(str(pk))
        return super().send_messages(messages)


def test_of_two_workers_one_sends_a_mail_and_holds_no_lock_meanwhile(posted):
    with override_settings(EMAIL_BACKEND=f"{HERE}Twice"):
        send(str(posted.pk))
    assert len(mail.outbox) == 1


class Refuses(EmailBackend):
    code = 550

    def send_messages(self, messages):
        raise smtplib.SMTPRecipientsRefused({messages[0].to[0]: (self.code, b"who is that")})


class AsksToWait(Refuses):
    code = 450


@pytest.mark.parametrize(("backend", "is_over"), [("Refuses", True), ("AsksToWait", False)])
def test_an_address_that_is_refused_for_good_is_tried_once(posted, caplog, backend, is_over):
    with override_settings(EMAIL_BACKEND=f"{HERE}{backend}"):
        send(str(posted.pk))
    posted.refresh_from_db()
    assert (posted.content is None) == is_over and posted.sent_at is None
    assert "example.com" not in caplog.text and "who is that" not in caplog.text


def test_rows_of_mails_are_removed_a_month_later(posted):
    forget_mail()
    advance(KEPT_FOR)
    forget_mail()
    assert OutgoingMail.objects.exists(), "not what was never sent"
    outbox()
    forget_mail()
    assert not OutgoingMail.objects.exists()


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
def test_a_real_worker_sends_what_the_sweep_finds(posted, worker):
    eventually_swept(lambda: OutgoingMail.objects.get().sent_at, "portal.foundation.tasks.sweep_mail")


# --- both parts ---


def html_of(message):
    ((html, kind),) = message.alternatives
    assert kind == "text/html"
    return html


def read(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html.partition("<body")[2])).split())


def test_both_parts_of_a_mail_say_the_same(cast):
    invitation = invite(cast.acme, email="nia@example.com", role="agent", by=cast.admin)
    tell_of_invitation(invitation)
    (message,) = outbox()
    html = html_of(message)
    for line in message.body.splitlines():
        if not line.startswith(("--", "http")):
            assert line.removesuffix(":") in read(html), line
    assert {*re.findall(r"https?://\S+", message.body)} == {*re.findall(r'href="([^"]+)"', html)}
    assert message.subject in html


def test_the_html_part_fetches_nothing_and_has_no_script(cast):
    post(MailKind.SECURITY, "account/email/password_reset_key.txt", to=cast.admin.email)
    html = html_of(outbox()[0])
    assert not re.search(r"<(img|script|link|iframe|object|form)|src=|url\(|@import", html)
    assert '<html lang="en">' in html and "<title>Choose a new password</title>" in html


def test_what_people_typed_is_neither_markup_nor_a_link_in_a_mail(cast):
    reason = "<b>Click</b>\n[here](https://evil.example/)\n- [or](javascript:alert)"
    context = {"said": "", "notice": type("", (), {"kind": "rejected", "reason": reason, "path": "/apps/"})}
    html = write(MailKind.DECISIONS, "members/mail/notice.txt", cast.dev, **context)["html"]
    assert "<b>" not in html and "&lt;b&gt;Click" in html
    assert {link.partition("127.0.0.1")[1] for link in re.findall(r'href="([^"]+)"', html)} == {"127.0.0.1"}


# --- who wants what ---


def test_a_person_chooses_which_mail_they_get_but_not_of_security(cast, browse):
    ada = browse(cast.admin)
    page = text(ada.get("/settings/mail/"))
    assert "Agreements that end soon" in page and "Versions to review" not in page
    assert 'name="security"' not in page and 'name="invitation"' not in page and "Always sent" in page
    answer = ada.post("/settings/mail/", {"versions": "on", "security": "", "reviews": "on"}, follow=True)
    assert "Saved." in text(answer)
    cast.admin.refresh_from_db()
    assert cast.admin.unwanted_mail == ["connections", "decisions", "ends", "successors"]
    for kind in MailKind:
        post(kind, "account/email/password_reset_key.txt", to=cast.admin.email, person=cast.admin)
    kept = {"security", "invitation", "versions", "reviews"}
    assert {*OutgoingMail.objects.values_list("kind", flat=True)} == kept
    ada.post("/settings/mail/", dict.fromkeys(MailKind, "on"))
    cast.admin.refresh_from_db()
    assert cast.admin.unwanted_mail == []


def test_a_security_mail_is_sent_whatever_a_persons_row_says(cast):
    cast.admin.unwanted_mail = MailKind.values
    for kind in MailKind:
        post(kind, "account/email/password_reset_key.txt", to=cast.admin.email, person=cast.admin)
    assert {*OutgoingMail.objects.values_list("kind", flat=True)} == {"security", "invitation"}


def test_a_reviewer_may_turn_off_mail_about_versions_but_not_about_suspensions(browse):
    rita = factories.reviewer()
    assert "Versions to review" in text(browse(rita).get("/settings/mail/"))
    browse(rita).post("/settings/mail/", {})
    rita.refresh_from_db()
    assert "reviews" in rita.unwanted_mail and "security" not in rita.unwanted_mail


def test_a_mail_that_can_be_turned_off_links_to_where_and_no_other_does(cast):
    for kind in MailKind:
        parts = write(kind, "account/email/password_reset_key.txt", cast.admin)
        for part in ("text", "html"):
            assert ("/settings/mail/" in parts[part]) == kind.can_be_turned_off, kind
            assert ("This is a security email" in parts[part]) == (kind == MailKind.SECURITY), kind


# --- changes to how people sign in ---


def test_a_changed_password_is_mailed_with_the_time_and_the_network_address(cast, browse):
    new = {"oldpassword": factories.PASSWORD, "password1": "another long one", "password2": "another long one"}
    browse(cast.admin).post("/accounts/password/change/", new)
    (message,) = outbox()
    assert message.to == [cast.admin.email] and message.subject == "Your password was changed"
    assert "UTC\nFrom the network address: 127.0.0.1" in message.body and "/accounts/password/reset/" in message.body


NOTICES = [
    "account/email/password_changed", "account/email/password_reset", "account/email/password_set",
    "account/email/email_changed", "account/email/email_deleted", "mfa/email/totp_activated",
    "mfa/email/totp_deactivated", "mfa/email/recovery_codes_generated",
]  # fmt: skip


@pytest.mark.parametrize("prefix", NOTICES)
def test_each_change_to_signing_in_has_a_mail(cast, prefix):
    changes = {"from_email": "old@example.com", "to_email": "new@example.com", "deleted_email": "old@example.com"}
    parts = write(MailKind.SECURITY, f"{prefix}.txt", cast.admin, timestamp=cast.admin.date_joined, **changes)
    assert parts["subject"] and "If it was not you, choose a new password now." in parts["text"]
    assert ("old@example.com" in parts["text"]) == ("/email_" in prefix)
