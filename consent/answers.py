"""Uncached JSON answers for programs: successes, errors, the 401 of a refused call, and the Retry-After of a 503."""

from typing import Any

from django.http import JsonResponse

from .actions.failing import note_refusal
from .check import Refusal
from .models import Where

NO_STORE = {"Cache-Control": "no-store"}
# RFC 6749 section 5.1 asks for both.
OAUTH_NO_STORE = {**NO_STORE, "Pragma": "no-cache"}
BASIC = 'Basic realm="portal", charset="UTF-8"'
# What a 503 says while the database is away.
TRY_AGAIN = {"Retry-After": "5"}


def answer(data: dict[str, Any], status: int = 200, **headers: str) -> JsonResponse:
    return JsonResponse(data, status=status, headers={**NO_STORE, **headers})


def oauth_answer(data: dict[str, Any], status: int = 200, **headers: str) -> JsonResponse:
    return JsonResponse(data, status=status, headers={**OAUTH_NO_STORE, **headers})


def oauth_error(error: str, description: str, status: int = 400, **headers: str) -> JsonResponse:
    """Answer with an error in the form of RFC 6749 section 5.2."""
    return oauth_answer({"error": error, "error_description": description}, status, **headers)


def refused_call(refusal: Refusal, resource_metadata: str) -> JsonResponse:
    """Answer a refused call with 401 and the reason, in body and header, and count it (RFC 6750 section 3)."""
    note_refusal(refusal, Where.CHECK)
    return oauth_answer(refusal.body(), 401, **{"WWW-Authenticate": refusal.challenge(resource_metadata)})
