"""The ledger's pages and files."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from docs import verify_receipt
from portal.foundation.pages import paginate_merged

from .actions import actor_name
from .events import known_events
from .exports import csv_lines, json_lines
from .keys import announced
from .models import Entry
from .reading import (
    ORDER,
    chains_of,
    chains_seen_by,
    choose_chain,
    entries_seen_by,
    name_of_chain_seen_by,
    parts_of,
    with_names,
)

VERIFIER = Path(verify_receipt.__file__)


def _chosen(request: HttpRequest) -> tuple[dict[str, str], str]:
    """Return the filters of a request, empty if missing or not open to this person, and the name of the chosen chain."""
    chain, event, who = (request.GET.get(name, "") for name in ("chain", "event", "who"))
    place = name_of_chain_seen_by(request.user, chain)
    chosen = {
        "chain": chain if place else "",
        "event": event if event in known_events() else "",
        "who": "me" if who == "me" else "",
    }
    return chosen, place


def _filtered(user: Any, chosen: dict[str, str]) -> QuerySet[Entry]:
    entries = entries_seen_by(user)
    filters = {name: chosen[name] for name in ("chain", "event") if chosen[name]}
    if chosen["who"]:
        filters["actor"] = actor_name(user)
    return entries.filter(**filters)


@require_safe
def ledger_list(request: HttpRequest) -> HttpResponse:
    (chosen, place), places = _chosen(request), choose_chain(request)
    entries, many = _filtered(request.user, chosen), [each for each in places if each.are_many]
    is_narrow = bool(chosen["chain"] or chosen["who"])
    page = paginate_merged(request, [entries] if is_narrow else parts_of(request.user, entries, places), ORDER)
    page.object_list = with_names(page.object_list)
    context = {
        "page_obj": page,
        "few": [each for some in places if not some.are_many for each in some.shown],
        "many": many,
        "place": "" if chosen["chain"] in chains_of(places) else place,
        "is_partial": bool(many) and not is_narrow,
        "events": {name: event.label for name, event in known_events().items()},
        "chosen": chosen,
        "query": urlencode({name: value for name, value in chosen.items() if value}),
    }
    return render(request, "ledger/ledger_list.html", context)


@require_safe
def ledger_export(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    """Stream the filtered entries as a file, oldest first, in constant memory."""
    chains, (chosen, _place) = chains_seen_by(request.user), _chosen(request)
    entries = _filtered(request.user, chosen).order_by("chain", "sequence")
    whole = [] if chosen["event"] or chosen["who"] else [chosen["chain"]] if chosen["chain"] else chains
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
