import smtplib

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from django.contrib import messages
from django.utils.translation import gettext as _

log = structlog.get_logger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """What sign-up and sign-in do beyond allauth's own."""

    def save_user(self, request, user, form, commit=True):
        user.name = form.cleaned_data.get("name", "")
        return super().save_user(request, user, form, commit)

    def send_mail(self, template_prefix, email, context):
        """Send a mail; where the mail server is away, say so rather than fail."""
        try:
            super().send_mail(template_prefix, email, context)
        except (OSError, smtplib.SMTPException) as error:
            log.error("mail_not_sent", mail=template_prefix, error=type(error).__name__)
            messages.error(self.request, _("The mail could not be sent. Please try again in a few minutes."))
