"""The authorization endpoint (RFC 6749 section 3.1): who is asked, for which account, for what."""

import contextlib
import re
import uuid
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.db import OperationalError, transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.oauth2_backends import get_oauthlib_core
from oauthlib.common import add_params_to_uri
from oauthlib.oauth2.rfc6749 import errors

from credentials.models import Client
from credentials.redirect_uris import is_loopback
from credentials.views import clients_seen_by
from portal.accounts.models import Account, Membership
from portal.foundation.database import database_now
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import spend
from portal.foundation.once import once
from portal.foundation.refusals import Refused

from ..actions.failing import note_failure
from ..actions.granting import ScreenIsStale, decline_consent, grant_consent
from ..actions.issuing import InvalidGrant, InvalidScope, issue_code
from ..asking import MayNotConsent, NotInstalled, ScopeTooWide, may_agree
from ..models import Access, Where, Why
from ..parameters import clean_scope
from ..screen import Screen, build_screen
from ..steps import Attempt, find_client
from ..validity import suspension
from .agreed import take_agreed

PROMPTS = {"none", "login", "consent", "select_account"}
_ABOUT_THE_URI = {
    errors.MissingRedirectURIError: "redirect_uri is missing",
    errors.InvalidRedirectURIError: "redirect_uri is not an absolute URL",
    errors.MismatchingRedirectURIError: "redirect_uri is not one of the registered redirect URLs, character for character",
}
# What the page that refuses a redirect URI says about it.
_LONGEST_SHOWN = 300


@dataclass
class AuthorizationRequest:
    """A request whose client and redirect URI can be trusted."""

    client: Client
    redirect_uri: str
    state: str | None
    requested: set[str] | None
    code_challenge: str
    prompt: set[str]
    account: str
    installation: str

    def answer(self, method="GET", **parameters):
        """Send the browser back to the app (RFC 6749 section 4.1.2, RFC 9207)."""
        if self.state is not None:
            parameters["state"] = self.state
        parameters["iss"] = settings.BASE_URL
        if "error_description" in parameters:
            # The characters that RFC 6749 section 4.1.2.1 allows.
            parameters["error_description"] = re.sub(r"[^ !#-[\]-~]", "?", parameters["error_description"])[:500]
        # 303, so that no browser posts the form on to the app (RFC 9700 section 4.12).
        status = 303 if method == "POST" else 302
        return Redirect(add_params_to_uri(self.redirect_uri, list(parameters.items())), status)


class Redirect(HttpResponse):
    """Django's own refuses the address that a long state makes, which a sign-in in between encodes twice."""

    def __init__(self, location, status=302):
        super().__init__(status=status, headers={"Location": location})

    @property
    def url(self):
        return self["Location"]


def _through(name, then):
    return Redirect(f"{reverse(name)}?{urlencode({'next': then}, safe='/')}")


class Answered(Exception):
    """The request is answered already, with `response`."""

    def __init__(self, response):
        self.response = response


@never_cache
@require_http_methods(["GET", "POST"])
def authorize(request):
    is_agree = request.method == "POST" and request.POST.get("decision") == "agree"
    return _agree_once(request) if is_agree else _authorize(request)


def _authorize(request):
    who = address_of(request.META)
    client_id = request.GET.get("client_id", "")
    spend(("authorize by address", who), ("authorize by address and client", who, client_id))
    try:
        asked = _read(request)
        if request.method == "POST" and request.POST.get("decision") == "cancel":
            return _cancel(request, asked)
        person = _signed_in(request, asked)
        account, fixed = _account(request, asked, person)
        return _decide(request, asked, account, fixed)
    except Answered as answered:
        return answered.response


def _agreed_before(request, press):
    """Answer a second press of Agree with a new code: the first was lost with its page and is stored nowhere."""
    try:
        asked = _read(request)
        account, _fixed = _account(request, asked, request.user)
        screen = build_screen(asked.client, account, by=request.user, now=database_now(), requested=asked.requested)
        if press.is_recent and not screen.is_due:
            return _with_code(request, asked, screen.consent, screen)
    except Answered as answered:
        return answered.response
    except (ScopeTooWide, MayNotConsent, NotInstalled):
        # Opening the request anew says so.
        pass
    return Redirect(request.get_full_path(), 303)


_agree_once = once(_authorize, again=_agreed_before)


# --- reading the request ---


def _note(client, error, why, text="", parameter=""):
    """Count a refusal for the client's team; people's decisions and answers to prompt=none do not count."""
    note_failure(client.pk, where=Where.AUTHORIZE, why=why, error=error, text=text, parameter=parameter)


