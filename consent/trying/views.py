"""Try it: a developer goes through the flow as their client does, on the team's test account (credentials/trying.py)."""

import datetime as dt
import json
import re
import time
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from cryptography.fernet import Fernet, InvalidToken
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from credentials import trying
from credentials.actions import TEST_SECRET_LIFETIME, active_secrets, change_client
from credentials.models import Client, Scope
from credentials.secrets import shown_prefix
from credentials.seen import clients_seen_by
from portal.accounts.requests import SignedInRequest
from portal.accounts.rights import teams_run_by
from portal.accounts.seen import memberships_of
from portal.foundation.encryption import decrypt, encrypt
from portal.foundation.limits.rates import spend
from portal.foundation.once import is_first_press, once, press_of
from portal.foundation.refusals import Refused, in_words

from ..actions.trying import KEPT, expire_token, keep_trial, load_trial
from ..asking import may_agree
from ..models import Access
from ..pages import install_to_try
from .snippets import LOCAL_CALLBACK, POSTMAN_CALLBACK, tabs
from .steps import TITLES, Trial, other_scope

COOKIE = "trial_key"
_KEY = re.compile(r"[\w-]{43}=", re.ASCII)
# How long a page holds the secret that somebody entered, sealed.
SEALED_FOR = 1800  # seconds


class SecretForm(forms.Form):
    secret = forms.CharField(max_length=200, required=False)
    sealed = forms.CharField(max_length=2000, required=False)


# --- what the session keeps, and what it never does ---


def _session(request: HttpRequest) -> str:
    return cast(str, request.session.session_key)


