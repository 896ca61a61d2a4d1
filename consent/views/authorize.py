"""The authorization endpoint (RFC 6749 section 3.1): who is asked, for which account, for what."""

import contextlib
from typing import Any, cast

from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.oauth2_backends import get_oauthlib_core
from oauthlib.oauth2.rfc6749 import errors

from consent.models import Consent
from credentials.models import Client
from credentials.redirect_uris import is_loopback
from credentials.seen import clients_seen_by
from credentials.trying import callback_uri
from portal.accounts.models import Account, Membership
from portal.foundation.database import database_now
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import spend
from portal.foundation.once import Press, once, press_of
from portal.foundation.refusals import Refused
from portal.foundation.seals import ScreenIsStale, check_shown

from .. import steps
from ..actions.granting import decline_consent, grant_consent
from ..actions.issuing import InvalidGrant, InvalidScope, issue_code
from ..agreed import take_agreed
from ..asking import MayNotConsent, NotInstalled, ScopeTooWide
from ..models import Why
from ..pages import app_addresses
from ..parameters import clean_scope
from ..screen import Screen, build_screen
from ..steps import Attempt, find_client
from ..validity import suspension
from .choosing import ACCOUNT
from .flow import AuthorizationRequest, Flow, Redirect, note, run, through, with_account_to_choose, without_prompt

# Each refusal, with the error that the app gets.
Refusals = dict[type[Refused], str]

# The page that asks nothing, whose digest agrees to nothing.
CONTINUE = "continue page"
PROMPTS = {"none", "login", "consent", "select_account"}
_ABOUT_THE_URI = {
    errors.MissingRedirectURIError: "redirect_uri is missing",
    errors.InvalidRedirectURIError: "redirect_uri is not an absolute URL",
    errors.MismatchingRedirectURIError: "redirect_uri is not one of the registered redirect URLs, character for character",
}
# What the page for a refused redirect URI says about it.
_LONGEST_SHOWN = 300


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    is_agree = request.method == "POST" and request.POST.get("decision") == "agree"
    return _agree_once(request) if is_agree else _authorize(request)


def _authorize(request: HttpRequest) -> HttpResponse:
    who = address_of(request.META)
    client_id = request.GET.get("client_id", "")
    spend(("authorize by address", who), ("authorize by address and client", who, client_id))
    # The last step always answers.
    return cast(HttpResponse, run(AUTHORIZE, Flow(request)))


def _agreed_before(request: HttpRequest, press: Press) -> HttpResponse:
    """Answer a second press of Agree with a new code: the first was lost with its page and is stored nowhere."""
    flow = Flow(request)
    if response := run((*READ, *ACCOUNT), flow):
        return response
    with contextlib.suppress(ScopeTooWide, MayNotConsent, NotInstalled):
        # Opening the request anew says so.
        _build_screen(flow)
        if press.is_recent and flow.screen.consent and not flow.screen.is_due:
            return _with_code(flow, flow.screen.consent, "access_denied")
    return Redirect(request.get_full_path(), 303)


_agree_once = once(_authorize, again=_agreed_before)


# --- reading the request ---


def client_and_redirect_uri_can_be_trusted(flow: Flow, error: str) -> HttpResponse | None:
    """Show a page where they cannot, since an error here never redirects (RFC 6749 section 4.1.2.1)."""
    request = flow.request
    attempt = request.META["attempt"] = Attempt()
    try:
        _, parameters = get_oauthlib_core().validate_authorization_request(request)
    except FatalClientError as refusal:
        return _untrusted(request, attempt.client, refusal.oauthlib_error, error)
    except OAuthToolkitError as refusal:
        flow.problem = problem = refusal.oauthlib_error
        flow.asked = AuthorizationRequest(
            cast(Client, attempt.client), problem.redirect_uri, problem.state, None, "", set(), "", ""
        )
        return None
    scope = clean_scope(request.GET.get("scope", "")).split()
    flow.asked = AuthorizationRequest(
        client=parameters["request"].client,
        redirect_uri=parameters["redirect_uri"],
        state=parameters["state"],
        requested=set(scope) if scope else None,
        code_challenge=parameters["code_challenge"],
        prompt=set(request.GET.get("prompt", "").split()),
        account=request.GET.get("account", ""),
        installation=request.GET.get("installation", ""),
    )
    return None


