"""The endpoint that runs a request template, for programs. JSON, whatever happens."""

import json
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from consent import check as checking
from consent.answers import answer
from portal.accounts.models import Membership, User
from portal.accounts.seen import memberships_of

from ..endpoints import ErrorAnswer, check_session, endpoint
from ..models import Installation
from . import running
from .filling import MAX_BODY


@endpoint
def run_request(request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
    """Run a template of an installation, for the app with its own access token or for a signed-in person of the account."""
    installation, caller = _who(request, pk)
    given = _read_json(request)
    try:
        result = running.run(
            installation, name, context=given.get("context") or {}, body=given.get("body"), caller=caller
        )
    except running.NoSuchTemplate as refusal:
        raise ErrorAnswer(404, "not_found", str(refusal)) from None
    except running.MayNotRun as refusal:
        raise ErrorAnswer(403, "access_denied", str(refusal)) from None
    except running.BadInput as refusal:
        raise ErrorAnswer(400, "invalid_request", str(refusal), side="caller") from None
    except running.NeedsConnection as refusal:
        url = f"{settings.BASE_URL}/installations/{pk}/"
        raise ErrorAnswer(409, "not_connected", str(refusal), side="portal", connect_url=url) from None
    except running.VendorFailed as refusal:
        raise ErrorAnswer(504 if refusal.is_late else 502, "vendor_failed", str(refusal), side="vendor") from None
    return answer(result.as_dict())


def _who(request: HttpRequest, pk: UUID) -> Any:
    rows = Installation.objects.select_related("account", "app__client", "version__app__client", "access")
    if header := request.headers.get("Authorization"):
        bearer = checking.read(checking.bearer_token(header))
        if bearer.installation != str(pk):
            raise ErrorAnswer(404, "not_found", "The access token is for no such installation")
        membership = Membership.objects.filter(pk=bearer.agent).first() if bearer.agent else None
        return rows.get(pk=pk), running.Caller(membership, is_app=True)
    check_session(request)
    membership = memberships_of(cast(User, request.user)).filter(account__installations=pk).first()
    if membership is None:
        raise ErrorAnswer(404, "not_found", "There is no such installation")
    return rows.get(pk=pk), running.Caller(membership)


def _read_json(request: HttpRequest) -> Any:
    raw = request.read(MAX_BODY + 1)
    if len(raw) > MAX_BODY:
        raise ErrorAnswer(413, "invalid_request", "What was sent is larger than 6 MB", side="caller")
    try:
        given = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise ErrorAnswer(400, "invalid_request", "What was sent is not JSON", side="caller") from None
    if not isinstance(given, dict) or given.keys() - {"context", "body"}:
        raise ErrorAnswer(400, "invalid_request", 'Send {"context": {…}, "body": …}', side="caller")
    return given
