"""The demo's mail: written to files, read at /dev/mail/."""

import email
import email.policy
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.foundation.pages import paginate


def has_mail_pages() -> Any:
    """Return True in a demo that writes its mail to files."""
    return settings.DEMO and "filebased" in settings.EMAIL_BACKEND


def _mails() -> Any:
    """The mails that the demo wrote, newest first, as (name, message)."""
    if not has_mail_pages():
        raise Http404
    mails = []
    separator = b"-" * 79 + b"\n"
    for path in sorted(
        Path(settings.EMAIL_FILE_PATH).glob("*.log"), key=lambda path: path.stat().st_mtime_ns, reverse=True
    ):
        # Mails sent at once share a file, to which they were appended.
        parts = [part for part in path.read_bytes().split(separator) if part.strip()]
        for number, raw in reversed([*enumerate(parts)]):
            message = email.message_from_bytes(raw, policy=email.policy.default)
            mails.append((f"{path.stem}-{number}", message))
    return mails


@login_not_required
@require_safe
@never_cache
def mail_list(request: HttpRequest) -> HttpResponse:
    return render(request, "demo/mail_list.html", {"page_obj": paginate(request, _mails())})


@login_not_required
@require_safe
@never_cache
def mail_view(request: HttpRequest, name: str) -> HttpResponse:
    for known, message in _mails():
        if known == name:
            body = message.get_body(("plain",))
            return render(request, "demo/mail_view.html", {"mail": message, "body": body.get_content() if body else ""})
    raise Http404
