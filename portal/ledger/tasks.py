"""Sign checkpoints and prepare large exports. Each task can run twice and be killed anywhere; a sweep finds what is left (T3)."""

import structlog
from celery import shared_task
from django.conf import settings

from . import preparing
from .checkpoints import write_checkpoints

log = structlog.get_logger(__name__)
SWEEP_BATCH = 100


@shared_task
def checkpoint() -> None:
    """Sign each chain's length and head into a file outside the database."""
    if not settings.CHECKPOINT_FILE:
        log.warning("checkpoint_file_not_set")
        return
    write_checkpoints(settings.CHECKPOINT_FILE)


@shared_task
def prepare_export(export_id: str) -> None:
    """Write some of an export, and leave the rest for later, so that other tasks get their turn."""
    if preparing.write_some(export_id):
        prepare_export.delay(export_id)


@shared_task
def sweep_exports() -> None:
    """Find the exports that nobody writes, whatever became of the messages, and erase old ones."""
    preparing.erase_exports()
    for pk in preparing.left_alone().values_list("pk", flat=True)[:SWEEP_BATCH]:
        prepare_export.delay(str(pk))
