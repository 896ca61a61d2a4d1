"""The steps of the authorization endpoint that find the account."""

import uuid
from urllib.parse import parse_qsl, urlencode

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.accounts.choosing import WORDS, Choice
from portal.accounts.models import Account, Membership
from portal.accounts.seen import memberships_of

from ..asking import may_agree
from ..models import Access, Why
from .flow import AuthorizationRequest, Flow, note, without_prompt


def hinted_account_is_theirs(flow: Flow, error: str) -> HttpResponse | None:
    request, asked = flow.request, flow.asked
    flow.memberships = memberships_of(flow.person).filter(account__suspended_at=None).select_related("account")
    if not (asked.installation or asked.account):
        return None
    account = _hinted(asked, flow.memberships)
    if account:
        if "select_account" not in asked.prompt:
            flow.account = account
        return None
    if request.method != "POST":
        text = "The person belongs to no such account, or the app is not installed there"
        note(asked.client, error, Why.NO_CONSENT, text, "account")
    if flow.shows_no_page:
        return asked.answer(error=error)
    mine = memberships_of(flow.person).filter(account__slug=asked.account).select_related("account")
    context = {"asked": asked, "suspended": mine.exclude(account__suspended_at=None).first()}
    return render(request, "consent/authorize_wrong_account.html", context, status=404)


def _hinted(asked: AuthorizationRequest, memberships: QuerySet[Membership]) -> Account | None:
    if asked.installation:
        try:
            installation = uuid.UUID(asked.installation)
        except ValueError:
            return None
        accesses = Access.objects.filter(installation_id=installation, client=asked.client, ended_at=None)
        access = accesses.filter(account__in=memberships.values("account")).select_related("account").first()
        return access.account if access and asked.account in ("", access.account.slug) else None
    membership = memberships.filter(account__slug=asked.account).first()
    return membership.account if membership else None


def person_has_an_account(flow: Flow, error: str) -> HttpResponse | None:
    if flow.account:
        return None
    first = list(flow.memberships[:2])
    if len(first) == 1 and "select_account" not in flow.asked.prompt:
        flow.account = first[0].account
    return flow.asked.answer(error=error) if flow.shows_no_page and not first else None


def account_is_settled(flow: Flow, error: str) -> HttpResponse | None:
    if flow.account:
        return None
    return flow.asked.answer(error=error) if flow.shows_no_page else _choose(flow.request, flow.asked, flow.memberships)


def _choose(request: HttpRequest, asked: AuthorizationRequest, memberships: QuerySet[Membership]) -> HttpResponse:
    choice = Choice(request, memberships, "account")
    base = without_prompt(request, "select_account")
    query = [
        (name, value)
        for name, value in parse_qsl(base.partition("?")[2])
        if name not in ("account", "installation", WORDS)
    ]
    choices = []
    for membership in choice.shown:
        url = f"{request.path}?{urlencode([*query, ('account', membership.account.slug)])}"
        may = may_agree(asked.client, membership.role)
        choices.append(
            {"account": membership.account, "role": membership.get_role_display(), "url": url if may else ""}
        )
    context = {"asked": asked, "choice": choice, "choices": choices}
    return render(request, "consent/authorize_account.html", context)


# Each with the error for an app that wants no page (OpenID Connect Core section 3.1.2.6).
ACCOUNT = (
    (hinted_account_is_theirs, "account_selection_required"),
    (person_has_an_account, "access_denied"),
    (account_is_settled, "account_selection_required"),
)
