"""Every component in every state, on one page of the demo: /dev/components/."""

import datetime as dt
from collections.abc import Iterator
from types import SimpleNamespace as Example
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from marketplace.models import Status
from portal.foundation.sections import Sectioned
from portal.foundation.text import Textarea
from portal.foundation.words import WORDS

TONES = "success", "warning", "danger", "primary", "secondary"
_LATER, _EARLIER = now() + dt.timedelta(days=90), now() - dt.timedelta(days=90)
_RISKS = [Example(label="Low risk", tone="success"), Example(label="High risk", tone="danger")]
_SCOPE = Example(
    sentence="Read tickets and their replies", risk_level=_RISKS[0], name="helpdesk.tickets.read", deprecated_at=None
)
_OLD_SCOPE = Example(
    sentence="Delete contacts", risk_level=_RISKS[1], name="helpdesk.contacts.delete", deprecated_at=_EARLIER
)
_CLIENT = Example(suspended_at=None, is_agent_level=False)
_ACCOUNT = Example(suspended_at=None)


def _access(**more: Any) -> Example:
    consent = Example(asks_for_more=False, granted_by="Ada Admin", membership_id=None, pk=None)
    given = {"client": _CLIENT, "account": _ACCOUNT, "live_consent": consent, "ended_at": None}
    return Example(**{**given, "was_agreed": False, "lacks_required": False, "live_agents": None, **more})


def _consent(**more: Any) -> Example:
    given = {"access": _access(), "expires_at": _LATER, "is_replaced": False, "revoked_at": None, "membership": None}
    return Example(**{**given, "asks_for_more": False, "revoked_by_id": None, **more})


def _checklist(**more: Any) -> Example:
    given = {
        "is_broken": False,
        "is_unfinished": False,
        "is_disconnected": False,
        "needs_settings": False,
        "lacks_own": False,
    }
    return Example(**{**given, **more})


_NO_CONSENT: dict[str, Any] = {"live_consent": None}
_AGENTS = Example(is_agent_level=True, suspended_at=None)
_SUSPENDED = Example(suspended_at=_EARLIER, is_agent_level=False)
_PAGES = Paginator(range(75), 25).page(2)
_FILTER = Example(name="state", label="State", everything="All states", choices=[("on", "On")], value="on")
_NEEDS = [
    Example(tone=tone, title=f"A need that is {tone}", text="What it is about.", url="#", label="Act") for tone in TONES
]


class ExampleForm(forms.Form):
    """One field of each kind, in each state."""

    name = forms.CharField(help_text="People read it when they agree.")
    wrong = forms.CharField(label="A wrong value")
    locked = forms.CharField(label="Cannot be changed", required=False, disabled=True, initial="helpdesk")
    about = forms.CharField(label="Description", widget=Textarea(attrs={"rows": 2}), required=False)
    level = forms.ChoiceField(label="Who authorizes", choices=[("", "Choose"), ("agent", "Each agent")], required=False)
    runs = forms.ChoiceField(
        label="Where the app runs",
        choices=[("here", "Marketplace"), ("external", "External")],
        widget=forms.RadioSelect,
        required=False,
    )
    icon = forms.FileField(label="Icon", required=False)
    agreed = forms.BooleanField(label="Every agent may use it", required=False)

    def clean_wrong(self) -> None:
        raise forms.ValidationError("Use a value that fits.")


class ExampleSections(Sectioned, ExampleForm):
    SECTIONS = (("Listing", None), ("How it runs", ("level", "runs")))


