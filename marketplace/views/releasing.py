"""A version on its way from draft to published and withdrawn. Whatever cannot be undone asks first."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from portal.accounts.requests import SignedInRequest
from portal.foundation.once import once
from portal.foundation.refusals import Refused, add_errors, in_words
from portal.foundation.seals import ScreenIsStale, check_shown

from ..actions import installing, publishing
from ..forms import CustomForm, WithdrawForm
from ..models import App, Status, Version
from ..seals import seal_of, seal_with_accounts
from ..seen import apps_seen_by, versions_seen_by
from .developers import NEW, outlook, spend_of_team

PUBLISHED = "publications by team"


def _version(request: SignedInRequest, slug: str, pk: int) -> Any:
    return get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)


def _act(
    request: SignedInRequest, version: Version, action: Callable[..., Any], done: Any, rate: str, **values: str
) -> HttpResponse:
    """Run one action on a version, and show the version that it returns."""
    slug = version.app.slug
    spend_of_team(version.app, rate)
    try:
        version = action(version, by=request.user, **values)
        messages.success(request, done)
    except (Refused, ValidationError) as error:
        messages.error(request, in_words(error))
    return redirect("version-view", slug, version.pk)


def _step(action: Callable[..., Any], done: Any) -> Any:
    """Make a view whose POST runs one action that can be undone."""

    @require_POST
    @once
    def view(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
        return _act(request, _version(request, slug, pk), action, done, NEW)

    return view


version_take_back = _step(
    publishing.take_back_version,
    gettext_lazy("Submission canceled. To change something, copy the version to a new draft."),
)
version_copy = _step(publishing.copy_version, gettext_lazy("Copied to a new draft. Make your changes, then submit it."))


def _asks_first(action: Callable[..., Any], done: Any, template: str, status: str, rate: str) -> Any:
    """Make a view that says what an action on a version will do, and on POST runs it.

    A draft can change meanwhile: its page sends the seal of what was read along with both.
    """
    can_change = status == Status.DRAFT

    @require_http_methods(["GET", "POST"])
    @once
    def view(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
        version = _version(request, slug, pk)
        if request.method == "POST":
            return _act(request, version, action, done, rate, **({"shown": _shown(request)} if can_change else {}))
        if version.status != status or not _is_ready(request, version) or _is_stale(request, seal_of(version)):
            return redirect("version-view", slug, pk)
        context = {"version": version, "app": version.app, "shown": seal_of(version) if can_change else ""}
        if status == Status.APPROVED:
            context["outlook"] = outlook(version)
        return render(request, template, context)

    return view


def _shown(request: SignedInRequest) -> str:
    """Return the seal of what the person read."""
    return request.POST.get("shown", "")


def _is_ready(request: SignedInRequest, version: Version) -> bool:
    """Tell whether a version has everything that installing it needs; if not, say what is missing."""
    try:
        publishing.check_installable(version)
    except publishing.NotReady as refusal:
        messages.error(request, str(refusal))
        return False
    return True


def _is_stale(request: SignedInRequest, seal: str) -> bool:
    """Tell whether what the page before showed has changed since; if so, say it."""
    try:
        check_shown(request.GET.get("shown", seal), seal)
    except ScreenIsStale as stale:
        messages.error(request, str(stale))
        return True
    return False


version_submit = _asks_first(
    publishing.submit_version,
    gettext_lazy("Submitted. A reviewer will read it next."),
    "marketplace/version_submit.html",
    Status.DRAFT,
    NEW,
)
version_publish = _asks_first(
    publishing.publish_version,
    gettext_lazy("Published."),
    "marketplace/version_publish.html",
    Status.APPROVED,
    PUBLISHED,
)


@require_http_methods(["GET", "POST"])
@once
def version_withdraw(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = _version(request, slug, pk)
    if version.status != Status.PUBLISHED:
        return redirect("version-view", slug, pk)
    form = WithdrawForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        spend_of_team(version.app, PUBLISHED)
        try:
            publishing.withdraw_version(version, by=request.user, **form.cleaned_data)
            messages.success(request, _("Withdrawn. The accounts that use it are notified."))
            return redirect("version-view", slug, pk)
        except Refused as refusal:
            add_errors(form, refusal)
    count = version.installations.installed().count()
    context = {"version": version, "form": form, "count": count}
    return render(request, "marketplace/version_withdraw.html", context, status=422 if form.errors else 200)


# --- for chosen accounts: their short names come by GET and are acted on by POST, which repeats them as typed ---


def _names_page(request: SignedInRequest, form: CustomForm, app: App, version: Version | None = None) -> HttpResponse:
    context = {"form": form, "app": app, "version": version, "shown": seal_with_accounts(app, version)}
    return render(request, "marketplace/accounts_confirm.html", context, status=422 if form.errors else 200)


def _spelling(form: CustomForm) -> Any:
    # Whether an account exists is not for developers to learn (E1).
    return _("Accounts with these short names can install it: %(names)s. Check the spelling.") % {
        "names": ", ".join(form.typed)
    }


@require_http_methods(["GET", "POST"])
@once
def version_publish_custom(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = _version(request, slug, pk)
    if request.method == "GET" and (
        version.status != Status.DRAFT or not _is_ready(request, version) or _is_stale(request, seal_of(version))
    ):
        return redirect("version-view", slug, pk)
    form = CustomForm(request.POST if request.method == "POST" else request.GET or None)
    if request.method == "POST" and form.is_valid():
        spend_of_team(version.app, PUBLISHED)
        try:
            publishing.publish_custom(version, by=request.user, **form.cleaned_data, shown=_shown(request))
            messages.success(request, _("Published. %(hint)s") % {"hint": _spelling(form)})
            return redirect("version-view", slug, pk)
        except ScreenIsStale as stale:
            messages.error(request, str(stale))
            return redirect("version-view", slug, pk)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    return _names_page(request, form, version.app, version)


@require_http_methods(["GET", "POST"])
@once
def app_list_accounts(request: SignedInRequest, slug: str) -> HttpResponse:
    app = get_object_or_404(apps_seen_by(request.user), slug=slug)
    form = CustomForm(request.POST if request.method == "POST" else request.GET or None)
    if request.method == "POST" and form.is_valid():
        spend_of_team(app, PUBLISHED)
        try:
            publishing.list_accounts(app, by=request.user, **form.cleaned_data, shown=_shown(request))
            messages.success(request, _spelling(form))
            return redirect("app-view", slug)
        except ScreenIsStale as stale:
            messages.error(request, str(stale))
            return redirect("app-view", slug)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    return _names_page(request, form, app)


@require_http_methods(["GET", "POST"])
@once
def app_unlist_account(request: SignedInRequest, slug: str, account: str) -> HttpResponse:
    app = get_object_or_404(apps_seen_by(request.user), slug=slug)
    if account not in app.custom_accounts:
        raise Http404
    if request.method == "GET":
        return render(request, "marketplace/app_unlist_account.html", {"app": app, "account": account})
    try:
        publishing.unlist_account(app, account=account, by=request.user)
        said = _("%(account)s can no longer install it. If it is installed there, it stays.") % {"account": account}
        messages.success(request, said)
    except Refused as refusal:
        messages.error(request, str(refusal))
    return redirect("app-view", slug)


# --- on the team's test account ---


@require_POST
@once
def version_test(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = _version(request, slug, pk)
    spend_of_team(version.app, NEW)
    try:
        installation = installing.install_draft(version, by=request.user)
        return redirect("installation-connect", installation.pk)
    except Refused as refusal:
        messages.error(request, str(refusal))
        return redirect("version-view", slug, pk)
