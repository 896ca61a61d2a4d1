"""The ledger's pages and files."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from docs import verify_receipt
from portal.foundation.once import once
from portal.foundation.pages import MOST_COUNTED, paginate_merged

from . import preparing
from .events import Group, events_of, is_about_an_app
from .exports import KINDS, stream
from .filters import SEARCHED, Filters
from .forms import FilterForm
from .keys import announced
from .lines import heads_of, with_parts
from .models import Export
from .reading import ORDER, chains_of, chains_seen_by, choose_chain, entries_seen_by

VERIFIER = Path(verify_receipt.__file__)


def _filters(request: HttpRequest, form: FilterForm, places: Any) -> Filters:
    form.is_valid()
    return Filters.of(request, places, form.cleaned_data)


@require_safe
def ledger_list(request: HttpRequest) -> HttpResponse:
    form, places = FilterForm(request.GET), choose_chain(request)
    filters = _filters(request, form, places)
    readable, many = entries_seen_by(request.user), [each for each in places if each.are_many]
    parts, is_cut = filters.parts(readable, places)
    page = paginate_merged(request, parts, ORDER)
    # An act that the page before ends with is not shown again, unless it fills this one too.
    rows, start = list(page.object_list), page.start_index() - 1
    before = list(page.paginator.object_list[start - 1 : start]) if start > 0 else []
    page.object_list = with_parts(heads_of(rows, *before) or heads_of(rows), readable)
    is_partial = bool(many) and not filters.is_narrow
    context = {
        "page_obj": page,
        # Its file may take longer than anybody waits for a download to begin.
        "is_large": page.paginator.count > MOST_COUNTED or is_partial or is_cut,
        "export": preparing.export_of(request.user),
        "form": form,
        "few": [each for some in places if not some.are_many for each in some.shown],
        "many": many,
        "place": "" if filters.chain in chains_of(places) else filters.place,
        "is_partial": is_partial,
        "is_cut": is_cut,
        "searched": number_format(SEARCHED, force_grouping=True),
        "groups": [(group, events_of(group)) for group in Group],
        "apps": sorted({str(entry.about) for entry in page if is_about_an_app(entry.event)}),
        "filters": filters,
        "query": urlencode(filters.query),
    }
    return render(request, "ledger/ledger_list.html", context, status=422 if form.errors else 200)


@require_safe
def ledger_export(request: HttpRequest, kind: str) -> HttpResponseBase:
    """Stream the filtered entries as a file, oldest first, in constant memory."""
    form, chains = FilterForm(request.GET), chains_seen_by(request.user)
    filters = _filters(request, form, choose_chain(request))
    if form.errors:
        return _refused(form.errors.as_text())
    entries = filters.apply(entries_seen_by(request.user)).order_by("chain", "sequence")
    whole = [] if filters.query.keys() - {"chain"} else [filters.chain] if filters.chain else chains
    return _file(kind, stream(KINDS[kind], entries, whole))


def _refused(text: str) -> HttpResponse:
    return HttpResponse(text, status=422, content_type="text/plain; charset=utf-8")


def _file(kind: str, pieces: Any, **headers: str) -> StreamingHttpResponse:
    headers |= {"Content-Disposition": f'attachment; filename="ledger.{kind}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(pieces, content_type=KINDS[kind].content_type, headers=headers)


@require_POST
@once
def export_create(request: HttpRequest) -> HttpResponse:
    """Have workers prepare a file of the filtered entries, which may be many."""
    form, kind = FilterForm(request.GET), request.POST.get("kind", "")
    filters = _filters(request, form, choose_chain(request))
    if form.errors or kind not in KINDS:
        return _refused(form.errors.as_text() or _("Choose CSV or JSON."))
    return redirect("export-view", preparing.ask(filters, kind).pk)


def _export(request: HttpRequest, export_id: UUID) -> Export:
    export = preparing.export_of(request.user)
    if export is None or export.pk != export_id:
        raise Http404
    return export


@require_safe
def export_view(request: HttpRequest, export_id: UUID) -> HttpResponse:
    return _export_page(request, export_id, "ledger/export_view.html")


@require_safe
def export_progress(request: HttpRequest, export_id: UUID) -> HttpResponse:
    """Answer the part of a page that says how far a file is."""
    return _export_page(request, export_id, "ledger/_export.html")


def _export_page(request: HttpRequest, export_id: UUID, template: str) -> HttpResponse:
    export = _export(request, export_id)
    return render(request, template, {"export": export, "until": export.asked_at + preparing.KEPT_FOR})


@require_safe
def export_download(request: HttpRequest, export_id: UUID) -> HttpResponseBase:
    """Send a file that is complete; until then there is none."""
    export = _export(request, export_id)
    if not export.done_at:
        raise Http404
    return _file(export.kind, preparing.pieces_of(export), **{"Content-Length": str(export.size)})


@login_not_required
@require_safe
def ledger_keys(request: HttpRequest) -> HttpResponse:
    """Publish the public keys to anyone, on any site: verifying a receipt takes no account here."""
    return JsonResponse(announced(), headers={"Cache-Control": "public, max-age=300"})


@login_not_required
@require_safe
def receipt_verifier(request: HttpRequest) -> HttpResponse:
    """Serve `docs/verify_receipt.py` to anyone who holds a receipt."""
    headers = {
        "Content-Disposition": 'attachment; filename="verify_receipt.py"',
        "Cache-Control": "public, max-age=300",
    }
    return HttpResponse(VERIFIER.read_bytes(), content_type="text/x-python; charset=utf-8", headers=headers)
