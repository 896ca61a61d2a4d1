"""The demo's mail: written to files, read at /dev/mail/."""

import email
import email.policy
from pathlib import Path
from typing import Any

from csp.decorators import csp_replace
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from portal.foundation.pages import paginate

MAY_IN_A_MAIL = {
    "default-src": ["'none'"],
    "style-src": ["'unsafe-inline'"],
    "img-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'self'"],
}


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


def _mail(name: str) -> Any:
    for known, message in _mails():
        if known == name:
            return message
    raise Http404


def _part(message: Any, kind: str) -> str:
    body = message.get_body((kind,))
    return body.get_content() if body else ""


@login_not_required
@require_safe
@never_cache
def mail_view(request: HttpRequest, name: str) -> HttpResponse:
    message = _mail(name)
    context = {"mail": message, "name": name, "text": _part(message, "plain"), "html": _part(message, "html")}
    return render(request, "demo/mail_view.html", context)


@login_not_required
@require_safe
@never_cache
@xframe_options_sameorigin
@csp_replace(MAY_IN_A_MAIL)  # type: ignore[arg-type]
def mail_html(request: HttpRequest, name: str) -> HttpResponse:
    """Show the HTML part in a frame that may only lay out text; its links open in the whole window."""
    html = _part(_mail(name), "html")
    if not html:
        raise Http404
    return HttpResponse(html.replace("<head>", '<head><base target="_top">', 1))
