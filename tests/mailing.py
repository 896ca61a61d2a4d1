"""The mails of a test."""

from django.core import mail
from django.test import override_settings

from portal.foundation.mail import mails_to_send, send


def outbox():
    """Do the workers' part, and return all mails sent so far, oldest first."""
    for pk in mails_to_send().order_by("made_at").values_list("pk", flat=True):
        send(str(pk))
    return mail.outbox


def no_mail_server():
    """Return a context in which nothing answers where the mail server should be."""
    return override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=1
    )
