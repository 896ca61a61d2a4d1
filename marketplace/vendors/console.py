"""A console where members of an account try an app's request templates, and see what is sent and what comes back."""

import json
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import memberships_of
from portal.foundation.once import is_first_press
from portal.foundation.refusals import Refused

from ..forms import ConsoleForm
from ..package.expressions import parse
from ..package.written import looks_secret
from ..seen import installations_seen_by
from . import running
from .filling import MASK, Request


@never_cache
@sensitive_variables()
@require_http_methods(["GET", "POST"])
def installation_console(request: SignedInRequest, pk: UUID) -> HttpResponse:
    installation = get_object_or_404(installations_seen_by(request.user), pk=pk, uninstalled_at=None)
    caller = running.Caller(memberships_of(request.user).get(account=installation.account_id))
    templates = running.templates_for(installation, caller)
    if not templates:
        raise Http404
    form = ConsoleForm(
        request.POST or None, templates=templates, initial=_start(templates, request.GET.get("template"))
    )
    result = refusal = None
    is_sent = request.method == "POST" and form.is_valid()
    # What a vendor did cannot be undone, and the answer is not stored, so a second press cannot show it.
    is_repeated = is_sent and not is_first_press(request)
    if is_sent and not is_repeated:
        try:
            result = running.run(
                installation,
                form.cleaned_data["template"],
                context=form.cleaned_data["context"],
                body=form.cleaned_data["body"] or None,
                caller=caller,
            )
        except (Refused, ValidationError) as error:
            refusal = error
    chosen = form["template"].value()
    context = {
        "installation": installation,
        "form": form,
        "templates": templates,
        "chosen": chosen,
        "written": _written(templates[chosen].request) if chosen in templates else "",
        "result": result,
        "sent": _sent(result.request) if result else "",
        "body": _readable(result.body) if result else "",
        "refusal": refusal,
        "is_repeated": is_repeated,
        "is_vendors": isinstance(refusal, running.VendorFailed),
        "needs_connection": isinstance(refusal, running.NeedsConnection),
    }
    status = 422 if form.errors else 409 if is_repeated else 200
    return render(request, "marketplace/installation_console.html", context, status=status)


def _start(templates: Any, chosen: Any) -> dict[str, Any]:
    """Return the chosen template, or the first one, with the context names that it needs."""
    name = chosen if chosen in templates else next(iter(templates))
    schema = templates[name].request
    texts = [schema.host, schema.path, *schema.query.values(), *schema.headers.values()]
    names = {each.name for text in texts for each in parse(text).names() if each.name.startswith("context.")}
    wanted = {each.removeprefix("context."): "" for each in sorted(names)}
    return {"template": name, "context": json.dumps(wanted, indent=2)}


def _written(schema: Any) -> str:
    """Return a template as it is in the package, with anything that looks like the developer's secret masked."""

    def shown(name: str, text: str) -> Any:
        return MASK if looks_secret(name, parse(text)) else text

    query = "&".join(f"{name}={shown(name, text)}" for name, text in schema.query.items())
    url = f"{schema.protocol}://{schema.host}{schema.path}{query and '?'}{query}"
    headers = (f"{name}: {shown(name, text)}" for name, text in schema.headers.items())
    return "\n".join([f"{schema.method} {url}", *headers])


def _sent(request: Request) -> Any:
    """Return a request as it was sent, without its secrets."""
    lines = [f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers.items())]
    body = request.body.decode()
    return request.mask("\n".join([*lines, *(["", body] if body else [])]))


def _readable(text: str) -> Any:
    """Return JSON indented, unless that would make it many times longer; anything else unchanged."""
    most, made = 4 * len(text) + 1000, []
    try:
        for part in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(json.loads(text)):
            made.append(part)
            most -= len(part)
            if most < 0:
                return text
    except (ValueError, RecursionError):
        return text
    return "".join(made)
