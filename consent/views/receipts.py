"""Receipts: a page for an entry of the ledger, of what was agreed or ended."""

from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from portal.ledger.views import entries_seen_by, with_names

from ..models import Access


@login_required
@require_GET
def receipt_view(request, entry_id):
    entry = get_object_or_404(entries_seen_by(request.user), pk=entry_id)
    access = None
    if entry.event == "access.ended":
        access = Access.objects.select_related("account", "client").get(pk=entry.subject.partition(":")[2])
    return render(request, "consent/receipt_view.html", {"entry": with_names([entry])[0], "access": access})