# {a template of components/: the contexts of its states}
STATES: dict[str, list[dict[str, Any]]] = {
    "account_found": [{"choice": Example(has_more=True, words="a", shown=[])}, {"choice": Example(has_more=False, words="a", shown=[])}],
    "agents": [{"agents": Example(are_uncounted=uncounted, number=number)} for uncounted, number in ((False, 1), (True, 101))],
    "badge": [{"text": tone.title(), "tone": tone} for tone in TONES],
    "build_tabs": [{"current": "client-list"}],
    "confirm": [{"label": "Publish", "back_url": "#", "back_label": "Cancel", "tone": tone} for tone in ("primary", "danger")],
    "copy_field": [{"label": "Client id", "value": "b935c177748a4735b5a7a315781d8acd", "id": "copied"}],
    "empty": [{"title": "No apps installed", "text": "What an admin installs appears here.", "action_url": "#", "action_label": "Find an app"}],
    "error_summary": [{"form": ExampleForm({"wrong": "a value"})}],
    "external": [{}],
    "form_sections": [{"form": ExampleSections(prefix="section")}],
    "list_count": [{"text": "12 apps", "cleared_url": "", "note": "The newest come first."}, {"text": "More than 1,000 apps", "cleared_url": "#"}],
    "list_search": [{"asked": Example(placeholder="Search apps", words="desk", filters=[_FILTER], sorts=[("newest", "Newest"), ("name", "Name")], sort="newest")}],
    "long_list": [{"page_obj": Example(is_long=True)}, {"page_obj": Example(searched=500)}],
    "needs": [{"groups": [Example(needs=_NEEDS, more_url="#")]}],
    "page_header": [{"title": "A page", "subtitle": "What it is for.", "back_url": "#", "back_label": "Where it belongs", "action_url": "#", "action_label": "The one primary action"}],
    "pagination": [{"page_obj": Example(has_other_pages=True, previous_url="#", next_url="#", number=2, paginator=_PAGES.paginator, has_uncounted=uncounted), "label": label} for uncounted, label in ((False, "Pages"), (True, "Pages of a long list"))],
    "progress": [
        {"status": "Preparing the file.", "progress_url": "/static/img/icon.svg", "done": 40_000, "whole": 120_000},
        {"status": "The file is ready."},
    ],
    "risk": [{"level": level} for level in _RISKS],
    "role": [{"member": Example(get_role_display="Admin")}],
    "scope": [{"scope": _SCOPE, "justification": "To draft answers."}, {"scope": _OLD_SCOPE, "note": "Optional."}, {"scope": _SCOPE, "unnamed": True}],
    "scope_chips": [{"scopes": [Example(pk=1, sentence="Read tickets and their replies"), Example(pk=2, sentence="Delete contacts")]}],
    "scope_list": [{"rows": [Example(scope=_SCOPE, justification="", note=""), Example(scope=_OLD_SCOPE, justification="", note="")]}],
    "state_access": [
        {"access": _access()}, {"access": _access(lacks_required=True)},
        {"access": _access(live_consent=Example(asks_for_more=True, granted_by="Ada Admin"))},
        {"access": _access(**_NO_CONSENT)}, {"access": _access(**_NO_CONSENT, was_agreed=True)},
        {"access": _access(**_NO_CONSENT, client=_AGENTS, live_agents=Example(are_uncounted=False, number=3))},
        {"access": _access(client=_SUSPENDED)}, {"access": None, "checklist": _checklist()},
        {"access": _access(), "checklist": _checklist(is_broken=True)},
        {"access": _access(), "checklist": _checklist(is_disconnected=True)},
        {"access": _access(), "checklist": _checklist(is_unfinished=True)},
        {"access": _access(), "checklist": _checklist(lacks_own=True)},
    ],
    "state_agreement": [{"access": _access()}, {"access": _access(**_NO_CONSENT)}, {"access": _access(**_NO_CONSENT, client=_AGENTS)}],
    "state_client": [{"client": _SUSPENDED}],
    "state_connection": [{"part": Example(is_broken=broken, is_connected=connected)} for broken, connected in ((True, True), (False, True), (False, False))],
    "state_consent": [
        {"consent": consent, "now": now()}
        for consent in (
            _consent(), _consent(asks_for_more=True), _consent(expires_at=_EARLIER), _consent(revoked_at=_EARLIER),
            _consent(revoked_at=_EARLIER, revoked_by_id=1, is_revoked_by_agent=False),
            _consent(revoked_at=_EARLIER, is_replaced=True), _consent(membership=Example(ended_at=_EARLIER)),
            _consent(access=_access(ended_at=_EARLIER, why_ended="Uninstalled")),
            _consent(access=_access(client=_SUSPENDED)),
        )
    ],
    "state_failure": [{"failure": Example(get_why_display="Expired")}],
    "state_installation": [{"installation": Example(uninstalled_at=_EARLIER)}, {"installation": Example(uninstalled_at=None), "access": _access()}],
    "state_installed": [{"is_installed": True}, {"is_unfinished": True}],
    "state_invitation": [
        {"invitation": Example(now=now(), expires_at=expires, why=why, told_at=told)}
        for expires, why, told in ((_EARLIER, "", None), (_LATER, "left", None), (_LATER, "", None), (_LATER, "", _EARLIER))
    ],
    "state_offer": [{"offer": Example(kind=kind)} for kind in ("ask", "withdrawn")],
    "state_problem": [{"problem": Example(level=level)} for level in ("error", "warning")],
    "state_scope": [{"scope": _OLD_SCOPE}],
    "state_review": [{"version": Example(status=status, get_status_display=status.label)} for status in Status],
    "state_step": [{"step": {"good": good}} for good in (True, False)],
    "state_secret": [
        {"secret": Example(expires_at=at, is_for_trying=is_for_trying), "now": now()}
        for at, is_for_trying in ((None, False), (_LATER, False), (_EARLIER, False), (_LATER, True))
    ],
    "state_settings": [{"checklist": _checklist(needs_settings=needs)} for needs in (True, False)],
    "state_suspended": [{"access": _access(client=_SUSPENDED)}, {"access": _access(account=_SUSPENDED)}],
    "state_team": [{"team": Example(verified_at=at)} for at in (_EARLIER, None)],
    "state_two_factor": [{"has_two_factor": has} for has in (True, False)],
    "state_unfinished": [{}],
    "state_version": [{"version": Example(status="withdrawn")}],
    "link_out": [{"url": "https://acorn.example", "label": "Website", "new_tab": tab} for tab in (True, False)],
    "publisher": [
        {"team": Example(name="Acorn Labs", verified_at=_EARLIER, website="https://acorn.example", support_url="https://acorn.example/help")},
        {"team": Example(name="Acorn Labs", verified_at=None)},
    ],
    "tile": [{"url": "#", "title": "A way on", "text": "What is there.", "count": "3 apps", "badge": "New"}],
}  # fmt: skip


def _shown() -> Iterator[tuple[str, list[SafeString]]]:
    for name, contexts in STATES.items():
        yield name, [render_to_string(f"components/{name}.html", context) for context in contexts]


@login_not_required
@require_safe
@never_cache
def component_list(request: HttpRequest) -> HttpResponse:
    if not settings.DEMO:
        raise Http404
    context = {"components": _shown(), "form": ExampleForm({"wrong": "a value"}), "words": WORDS, "tones": TONES}
    return render(request, "demo/component_list.html", context)
