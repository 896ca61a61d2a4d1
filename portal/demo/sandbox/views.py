"""The tickets API: each call needs its Freshservice scope, and sees one account only."""

import json
import re
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from consent import check as checking
from consent.answers import answer, refused_call
from credentials.resources import document, metadata_url
from credentials.seen import clients_seen_by
from portal.accounts.requests import SignedInRequest
from portal.foundation.once import once
from portal.foundation.pages import PER_PAGE, paginate

from .models import Ticket
from .samples import reset_samples

SCOPE = "freshservice.tickets."
PATH = "sandbox/api/v2"
MOST_PER_PAGE = 100
# What its routes need; filled by `protected`.
_SCOPES: set[str] = set()


class TicketForm(forms.ModelForm):
    class Meta:
        model = Ticket
        fields = ["subject", "description", "status", "priority"]

    def __init__(self, data: Any, instance: Any) -> None:
        kept = {name: getattr(instance, name) for name in self.Meta.fields}
        super().__init__({**kept, **data}, instance=instance)


class BadRequest(Exception):
    """A body that makes no ticket; its argument is {field: problems}."""


class BadPage(Exception):
    """A page that cannot be; its text says what can."""


def protected(**scopes: Any) -> Any:
    """Let a view be called with a token that has the scope named for the method; anything else is answered here."""

    # RFC 9110 section 9.3.2: HEAD is GET without the body.
    scopes = {**scopes, "HEAD": scopes["GET"]}
    _SCOPES.update(SCOPE + name for name in scopes.values())

    def decorate(view: Any) -> Any:
        @login_not_required
        @csrf_exempt
        def wrapped(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if request.method not in scopes:
                return answer({"error": "Method not allowed"}, 405, Allow=", ".join(sorted(scopes)))
            try:
                value = checking.bearer_token(request.headers.get("Authorization", ""))
                bearer = checking.check(value, [SCOPE + scopes[request.method]])
                return view(request, Ticket.objects.filter(account=bearer.account_id), bearer, **kwargs)
            except checking.Refusal as refusal:
                return refused_call(refusal, metadata_url(PATH))
            except Ticket.DoesNotExist:
                return answer({"error": "There is no such ticket"}, 404)
            except BadPage as problem:
                return answer({"error": str(problem)}, 400)
            except BadRequest as problem:
                return answer({"error": "The ticket is not valid", "fields": problem.args[0]}, 400)

        return wrapped

    return decorate


@login_not_required
@require_safe
def metadata(request: HttpRequest) -> HttpResponse:
    """RFC 9728, for the sandbox."""
    resource = f"{settings.BASE_URL}/{PATH}"
    return JsonResponse(document(resource, name="Sandbox service desk", scopes=sorted(_SCOPES)))


@require_POST
@once
def reset(request: SignedInRequest, client_id: str) -> HttpResponse:
    """Put the sample tickets of a team's test account back, from the page that tries one of its clients."""
    client = get_object_or_404(clients_seen_by(request.user), client_id=client_id)
    reset_samples(client.team.test_account, by=request.user)
    messages.success(request, _("The test account has its 20 sample tickets again."))
    return redirect("client-test", client_id)


@protected(GET="view", POST="create")
def tickets(request: HttpRequest, own: Any, bearer: Any) -> HttpResponse:
    if request.method == "POST":
        ticket = _save(request, Ticket(account_id=bearer.account_id))
        return answer({"ticket": _shown(ticket)}, 201, Location=f"{request.path}/{ticket.pk}")
    per_page = _per_page(request)
    page = paginate(request, own, counts_all=True, per_page=per_page)
    shown = [_shown(ticket) for ticket in page]
    return answer({"tickets": shown, "total": page.paginator.count, "page": page.number, "per_page": per_page})


def _per_page(request: HttpRequest) -> int:
    given = request.GET.get("per_page", str(PER_PAGE))
    if not re.fullmatch("[0-9]{1,3}", given) or not 1 <= int(given) <= MOST_PER_PAGE:
        raise BadPage(f"per_page must be a whole number from 1 to {MOST_PER_PAGE}")
    return int(given)


@protected(GET="view", PUT="edit", DELETE="delete")
def ticket(request: HttpRequest, own: Any, bearer: Any, ticket_id: int) -> HttpResponse:
    found = own.get(pk=ticket_id)
    if request.method == "DELETE":
        found.delete()
        return HttpResponse(status=204)
    if request.method == "PUT":
        found = _save(request, found)
    return answer({"ticket": _shown(found)})


def _save(request: HttpRequest, ticket: Any) -> Any:
    try:
        data = json.loads(request.body)
        # Half of a surrogate pair is JSON, and no text.
        json.dumps(data, ensure_ascii=False).encode()
        if not isinstance(data, dict) or "\\u0000" in request.body.decode():
            raise ValueError
    except (ValueError, RecursionError):
        raise BadRequest({"": ["The body must be a JSON object"]}) from None
    form = TicketForm(data, ticket)
    if not form.is_valid():
        raise BadRequest(form.errors.get_json_data())
    ticket = form.save(commit=False)
    ticket.updated_at = Now()
    ticket.save()
    ticket.refresh_from_db()
    return ticket


def _shown(ticket: Any) -> dict[str, Any]:
    return {
        "id": ticket.pk,
        "subject": ticket.subject,
        "description": ticket.description,
        "status": ticket.status,
        "priority": ticket.priority,
        "created_at": ticket.created_at.isoformat(),
        "updated_at": ticket.updated_at.isoformat(),
    }
