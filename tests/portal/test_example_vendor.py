"""The example vendor follows the standards, and departs from them exactly as switched."""

import os
import stat
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client

from tests.clock import eventually
from tests.servers import together
from tests.vendors import CLIENT_ID, REDIRECT_URI, SECRET, Vendor

VERIFIER = "v" * 48


class Side(OAuth2Client):
    """A client of one vendor."""

    def __init__(self, vendor, pkce=True, **more):
        self.vendor, self.verifier = vendor, VERIFIER if pkce else None
        super().__init__(
            CLIENT_ID, SECRET, redirect_uri=REDIRECT_URI, code_challenge_method="S256", base_url=vendor.url,
            token_endpoint="/token", trust_env=False, verify=False, **more,
        )  # fmt: skip

    def plain(self, method, path, **more):
        return self.request(method, path, withhold_token=True, **more)

    def authorize_url(self, **more):
        return self.create_authorization_url("/authorize", code_verifier=self.verifier, **more)[0]

    def authorize(self, **more):
        """Send the person's browser to authorize, and return the parameters it brings back."""
        answer = self.plain("GET", self.authorize_url(**{"auto": "allow", "state": "xyz", **more}))
        assert answer.status_code == 302, answer.text
        assert answer.headers["Location"].startswith(REDIRECT_URI + "?")
        return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))

    def exchange(self, code, **more):
        return self.fetch_token("/token", code=code, code_verifier=self.verifier, **more)

    def connect(self, **more):
        self.exchange(self.authorize(**more)["code"])
        return self

    def request_token(self, **form):
        """Call the token endpoint, and return the raw answer."""
        auth = httpx.BasicAuth(CLIENT_ID, SECRET)
        return self.plain("POST", "/token", data={"grant_type": "refresh_token", **form}, auth=auth)


@pytest.fixture
def vendor(vendors):
    return vendors[0]


@pytest.fixture
def side(vendor):
    with Side(vendor) as side:
        yield side


def test_a_client_connects_calls_refreshes_and_revokes(vendor, side):
    vendor.switch(person="Ada")
    back = side.authorize(scope="read write")
    assert (back["state"], back["iss"]) == ("xyz", vendor.url)
    first = side.exchange(back["code"])
    assert (first["token_type"], first["scope"], first["expires_in"]) == ("Bearer", "read write", 3600)
    assert side.get("/api/me").json() == {"person": "Ada", "client_id": CLIENT_ID, "scope": "read write"}
    second = side.refresh_token("/token")
    assert side.get("/api/me").json()["person"] == "Ada"
    assert side.revoke_token("/revoke", token=second["refresh_token"]).status_code == 200
    assert side.get("/api/me").status_code == 401 and vendor.tokens() == []


def test_two_vendors_are_independent(vendors):
    with Side(vendors[0]) as one, Side(vendors[1]) as other:
        other.token = one.connect().token
        assert (one.get("/api/me").status_code, other.get("/api/me").status_code) == (200, 401)
    assert len(vendors[0].tokens()) == 2 and vendors[1].tokens() == []


# --- the authorization endpoint ---


def test_a_person_is_asked_and_allows_or_denies(side):
    url = side.authorize_url(scope="read", state="xyz")
    page = side.plain("GET", url)
    assert page.status_code == 200 and "default-src 'none'" in page.headers["Content-Security-Policy"]
    for shown in ("Example vendor", "Example Calendar", "<li>read</li>", "Allow", "Deny", "portal.example"):
        assert shown in page.text
    allowed = side.plain("POST", url, data={"decision": "allow", "person": "Axel"}).headers["Location"]
    side.exchange(dict(parse_qsl(urlsplit(allowed).query))["code"])
    assert side.get("/api/me").json()["person"] == "Axel"
    denied = side.plain("POST", url, data={"decision": "deny"}).headers["Location"]
    assert "error=access_denied" in denied and "state=xyz" in denied and "code=" not in denied


@pytest.mark.parametrize(("auto", "expected"), [("deny", "access_denied"), ("error", "server_error")])
def test_an_automatic_answer_may_be_a_denial_or_an_error(vendor, side, auto, expected):
    vendor.switch(auto=auto)
    assert side.authorize(auto=None)["error"] == expected


