"""Bounds: anything too large is refused with a status and a message, never with a 500, and changes nothing."""

import io
import json
import re
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.urls import reverse

from credentials import actions as credentials
from credentials.models import Client, ClientScope
from marketplace.actions import publishing
from marketplace.models import App, Version
from portal.accounts.models import Account, User
from portal.ledger.models import Entry
from tests import factories
from tests.factories import CREATE, DELETE, VIEW
from tests.marketplace.versions import sealed
from tests.oauth import AppSide, answer, authorize_url, basic, pkce, shown
from tests.servers import Http

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"
LONG, NUL, NOT_ASCII, HUGE = "x" * 20_000, "a\0b", "é￿", "9" * 5000


@pytest.fixture
def superuser(db):
    User.objects.filter(pk=(made := factories.reviewer()).pk).update(is_superuser=True)
    return User.objects.get(pk=made.pk)


def forms(page):
    """Return each form of a page, as (action, {field: value})."""
    for form in re.findall(r"<form.*?</form>", page.content.decode(), re.S):
        action = re.search(r'action="([^"]*)"', form[: form.index(">")])
        fields = {}
        for tag in re.findall(r"<(?:input|textarea|select|button)\b[^>]*>", form):
            if name := re.search(r'\bname="([^"]+)"', tag):
                value = re.search(r'\bvalue="([^"]*)"', tag)
                fields.setdefault(name[1], value[1] if value else "x")
        yield (action[1] if action else ""), fields


def pages(who, cast, installed, external, superuser):
    app, client = installed.version.app.slug, installed.client
    if who == "developer":
        draft = factories.app(cast.dev, factories.client(cast.dev, name="Drafted")[0])
        yield from (
            "/settings/",
            "/credentials/new/",
            f"/credentials/{client.client_id}/",
            "/apps/new/",
            f"/apps/{app}/",
        )
        versions = f"/apps/{draft.app.slug}/versions"
        yield from (f"{versions}/new/", f"{versions}/{draft.pk}/", f"{versions}/{draft.pk}/edit/")
        yield from ("/ledger/", "/credentials/", "/accounts/email/", "/accounts/password/change/")
    if who == "admin":
        yield authorize_url(external.client, pkce()[1], account=cast.acme.slug)
        yield from (f"/marketplace/{app}/install/", f"/installations/{installed.installation.pk}/", "/marketplace/")
        yield from (f"/installations/{installed.installation.pk}/uninstall/", "/accounts/email/")
    if who == "nobody":
        yield from ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/")
    if who == "staff":
        waiting = factories.app(cast.dev, factories.client(cast.dev, name="Waiting")[0])
        waiting = publishing.submit_version(waiting, by=cast.dev)
        yield f"/admin/marketplace/version/{waiting.pk}/press/reject/"
        yield f"/admin/credentials/client/{client.pk}/press/suspend/"
        yield from ("/admin/accounts/account/add/", "/admin/accounts/user/add/", "/admin/accounts/membership/add/")
        yield f"/admin/accounts/account/{cast.acme.pk}/press/suspend/"


OTHERS = (LONG, NUL, NOT_ASCII)


@pytest.mark.parametrize("others", [1, pytest.param(len(OTHERS), marks=pytest.mark.soak)])
@pytest.mark.parametrize("who", ["developer", "admin", "nobody", "staff"])
def test_no_field_of_any_form_causes_a_500(who, others, cast, browse, client, installed, external, superuser):
    """Each field gets HUGE, too long and out of range, and one of the other values in turn; in `make soak`, all of them."""
    person = {"developer": cast.dev, "admin": cast.admin, "staff": superuser}.get(who)
    tried = set()

    def in_turn():
        return HUGE, *(OTHERS[(len(tried) + number) % len(OTHERS)] for number in range(others))

    for page in pages(who, cast, installed, external, superuser):
        browser = browse(person) if person else client
        browser.raise_request_exception = False
        shown = browser.get(page)
        assert shown.status_code == 200, (page, shown.status_code)
        for action, fields in forms(shown):
            address = action or page
            names = [name for name in fields if name != "csrfmiddlewaretoken" and "logout" not in address]
            savepoint = transaction.savepoint()
            # Each press gets its own token, unless the token is the field being tried.
            sent = {field: given for field, given in fields.items() if field != "once"}
            for value in in_turn():
                response = browser.get(address.partition("?")[0], dict.fromkeys(names, value))
                assert response.status_code < 500, (address, response.status_code)
            for name in names:
                key = address.partition("?")[0], re.sub(r"(why|level):.*", r"\1:", name)
                if key in tried:
                    continue
                for value in in_turn():
                    response = browser.post(address, {**sent, name: value})
                    assert response.status_code < 500, (address, name, response.status_code)
                    transaction.savepoint_rollback(savepoint)
                tried.add(key)
    assert len(tried) > 5