def _with_browser_key(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Give the browser a key for what it tries. No other page gets it, and the portal does not store it."""

    @wraps(view)
    def keyed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        sent = request.COOKIES.get(COOKIE, "")
        request.META[COOKIE] = key = sent if _KEY.fullmatch(sent) else Fernet.generate_key().decode()
        response = view(request, *args, **kwargs)
        response.set_cookie(
            COOKIE, key, max_age=KEPT, path="/credentials/", secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax"
        )  # fmt: skip
        return response

    return keyed


def _trial(request: HttpRequest, client: Client) -> Trial:
    state = load_trial(_session(request), client, browser_key=request.META[COOKIE])
    return Trial(client, state, caller=request.META, secret=_test_secret(state))


def _keep(request: HttpRequest, trial: Trial) -> None:
    keep_trial(_session(request), trial.client, trial.state, browser_key=request.META[COOKIE])


def _test_secret(state: dict[str, Any]) -> str:
    return state.get("secret", "") if state.get("secret_ends", 0) > time.time() else ""


def _hold(trial: Trial, secret: str) -> None:
    trial.secret = trial.state["secret"] = secret
    trial.state["secret_ends"] = time.time() + TEST_SECRET_LIFETIME.total_seconds()


def _seal(request: HttpRequest, client: Client, secret: str) -> str:
    """Seal a secret that was entered for the page that it came from: the portal stores it nowhere."""
    held = {"session": _session(request), "client": client.client_id, "until": time.time() + SEALED_FOR}
    return encrypt(json.dumps({**held, "secret": secret}))


def _unseal(request: HttpRequest, client: Client, sealed: str) -> str:
    """Return a sealed secret, or "" for one of another session or client, or from too long ago."""
    try:
        held = json.loads(decrypt(sealed)) if sealed else {}
    except InvalidToken:
        return ""
    fits = held.get("session") == _session(request) and held.get("client") == client.client_id
    return held["secret"] if fits and held["until"] > time.time() else ""


# --- pages ---


def _tried_before(request: SignedInRequest, press: Any) -> HttpResponse:
    client = get_object_or_404(Client, team=_team(request), is_for_trying=True)
    return redirect("client-test", client.client_id)


def _team(request: SignedInRequest) -> Any:
    try:
        public_id = uuid.UUID(request.POST.get("team", ""))
    except ValueError:
        raise Http404 from None
    return get_object_or_404(teams_run_by(request.user), public_id=public_id)


@require_POST
@_with_browser_key
@once(again=_tried_before)
@sensitive_variables()
def client_try(request: SignedInRequest) -> HttpResponse:
    """Just trying: make the team's test credentials, and ask the person at once; or open those that it has."""
    try:
        client, secret = trying.create_test_client(_team(request), by=request.user)
    except (Refused, ValidationError) as error:
        messages.error(request, in_words(error))
        return redirect("client-list")
    if not secret:
        return redirect("client-test", client.client_id)
    trial = _trial(request, client)
    _hold(trial, secret)
    press_of(request).hides_answer = True
    url = trial.begin()
    _keep(request, trial)
    return redirect(url)


@never_cache
@sensitive_post_parameters("secret", "sealed")
@sensitive_variables()
@require_http_methods(["GET", "POST"])
@_with_browser_key
def client_test(request: SignedInRequest, client_id: str) -> HttpResponse:
    """Show what was tried; POST takes the next step, named by its button."""
    client = get_object_or_404(clients_seen_by(request.user), client_id=client_id)
    trial = _trial(request, client)
    if request.method == "GET":
        return _page(request, trial)
    act = ACTS.get(request.POST.get("act", ""))
    form = SecretForm(request.POST)
    if act is None:
        return _page(request, trial, problem=_("This page has no such step."), status=422)
    if not form.is_valid():
        return _page(request, trial, problem=_("Enter the client secret as you copied it."), status=422)
    if not is_first_press(request):
        return redirect("client-test", client_id)
    entered = form.cleaned_data["secret"] or _unseal(request, client, form.cleaned_data["sealed"])
    trial.secret = trial.secret or entered
    try:
        response = act(request, trial)
    except (Refused, ValidationError) as error:
        return _page(request, trial, problem=in_words(error), status=422)
    _keep(request, trial)
    if response:
        return response
    if entered and not _test_secret(trial.state):
        # The page alone holds the secret that was entered, so it is not asked for by its address again.
        return _page(request, trial, sealed=_seal(request, client, entered))
    return redirect("client-test", client_id)


@login_not_required
@never_cache
@sensitive_variables()
@require_safe
@_with_browser_key
def client_test_callback(request: HttpRequest) -> HttpResponse:
    """Take the code, and the address off the browser. An answer that this session did not ask for is none of its business."""
    state = request.GET.get("state", "")
    seen = clients_seen_by(request.user) if request.user.is_authenticated else Client.objects.none()
    client = seen.filter(client_id=state.partition(".")[0]).first()
    trial = _trial(request, client) if client else None
    if trial is None or not trial.is_asked_with(state):
        return render(request, "consent/trial_unknown.html", status=400)
    trial.receive(request.GET)
    # At once, so that the code is taken up by one request alone.
    _keep(request, trial)
    if trial.state.get("code") and trial.secret:
        trial.exchange()
        _keep(request, trial)
    return redirect("client-test", trial.client.client_id)


# --- the steps that a button takes ---


class _SecretMissing(Refused):
    pass


class _NothingToTry(Refused):
    pass


def _authorize(request: SignedInRequest, trial: Trial) -> HttpResponse:
    return redirect(trial.begin())


def _authorize_with_test_secret(request: SignedInRequest, trial: Trial) -> HttpResponse:
    if not _test_secret(trial.state):
        _hold(trial, trying.make_test_secret(trial.client, by=request.user)[1])
    return redirect(trial.begin())


def _install(request: SignedInRequest, trial: Trial) -> None:
    # It freezes a copy of the draft each time, as testing a version does.
    spend(("versions by team", str(trial.client.team.public_id)))
    install_to_try(trial.client, by=request.user)


def _add(request: SignedInRequest, trial: Trial, uri: str) -> None:
    client = trial.client
    uris = [*client.redirect_uris.split(), uri]
    change_client(client, redirect_uris=uris, description=client.description, by=request.user)
    messages.success(request, _("Added to the redirect URLs: %(uri)s") % {"uri": uri})


def _expire(request: SignedInRequest, trial: Trial) -> None:
    expire_token(trial.client, token=trial.tokens["access_token"], by=request.user)
    trial.call()


def _with(
    needs: str, step: Callable[[SignedInRequest, Trial], None], *, secret: bool = True
) -> Callable[[SignedInRequest, Trial], None]:
    """Take a step that needs a code, tokens or an old refresh token, and the secret where the client authenticates."""

    def taken(request: SignedInRequest, trial: Trial) -> None:
        here = trial.tokens.get("old") if needs == "old" else trial.state.get(needs)
        if not here:
            raise _NothingToTry(_("There is no code or token left for this step. Authorize again."))
        if secret and not trial.secret:
            raise _SecretMissing(_("Enter the client secret."))
        step(request, trial)

    return taken


ACTS: dict[str, Callable[[SignedInRequest, Trial], HttpResponse | None]] = {
    "authorize": _authorize,
    "authorize-test": _authorize_with_test_secret,
    "install": _install,
    "add-callback": lambda request, trial: _add(request, trial, trying.callback_uri()),
    "add-local": lambda request, trial: _add(request, trial, LOCAL_CALLBACK),
    "add-postman": lambda request, trial: _add(request, trial, POSTMAN_CALLBACK),
    "exchange": _with("code", lambda _request, trial: trial.exchange()),
    "call": _with("tokens", lambda _request, trial: trial.call(), secret=False),
    "refresh": _with("tokens", lambda _request, trial: trial.refresh()),
    "expire": _with("tokens", _expire, secret=False),
    "widen": _with("tokens", lambda _request, trial: trial.widen()),
    "replay": _with("old", lambda _request, trial: trial.replay()),
    "revoke": _with("tokens", lambda _request, trial: trial.revoke()),
}


def _page(
    request: SignedInRequest, trial: Trial, *, sealed: str = "", problem: str = "", status: int = 200
) -> HttpResponse:
    client, state, tokens = trial.client, trial.state, trial.tokens
    account = client.team.test_account
    membership = memberships_of(request.user).filter(account=account).first()
    wanted = tokens.get("scope", "").split()
    context = {
        "client": client,
        "account": account,
        "problem": problem,
        "sealed": sealed,
        "may_agree": membership is not None and may_agree(client, membership.role),
        "is_installed": not client.is_platform
        or Access.objects.filter(client=client, account=account, ended_at=None).exists(),
        "returns_here": trying.returns_here(client),
        "callback": trying.callback_uri(),
        "secret": shown_prefix(_test_secret(state)),
        "secret_ends": dt.datetime.fromtimestamp(state["secret_ends"], dt.UTC) if _test_secret(state) else None,
        "has_place": active_secrets(client).count() < 2,
        "code": bool(state.get("code")),
        "tokens": tokens,
        "expires_at": dt.datetime.fromisoformat(tokens["expires_at"]) if tokens else None,
        "scopes": Scope.objects.filter(name__in=wanted) if wanted else [],
        "tickets": state.get("tickets", []),
        "steps": [{**step, "title": TITLES[step["step"]]} for step in state.get("steps", [])],
        "reset_name": trying.reset_name(),
        "other_scope": other_scope(client, tokens["scope"]) if tokens else "",
        **tabs(client, account, request.GET.get("tab", "")),
    }
    return render(request, "consent/trial.html", context, status=status)
