"""What a team downloads for Postman."""

import json
from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from credentials.models import Client
from credentials.seen import clients_seen_by
from portal.accounts.requests import SignedInRequest

from ..postman import collection, environment

MAKES: dict[str, Callable[[Client], dict[str, Any]]] = {"collection": collection, "environment": environment}


@require_safe
@never_cache
def postman_download(request: SignedInRequest, client_id: str, kind: str) -> HttpResponse:
    client = get_object_or_404(clients_seen_by(request.user), client_id=client_id)
    text = json.dumps(MAKES[kind](client), indent=2, ensure_ascii=False)
    name = f"{slugify(client.name) or 'credentials'}.postman_{kind}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(text, content_type="application/json", headers=headers)