def is_refused(response, words, status=422):
    assert response.status_code == status, response.status_code
    assert words in response.content.decode(), response.content.decode()[:2000]
    return True


def test_over_long_credentials_are_refused_field_by_field(cast, browse):
    factories.product()
    browser, team = browse(cast.dev), factories.team_of(cast.dev)
    good = {
        "team": team.pk, "name": "Fine", "description": "", "redirect_uris": "https://app.example/cb", "kind": "external",
        "level": "account", "scope": [VIEW],
    }  # fmt: skip

    def post(**changed):
        return browser.post("/credentials/new/", {**good, **changed})

    urls = "\n".join(f"https://app.example/{number}" for number in range(21))
    for changed, words in (
        ({"name": "x" * 61}, "at most 60 characters"),
        ({"description": "x" * 501}, "at most 500 characters"),
        ({"redirect_uris": "https://app.example/" + "x" * 500}, "at most 500 characters"),
        ({"redirect_uris": urls}, "at most 20 redirect URLs"),
        ({"redirect_uris": "x" * 12001}, "at most 12000 characters"),
        ({"scope": [DELETE], f"why:{DELETE}": "x" * 501}, "at most 500 characters"),
        ({"scope": [f"s{number}" for number in range(900)]}, "There is no scope named"),
    ):
        assert is_refused(post(**changed), words)
    assert not Client.objects.exists()
    assert post(**{"scope": [DELETE], f"why:{DELETE}": "x" * 500}).status_code == 201


def test_an_over_long_justification_is_never_truncated_silently(cast, external):
    with pytest.raises(credentials.JustificationTooLong):
        credentials.add_scopes(external.client, scopes={DELETE: "x" * 501}, by=cast.dev)
    credentials.add_scopes(external.client, scopes={DELETE: " " + "x" * 500 + " "}, by=cast.dev)
    assert len(ClientScope.objects.get(scope__name=DELETE).justification) == 500


def test_over_long_versions_are_refused_field_by_field(cast, browse, installed):
    browser, address = browse(cast.dev), f"/apps/{installed.version.app.slug}/versions/new/"
    good = {"number": "2.0", "name": "N", "tagline": "T", "category": "hr", "description": "D", "release_notes": "R"}
    big = SimpleUploadedFile("icon.png", b"\0" * (1024 * 1024 + 1), "image/png")
    for changed, words in (
        ({"number": "1" * 31}, "at most 30 characters"),
        ({"name": "x" * 61}, "at most 60 characters"),
        ({"tagline": "x" * 121}, "at most 120 characters"),
        ({"description": "x" * 10001}, "at most 10000 characters"),
        ({"release_notes": "x" * 4001}, "at most 4000 characters"),
        ({"install_url": "https://app.example/" + "x" * 500}, "at most 500 characters"),
        ({"upload": big}, "larger than 1 MB"),
        ({"text_0": "x" * 201}, "at most 200 characters"),
        ({"category": "games"}, "is not one of the available choices"),
        ({f"level:{'x' * 500}": "required"}, "at most 120 characters"),
        ({f"level:s{number}": "required" for number in range(900)}, "do not have"),
    ):
        assert is_refused(browser.post(address, {**good, **changed}), words)
    assert Version.objects.count() == 1


