"""A developer's OAuth credentials."""

from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from credentials.models import Client
from portal.accounts.choosing import pick_team, rows_by_team
from portal.accounts.requests import SignedInRequest
from portal.accounts.seen import teams_seen_by
from portal.foundation.database import database_now
from portal.foundation.lists import Asked, Filter
from portal.foundation.once import once, press_of
from portal.foundation.refusals import Refused, add_errors

from . import actions, trying
from .forms import ChangeClientForm, ClientForm, RotateForm, ScopesForm
from .models import WHO_AUTHORIZES, ClientSecret, Kind
from .secrets import CLIENT_SECRET, derive, derived_before
from .seen import clients_seen_by, suspension_reason


def _created(request: SignedInRequest, client: Client, secret: str, *, rotated: Any, status: int = 200) -> HttpResponse:
    # A file that only this page holds, which is never stored.
    env = f"CLIENT_ID={client.client_id}\nCLIENT_SECRET={secret}\n"
    context = {"client": client, "secret": secret, "rotated": rotated, "env": env}
    return render(request, "credentials/client_created.html", context, status=status)


def _created_before(request: SignedInRequest, press: Any, *, rotated: bool = False) -> HttpResponse:
    """Show again the secret that the form's first press made; later, say how to get another."""
    derived = derived_before(CLIENT_SECRET, press.seed)
    secrets = ClientSecret.objects.filter(hash__in=derived, client__in=clients_seen_by(request.user))
    secret = secrets.select_related("client").first()
    if secret is None:
        messages.info(request, _("These credentials were already created."))
        return redirect("client-list")
    if press.is_recent and actions.active_secrets(secret.client).filter(pk=secret.pk).exists():
        return _created(request, secret.client, derived[secret.hash], rotated=rotated)
    messages.info(
        request,
        _(
            "The secret %(prefix)s… was created when you first submitted the form and can no longer be shown. If you did not copy it, rotate it."
        )
        % {"prefix": secret.prefix},
    )
    return redirect("client-view", secret.client.client_id)


@require_safe
def client_list(request: SignedInRequest) -> HttpResponse:
    clients = clients_seen_by(request.user)
    parts, teams, team = rows_by_team(request, clients, teams_seen_by(request.user))
    asked = Asked(
        request,
        placeholder=_("Name or client ID"),
        sorts={"newest": _("Newest"), "name": _("Name")},
        filters=[
            Filter("kind", _("Where the app runs"), _("All kinds"), Kind.choices),
            Filter("level", _("Who authorizes"), _("Admin or agent"), WHO_AUTHORIZES),
        ],
    )
    # An index finds a whole client ID, however old the credentials are.
    exact = (clients.filter(team=team) if team else clients).filter(client_id=asked.words)
    if asked.words and exact.exists():
        parts = [exact]
    where = asked.found_in("name__icontains", "client_id__startswith") & asked.chosen(kind="kind", level="level")
    page = asked.page(parts, where, {"newest": ("-created", "-pk"), "name": ("name", "pk")})
    context = {"page_obj": page, "asked": asked, "teams": teams, "team": team}
    return render(request, "credentials/client_list.html", context)


@never_cache
@require_http_methods(["GET", "POST"])
@once(again=_created_before)
@sensitive_variables("secret")
def client_create(request: SignedInRequest) -> HttpResponse:
    teams = teams_seen_by(request.user)
    if not teams:
        messages.info(request, _("Developers work in teams. Start your team here first."))
        return redirect(settings.TEAM_START_URL)
    is_prefilled = "trying" in request.GET
    prefilled = trying.prefilled() if is_prefilled else {"initial": {}}
    prefilled["initial"]["team"] = pick_team(request, teams) or teams[0]
    form = ClientForm(request.POST or None, teams=teams, **prefilled)
    if request.method == "POST" and form.is_valid():
        secret = derive(CLIENT_SECRET, press_of(request).seed)
        try:
            client, _value = actions.create_client(
                scopes=form.chosen, by=request.user, value=secret, **form.cleaned_data
            )
            return _created(request, client, secret, rotated=False, status=201)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    context = {"form": form, "is_prefilled": is_prefilled}
    return render(request, "credentials/client_create.html", context, status=422 if form.errors else 200)


