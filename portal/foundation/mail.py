"""Send plain-text mail from a template whose first line is the subject."""

import smtplib

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

log = structlog.get_logger(__name__)


def send(template: str, *, to: list[str], **context: object) -> None:
    """Send each of `to` a mail of their own. Raises OSError or smtplib.SMTPException where the server is away.

    An address that the server refuses keeps nobody else from theirs.
    """
    text = render_to_string(template, {**context, "base_url": settings.BASE_URL})
    subject, _line, body = text.partition("\n")
    for address in to:
        try:
            EmailMessage(subject.strip(), body.strip() + "\n", to=[address]).send()
        except smtplib.SMTPRecipientsRefused:
            log.warning("mail_refused", template=template)
