"""The app package of a version: upload, checks, what it says, and how its consent screen will look."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace.models import App, Version
from portal.accounts.requests import SignedInRequest
from portal.foundation.once import once
from portal.foundation.refusals import Refused, add_errors, in_words

from ..actions import packaging
from ..forms import PackageForm, SecretForm
from ..package import formats
from ..package.checking import check_values, one_check
from ..package.contents import Contents
from ..package.facts import Facts
from ..package.form import PackageFields
from ..package.problems import Report
from ..package.starter import starter
from ..pages import icon_url
from ..previews import consent_screen_of, scope_rows
from ..seen import apps_seen_by, versions_seen_by
from ..vendors.oauth_client import redirect_uri
from ..vendors.secrets import keep_vendor_secret
from .developers import chosen_scopes, scopes_of


def _vendors(app: App, contents: Any) -> list[Any]:
    kept = {row.integration: row for row in app.vendor_secrets.defer("secret").select_related("saved_by")}
    return [
        SimpleNamespace(name=name, integration=one, redirect_uri=redirect_uri(app, name), kept=kept.get(name))
        for name, one in contents.vendors.items()
    ]


def _preview(request: SignedInRequest, version: Version, scopes: dict[str, list[str]], vendors: Iterable[str]) -> Any:
    required, optional = scopes["required_scopes"], scopes["optional_scopes"]
    return consent_screen_of(version, required=required, optional=optional, vendors=vendors, by=request.user)


def _page(
    request: SignedInRequest, version: Version, *, report: Any = None, form: Any = None, status: int = 200
) -> HttpResponse:
    contents = Contents.of(version)
    named = [one.display_name for one in contents.vendors.values()]
    if report is None and version.package:
        with one_check(version.app.team, counts=False):
            report = check_values(version.package, Facts(version.app))
    report = report or Report()
    context = {
        "app": version.app,
        "version": version,
        "form": form or PackageForm(),
        "report": report,
        "converted": Contents(Contents(report.files).without_secrets()).texts() if report.changes else {},
        "contents": contents,
        "vendors": _vendors(version.app, contents),
        "icon_url": icon_url(version, shows=version.icon),
        "screen": _preview(request, version, scopes_of(version), named),
        "asked": [field.display_name for field in contents.fields.values()],
        "connects": contents.vendors.values(),
    }
    return render(request, "marketplace/version_package.html", context, status=status)


@require_http_methods(["GET", "POST"])
def version_package(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    if request.method == "GET":
        return _page(request, version)
    form = PackageForm(request.POST, request.FILES)
    report = None
    if form.is_valid():
        data = form.cleaned_data["package"].read()
        try:
            with one_check(version.app.team):
                report = packaging.take_package(
                    version, data, keep_secrets=form.cleaned_data["keep_secrets"], by=request.user
                )
        except Refused as refusal:
            messages.error(request, str(refusal))
            return redirect("version-package", slug, pk)
        except ValidationError as error:
            add_errors(form, error)
    if report is None or not report.valid:
        return _page(request, version, report=report, form=form, status=422)
    messages.success(request, _("Saved. The package has no errors, and this version now uses it."))
    return _page(request, get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk), report=report)


@require_http_methods(["GET", "POST"])
def version_package_edit(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Fill in what a package says. The button “Add” shows one more of a part; only “Save” changes anything."""
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    if version.is_frozen:
        return redirect("version-package", slug, pk)
    is_saved = request.method == "POST" and "add" not in request.POST
    fields = PackageFields(version.package, version.app.client, request.POST if request.method == "POST" else None)
    chosen = chosen_scopes(request) if request.method == "POST" else scopes_of(version)
    report = None
    if is_saved and fields.is_valid():
        files = fields.package(chosen["required_scopes"], chosen["optional_scopes"])
        try:
            with one_check(version.app.team):
                report = packaging.fill_package(version, files, renamed=fields.renamed, by=request.user)
        except (Refused, ValidationError) as error:
            messages.error(request, in_words(error))
        if report and report.valid:
            messages.success(request, _("Saved. This version now uses this package."))
            return redirect("version-package", slug, pk)
    shown = fields.shown()
    context = {
        "app": version.app,
        "version": version,
        "fields": fields,
        "report": report,
        "rows": scope_rows(version.app.client, **chosen),
        "icon_url": icon_url(version, shows=version.icon),
        "screen": _preview(request, version, chosen, [one["display_name"] for one in shown["connects"]]),
        "may_add_vendor": len(fields.vendors.forms) + any(chosen.values()) < formats.MAX_INTEGRATIONS,
        **shown,
    }
    return render(request, "marketplace/version_package_edit.html", context, status=422 if is_saved else 200)


@require_POST
def version_package_preview(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """How the consent screen will look with what is filled in; nothing is kept."""
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    chosen = chosen_scopes(request)
    shown = PackageFields(version.package, version.app.client, request.POST).shown()
    context = {
        "icon_url": icon_url(version, shows=version.icon),
        "screen": _preview(request, version, chosen, [one["display_name"] for one in shown["connects"]]),
        **shown,
    }
    return render(request, "marketplace/_consent_preview.html", context)


@require_safe
def version_package_download(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    if not version.package:
        raise Http404
    name = f"{version.app.slug}-{version.number}.zip"
    return HttpResponse(
        Contents.of(version).archive(),
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"},
    )


@require_safe
def app_starter(request: SignedInRequest, slug: str) -> HttpResponse:
    """Download a package for an app with credentials, to start from."""
    app: Any = get_object_or_404(apps_seen_by(request.user).exclude(client=None), slug=slug)
    headers = {
        "Content-Disposition": f'attachment; filename="{app.slug}-starter.zip"',
        "Cache-Control": "private, no-store",
    }
    archive = Contents(starter(app.client)).archive()
    return HttpResponse(archive, content_type="application/zip", headers=headers)


@require_POST
@once
def vendor_secret_keep(request: SignedInRequest, slug: str, pk: int, integration: str) -> HttpResponse:
    """Keep the client secret of one vendor of this version, in place of the one that is kept."""
    version = get_object_or_404(versions_seen_by(request.user), app__slug=slug, pk=pk)
    if integration not in Contents.of(version).vendors:
        raise Http404
    form = SecretForm(request.POST)
    try:
        if not form.is_valid():
            raise ValidationError(form.errors.as_data()["secret"])
        keep_vendor_secret(version.app, integration, secret=form.cleaned_data["secret"], by=request.user)
        messages.success(request, _("Saved. The portal now uses this secret and never shows it."))
    except (Refused, ValidationError) as error:
        messages.error(request, in_words(error))
    return redirect("version-package", slug, pk)
