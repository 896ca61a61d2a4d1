"""Send plain-text mail from a template whose first line with text is the subject, and mail about rows once."""

import smtplib
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.utils import timezone

from .database import alone
from .zones import zone_of

log = structlog.get_logger(__name__)


def send(template: str, *, to: list[str], **context: object) -> None:
    """Send each of `to` a mail of their own, with times in their time zone. Raises OSError or smtplib.SMTPException where the server is away.

    An address that the server refuses keeps nobody else from theirs.
    """
    people = get_user_model()._default_manager.filter(email__in=to)
    zones = dict(people.values_list("email", "time_zone"))
    for address in to:
        with timezone.override(zone_of(zones.get(address, ""))):
            text = render_to_string(template, {**context, "base_url": settings.BASE_URL})
        subject, _line, body = text.strip().partition("\n")
        try:
            EmailMessage(subject.strip(), body.strip() + "\n", to=[address]).send()
        except smtplib.SMTPRecipientsRefused:
            log.warning("mail_refused", template=template)


class Mail(NamedTuple):
    """A mail to each of `to`, which may be empty: the rows are stamped all the same."""

    template: str
    to: list[str]
    context: dict[str, Any]
    # Rows that no longer match stay unstamped, and are mailed again.
    stamp_where: dict[str, Any] = {}


def mail_once(key: str, rows: QuerySet, write: Callable[[list[Any]], Mail | None], *, stamp: str = "told_at") -> None:
    """Mail what `write` makes of the rows still to be mailed, then stamp them; do nothing where it returns None.

    One process at a time does this for a `key`, and reads the rows only then. Call it outside a transaction. Raises
    what `send` raises, with nothing stamped.
    """
    with alone(key):
        pending = list(rows)
        mail = write(pending) if pending else None
        if mail is None:
            return
        send(mail.template, to=mail.to, **mail.context)
        # After sending: two mails are better than none.
        mailed = rows.model._default_manager.filter(pk__in=[row.pk for row in pending], **mail.stamp_where)
        mailed.update(**{stamp: Now()})