def request_is_valid(flow: Flow, _steps: object) -> HttpResponse | None:
    """Answer what the first of these steps refused, which oauthlib ran once it trusted the redirect URI."""
    if (problem := flow.problem) is None:
        return None
    attempt = flow.request.META["attempt"]
    note(attempt.client, problem.error, attempt.why or Why.REQUEST, attempt.text, attempt.parameter)
    return _refuse(flow, problem.error, problem.description or "")


def prompt_is_known(flow: Flow, error: str) -> HttpResponse | None:
    prompt = flow.asked.prompt
    if not prompt - PROMPTS and not ("none" in prompt and len(prompt) > 1):
        return None
    description = f"prompt must be one of {', '.join(sorted(PROMPTS))}, and none stands alone"
    note(flow.asked.client, error, Why.REQUEST, description, "prompt")
    return _refuse(flow, error, description)


def _refuse(flow: Flow, error: str, description: str) -> HttpResponse:
    """Send a refusal to the app, but only people who signed in: anyone may register a redirect URI, and a request made to
    fail would turn the portal into an open redirector (RFC 9700 section 4.11.2).
    """
    if "none" not in flow.request.GET.get("prompt", "").split() and (page := _sign_in(flow)):
        return page
    return flow.asked.answer(error=error, error_description=description)


def _untrusted(request: HttpRequest, client: Client | None, problem: errors.OAuth2Error, error: str) -> HttpResponse:
    if client is None and len(request.GET.getlist("client_id")) == 1:
        client = find_client(request.GET["client_id"])
    context = {"error": error, "description": problem.description}
    # The page repeats nothing of an unreadable request, not even in its links.
    request.leads_nowhere = client is None or client.suspended_at is not None  # type: ignore[attr-defined]
    if client and (why := suspension(client)):
        note(client, error, Why.SUSPENDED, why.text)
    elif client:
        text = _ABOUT_THE_URI.get(type(problem), "redirect_uri is repeated")
        note(client, error, Why.REQUEST, text, "redirect_uri")
        sent = request.GET.get("redirect_uri", "")
        uri = sent if len(sent) <= _LONGEST_SHOWN else f"{sent[:_LONGEST_SHOWN]}…"
        is_theirs = request.user.is_authenticated and clients_seen_by(request.user).filter(pk=client.pk).exists()
        context |= {"description": text, "client": client, "uri": uri, "is_theirs": is_theirs}
    return render(request, "consent/authorize_error.html", context, status=400)


def _sign_in(flow: Flow) -> HttpResponse | None:
    """Return the page on which this person has to sign in first, or None."""
    if not flow.request.user.is_authenticated:
        return through("account_login", without_prompt(flow.request, "login"))
    if "login" in flow.asked.prompt:
        return through("account_reauthenticate", without_prompt(flow.request, "login"))
    return None


def person_is_signed_in(flow: Flow, error: str) -> HttpResponse | None:
    if flow.shows_no_page and not flow.request.user.is_authenticated:
        return flow.asked.answer(error=error)
    return _sign_in(flow)


# --- deciding ---


def cancel_was_not_pressed(flow: Flow, error: str) -> HttpResponse | None:
    if flow.decision != "cancel":
        return None
    request, asked = flow.request, flow.asked
    if request.user.is_authenticated:
        # Cancel always works, even if it could not be recorded.
        with contextlib.suppress(Refused, OperationalError):
            if run(ACCOUNT, flow) is None:
                # A person whom the page could not ask, or did not, had nothing to decline.
                _build_screen(flow, ask_again=flow.asks_again)
                if flow.asks:
                    decline_consent(asked.client, flow.account, by=flow.person)
    return asked.answer("POST", error=error, error_description="The person pressed Cancel")


