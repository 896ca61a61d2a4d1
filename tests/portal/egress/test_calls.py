"""Requests, answers and redirects; what errors and logs reveal; and Authlib over the same transport."""

import gzip
import logging
import traceback

import pytest
from authlib.integrations.httpx_client import OAuth2Client

from portal.foundation.egress import EgressError, Forbidden, TimedOut, TooLarge, Transport, Unreachable, send
from tests.peer import said
from tests.portal.egress.network import PUBLIC, vendor_url

# --- requests and answers ---


def test_a_request_arrives_unchanged(peer):
    answer = send("POST", f"{peer.url}/a%20b/ü?q=1", headers={"X-Kind": "ü"}, content=b"body")
    assert (answer.status, answer.body) == (200, b"hello")
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a%20b/%C3%BC?q=1 HTTP/1.1\r\nHost: 127.0.0.1:") and body == b"body"
    assert b"\r\nX-Kind: \xfc" in head and b"\r\nContent-Length: 4" in head
    assert b"\r\nUser-Agent: app-management-portal" in head
    send("GET", peer.url, headers={"user-agent": "another"})
    assert peer.requests[1].lower().count(b"user-agent") == 1 and b"another" in peer.requests[1]


@pytest.mark.parametrize("status", [204, 302, 404, 500])
def test_every_status_is_an_answer(peer, status):
    peer.answer = said(status, X_Why="so")
    answer = send("GET", peer.url)
    assert answer.status == status and answer.headers["x-why"] == "so" and answer.body == b""


def test_a_head_has_no_body_whatever_its_content_length(peer):
    peer.answer = said(Content_Length=10**9, Content_Encoding="gzip")
    assert send("HEAD", peer.url).body == b""


def test_callers_cannot_set_framing_headers(peer):
    theirs = {
        "host": "inside.example",
        "Transfer-Encoding": "chunked",
        "CONTENT-LENGTH": "9",
        "Accept-Encoding": "gzip",
    }
    send("POST", peer.url, headers=theirs | {"Connection": "keep-alive", "Upgrade": "h2c"}, content=b"body")
    sent = peer.requests[0].lower()
    for line in (b"host: 127.0.0.1", b"accept-encoding: identity", b"content-length: 4", b"connection: close"):
        assert sent.count(b"\r\n" + line.partition(b" ")[0]) == 1 and b"\r\n" + line in sent
    assert b"transfer-encoding" not in sent and b"upgrade" not in sent and b"inside" not in sent


def test_no_proxy_and_no_password_file_is_used(peer, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send("GET", peer.url).status == 200
    assert OAuth2Client(transport=Transport()).request("GET", peer.url, withhold_token=True).status_code == 200
    assert not any(b"authorization" in request.lower() for request in peer.requests)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET /x HTTP/1.1\r\nX:", ""])
def test_only_the_usual_methods_are_allowed(peer, network, method):
    with pytest.raises(Forbidden):
        send(method, peer.url)
    assert network.dialled == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\r\nX-B: b"), ("X-A", "a\nb"), ("X-A", "a\rb"), ("X-A", "a\0b"), ("X-A", "a\x7fb"), ("X-A", "“"),
        ("X-A", "\U0001f600"), ("X-A", "\udc80"), ("X-A\r\nX-B", "b"), ("X A", "b"), ("X-A:", "b"), ("", "b"), ("Ü", "b"),
    ],
)  # fmt: skip
def test_no_header_splits_a_request(peer, network, name, value):
    with pytest.raises(Forbidden) as error:
        send("GET", peer.url, headers={name: value})
    assert str(error.value) == "The URL or a header has what cannot be in it." and network.dialled == []


