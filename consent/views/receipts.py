"""Receipts: an entry of the ledger, of what was agreed or ended, as a page and as a signed file."""

import structlog
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from credentials.models import Scope
from portal.ledger.checkpoints import BadCheckpoint
from portal.ledger.exports import receipt
from portal.ledger.reading import entries_seen_by, with_names

from ..models import Access

log = structlog.get_logger(__name__)


@login_required
@require_safe
def receipt_view(request, entry_id):
    """The page; with `format=json`, the file that `verify_ledger --receipt` checks."""
    entry = get_object_or_404(entries_seen_by(request.user), pk=entry_id)
    try:
        signed = receipt(entry)
    except BadCheckpoint:
        log.error("ledger_entry_altered", chain=entry.chain_id, sequence=entry.sequence)
        messages.error(request, _("This entry is not what was recorded. Please tell the people who run this portal."))
        return redirect("ledger-list")
    if request.GET.get("format") == "json":
        disposition = {"Content-Disposition": f'attachment; filename="receipt-{entry.pk}.json"'}
        return JsonResponse(signed, headers={**disposition, "Cache-Control": "no-store"})
    access = None
    if entry.event == "access.ended":
        access = Access.objects.select_related("account", "client").get(pk=entry.subject.partition(":")[2])
    agreed = {
        title: Scope.objects.filter(name__in=entry.details[name])
        for name, title in (("granted", _("Allowed")), ("left_off", _("Left off")), ("removed", _("Taken back")))
        if entry.details.get(name)
    }
    context = {
        "entry": with_names([entry])[0],
        "access": access,
        "agreed": agreed,
        "checkpoint": signed["checkpoint"],
    }
    return render(request, "consent/receipt_view.html", context)