def test_custom_apps_list_a_limited_number_of_accounts(cast, browse, monkeypatch):
    monkeypatch.setattr(publishing, "MAX_CUSTOM_ACCOUNTS", 3)
    draft = factories.app(cast.dev, factories.client(cast.dev)[0])
    browser, address = browse(cast.dev), f"/apps/{draft.app.slug}/"
    publish = f"{address}versions/{draft.pk}/publish-custom/"
    publish = next(
        action for action, fields in forms(browser.get(f"{address}versions/{draft.pk}/")) if "accounts" in fields
    )
    assert is_refused(browser.post(publish, sealed(browser, publish, accounts="a b c d")), "at most 3 accounts")
    assert is_refused(browser.post(publish, {"accounts": "x" * 2001}), "at most 2000 characters")
    assert is_refused(browser.post(publish, {"accounts": "x" * 51}), "at most 50 characters")
    assert browser.post(publish, sealed(browser, publish, accounts="a b")).status_code == 302
    more = next(action for action, fields in forms(browser.get(address)) if "accounts" in fields)
    assert is_refused(browser.post(more, sealed(browser, more, accounts="c d")), "at most 3 accounts")
    assert App.objects.get().custom_accounts == ["a", "b"]


def test_over_long_names_reasons_and_addresses_from_staff_are_refused(cast, browse, superuser, external):
    browser, entries = browse(superuser), Entry.objects.count()
    press = f"/admin/credentials/client/{external.client.pk}/press/suspend/"
    assert is_refused(browser.post(press, {"reason": "x" * 2001}), "at most 2000 characters")
    for data in ({"slug": "x" * 51, "name": "N"}, {"slug": "fine", "name": "x" * 200}):
        assert is_refused(browser.post("/admin/accounts/account/add/", data), "at most", 200)
    for data in ({"user": "x", "account": "x", "role": "agent"}, {"user": HUGE, "account": "1", "role": "agent"}):
        page = browser.post("/admin/accounts/membership/add/", data, follow=True)
        assert "Choose the person and the account from the lists" in page.content.decode()
    external.client.refresh_from_db()
    assert external.client.suspended_at is None and Entry.objects.count() == entries
    assert not Account.objects.filter(slug="fine").exists()


# --- whole requests ---


@pytest.mark.parametrize(
    ("path", "content_type", "size"),
    [
        ("/accounts/login/", FORM, 1024 * 1024 + 1),
        ("/accounts/login/", "multipart/form-data; boundary=x", settings.MAX_BODY + 1),
        ("/oauth/authorize", FORM, 1024 * 1024 + 1),
        ("/oauth/token", FORM, 1024 * 1024 + 1),
        ("/oauth/token", "multipart/form-data; boundary=x", settings.MAX_BODY + 1),
        ("/oauth/introspect", FORM, 1024 * 1024 + 1),
        ("/sandbox/api/v2/tickets", "application/json", 1024 * 1024 + 1),
        ("/nowhere/", "application/octet-stream", 1024 * 1024 + 1),
    ],
)
def test_a_body_that_is_too_large_is_413_before_it_is_read(client, db, path, content_type, size):
    class Unread(io.RawIOBase):
        def read(self, *args):
            pytest.fail("The body was read")

    sent = {"wsgi.input": Unread(), "CONTENT_LENGTH": str(size), "CONTENT_TYPE": content_type}
    response = client.generic("POST", path, **sent)
    assert response.status_code == 413 and "no-store" in response["Cache-Control"]
    if path.startswith(("/oauth/token", "/oauth/introspect", "/sandbox/")):
        assert response.json()["error"] == "invalid_request" and "KB" in response.json()["error_description"]
    else:
        assert "css/portal.css" in response.content.decode() and "KB" in response.content.decode()


def test_too_many_fields_are_refused(client, cast, external, browse):
    many = urlencode([(f"n{number}", "x") for number in range(4001)])
    response = client.post("/oauth/token", many, content_type=FORM, **basic(external.client.client_id, external.secret))
    assert response.status_code == 413 and response.json()["error"] == "invalid_request"
    assert client.post("/oauth/token?" + many, "x=y", content_type=FORM).status_code == 413
    assert browse(cast.dev).post("/settings/", many, content_type=FORM).status_code in (400, 413)
    assert client.get("/oauth/authorize?" + many).status_code == 413
    assert client.get("/marketplace/?" + many).status_code in (400, 413)


