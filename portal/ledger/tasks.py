import structlog
from celery import shared_task
from django.conf import settings

from .checkpoints import write_checkpoints

log = structlog.get_logger(__name__)


@shared_task
def checkpoint() -> None:
    """Sign each chain's length and head into a file outside the database."""
    if not settings.CHECKPOINT_FILE:
        log.warning("checkpoint_file_not_set")
        return
    write_checkpoints(settings.CHECKPOINT_FILE)
