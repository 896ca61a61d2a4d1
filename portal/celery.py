"""Celery's application: what beat runs periodically (T3), and in which queue."""

import os
from datetime import timedelta
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

from portal.foundation.environment import require_environment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

# kombu looks up transports by these names.
TRANSPORT_ALIASES.update(redis="portal.foundation.broker:Transport", rediss="portal.foundation.broker:Transport")


class Application(Celery):
    def prepare_config(self, c: Any) -> Any:
        """Refuse to start a worker or beat with an incomplete environment, and to queue a task."""
        require_environment()
        return super().prepare_config(c)


app = Application("portal")
# For every thread, not only the one that imports this.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# No app of Django’s, but it sends the mail of all.
app.autodiscover_tasks(["portal.foundation"])

# In minutes.
EVERY = {
    "consent.tasks.expire": 1,
    "consent.tasks.sweep": 1,
    "marketplace.tasks.sweep_connections": 1,
    "marketplace.tasks.sweep_offers": 1,
    "portal.accounts.tasks.sweep_invitations": 1,
    "portal.accounts.tasks.sweep_notices": 1,
    "portal.accounts.tasks.sweep_suspensions": 1,
    "portal.foundation.tasks.sweep_mail": 1,
    "portal.ledger.tasks.sweep_exports": 1,
    "consent.tasks.sweep_ends": 10,
    "consent.tasks.sweep_successors": 10,
    "consent.tasks.erase": 10,
    "marketplace.tasks.clear_pictures": 60,
    "portal.accounts.tasks.clear_sent_forms": 60,
    "portal.accounts.tasks.clear_sessions": 60,
    "portal.foundation.tasks.clear_mail": 60,
    "portal.ledger.tasks.checkpoint": 60,
}
app.conf.beat_schedule = {
    task: {"task": task, "schedule": timedelta(minutes=minutes)} for task, minutes in EVERY.items()
}

# Tasks that wait for vendors or mail servers have a queue of their own, so that they delay nothing else.
app.conf.task_routes = {
    "consent.tasks.revoke_tokens": {"queue": "revoke"},
    "consent.tasks.tell_of_ends": {"queue": "vendors"},
    "consent.tasks.ask_for_successor": {"queue": "vendors"},
    "portal.accounts.tasks.tell_of_invitation": {"queue": "vendors"},
    "portal.accounts.tasks.tell_of_notice": {"queue": "vendors"},
    "portal.accounts.tasks.tell_of_suspension": {"queue": "vendors"},
    # Also from vendors: signing up waits for it.
    "portal.foundation.tasks.send_mail": {"queue": "mail"},
    "marketplace.tasks.clear_pictures": {"queue": "default"},
    "marketplace.tasks.sweep_offers": {"queue": "default"},
    "marketplace.tasks.upgrade_itself": {"queue": "default"},
    "marketplace.tasks.*": {"queue": "vendors"},
}