def test_a_url_that_is_too_long_is_414(client, cast, browse):
    for path in ("/marketplace/?q=", "/oauth/authorize?state=", "/"):
        response = client.get(path + "x" * 70000)
        assert response.status_code == 414 and "css/portal.css" in response.content.decode()
    assert client.post("/oauth/token?x=" + "x" * 70000).json()["error"] == "invalid_request"
    assert browse(cast.dev).get("/credentials/?q=" + "x" * 30000).status_code == 200


def test_a_state_of_4000_characters_fits_even_encoded_twice(client, external, browse, cast):
    state = "/%" * 2000
    url = authorize_url(external.client, pkce()[1], account=cast.acme.slug, state=state)
    to_sign_in = client.get(url).url
    assert client.get(to_sign_in).status_code == 200
    browser = browse(cast.admin)
    page = browser.get(url)
    assert answer(browser.post(url, {"decision": "agree", "shown": shown(page)}))["state"] == state


@pytest.mark.parametrize(
    "name",
    [
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "account",
        "installation",
        "prompt",
        "code_challenge",
        "response_type",
    ],
)
@pytest.mark.parametrize("value", [LONG, NOT_ASCII, HUGE], ids=["long", "not-ascii", "huge number"])
def test_no_parameter_of_authorize_causes_a_500_or_a_code(external, browse, cast, name, value):
    given = {"account": cast.acme.slug, name: value}
    client_id = given.pop("client_id", external.client.client_id)
    url = authorize_url(external.client, pkce()[1], **given).replace(external.client.client_id, client_id)
    browser = browse(cast.admin)
    browser.raise_request_exception = False
    for response in (browser.get(url), browser.post(url, {"decision": "agree", "shown": "x"})):
        assert response.status_code < 500
        assert "code=" not in response.headers.get("Location", "")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect"])
@pytest.mark.parametrize("value", ["x" * 5000, NUL, NOT_ASCII], ids=["long", "nul", "not-ascii"])
def test_no_parameter_of_a_program_causes_a_500(external, client, path, value):
    client.raise_request_exception = False
    grants = (
        {"grant_type": "authorization_code"},
        {"grant_type": "refresh_token"},
        {"grant_type": "client_credentials"},
    )
    names = ("grant_type", "code", "code_verifier", "redirect_uri", "refresh_token", "account", "scope", "token", "x")
    auth = basic(external.client.client_id, external.secret)
    for grant in grants:
        for name in (*names, value):
            form = {**grant, "code": "x", "code_verifier": "x" * 43, "refresh_token": "x", "account": "x", name: value}
            response = client.post(path, urlencode(form), content_type=FORM, **auth)
            # RFC 7009 section 2.2: an invalid token counts as revoked.
            expected = (200, 400) if path == "/oauth/revoke" else (400, 401)
            assert response.status_code in expected, (name, response.content)
            assert response.status_code == 200 or response.json()["error"]
    for auth in (basic(value, "x"), basic("x", value), {"HTTP_AUTHORIZATION": f"Basic {LONG}"}):
        response = client.post(path, "grant_type=refresh_token&refresh_token=x&token=x", content_type=FORM, **auth)
        assert response.status_code == 401 and response.json()["error"] == "invalid_client"


def test_no_header_causes_a_500(client, cast, installed):
    client.raise_request_exception = False
    for value in (LONG, "é", HUGE, '"a\\000b' + "x" * 30 + '"'):
        for name in ("AUTHORIZATION", "X_ORIGINAL_URI", "X_ORIGINAL_METHOD", "X_FORWARDED_FOR", "ACCEPT_LANGUAGE"):
            for path in ("/oauth/check/freshservice", "/sandbox/api/v2/tickets", "/"):
                sent = {"HTTP_AUTHORIZATION": "Bearer x", f"HTTP_{name}": value}
                assert client.get(path, **sent).status_code in (200, 401), (name, path)
        for cookie in ("sessionid", "csrftoken", "messages"):
            response = client.get("/settings/", HTTP_COOKIE=f"{cookie}={value}")
            assert response.status_code in (302, 400), (cookie, value[:9], response.status_code)


