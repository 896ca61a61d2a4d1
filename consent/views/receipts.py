"""Receipts: a ledger entry of what was agreed or ended, as a page and as a signed file."""

from typing import Any
from uuid import UUID

import structlog
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from credentials.models import Scope
from portal.accounts.requests import SignedInRequest
from portal.ledger.exports import NotRecorded, check_recorded, receipt
from portal.ledger.models import Entry
from portal.ledger.reading import with_names

from ..answers import answer
from ..cleaning import cleanup_of, what_ended
from ..events import Event
from ..models import Access, ShownText
from ..pages import access_url
from ..seen import receipts_seen_by

log = structlog.get_logger(__name__)
_ENDED = (Event.ACCESS_ENDED, Event.CONSENT_REVOKED, Event.CONSENT_EXPIRED)


@require_safe
def receipt_view(request: SignedInRequest, entry_id: UUID) -> HttpResponse:
    """Show a receipt; with `format=json`, the file that `verify_ledger --receipt` checks."""
    entry = get_object_or_404(receipts_seen_by(request.user), pk=entry_id)
    text = ShownText.objects.filter(pk=entry.details.get("text_hash", "")).first()
    words, as_file = text.words if text else None, request.GET.get("format") == "json"
    try:
        if as_file:
            disposition = {"Content-Disposition": f'attachment; filename="receipt-{entry.pk}.json"'}
            return answer(receipt(entry, words), 200, **disposition)
        check_recorded(entry, words)
        ends = what_ended(entry)
    except NotRecorded as altered:
        return _refuse(request, entry, altered, as_file)
    kind, _colon, pk = entry.subject.partition(":")
    access = {"access": pk, "consent": entry.details.get("access")}.get(kind)
    access = Access.objects.select_related("account", "client").filter(pk=access).first() if access else None
    context = {
        "entry": with_names([entry])[0],
        "ended": access if entry.event == Event.ACCESS_ENDED else None,
        "back": access_url(access) if access else reverse("ledger-list"),
        "ends": ends,
        "cleanup": cleanup_of(entry, ends) if entry.event == Event.ACCESS_ENDED else None,
        "agreed": _agreed(entry, text),
        "text": text,
        "shown": _shown(text) if text else {},
    }
    return render(request, "consent/receipt_view.html", context)


@require_safe
def receipt_progress(request: SignedInRequest, entry_id: UUID) -> HttpResponse:
    """Answer the part of a page that says how far the cleaning up after an act is."""
    entry = get_object_or_404(receipts_seen_by(request.user), pk=entry_id)
    try:
        check_recorded(entry)
        cleanup = cleanup_of(entry, what_ended(entry))
    except NotRecorded as altered:
        return _refuse(request, entry, altered)
    if cleanup is None:
        raise Http404
    return render(request, "consent/_cleanup.html", {"cleanup": cleanup})


def _refuse(request: SignedInRequest, entry: Entry, altered: NotRecorded, as_file: bool = False) -> HttpResponse:
    """Show nothing of an entry that was altered, nor of words that differ from those people read."""
    log.error("ledger_entry_altered", chain=entry.chain_id, sequence=entry.sequence, what=str(altered))
    told = _("This entry, or the text that people read, does not match what was recorded. Please tell the portal team.")
    if as_file:
        return answer({"error": "not_recorded", "error_description": told}, 409)
    context = {"text": told, "entry_name": f"{entry.chain_id} #{entry.sequence}"}
    return render(request, "consent/receipt_refused.html", context, status=409)


def _shown(text: ShownText) -> dict[str, Any]:
    """Return {title: [(scope as described then, why it was requested, its product and kind)]} of a text."""
    titles = {"already": _("Already allowed"), "new": _("Requested"), "optional": _("Optional")}
    # Earlier texts have no groups.
    groups = text.words.get("groups", {})
    return {
        title: [
            (Scope(name=name, sentence=told, risk=risk), why, " · ".join(groups.get(name, [])))
            for name, told, risk, why in text.words[part]
        ]
        for part, title in titles.items()
        if text.words[part]
    }


def _agreed(entry: Entry, text: ShownText | None) -> dict[str, Any]:
    """Return {title: [scope]} of what an entry says was agreed to or ended, in the words read then.

    A scope that the text does not have is shown by name, since no other words were recorded.
    """
    read = {scope.name: scope for rows in _shown(text).values() for scope, _why, _group in rows} if text else {}
    titles = {
        "trimmed": _("Removed"),
        "granted": _("Was allowed") if entry.event in _ENDED else _("Allowed"),
        "left_off": _("Not allowed"),
        "removed": _("No longer requested"),
    }
    return {
        title: [read.get(name) or Scope(name=name) for name in entry.details[part]]
        for part, title in titles.items()
        if entry.details.get(part)
    }
