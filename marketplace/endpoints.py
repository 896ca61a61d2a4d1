"""What the JSON endpoints of the marketplace share: errors as answers, and programs that act in a person's session."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST

from consent import check as checking
from consent.answers import answer, refused_call
from credentials.resources import metadata_url


class ErrorAnswer(Exception):
    """Answer with an error in place of the result."""

    def __init__(self, status: int, error: str, description: str, **more: str) -> None:
        super().__init__(error)
        self.response = answer({"error": error, "error_description": description, **more}, status)


def endpoint(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Accept POST only, and answer every refusal as JSON."""

    @login_not_required
    @csrf_exempt
    @require_POST
    @sensitive_variables()
    @wraps(view)
    def wrapped(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, **kwargs)
        except ErrorAnswer as error:
            return error.response
        except checking.Refusal as refusal:
            return refused_call(refusal, metadata_url())

    return wrapped


def check_session(request: HttpRequest) -> None:
    """Raise unless a signed-in person means it: their page's token came along, as with every form."""
    if not request.user.is_authenticated:
        raise checking.Refusal(description=checking.NO_TOKEN)
    if CsrfViewMiddleware(lambda request: HttpResponse()).process_view(request, HttpResponse, (), {}) is not None:
        raise ErrorAnswer(403, "access_denied", "Send the header X-CSRFToken with the token of your session")
