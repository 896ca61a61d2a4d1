"""The endpoint that checks an app package, for programs. JSON, whatever happens."""

from django.http import HttpRequest, JsonResponse
from django.http.multipartparser import MultiPartParserError

from consent.answers import answer
from credentials.authentication import MalformedBasic, check_client_secret, read_basic, touch
from credentials.models import Client
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import spend

from ..endpoints import ErrorAnswer, check_session, endpoint
from ..models import App
from ..seen import apps_seen_by
from .archive import MAX_ARCHIVE_BYTES
from .checking import check_archive, one_check
from .facts import Facts
from .sarif import MEDIA_TYPE, as_sarif


@endpoint
def check_package(request: HttpRequest) -> JsonResponse:
    """Check the bytes of a .zip, as the page and the command do: for an app of the credentials that ask, or of a person's."""
    app = _app_of(request)
    with one_check(app.team):
        report = check_archive(_read_zip(request), Facts(app))
    is_sarif = request.get_preferred_type(["application/json", MEDIA_TYPE]) == MEDIA_TYPE
    response = answer(as_sarif(report) if is_sarif else report.as_dict(), Vary="Accept")
    if is_sarif:
        response["Content-Type"] = MEDIA_TYPE
    return response


def _read_zip(request: HttpRequest) -> bytes:
    """Return the bytes that were sent: as the body, or as the one file of a form, as browsers and many tools send files."""
    if request.content_type != "multipart/form-data":
        return request.read(MAX_ARCHIVE_BYTES + 1)
    try:
        files = [file for name in request.FILES for file in request.FILES.getlist(name)]
    except MultiPartParserError:
        raise ErrorAnswer(400, "invalid_request", "The form cannot be read: it does not follow RFC 7578") from None
    if len(files) != 1:
        raise ErrorAnswer(400, "invalid_request", "Send the .zip as the body, or as the only file of a form")
    return files[0].read(MAX_ARCHIVE_BYTES + 1)


def _app_of(request: HttpRequest) -> App:
    slug = request.GET.get("app", "")
    if "Authorization" in request.headers:
        client = _client_of(request)
        app = App.objects.filter(client=client).select_related("team").first() or App(team=client.team)
        if slug and app.slug != slug:
            raise ErrorAnswer(404, "not_found", "There is no such app of these credentials")
        return app
    if not request.user.is_authenticated:
        raise _Unauthenticated
    check_session(request)
    named = apps_seen_by(request.user).filter(slug=slug).first()
    if named is None:
        raise ErrorAnswer(404, "not_found", "Name one of your apps: ?app=its-address")
    return named


def _client_of(request: HttpRequest) -> Client:
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


class _Unauthenticated(ErrorAnswer):
    def __init__(self) -> None:
        super().__init__(401, "invalid_client", "Authenticate with the client id and secret of your app, as HTTP Basic")
        self.response["WWW-Authenticate"] = 'Basic realm="portal"'
