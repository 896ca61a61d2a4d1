"""Configure logging: JSON lines, or plain lines in the demo."""

import logging
from typing import Any

import structlog


class BadInput(logging.Filter):
    """Log bad requests as information, without stack traces: errors wake somebody up."""

    def filter(self, record: logging.LogRecord) -> bool:
        status = getattr(record, "status_code", None) or 500
        if record.name.startswith("django.security.") or (record.name == "django.request" and status < 500):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.exc_info = record.exc_text = None
        return True


def configuration(*, demo: bool, level: str) -> dict:
    """Return Django's LOGGING, and configure structlog to write through it."""
    # For JSON, stack traces must be formatted; the demo's renderer does that itself.
    lines: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if demo:
        lines = [structlog.dev.ConsoleRenderer(colors=False)]
    stamps: list[Any] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso")]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *stamps,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"bad_input": {"()": BadInput}},
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *lines],
                "foreign_pre_chain": stamps,
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["bad_input"]}},
        "root": {"handlers": ["console"], "level": level},
        # At DEBUG these log whole requests, secrets included; at INFO, the URLs that are called.
        "loggers": {name: {"level": "WARNING"} for name in ("oauthlib", "oauth2_provider", "httpx", "httpcore")},
    }
