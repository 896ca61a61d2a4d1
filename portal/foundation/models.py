"""The one table below the apps: forms that were sent."""

import uuid

from django.db import models
from django.db.models.functions import Now


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
