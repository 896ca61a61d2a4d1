"""What programs ask of the marketplace: running a request template, checking an app package. JSON, whatever happens."""

import json

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http.multipartparser import MultiPartParserError
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST

from consent import check as checking
from consent.answers import answer, refused_call
from credentials.authentication import MalformedBasic, check_client_secret, read_basic, touch
from credentials.models import Client
from credentials.resources import metadata_url
from portal.accounts.seen import memberships_of, teams_seen_by
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import spend

from ..models import App, Installation
from ..package.archive import MAX_ARCHIVE_BYTES
from ..package.checking import check_archive, one_check
from ..package.facts import Facts
from . import running
from .filling import MAX_BODY


class _Answer(Exception):
    """What is answered in place of the result."""

    def __init__(self, status, error, description, **more):
        super().__init__(error)
        self.response = answer({"error": error, "error_description": description, **more}, status)


def _endpoint(view):
    """POST only, and every refusal as JSON."""

    @login_not_required
    @csrf_exempt
    @require_POST
    @sensitive_variables()
    def wrapped(request, **kwargs):
        try:
            return view(request, **kwargs)
        except _Answer as refusal:
            return refusal.response
        except checking.Refusal as refusal:
            return refused_call(refusal, metadata_url())

    return wrapped


def _check_session(request):
    """Raise unless a signed-in person means it: their page's token came along, as with every form."""
    if not request.user.is_authenticated:
        raise checking.Refusal(description=checking.NO_TOKEN)
    if CsrfViewMiddleware(lambda request: None).process_view(request, None, (), {}) is not None:
        raise _Answer(403, "access_denied", "Send the header X-CSRFToken with the token of your session")


# --- request templates ---


@_endpoint
def run_request(request, pk, name):
    """Run a template of an installation, for the app with its own access token or for a signed-in person of the account."""
    installation, caller = _who(request, pk)
    given = _read_json(request)
    try:
        result = running.run(
            installation, name, context=given.get("context") or {}, body=given.get("body"), caller=caller
        )
    except running.NoSuchTemplate as refusal:
        raise _Answer(404, "not_found", str(refusal)) from None
    except running.MayNotRun as refusal:
        raise _Answer(403, "access_denied", str(refusal)) from None
    except running.BadInput as refusal:
        raise _Answer(400, "invalid_request", str(refusal), side="caller") from None
    except running.NeedsConnection as refusal:
        url = f"{settings.BASE_URL}/installations/{pk}/"
        raise _Answer(409, "not_connected", str(refusal), side="portal", connect_url=url) from None
    except running.VendorFailed as refusal:
        raise _Answer(504 if refusal.is_late else 502, "vendor_failed", str(refusal), side="vendor") from None
    return answer(result.as_dict())


def _who(request, pk):
    rows = Installation.objects.select_related("account", "app__client", "version__app__client", "access")
    if header := request.headers.get("Authorization"):
        bearer = checking.read(checking.bearer_token(header))
        if bearer.installation != str(pk):
            raise _Answer(404, "not_found", "The access token is for no such installation")
        membership = bearer.token.consent.membership
        return rows.get(pk=pk), running.Caller(membership, is_app=True)
    _check_session(request)
    membership = memberships_of(request.user).filter(account__installations=pk).first()
    if membership is None:
        raise _Answer(404, "not_found", "There is no such installation")
    return rows.get(pk=pk), running.Caller(membership)


def _read_json(request):
    raw = request.read(MAX_BODY + 1)
    if len(raw) > MAX_BODY:
        raise _Answer(413, "invalid_request", "What was sent is larger than 6 MB", side="caller")
    try:
        given = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise _Answer(400, "invalid_request", "What was sent is not JSON", side="caller") from None
    if not isinstance(given, dict) or given.keys() - {"context", "body"}:
        raise _Answer(400, "invalid_request", 'Send {"context": {…}, "body": …}', side="caller")
    return given


# --- packages ---


@_endpoint
def check_package(request):
    """Check the bytes of a .zip, as the page and the command do: for an app of the credentials that ask, or of a person's."""
    app = _app_of(request)
    with one_check(app.team):
        return answer(check_archive(_read_zip(request), Facts(app)).as_dict())


def _read_zip(request):
    """Return the bytes that were sent: as the body, or as the one file of a form, as browsers and many tools send files."""
    if request.content_type != "multipart/form-data":
        return request.read(MAX_ARCHIVE_BYTES + 1)
    try:
        files = [file for name in request.FILES for file in request.FILES.getlist(name)]
    except MultiPartParserError:
        raise _Answer(400, "invalid_request", "The form cannot be read: it does not follow RFC 7578") from None
    if len(files) != 1:
        raise _Answer(400, "invalid_request", "Send the .zip as the body, or as the only file of a form")
    return files[0].read(MAX_ARCHIVE_BYTES + 1)


def _app_of(request):
    slug = request.GET.get("app", "")
    if "Authorization" in request.headers:
        client = _client_of(request)
        app = App.objects.filter(client=client).select_related("team").first() or App(team=client.team)
        if slug and app.slug != slug:
            raise _Answer(404, "not_found", "There is no such app of these credentials")
        return app
    if not request.user.is_authenticated:
        raise _Unauthenticated
    _check_session(request)
    app = App.objects.filter(team__in=teams_seen_by(request.user), slug=slug).select_related("team").first()
    if app is None:
        raise _Answer(404, "not_found", "Name one of your apps: ?app=its-address")
    return app


def _client_of(request):
    try:
        client_id, secret = read_basic(request.headers["Authorization"]) or ("", "")
    except MalformedBasic:
        client_id = secret = ""
    client = Client.objects.filter(client_id=client_id.replace("\0", "")).select_related("team").first()
    row = client and not client.suspended_at and check_client_secret(client, secret)
    if not row:
        who = address_of(request.META)
        spend(("token failed by address and client", who, client_id), ("token failed by address", who))
        raise _Unauthenticated
    touch(row)
    return client


class _Unauthenticated(_Answer):
    def __init__(self):
        super().__init__(401, "invalid_client", "Authenticate with the client id and secret of your app, as HTTP Basic")
        self.response["WWW-Authenticate"] = 'Basic realm="portal"'