def _read(request):
    attempt = request.META["attempt"] = Attempt()
    try:
        _, parameters = get_oauthlib_core().validate_authorization_request(request)
    except FatalClientError as error:
        raise Answered(_untrusted(request, attempt.client, error.oauthlib_error)) from None
    except OAuthToolkitError as error:
        problem = error.oauthlib_error
        _note(attempt.client, problem.error, attempt.why or Why.REQUEST, attempt.text, attempt.parameter)
        asked = AuthorizationRequest(None, problem.redirect_uri, problem.state, None, "", set(), "", "")
        _refuse(request, asked, error=problem.error, error_description=problem.description or "")
    scope = clean_scope(request.GET.get("scope", "")).split()
    asked = AuthorizationRequest(
        client=parameters["request"].client,
        redirect_uri=parameters["redirect_uri"],
        state=parameters["state"],
        requested=set(scope) if scope else None,
        code_challenge=parameters["code_challenge"],
        prompt=set(request.GET.get("prompt", "").split()),
        account=request.GET.get("account", ""),
        installation=request.GET.get("installation", ""),
    )
    if asked.prompt - PROMPTS or ("none" in asked.prompt and len(asked.prompt) > 1):
        description = f"prompt must be one of {', '.join(sorted(PROMPTS))}, and none stands alone"
        _note(asked.client, "invalid_request", Why.REQUEST, description, "prompt")
        _refuse(request, asked, error="invalid_request", error_description=description)
    return asked


def _refuse(request, asked, **error):
    """Send a refusal to the app, but nobody to an app before they signed in: anyone may register a redirect URI, and a
    wrong request would make of the portal's address a way to it (RFC 9700 section 4.11.2).
    """
    if "none" not in request.GET.get("prompt", "").split():
        _signed_in(request, asked)
    raise Answered(asked.answer(**error))


def _untrusted(request, client, problem):
    """Tell the person, since the redirect URI cannot be trusted; an error here never redirects (RFC 6749 4.1.2.1)."""
    if client is None and len(request.GET.getlist("client_id")) == 1:
        client = find_client(request.GET["client_id"])
    context = {"error": problem.error, "description": problem.description}
    # The page repeats nothing of a request that cannot be read, not even in its links.
    request.leads_nowhere = client is None or client.suspended_at is not None
    if client and client.suspended_at:
        _note(client, problem.error, Why.SUSPENDED, suspension(client).text)
    elif client:
        text = _ABOUT_THE_URI.get(type(problem), "redirect_uri is repeated")
        _note(client, problem.error, Why.REQUEST, text, "redirect_uri")
        sent = request.GET.get("redirect_uri", "")
        uri = sent if len(sent) <= _LONGEST_SHOWN else f"{sent[:_LONGEST_SHOWN]}…"
        is_theirs = request.user.is_authenticated and clients_seen_by(request.user).filter(pk=client.pk).exists()
        context |= {"description": text, "client": client, "uri": uri, "is_theirs": is_theirs}
    return render(request, "consent/authorize_error.html", context, status=400)


def _without_prompt(request, done):
    query = [(name, value) for name, values in request.GET.lists() for value in values]
    left = " ".join(word for word in request.GET.get("prompt", "").split() if word != done)
    query = [(name, left if name == "prompt" else value) for name, value in query if name != "prompt" or left]
    return f"{request.path}?{urlencode(query)}"


def _signed_in(request, asked):
    if not request.user.is_authenticated:
        if "none" in asked.prompt:
            raise Answered(asked.answer(error="login_required"))
        raise Answered(_through("account_login", _without_prompt(request, "login")))
    if "login" in asked.prompt:
        raise Answered(_through("account_reauthenticate", _without_prompt(request, "login")))
    return request.user


# --- which account ---


def _account(request, asked, person):
    """Return the account, and whether the request or the person's having just one fixed it."""
    memberships = Membership.objects.live().filter(user=person, account__suspended_at=None).select_related("account")
    accounts = {membership.account.slug: membership.account for membership in memberships.order_by("account__name")}
    if asked.installation or asked.account:
        found = _hinted(asked, accounts)
        if found is None:
            if request.method != "POST":
                text = "The person belongs to no such account, or the app is not installed there"
                _note(asked.client, "account_selection_required", Why.NO_CONSENT, text, "account")
            if "none" in asked.prompt:
                raise Answered(asked.answer(error="account_selection_required"))
            mine = Membership.objects.live().filter(user=person, account__slug=asked.account).select_related("account")
            context = {"asked": asked, "suspended": mine.exclude(account__suspended_at=None).first()}
            raise Answered(render(request, "consent/authorize_wrong_account.html", context, status=404))
        if "select_account" not in asked.prompt:
            return found, True
    if len(accounts) == 1 and "select_account" not in asked.prompt:
        return next(iter(accounts.values())), True
    if "none" in asked.prompt:
        raise Answered(asked.answer(error="account_selection_required" if accounts else "access_denied"))
    raise Answered(_choose(request, asked, memberships))


def _hinted(asked, accounts):
    if asked.installation:
        try:
            installation = uuid.UUID(asked.installation)
        except ValueError:
            return None
        access = Access.objects.filter(
            installation_id=installation, client=asked.client, ended_at=None, account__in=accounts.values()
        ).first()
        if access is None or asked.account not in ("", access.account.slug):
            return None
        return accounts[access.account.slug]
    return accounts.get(asked.account)