@pytest.mark.parametrize(("iss", "sent"), [("none", None), ("wrong", "https://another-vendor.example")])
def test_iss_can_be_missing_or_wrong_even_in_errors(vendor, side, iss, sent):
    """RFC 9207 section 2."""
    vendor.switch(iss=iss)
    answers = [
        side.authorize(),
        side.authorize(auto="deny"),
        side.authorize(scope="unknown"),
        side.authorize(auto="error"),
    ]
    assert {answer.get("iss") for answer in answers} == {sent}
    vendor.switch(iss="correct")
    assert side.authorize(scope="unknown")["iss"] == vendor.url


def test_nobody_is_redirected_to_an_unregistered_uri(side):
    for wrong in ({"redirect_uri": "https://evil.example/"}, {"client_id": "x", "redirect_uri": REDIRECT_URI}):
        answer = side.plain("GET", "/authorize", params={"response_type": "code", "client_id": CLIENT_ID, **wrong})
        assert answer.status_code == 400 and "Location" not in answer.headers


@pytest.mark.parametrize(
    ("policy", "pkce", "works"),
    [("required", True, True), ("required", False, False), ("refused", False, True), ("refused", True, False), ("optional", False, True)],
)  # fmt: skip
def test_pkce_is_required_optional_or_refused(vendor, policy, pkce, works):
    vendor.switch(pkce=policy)
    with Side(vendor, pkce=pkce) as side:
        if works:
            assert side.connect().get("/api/me").status_code == 200
        else:
            assert side.authorize()["error"] == "invalid_request"


def test_scopes_use_the_chosen_separator_both_ways(vendor, side):
    assert side.authorize(scope="read,write")["error"] == "invalid_scope"
    vendor.switch(scope_separator="comma")
    assert side.authorize(scope="read write")["error"] == "invalid_scope"
    assert side.connect(scope="read,write").token["scope"] == "read,write"


def test_the_person_may_allow_less_and_the_answer_may_omit_the_scope(vendor, side):
    vendor.switch(granted=["read"])
    assert side.connect(scope="read write").token["scope"] == "read"
    vendor.switch(scope_returned=False)
    assert "scope" not in side.connect(scope="read write").token


# --- the token endpoint ---


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("wanted", ["basic", "post", "either"])
def test_the_client_must_authenticate_as_the_vendor_requires(vendor, wanted, method):
    vendor.switch(client_auth=wanted)
    with Side(vendor, token_endpoint_auth_method=method) as side:
        if wanted in method or wanted == "either":
            assert side.connect().token["access_token"]
        else:
            with pytest.raises(OAuthError, match="invalid_client"):
                side.connect()


def test_a_code_works_once_for_its_verifier_and_redirect_uri(side):
    """RFC 6749 section 4.1.3, RFC 7636 section 4.6."""
    code = side.authorize()["code"]
    with pytest.raises(OAuthError, match="invalid_grant"):
        side.fetch_token("/token", code=code, code_verifier="w" * 48)
    with pytest.raises(OAuthError, match="invalid_grant"):
        side.exchange(code, redirect_uri="https://evil.example/")
    side.exchange(code)
    with pytest.raises(OAuthError, match="invalid_grant"):
        side.exchange(code)


def test_a_refresh_token_is_rotated_kept_omitted_or_never_given(vendor, side):
    old = side.connect().token["refresh_token"]
    new = side.request_token(refresh_token=old).json()["refresh_token"]
    assert new != old and side.request_token(refresh_token=old).json()["error"] == "invalid_grant"
    vendor.switch(refresh="kept")
    assert side.request_token(refresh_token=new).json()["refresh_token"] == new
    vendor.switch(refresh="unreturned")
    assert "refresh_token" not in side.request_token(refresh_token=new).json()
    assert side.request_token(refresh_token=new).status_code == 200
    vendor.switch(refresh="none")
    assert "refresh_token" not in side.connect().token


def test_only_one_of_simultaneous_refreshes_wins(side):
    form = {"refresh_token": side.connect().token["refresh_token"]}
    answers = together(*[lambda: side.request_token(**form).status_code] * 4)
    assert sorted(answers) == [200, 400, 400, 400]