def _build_screen(flow: Flow, **more: Any) -> None:
    asked = flow.asked
    flow.screen = build_screen(
        asked.client,
        flow.account,
        by=flow.person,
        now=database_now(),
        requested=asked.requested,
        leads_to=asked.leads_to,
        **more,
    )


def only_a_trial_comes_back_here(flow: Flow, error: str) -> HttpResponse | None:
    """Refuse to send a code of another account to the portal's own page, where nobody waits for it."""
    asked = flow.asked
    if asked.redirect_uri != callback_uri() or flow.account == asked.client.team.test_account:
        return None
    text = "This redirect URL is for trying, on the team's test account only"
    note(asked.client, error, Why.REQUEST, text, "redirect_uri")
    return asked.answer(error=error, error_description=text)


def person_may_be_asked(flow: Flow, refusals: Refusals) -> HttpResponse | None:
    try:
        _build_screen(flow, ask_again=flow.asks_again)
    except tuple(refusals) as refusal:
        return _refused(flow, refusal, refusals[type(refusal)])
    return None


def _refused(flow: Flow, refusal: Refused, error: str) -> HttpResponse:
    """Tell the app which scopes are too wide. Tell the person everything else, unless no page may be shown."""
    asked = flow.asked
    if isinstance(refusal, ScopeTooWide):
        text = f"These scopes cannot be granted here: {' '.join(refusal.scopes)}"
        note(asked.client, error, Why.SCOPE, text, "scope")
        return asked.answer(error=error, error_description=text)
    absent = isinstance(refusal, NotInstalled)
    text = "The app is not installed in the account" if absent else "Only an admin of the account can agree"
    note(asked.client, error, Why.NO_CONSENT, text, "installation" if absent else "")
    if flow.shows_no_page:
        return asked.answer(error=error)
    return _who_can_help(flow.request, asked, flow.account, refusal)


def person_agrees(flow: Flow, refusals: Refusals) -> HttpResponse | None:
    """If Agree was pressed, grant the consent. No earlier step grants anything."""
    if flow.decision != "agree":
        return None
    request, asked = flow.request, flow.asked
    try:
        with transaction.atomic():
            consent = grant_consent(
                asked.client,
                flow.screen.account,
                by=flow.person,
                shown=request.POST.get("shown", ""),
                chosen=set(request.POST.getlist("optional")),
                requested=asked.requested,
                ask_again=flow.asks_again,
                leads_to=asked.leads_to,
            )
            press_of(request).hides_answer = True
            return _with_code(flow, consent, refusals[MayNotConsent])
    except ScreenIsStale as stale:
        return _page(flow, problem=str(stale), status=409)
    except tuple(refusals) as refusal:
        return _refused(flow, refusal, refusals[type(refusal)])


def person_continues(flow: Flow, error: str) -> HttpResponse | None:
    """If Continue was pressed, and everything was agreed to before, go on; no consent changes (T5)."""
    if flow.decision != "continue" or flow.asks:
        return None
    try:
        check_shown(flow.request.POST.get("shown", ""), flow.screen.digest(CONTINUE))
    except ScreenIsStale as stale:
        return _page(flow, problem=str(stale), status=409)
    return code_is_issued(flow, error)


def nothing_is_left_to_ask(flow: Flow, error: str) -> HttpResponse | None:
    return flow.asked.answer(error=error) if flow.shows_no_page and flow.screen.is_due else None


def no_page_is_needed(flow: Flow, error: str) -> HttpResponse | None:
    """Show the page if there is something to ask, or if anybody could receive the code (RFC 8252 section 8.6)."""
    screen = flow.screen
    if not (flow.asks or is_loopback(flow.asked.redirect_uri)):
        return None
    if flow.shows_no_page:
        return flow.asked.answer(error=error)
    # A person who just agreed on the portal's own page is not asked again (see agreed.py).
    if screen.asks_anew or not take_agreed(flow.request, screen.consent):
        return _page(flow)
    return None


