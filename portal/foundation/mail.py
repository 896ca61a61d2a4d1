"""Write mails and put them into the outbox, in the transaction of what they tell of; workers send them from there.

A template is plain text: the first line is the subject, `- ` begins an item of a list, and a line `[label](address)` is a
link into the portal. Both parts of a mail are made of it.
"""

import datetime as dt
import re
import smtplib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.utils import timezone

from .broker import queue_on_commit
from .database import alone, database_now
from .models import MailKind, OutgoingMail
from .zones import zone_of

log = structlog.get_logger(__name__)

# Until the next try; after the last one a mail is given up. The first is longer than a try can take (EMAIL_TIMEOUT).
RETRIES = [dt.timedelta(minutes=minutes) for minutes in (5, 10, 30, 60, 240, 720, 1440, 1440)]
KEPT_FOR = dt.timedelta(days=30)
_LINK = re.compile(r"\[(.+)\]\((\S+)\)")


# --- writing ---


def _link(line: str) -> tuple[str, str] | None:
    """Return the label and address of a line that links into the portal; what people typed can link nowhere else."""
    match = _LINK.fullmatch(line)
    return (match[1], match[2]) if match and match[2].startswith(f"{settings.BASE_URL}/") else None


def _kind_of(line: str) -> str:
    if _link(line):
        return "links"
    return "items" if line.startswith("- ") else "text" if line else ""


def _blocks(body: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield paragraphs, lists and links, each with its lines; the first link is a button if it stands alone."""
    may_be_button = True
    for kind, group in groupby((line.strip() for line in body.splitlines()), _kind_of):
        lines = [_link(line) or line.removeprefix("- ") for line in group]
        if kind == "links":
            kind = "button" if may_be_button and len(lines) == 1 else kind
            may_be_button = False
        if kind:
            yield kind, lines


def _as_text(body: str) -> str:
    links = ((line, _link(line.strip())) for line in body.splitlines())
    text = "\n".join(f"{link[0]}:\n{link[1]}" if link else line.rstrip() for line, link in links)
    return re.sub(r"\n{3,}", "\n\n", text.strip())


def write(kind: MailKind, template: str, person: Any = None, **context: object) -> dict[str, str]:
    """Return the subject, text and HTML of a mail as one person reads it. Every mail is rendered here."""
    with timezone.override(zone_of(person.time_zone if person else "")):
        said = render_to_string(template, {**context, "base_url": settings.BASE_URL})
        subject, _line, body = said.strip().partition("\n")
        frame: dict[str, Any] = {
            "subject": subject.strip(),
            "text": _as_text(body),
            "blocks": [*_blocks(body)],
            "base_url": settings.BASE_URL,
            "site": urlsplit(settings.BASE_URL).netloc,
            "can_choose": kind.can_be_turned_off,
            "is_security": kind == MailKind.SECURITY and person is not None,
        }
        ends = {"text": "txt", "html": "html"}
        parts = {part: render_to_string(f"mail/base.{end}", frame).strip() + "\n" for part, end in ends.items()}
    return {"subject": frame["subject"], **parts}


def _is_wanted(kind: MailKind, person: Any) -> bool:
    return not (person and kind.can_be_turned_off and kind in person.unwanted_mail)


def post(kind: MailKind, template: str, *, to: str, person: Any = None, **context: object) -> None:
    """Put a mail into the outbox, unless the person it is for turned off this kind."""
    if _is_wanted(kind, person):
        mail = OutgoingMail.objects.create(kind=kind, content={"to": to, **write(kind, template, person, **context)})
        queue_on_commit("portal.foundation.tasks.send_mail", str(mail.pk))


def post_all(kind: MailKind, template: str, letters: Iterable[tuple[Any, dict[str, Any]]]) -> None:
    """Put a mail to each of many people, with its own context, into the outbox in one statement."""
    mails = [
        OutgoingMail(kind=kind, content={"to": person.email, **write(kind, template, person, **context)})
        for person, context in letters
        if _is_wanted(kind, person)
    ]
    for mail in OutgoingMail.objects.bulk_create(mails):
        queue_on_commit("portal.foundation.tasks.send_mail", str(mail.pk))


class Mail(NamedTuple):
    """A mail to each of `to`, people or bare addresses. There may be none: the rows are stamped all the same."""

    kind: MailKind
    template: str
    to: Iterable[Any]
    context: dict[str, Any]


def mail_once(key: str, rows: QuerySet, about: Callable[[list[Any]], Mail | None], *, stamp: str = "told_at") -> None:
    """Post what `about` makes of the rows still to be mailed, and stamp them; do nothing where it returns None.

    Mails and stamps commit together. One process at a time does this for a `key`, and reads the rows only then. Call
    it outside a transaction.
    """
    with alone(key), transaction.atomic():
        pending = list(rows)
        mail = about(pending) if pending else None
        if mail is None:
            return
        for each in mail.to:
            person = None if isinstance(each, str) else each
            post(mail.kind, mail.template, to=person.email if person else each, person=person, **mail.context)
        rows.model._default_manager.filter(pk__in=[row.pk for row in pending]).update(**{stamp: Now()})


# --- sending ---


def mails_to_send() -> QuerySet[OutgoingMail]:
    return OutgoingMail.objects.filter(content__isnull=False, next_try_at__lte=Now()).order_by("next_try_at")


@transaction.atomic
def _claim(pk: str) -> OutgoingMail | None:
    """Take a mail that is due, and schedule the next try in advance, so that a worker may die at any moment."""
    mail = mails_to_send().select_for_update(skip_locked=True).filter(pk=pk).first()
    if mail:
        mail.next_try_at = database_now() + RETRIES[min(mail.attempts, len(RETRIES) - 1)]
        mail.attempts += 1
        mail.save(update_fields=["attempts", "next_try_at"])
    return mail


def _is_refused(error: Exception) -> bool:
    """Return True if the server refuses the address for good (RFC 5321 section 4.2.1); anybody can type such a one."""
    return isinstance(error, smtplib.SMTPRecipientsRefused) and all(
        code >= 500 for code, _text in error.recipients.values()
    )


def send(pk: str) -> None:
    """Send a mail of the outbox if it is due, and erase what it says.

    Only a worker that dies between the server's answer and this commit makes it go twice, with the same Message-ID.
    """
    mail = _claim(pk)
    if not (mail and mail.content):
        return
    content, sent_at = mail.content, None
    headers = {"Message-ID": f"<{mail.pk}@{urlsplit(settings.BASE_URL).hostname}>", "Auto-Submitted": "auto-generated"}
    message = EmailMultiAlternatives(content["subject"], content["text"], to=[content["to"]], headers=headers)
    message.attach_alternative(content["html"], "text/html")
    try:
        message.send()
        sent_at = Now()
    except Exception as error:
        # Whatever it is: a mail that is not given up would keep its links.
        if not _is_refused(error):
            # Without its text, in which servers quote addresses.
            log.warning("mail_not_sent", kind=mail.kind, attempts=mail.attempts, error=type(error).__name__)
            if mail.attempts <= len(RETRIES):
                return
            log.error("mail_given_up", kind=mail.kind)
        else:
            log.warning("mail_refused", kind=mail.kind)
    OutgoingMail.objects.filter(pk=pk).update(content=None, sent_at=sent_at)


def forget_mail() -> None:
    """Remove the rows of mails that were sent or given up long ago."""
    OutgoingMail.objects.filter(content=None, made_at__lt=database_now() - KEPT_FOR).delete()