def test_a_refresh_may_be_refused_for_good(vendor, side):
    token = side.connect().token
    vendor.switch(refresh_refused=True)
    answer = side.request_token(refresh_token=token["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert side.get("/api/me").status_code == 200


@pytest.mark.parametrize(("said", "expected"), [("number", 7), ("string", "7"), ("missing", None)])
def test_the_lifetime_is_a_number_a_string_or_missing(vendor, side, said, expected):
    vendor.switch(expires_in=said, lifetime=7)
    answer = side.request_token(refresh_token=side.connect().token["refresh_token"]).json()
    assert answer.get("expires_in") == expected
    ends = [token["expires_at"] for token in vendor.tokens("access")]
    assert all(0 < end - time.time() <= 7 for end in ends), "it ends in any case"


def test_a_successful_answer_may_be_a_form(vendor, side):
    vendor.switch(token_body="form")
    answer = side.request_token(
        grant_type="authorization_code", code=side.authorize()["code"], redirect_uri=REDIRECT_URI, code_verifier=VERIFIER
    )  # fmt: skip
    assert answer.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(answer.text))["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("json", "application/json", '{"error": "invalid_grant"'),
        ("form", "application/x-www-form-urlencoded", "error=invalid_grant"),
        ("html", "text/html; charset=utf-8", "<!doctype html>"),
        ("text", "text/plain; charset=utf-8", "invalid_grant: "),
        ("empty", "text/plain; charset=utf-8", ""),
    ],
)
def test_an_error_may_have_any_format_and_even_status_200(vendor, side, body, kind, text):
    vendor.switch(error_body=body)
    answer = side.request_token(refresh_token="x")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, kind)
    assert answer.text.startswith(text) and bool(answer.text) is bool(text)
    vendor.switch(error_status=200)
    assert side.request_token(refresh_token="x").status_code == 200


def test_a_custom_header_may_be_required(vendor, side):
    vendor.switch(token_headers={"X-Vendor-Version": "2"})
    code = side.authorize()["code"]
    with pytest.raises(OAuthError, match="X-Vendor-Version"):
        side.exchange(code)
    side.headers["X-Vendor-Version"] = "2"
    assert side.exchange(code)["access_token"]


# --- faults, at each endpoint ---


def test_the_next_calls_fail_as_switched_and_later_calls_succeed(vendor, side):
    token = side.connect().token["refresh_token"]
    fault = {
        "times": 2,
        "status": 429,
        "headers": {"Retry-After": "30", "Content-Type": "text/html"},
        "body": "<p>Slow down",
    }
    vendor.switch(token_fault=fault)
    for _time in range(2):
        answer = side.request_token(refresh_token=token)
        assert (answer.status_code, answer.headers["Retry-After"], answer.text) == (429, "30", "<p>Slow down")
    assert side.request_token(refresh_token=token).status_code == 200
    assert [call["status"] for call in vendor.log("/token")] == [200, 429, 429, 200]


def test_an_answer_may_be_lost_after_everything_was_done(vendor, side):
    token = side.connect().token["refresh_token"]
    vendor.switch(token_fault={"times": 1, "status": 0, "after": True})
    with pytest.raises(httpx.RemoteProtocolError):
        side.request_token(refresh_token=token)
    assert side.request_token(refresh_token=token).json()["error"] == "invalid_grant", "the token was rotated"


def test_a_call_hangs_for_the_chosen_time_or_until_a_reset(vendor, side):
    vendor.switch(api_fault={"times": 1, "seconds": 0.2})
    start = time.monotonic()
    assert side.plain("GET", "/api/me").status_code == 401 and time.monotonic() - start >= 0.2
    vendor.switch(api_fault={"seconds": 600})
    with pytest.raises(httpx.ReadTimeout):
        side.plain("GET", "/api/me", timeout=0.2)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(httpx.get(vendor.url + "/api/me", trust_env=False)))
    waiting.start()
    eventually(lambda: len(vendor.log("/api/me")) == 3)
    vendor.reset()
    waiting.join(180)
    assert answers[0].status_code == 401


def test_the_api_fails_in_the_ways_of_real_apis(vendors, side):
    vendor, other = vendors
    side.connect()
    date = formatdate(time.time() + 60, usegmt=True)
    vendor.switch(api_fault={"status": 503, "headers": {"Retry-After": date}, "body": "not JSON"})
    answer = side.get("/api/items")
    assert (answer.status_code, answer.headers["Retry-After"], answer.text) == (503, date, "not JSON")
    vendor.switch(api_fault={"status": 200, "body": "x" * 1000, "repeat": 3000})
    answer = side.get("/api/items")
    assert len(answer.content) == 3_000_000 and "Content-Length" not in answer.headers
    for target, final in (("/api/items", vendor), (other.url + "/api/items", other)):
        vendor.switch(api_fault={"times": 1, "status": 307, "headers": {"Location": target}})
        side.get("/api/items", follow_redirects=True)
        assert final.log()[-1]["path"] == "/api/items"