def _page(flow: Flow, *, problem: str = "", status: int = 200) -> HttpResponse:
    """Ask, or where everything was agreed to before, only say where the browser goes."""
    request, screen = flow.request, flow.screen
    if flow.asks:
        return consent_page(request, screen, problem=problem, status=status)
    context = {
        "screen": screen,
        "shown": screen.digest(CONTINUE),
        "problem": problem,
        "icon_url": app_addresses(screen.access).icon_url,
        "choose_url": with_account_to_choose(request) if flow.memberships[1:2] else "",
    }
    return render(request, "consent/authorize_continue.html", context, status=status)


def code_is_issued(flow: Flow, error: str) -> HttpResponse | None:
    try:
        # Something was agreed to, or a page would have asked.
        return _with_code(flow, cast(Consent, flow.screen.consent), error)
    except MayNotConsent as refusal:
        return _refused(flow, refusal, error)


def _with_code(flow: Flow, consent: Consent, error: str) -> HttpResponse:
    request, asked = flow.request, flow.asked
    scopes = flow.screen.requested & {*consent.granted}
    if not scopes:
        return asked.answer(request.method, error=error, error_description="None of the scopes was granted")
    try:
        code = issue_code(
            consent,
            by=flow.person,
            scopes=scopes,
            redirect_uri=asked.redirect_uri,
            code_challenge=asked.code_challenge,
        )
    except (InvalidGrant, InvalidScope) as refusal:
        return asked.answer(request.method, error=error, error_description=str(refusal))
    return asked.answer(request.method, code=code)


def _who_can_help(
    request: HttpRequest, asked: AuthorizationRequest, account: Account, refusal: Refused
) -> HttpResponse:
    admins = Membership.objects.admins().filter(account=account).select_related("user").order_by("user__name")[:5]
    context = {
        "asked": asked,
        "account": account,
        "refusal": refusal,
        "admins": admins,
        "not_installed": isinstance(refusal, NotInstalled),
    }
    return render(request, "consent/authorize_refused.html", context, status=403)


# --- the order of the steps, each with the error that the app gets (RFC 6749 section 4.1.2.1) ---

REFUSALS: Refusals = {MayNotConsent: "access_denied", NotInstalled: "access_denied", ScopeTooWide: "invalid_scope"}
READ = (
    (client_and_redirect_uri_can_be_trusted, "invalid_request"),
    (request_is_valid, (*steps.AUTHORIZE, *steps.SCOPES)),
    (prompt_is_known, "invalid_request"),
)
# Opening the address, and both buttons of the consent form that posts to it.
AUTHORIZE = (
    *READ,
    (cancel_was_not_pressed, "access_denied"),
    (person_is_signed_in, "login_required"),
    *ACCOUNT,
    (only_a_trial_comes_back_here, "access_denied"),
    (person_may_be_asked, REFUSALS),
    (person_agrees, REFUSALS),
    (person_continues, "access_denied"),
    (nothing_is_left_to_ask, "consent_required"),
    (no_page_is_needed, "interaction_required"),
    (code_is_issued, "access_denied"),
)


def consent_page(
    request: HttpRequest, screen: Screen, *, problem: str = "", status: int = 200, cancel_url: str = ""
) -> HttpResponse:
    """Show what would be agreed to."""
    context = {
        "screen": screen,
        "shown": screen.digest(),
        "problem": problem,
        "icon_url": app_addresses(screen.access).icon_url,
        # Off at first; when an agreement is replaced, as they were in it.
        "chosen": request.POST.getlist("optional")
        or (screen.replace and screen.consent and screen.consent.granted)
        or [],
        "cancel_url": cancel_url,
    }
    return render(request, "consent/consent_ask.html", context, status=status)
