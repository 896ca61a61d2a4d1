"""Forms that act once: each carries a token, and a second press shows the result of the first.

The token is signed for one session, person and address. Its first press takes it by a row in the transaction of the
act, so a press at the same moment waits on the unique index. A secret that is shown once is derived from the token
and a server key, as refresh tokens are (T6), so it can be shown again for a minute although it is stored nowhere.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.core.signing import BadSignature, TimestampSigner
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeData, mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from portal.foundation.database import database_now
from portal.foundation.models import SentForm

SHOWN_AGAIN_FOR = timedelta(seconds=60)
# How long a form can stay open.
LIFETIME = timedelta(days=1)
# Twice that: a row must outlive its token even if two servers' clocks differ.
KEPT_FOR = 2 * LIFETIME


class FormIsStale(Exception):
    """The token is missing, has expired, or belongs to another session, person or form."""


@dataclass
class Press:
    """A press of a form's button: what secrets are derived from, and whether the first press was in the last minute.

    A view that redirects with a secret sets `hides_answer`, so that its `again` makes the answer anew.
    """

    seed: str = field(repr=False)
    is_recent: bool = True
    hides_answer: bool = False


def _signer(request: HttpRequest, path: str) -> TimestampSigner:
    return TimestampSigner(salt=f"once {request.session.session_key} {request.user.pk} {path}")


def new_token(request: HttpRequest, path: str) -> str:
    """Return a token for one form that this person sends to `path`."""
    return _signer(request, path).sign(secrets.token_urlsafe(32))


def _token_of(request: HttpRequest) -> str:
    try:
        return _signer(request, request.path).unsign(request.POST.get("once", ""), max_age=LIFETIME)
    except BadSignature:
        raise FormIsStale from None


def _take(token: str) -> tuple[SentForm, bool]:
    """Return a token's row and whether this press created it; wait for another press that is creating it."""
    mine = SentForm(token_hash=hashlib.sha256(token.encode()).hexdigest())
    SentForm.objects.bulk_create([mine], ignore_conflicts=True)
    row = SentForm.objects.get(token_hash=mine.token_hash)
    return row, row.pk == mine.pk


def is_first_press(request: HttpRequest) -> bool:
    """Take the token of a form whose act calls a vendor, which must happen outside a transaction. Raises FormIsStale."""
    return _take(_token_of(request))[1]


def press_of(request: HttpRequest) -> Press:
    """Return the press that a view of `once` answers."""
    return request.press  # type: ignore[attr-defined]


def once(view: Callable[..., Any] | None = None, *, again: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Decorate a view so that each of its forms acts once; the view runs in a transaction.

    A redirect is a result; a press of the same form gets it again, with its messages. Any other answer leaves the form
    unused and rolls back, unless `again(request, press)` can make it anew: then a page with a status below 300 is a
    result too. Raises FormIsStale, which BoundsMiddleware answers.
    """
    if view is None:
        return lambda view: once(view, again=again)

    @wraps(view)
    @sensitive_variables()
    def pressed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST" or not request.user.is_authenticated:
            return view(request, *args, **kwargs)
        token = _token_of(request)
        press = Press(f"{request.path} {token}")
        with transaction.atomic():
            row, is_first = _take(token)
            if is_first:
                request.press = press  # type: ignore[attr-defined]
                response = view(request, *args, **kwargs)
                if not _keep(row, request, press, response, may_be_page=again is not None):
                    transaction.set_rollback(True)
                return response
        press.is_recent = database_now() - row.sent_at <= SHOWN_AGAIN_FOR
        if row.location or again is None:
            return _redirect_again(request, press, row)
        return again(request, press)

    return pressed


def _keep(row: SentForm, request: HttpRequest, press: Press, response: HttpResponse, *, may_be_page: bool) -> bool:
    """Store what the next press will show; return False if this press had no result."""
    if response.status_code >= 400 or not (may_be_page or "Location" in response):
        return False
    row.location = "" if press.hides_answer else response.get("Location", "")
    queued = getattr(messages.get_messages(request), "_queued_messages", [])
    row.messages = [[one.level, str(one.message), isinstance(one.message, SafeData)] for one in queued]
    row.save(update_fields=["location", "messages"])
    return True


def _redirect_again(request: HttpRequest, press: Press, row: SentForm) -> HttpResponse:
    if press.is_recent:
        for level, text, is_html in row.messages:
            messages.add_message(request, level, mark_safe(text) if is_html else text)  # noqa: S308 (it was safe when stored)
    else:
        messages.info(request, _("You already submitted this form. It was processed then, and nothing was done again."))
    return redirect(row.location)


def forget_sent_forms() -> None:
    """Remove the rows of tokens that expired long ago."""
    SentForm.objects.filter(sent_at__lt=database_now() - KEPT_FOR).delete()