def test_a_body_may_arrive_in_pieces(vendor, side):
    vendor.switch(api_fault={"status": 200, "body": "x", "repeat": 3, "pause": 0.05})
    start = time.monotonic()
    assert side.plain("GET", "/api/me").text == "xxx" and time.monotonic() - start >= 0.15


# --- revocation and the API ---


def test_revoking_an_access_token_ends_only_that_token(vendor, side):
    """RFC 7009 section 2.1."""
    token = side.connect().token
    assert side.revoke_token("/revoke", token=token["access_token"]).status_code == 200
    assert side.get("/api/me").status_code == 401 and [kept["kind"] for kept in vendor.tokens()] == ["refresh"]
    assert side.revoke_token("/revoke", token="never was").status_code == 200


def test_revocation_is_absent_refused_or_failing(vendor, side):
    def revoke():
        return side.revoke_token("/revoke", token=side.token["refresh_token"]).status_code

    def published():
        return side.plain("GET", "/.well-known/oauth-authorization-server").json().get("revocation_endpoint")

    side.connect()
    assert published() == vendor.url + "/revoke"
    vendor.switch(revocation="absent")
    assert revoke() == 404 and published() is None
    vendor.switch(revocation="refused")
    assert revoke() == 400
    vendor.switch(revocation="present", revoke_fault={"times": 1, "status": 503})
    assert revoke() == 503 and len(vendor.tokens()) == 2
    assert revoke() == 200 and vendor.tokens() == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_api_echoes_the_request_byte_for_byte(side, method):
    content = b"" if method in ("GET", "DELETE") else '{"café": 1}'.encode()
    answer = (
        side.connect().request(method, "/api/items/a%2Fb?q=1%202+3&q=", headers={"X-One": "1"}, content=content).json()
    )
    assert (answer["method"], answer["path"], answer["query"]) == (method, "/api/items/a%2Fb", "q=1%202+3&q=")
    assert answer["body"].encode() == content and answer["headers"]["x-one"] == "1"
    assert side.token["access_token"] not in str(answer)


def test_an_ended_token_is_refused_with_the_reason(vendor, side):
    """RFC 6750 section 3."""
    assert side.plain("GET", "/api/items").headers["WWW-Authenticate"].lower().startswith("bearer")
    vendor.switch(lifetime=0, expires_in="missing")
    assert 'error="invalid_token"' in side.connect().get("/api/me").headers["WWW-Authenticate"]
    vendor.switch(lifetime=60)
    side.connect()
    vendor.end_tokens("access")
    assert side.get("/api/me").status_code == 401
    assert side.request_token(refresh_token=side.token["refresh_token"]).status_code == 200
    vendor.end_tokens()
    assert side.get("/api/me").status_code == 401 and vendor.tokens() == []


# --- log, switches and storage ---


def test_the_log_has_the_requests(vendor, side):
    side.connect(scope="read")
    authorize, token = vendor.log()
    assert (authorize["path"], authorize["method"], authorize["status"]) == ("/authorize", "GET", 302)
    assert "scope=read" in authorize["query"] and time.time() - authorize["time"] < 30
    assert token["form"]["code_verifier"] == VERIFIER and token["headers"]["authorization"].startswith("Basic ")
    vendor.clear_log()
    assert vendor.log() == []


def test_an_unknown_switch_or_value_is_refused_and_changes_nothing(vendor):
    for changes in ({"pkcs": "required"}, {"pkce": "sometimes"}, {"token_fault": {"stauts": 500}}, ["pkce"]):
        assert vendor.http.put("/_switches", json=changes).status_code == 400
    vendor.switch(pkce="refused")
    assert vendor.http.get("/_switches").json()["pkce"] == "refused"
    assert vendor.http.get("/_switches", headers={"Host": "rebound.example"}).status_code == 403
    vendor.reset()
    assert vendor.http.get("/_switches").json()["pkce"] == "optional"


def test_tokens_survive_a_restart_if_there_is_a_file_for_them(tmp_path):
    arguments = ("Kept", "--state", str(tmp_path / "kept.json"), "--switch", "lifetime=60", "--switch", "auto=allow")
    first = Vendor(*arguments).wait()
    try:
        with Side(first) as side:
            token = side.connect(auto=None).token
    finally:
        first.stop()
    assert token["expires_in"] == 60 and stat.S_IMODE(os.stat(tmp_path / "kept.json").st_mode) == 0o600
    second = Vendor(*arguments).wait()
    try:
        with Side(second, token=token) as side:
            assert side.get("/api/me").status_code == 200 and side.refresh_token("/token")
    finally:
        second.stop()
