"""The tables below the apps: forms that were sent, and mails to send."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .encryption import EncryptedField


class SentForm(models.Model):
    """A form that was sent: its once-only token, by hash, and where the answer led. See once.py."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    token_hash = models.CharField(max_length=64, unique=True)
    sent_at = models.DateTimeField(db_default=Now())
    # Empty where the answer is a page that shows a secret.
    location = models.TextField(blank=True)
    # [[level, text, whether it is HTML], …]
    messages = models.JSONField(default=list)

    class Meta:
        # Its table and migrations are those of portal.accounts.
        app_label = "accounts"
        indexes = [models.Index(fields=["sent_at"], name="sent_form_by_age")]

    def __str__(self) -> str:
        return str(self.pk)


class MailKind(models.TextChoices):
    """What a mail is about; people turn kinds on and off."""

    SECURITY = "security", _("Security")
    INVITATION = "invitation", _("Invitations")
    DECISIONS = "decisions", _("Reviews of your team’s versions")
    REVIEWS = "reviews", _("Versions to review")
    VERSIONS = "versions", _("New and withdrawn versions")
    ENDS = "ends", _("Agreements that end soon")
    SUCCESSORS = "successors", _("Agreements to confirm")
    CONNECTIONS = "connections", _("Broken connections")

    @property
    def can_be_turned_off(self) -> bool:
        return self not in (MailKind.SECURITY, MailKind.INVITATION)


class OutgoingMail(models.Model):
    """The outbox: a mail to one address. See mail.py."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=20, choices=MailKind)
    # The address, the subject and both parts. Null once the mail was sent or given up: its links may let somebody in.
    content: EncryptedField[dict[str, str] | None, dict[str, str] | None] = EncryptedField(null=True)
    made_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)

    class Meta:
        # As above.
        app_label = "accounts"
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=MailKind.values), name="mail_kind_is_known"),
            models.CheckConstraint(condition=Q(sent_at=None) | Q(content=None), name="sent_mail_keeps_no_content"),
        ]
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(content__isnull=False), name="mail_to_send"),
            models.Index(fields=["made_at"], name="mail_by_age"),
        ]

    def __str__(self) -> str:
        return str(self.pk)
