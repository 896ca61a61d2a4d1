"""Mail invitations and notices, and clear sessions and sent forms. Each task can run twice and be killed anywhere; the sweep finds what is left (T3)."""

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore

from portal.foundation.once import forget_sent_forms

from .actions import inviting, notifying, suspensions
from .actions.inviting import invitations_to_mail
from .models import Invitation, Notice

SWEEP_BATCH = 500


@shared_task
def tell_of_invitation(invitation_id: str) -> None:
    invitation = Invitation.objects.filter(pk=invitation_id).first()
    if invitation:
        inviting.tell_of_invitation(invitation)


@shared_task
def sweep_invitations() -> None:
    """Find in the database the mails left to send, whatever became of the messages."""
    for pk in invitations_to_mail().order_by("expires_at").values_list("pk", flat=True)[:SWEEP_BATCH]:
        tell_of_invitation.delay(str(pk))


@shared_task
def tell_of_notice(notice_id: int) -> None:
    notice = Notice.objects.filter(pk=notice_id).first()
    if notice:
        notifying.tell_of_notice(notice)


@shared_task
def sweep_notices() -> None:
    """Find the mails to developers and reviewers that are left to send."""
    for pk in notifying.notices_to_mail().values_list("pk", flat=True)[:SWEEP_BATCH]:
        tell_of_notice.delay(pk)


@shared_task
def tell_of_suspension(notice_id: int) -> None:
    """Mail the admins of all accounts that a suspension or its end concerns."""
    while suspensions.tell_of_suspension(notice_id):
        pass


@shared_task
def sweep_suspensions() -> None:
    """Find the suspensions, and the ends of some, of which admins are left to mail."""
    for pk in suspensions.suspensions_to_mail().values_list("pk", flat=True)[:SWEEP_BATCH]:
        tell_of_suspension.delay(pk)


@shared_task
def clear_sessions() -> None:
    """Remove the sessions that have expired."""
    SessionStore.clear_expired()


@shared_task
def clear_sent_forms() -> None:
    """Remove once-only tokens that can no longer be sent."""
    forget_sent_forms()
