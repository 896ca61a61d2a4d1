"""A small service desk's tickets: sample data behind a protected API, the one model whose rows may be deleted."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.accounts.models import Account


class Ticket(models.Model):
    class Status(models.IntegerChoices):
        OPEN = 2
        PENDING = 3
        RESOLVED = 4
        CLOSED = 5

    class Priority(models.IntegerChoices):
        LOW = 1
        MEDIUM = 2
        HIGH = 3
        URGENT = 4

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="tickets")
    subject = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=10000)
    status = models.IntegerField(choices=Status, default=Status.OPEN)
    priority = models.IntegerField(choices=Priority, default=Priority.LOW)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[2, 3, 4, 5]), name="ticket_status_is_known"),
            models.CheckConstraint(condition=Q(priority__in=[1, 2, 3, 4]), name="ticket_priority_is_known"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="ticket_of_account")]

    def __str__(self) -> str:
        return self.subject
