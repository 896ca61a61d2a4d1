"""Send the mails of the outbox. Each task can run twice and be killed anywhere; the sweep finds what is left (T3)."""

from celery import shared_task

from . import mail

SWEEP_BATCH = 500


@shared_task
def send_mail(mail_id: str) -> None:
    mail.send(mail_id)


@shared_task
def sweep_mail() -> None:
    """Find the mails that are due, whatever became of the messages."""
    for pk in mail.mails_to_send().values_list("pk", flat=True)[:SWEEP_BATCH]:
        send_mail.delay(str(pk))


@shared_task
def clear_mail() -> None:
    mail.forget_mail()
