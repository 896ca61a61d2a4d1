"""The workers' application, and what beat has them do over and over (T3)."""

import os
from datetime import timedelta

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# In minutes.
EVERY = {
    "consent.tasks.expire": 1,
    "consent.tasks.sweep": 1,
    "marketplace.tasks.sweep_connections": 1,
    "marketplace.tasks.sweep_offers": 1,
    "portal.accounts.tasks.sweep_invitations": 1,
    "consent.tasks.sweep_ends": 10,
    "consent.tasks.sweep_successors": 10,
    "consent.tasks.erase": 10,
    "portal.accounts.tasks.clear_sent_forms": 60,
    "portal.accounts.tasks.clear_sessions": 60,
    "portal.ledger.tasks.checkpoint": 60,
}
app.conf.beat_schedule = {
    task: {"task": task, "schedule": timedelta(minutes=minutes)} for task, minutes in EVERY.items()
}