def test_a_tickets_size_is_bounded(installed, browse, cast):
    tokens = installed.tokens_for(browse(cast.admin), account=cast.acme.slug, scope=f"{VIEW}")
    value = {"HTTP_AUTHORIZATION": f"Bearer {tokens['access_token']}"}
    assert installed.http.get("/sandbox/api/v2/tickets?page=" + HUGE, **value).status_code == 200
    body = json.dumps({"subject": "x" * 5000, "description": "x" * 100_000})
    response = installed.http.post("/sandbox/api/v2/tickets", body, content_type="application/json", **value)
    assert response.status_code == 401


def test_a_real_server_rejects_long_headers_and_wrong_lengths(servers):
    """These requests do not even reach the portal; nothing hangs or crashes."""
    port = servers[0].port
    assert Http(port).get("/healthz?" + "x" * 100_000).status in (400, 414, 431)
    assert Http(port).get("/healthz", **{"X-Long": "x" * 1_000_000}).status == 431
    many = {f"X-{number}": "x" for number in range(500)}
    assert Http(port).get("/healthz", **many).status in (200, 400, 431)
    big = Http(port).request("POST", reverse("oauth-token"), b"x" * (1024 * 1024 + 1), **{"Content-Type": FORM})
    assert big.status == 413
    assert Http(port).get("/healthz").status == 200


def test_a_lone_surrogate_is_refused(cast, client, browse):
    side = AppSide(client, *factories.client(cast.dev, kind="external", scopes=[CREATE]))
    token = side.tokens_for(browse(cast.admin), account=cast.acme.slug)["access_token"]
    for subject, status in (("\\ud800", 400), ("\\ud83d\\ude00", 201)):
        body = {"data": f'{{"subject": "{subject}"}}', "content_type": "application/json"}
        assert side.call(token, "post", **body).status_code == status


@pytest.mark.parametrize("name", ["A\u202eppa", "App\u200b", "A\nb", "\ufeffApp", "A\U000e0041"])
def test_invisible_characters_are_refused_in_names(cast, browse, name):
    fields = {"kind": "external", "level": "account", "redirect_uris": "https://app.example.org/", "scope": VIEW}
    team = factories.team_of(cast.dev).pk
    response = browse(cast.dev).post("/credentials/new/", {**fields, "team": team, "name": name + "x"})
    assert response.status_code == 422 and "Remove the invisible character after “" in response.content.decode()
    assert not Client.objects.exists()
    response = browse(cast.agent).post("/settings/", {"name": name + "x", "time_zone": "UTC"})
    assert response.status_code == 422 and "Remove the invisible character after “" in response.content.decode()
    with pytest.raises(ValidationError):
        factories.app(cast.dev, None, required_scopes=[], tagline=name + "x")


def test_a_name_may_be_in_any_script(cast, browse):
    response = browse(cast.agent).post("/settings/", {"name": "نرگس‌جان 👩‍💻 Zoë", "time_zone": "UTC"})
    assert response.status_code == 302


def test_an_unknown_character_set_is_a_bad_request(servers):
    for kind in (
        f"{FORM}; charset=hex",
        f"{FORM}; charset=punycode",
        f"{FORM}; charset*=hex''x",
        "multipart/form-data; charset=idna; boundary=x",
        f"{FORM}; charset=nothing",
    ):
        answer = Http(servers[0].port).request("POST", reverse("oauth-token"), b"a=%80", **{"Content-Type": kind})
        assert answer.status == 400 and answer.json()["error"] == "invalid_request", kind
    for kind in (FORM, f"{FORM}; charset=UTF-8", f'{FORM}; charset="latin1"'):
        assert Http(servers[0].port).request(
            "POST", reverse("oauth-token"), b"a=b", **{"Content-Type": kind}
        ).status in (400, 401)