def _client(request: SignedInRequest, client_id: str) -> Any:
    return get_object_or_404(clients_seen_by(request.user), client_id=client_id)


def _view(
    request: SignedInRequest,
    client: Client,
    *,
    change: Any = None,
    rotate: Any = None,
    more: Any = None,
    status: int = 200,
) -> HttpResponse:
    scopes = list(client.scopes.select_related("scope__product", "added_by"))
    # The newest ones, of which two at most still work (C3).
    secrets_ = list(client.secrets.all()[:20])
    context = {
        "client": client,
        "scopes": scopes,
        "secrets": secrets_,
        "now": database_now(),
        "why_suspended": suspension_reason(client),
        "change": change
        or ChangeClientForm(
            initial={"redirect_uris": "\n".join(client.redirect_uris.split()), "description": client.description}
        ),
        "rotate": rotate or RotateForm(),
        "base_url": settings.BASE_URL,
        "more": more or ScopesForm(held=[row.scope.name for row in scopes]),
    }
    return render(request, "credentials/client_view.html", context, status=status)


@never_cache
@require_http_methods(["GET", "POST"])
def client_view(request: SignedInRequest, client_id: str) -> HttpResponse:
    """Show a client; POST changes its redirect URLs and description."""
    client = _client(request, client_id)
    if request.method == "GET":
        return _view(request, client)
    form = ChangeClientForm(request.POST)
    if form.is_valid():
        try:
            actions.change_client(client, by=request.user, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("client-view", client_id)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    return _view(request, client, change=form, status=422)


@require_POST
@once
def client_add_scopes(request: SignedInRequest, client_id: str) -> HttpResponse:
    """Show what is ticked, and add it once that is confirmed."""
    client = _client(request, client_id)
    form = ScopesForm(request.POST, held=client.scope_names())
    if form.is_valid():
        if form.ticked and "confirmed" not in request.POST:
            context = {"client": client, "form": form}
            return render(request, "credentials/client_add_scopes.html", context)
        try:
            added = actions.add_scopes(client, scopes=form.chosen, by=request.user)
            if added:
                messages.success(request, _("Scopes added. Existing tokens and agreements stay as they are."))
            else:
                messages.info(request, _("Choose at least one scope to add."))
            return redirect("client-view", client_id)
        except Refused as refusal:
            add_errors(form, refusal)
    return _view(request, client, more=form, status=422)


@never_cache
@require_http_methods(["GET", "POST"])
@once(again=partial(_created_before, rotated=True))
@sensitive_variables("secret")
def client_rotate(request: SignedInRequest, client_id: str) -> HttpResponse:
    """Rotate the secret. GET asks before it is rotated at once, which ends every earlier one."""
    client = _client(request, client_id)
    if request.method == "GET":
        context = {"client": client, "secrets": actions.active_secrets(client)}
        return render(request, "credentials/client_rotate.html", context)
    form = RotateForm(request.POST)
    if form.is_valid():
        if not form.cleaned_data["overlap_hours"] and "confirmed" not in request.POST:
            return redirect("client-secrets", client_id)
        secret = derive(CLIENT_SECRET, press_of(request).seed)
        try:
            actions.rotate_secret(client, by=request.user, value=secret, **form.cleaned_data)
            return _created(request, client, secret, rotated=True)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    return _view(request, client, rotate=form, status=422)


@require_http_methods(["GET", "POST"])
@once
def client_end_secret(request: SignedInRequest, client_id: str, secret_id: int) -> HttpResponse:
    secret = get_object_or_404(ClientSecret, pk=secret_id, client=_client(request, client_id))
    if request.method == "GET":
        return render(request, "credentials/secret_end.html", {"secret": secret, "client": secret.client})
    try:
        actions.end_secret(secret, by=request.user)
        messages.success(request, _("The secret no longer works."))
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("client-view", client_id)
