"""The ledger's pages and files."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.formats import number_format
from django.views.decorators.http import require_safe

from docs import verify_receipt
from portal.foundation.pages import paginate_merged

from .events import Group, events_of, is_about_an_app
from .exports import csv_lines, json_lines
from .filters import SEARCHED, Filters
from .forms import FilterForm
from .keys import announced
from .lines import heads_of, with_parts
from .reading import ORDER, chains_of, chains_seen_by, choose_chain, entries_seen_by, with_names

# So many entries are counted.
COUNTED = 1_000
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
    page = paginate_merged(request, parts, ORDER, counted=COUNTED)
    # An act that the page before ends with is not shown again, unless it fills this one too.
    rows, start = list(page.object_list), page.start_index() - 1
    before = list(page.paginator.object_list[start - 1 : start]) if start > 0 else []
    page.object_list = with_parts(heads_of(rows, *before) or heads_of(rows), readable)
    context = {
        "page_obj": page,
        "is_longer": page.paginator.count > COUNTED,
        "most": number_format(COUNTED, force_grouping=True),
        "form": form,
        "few": [each for some in places if not some.are_many for each in some.shown],
        "many": many,
        "place": "" if filters.chain in chains_of(places) else filters.place,
        "is_partial": bool(many) and not filters.is_narrow,
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
        return HttpResponse(form.errors.as_text(), status=422, content_type="text/plain; charset=utf-8")
    entries = filters.apply(entries_seen_by(request.user)).order_by("chain", "sequence")
    whole = [] if filters.query.keys() - {"chain"} else [filters.chain] if filters.chain else chains
    if kind == "csv":
        lines, content_type = csv_lines(entries, whole, with_names), "text/csv; charset=utf-8"
    else:
        lines, content_type = json_lines(entries, whole), "application/json"
    disposition = {"Content-Disposition": f'attachment; filename="ledger.{kind}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(lines, content_type=content_type, headers=disposition)


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