def _choose(request, asked, memberships):
    base = _without_prompt(request, "select_account")
    query = [
        (name, value) for name, value in parse_qsl(base.partition("?")[2]) if name not in ("account", "installation")
    ]
    choices = []
    for membership in memberships.order_by("account__name"):
        url = f"{request.path}?{urlencode([*query, ('account', membership.account.slug)])}"
        may = may_agree(asked.client, membership.role)
        choices.append(
            {"account": membership.account, "role": membership.get_role_display(), "url": url if may else ""}
        )
    return render(request, "consent/authorize_account.html", {"asked": asked, "choices": choices})


# --- deciding ---


def _decide(request, asked: AuthorizationRequest, account: Account, fixed: bool):
    ask_again = "consent" in asked.prompt
    try:
        screen = build_screen(
            asked.client,
            account,
            by=request.user,
            now=database_now(),
            requested=asked.requested,
            ask_again=ask_again,
        )
        if request.method == "POST" and request.POST.get("decision") == "agree":
            return _agree(request, asked, screen, ask_again)
        loopback = is_loopback(asked.redirect_uri)
        if screen.is_due or ask_again or not fixed or loopback:
            if "none" in asked.prompt:
                return asked.answer(error="consent_required" if screen.is_due else "interaction_required")
            # A person who just agreed on the portal's own page is not asked again (see agreed.py).
            if not fixed or screen.asks_anew or not take_agreed(request, screen.consent):
                return consent_page(request, screen)
        return _with_code(request, asked, screen.consent, screen)
    except ScopeTooWide as refusal:
        text = f"These scopes cannot be granted here: {' '.join(refusal.scopes)}"
        _note(asked.client, "invalid_scope", Why.SCOPE, text, "scope")
        return asked.answer(error="invalid_scope", error_description=text)
    except (MayNotConsent, NotInstalled) as refusal:
        absent = isinstance(refusal, NotInstalled)
        text = "The app is not installed in the account" if absent else "Only an admin of the account can agree"
        _note(asked.client, "access_denied", Why.NO_CONSENT, text, "installation" if absent else "")
        if "none" in asked.prompt:
            return asked.answer(error="access_denied")
        return _who_can_help(request, asked, account, refusal)


def _agree(request, asked, screen, ask_again):
    try:
        with transaction.atomic():
            consent = grant_consent(
                asked.client,
                screen.account,
                by=request.user,
                shown=request.POST.get("shown", ""),
                chosen=set(request.POST.getlist("optional")),
                requested=asked.requested,
                ask_again=ask_again,
            )
            request.press.hides_answer = True
            return _with_code(request, asked, consent, screen)
    except ScreenIsStale as stale:
        return consent_page(request, screen, problem=str(stale), status=409)


def _with_code(request, asked, consent, screen):
    scopes = screen.requested & {*consent.granted}
    if not scopes:
        return asked.answer(request.method, error="access_denied", error_description="None of the scopes was granted")
    try:
        code = issue_code(
            consent,
            by=request.user,
            scopes=scopes,
            redirect_uri=asked.redirect_uri,
            code_challenge=asked.code_challenge,
        )
    except (InvalidGrant, InvalidScope) as refusal:
        return asked.answer(request.method, error="access_denied", error_description=str(refusal))
    return asked.answer(request.method, code=code)


def _cancel(request, asked):
    if request.user.is_authenticated:
        # Cancel always works; what could not be recorded changed nothing.
        with contextlib.suppress(Answered, Refused, OperationalError):
            account, _fixed = _account(request, asked, request.user)
            # Whom the page could not ask had nothing to decline.
            build_screen(asked.client, account, by=request.user, now=database_now(), requested=asked.requested)
            decline_consent(asked.client, account, by=request.user)
    return asked.answer("POST", error="access_denied", error_description="The person pressed Cancel")


def _who_can_help(request, asked, account, refusal):
    admins = Membership.objects.admins().filter(account=account).select_related("user").order_by("user__name")[:5]
    context = {
        "asked": asked,
        "account": account,
        "refusal": refusal,
        "admins": admins,
        "not_installed": isinstance(refusal, NotInstalled),
    }
    return render(request, "consent/authorize_refused.html", context, status=403)


def consent_page(request, screen: Screen, *, problem="", status=200, cancel_url=""):
    """Show what would be agreed to."""
    context = {
        "screen": screen,
        "shown": screen.digest(),
        "problem": problem,
        # Off at first; where an agreement is replaced, as they were in it.
        "chosen": request.POST.getlist("optional")
        or (screen.replace and screen.consent and screen.consent.granted)
        or [],
        "cancel_url": cancel_url,
    }
    return render(request, "consent/consent_ask.html", context, status=status)