@pytest.mark.parametrize(
    "answer", [b"", b"\0" * 999, b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_malformed_answer_is_the_other_sides_failure(peer, answer):
    peer.answer = answer
    with pytest.raises(Unreachable):
        send("GET", peer.url)


def test_an_unknown_name_and_a_closed_port_are_unreachable(peer, network):
    with pytest.raises(Unreachable):
        send("GET", "https://nobody.example")
    peer.stop()
    with pytest.raises(Unreachable):
        send("GET", peer.url)


# --- redirects ---


def redirects_to(*locations, status=302):
    """Answer each request with a redirect to the next location, and then with the end."""
    left = list(locations)

    def answer(_request, _connection):
        return said(status, Location=left.pop(0)) if left else said(body=b"end")

    return answer


def test_a_redirect_is_the_answer_unless_the_caller_follows(peer):
    peer.answer = redirects_to("/next")
    answer = send("GET", peer.url)
    assert (answer.status, answer.headers["location"], len(peer.requests)) == (302, "/next", 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_on_the_same_host_are_followed_three_times(peer, status):
    peer.answer = redirects_to("/1", vendor_url(peer, "/2?q"), "3", status=status)
    assert send("GET", vendor_url(peer), follow=True).body == b"end"
    assert [request.split()[1] for request in peer.requests] == [b"/", b"/1", b"/2?q", b"/3"]
    peer.answer = redirects_to("/1", "/2", "/3", "/4")
    assert send("GET", vendor_url(peer), follow=True).headers["location"] == "/4"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/", "http://127.0.0.1/", "https://vendor.example:{port}/", "http://vendor.example/", "//other.example/",
        "http://169.254.169.254/latest", "http://me@vendor.example:{port}/", "file:///etc/passwd", "http://[::1", "http://vendor.example:x/",
        "javascript:x", "http://vendor.example:{port}@127.0.0.1/", "http://xn--a/", "\x7f",
    ],
)  # fmt: skip
def test_a_redirect_to_another_host_is_the_answer(peer, network, location):
    network.names["other.example"] = ["127.0.0.1"]
    peer.answer = redirects_to(location.format(port=peer.port))
    assert send("GET", vendor_url(peer), follow=True).status == 302
    assert len(network.dialled) == len(peer.requests) == 1


def test_each_hop_is_checked_again(peer, network):
    network.names["vendor.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    peer.answer = redirects_to("/next")
    with pytest.raises(Forbidden):
        send("GET", vendor_url(peer), follow=True)
    assert network.dialled == ["127.0.0.1"]


def test_a_request_that_changes_something_follows_no_redirect(peer):
    peer.answer = redirects_to("/next", status=307)
    assert send("POST", peer.url, content=b"x", follow=True).status == 307 and len(peer.requests) == 1


# --- errors and logs ---


def test_no_error_or_log_reveals_the_request_or_an_internal_address(peer, network, caplog):
    secret = "".join(["hush", "-", "hush"])
    network.names |= {"inside.example": ["10.1.2.3"], "far.example": [PUBLIC]}
    whole = {"headers": {"Authorization": secret}, "content": secret.encode()}
    calls = [
        ("https://inside.example", whole), ("https://far.example", whole), ("https://nobody.example", whole), ("http://far.example", whole),
        ("https://[", whole), (f"https://far.example:{secret}", whole), (f"https://{secret}:x@far.example", whole), (peer.url, {"headers": {"X": f"{secret}\n"}}),
        (peer.url, {"headers": {f"{secret}\n": "X"}}), (peer.url, {"headers": {"X": f" {secret} "}}), (peer.url, {"headers": {"X": f"{secret}\u2013"}}),
        (peer.url, whole | {"most": 9}), (peer.url, whole | {"within": 0}), (peer.url, whole), (peer.url, whole | {"most": 99}),
    ]  # fmt: skip
    answers = {
        len(calls) - 2: b"HTTP/1.1 nonsense " + secret.encode() + b"\r\n\r\n",
        len(calls) - 1: said(body=secret.encode() * 20),
    }
    with caplog.at_level(logging.DEBUG):
        for number, (url, more) in enumerate(calls):
            peer.answer = answers.get(number, b"")
            with pytest.raises(EgressError) as error:
                send("POST", f"{url}/{secret}?{secret}", **more)
            error_text = "".join(traceback.format_exception(error.value)) + repr(error.value)
            assert secret not in error_text and "10.1.2.3" not in error_text, error_text
        peer.answer = said(body=secret.encode(), Set_Cookie=secret, X_Their=secret)
        answer = send("POST", f"{peer.url}/{secret}", **whole)
        OAuth2Client(transport=Transport()).request("POST", f"{peer.url}/{secret}", withhold_token=True, **whole)
    assert secret in answer.body.decode() and secret not in repr(answer) + caplog.text


# --- Authlib ---


def test_authlib_uses_the_same_transport(peer, network):
    def answer(request, _connection):
        if request.startswith(b"POST /token"):
            body = b'{"access_token": "at", "refresh_token": "rt", "token_type": "bearer", "expires_in": 3600}'
            return said(
                body=gzip.compress(body), Content_Type="application/json", Content_Encoding="gzip", Set_Cookie="kept=1"
            )
        return (
            said(302, Location="http://10.0.0.1/") if b"/moved" in request else said(body=b"hello", Set_Cookie="kept=1")
        )

    peer.answer = answer
    client = OAuth2Client("me", "mine", token_endpoint=vendor_url(peer, "/token"), transport=Transport(most=10_000))
    token = client.fetch_token(vendor_url(peer, "/token"), code="c0de", grant_type="authorization_code")
    assert (
        token["access_token"] == "at" and b"code=c0de" in peer.requests[0] and b"Basic bWU6bWluZQ==" in peer.requests[0]
    )
    client.token["expires_at"] = 1
    assert client.get(vendor_url(peer, "/me")).text == "hello"
    assert b"grant_type=refresh_token" in peer.requests[1] and b"Authorization: Bearer at" in peer.requests[2]
    assert client.get(vendor_url(peer, "/moved")).status_code == 302
    assert not any(b"\r\ncookie" in request.lower() for request in peer.requests)
    assert all(request.lower().count(b"\r\nhost:") == 1 for request in peer.requests)

    network.names["vendor.example"] = ["10.0.0.1"]
    with pytest.raises(Forbidden):
        client.fetch_token(vendor_url(peer, "/token"), code="c0de", grant_type="authorization_code")
    with pytest.raises(TooLarge):
        client.post(peer.url, content=b"x" * 10_001)
    peer.answer = peer.drip()
    with pytest.raises(TimedOut):
        OAuth2Client(transport=Transport(within=0.3)).request("GET", peer.url, withhold_token=True)
