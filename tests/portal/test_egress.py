"""What may leave the house (E3). Real sockets on loopback; only what names resolve to is made up."""

import contextlib
import gzip
import logging
import re
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
import zlib
from ipaddress import ip_address

import pytest
from authlib.integrations.httpx_client import OAuth2Client
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from portal import egress
from portal.egress import EgressError, Forbidden, TimedOut, TooLarge, Transport, Unreachable, send
from tests.peer import Peer, certificate, said

PUBLIC = "93.184.215.14"


class Network:
    """What names resolve to, and which addresses were dialled: on loopback in earnest, all others are refused."""

    def __init__(self):
        self.names, self.asked, self.dialled, self.silent = {"localhost": ["127.0.0.1", "::1"]}, [], [], set()

    def resolve(self, host):
        """Of a list of lists, each lookup takes the next one. What is no name here is read as an address, by libc."""
        self.asked.append(host)
        found = self.names.get(host)
        if found is None:
            every = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            return [each[4][0] for each in every]
        return found.pop(0) if found and isinstance(found[0], list) else found

    def dial(self, connect):
        def dial(sock, address):
            self.dialled.append(address[0])
            if address[0] in self.silent:
                threading.Event().wait(sock.gettimeout())
                raise TimeoutError
            if not ip_address(address[0]).is_loopback:
                raise ConnectionRefusedError
            return connect(sock, address)

        return dial


@pytest.fixture(autouse=True)
def network(monkeypatch, settings):
    settings.EGRESS_ALLOW_LOOPBACK = False
    network = Network()
    monkeypatch.setattr(egress, "_resolve", network.resolve)
    monkeypatch.setattr(socket.socket, "connect", network.dial(socket.socket.connect))
    return network


@pytest.fixture
def peer(settings, network):
    """A peer on this machine, which settings allow, under its address and as vendor.example."""
    settings.EGRESS_ALLOW_LOOPBACK = True
    network.names["vendor.example"] = ["127.0.0.1"]
    peer = Peer(said(body=b"hello"))
    yield peer
    peer.stop()


def named(peer, path="/"):
    return f"http://vendor.example:{peer.port}{path}"


# --- what is sent and what comes back ------------------------------------------------------------------------


def test_a_call_arrives_as_it_was_made(peer):
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


def test_a_head_has_no_body_whatever_length_it_says(peer):
    peer.answer = said(Content_Length=10**9, Content_Encoding="gzip")
    assert send("HEAD", peer.url).body == b""


def test_how_a_message_is_carried_is_not_the_callers_to_say(peer):
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


def test_no_proxy_and_no_file_of_passwords_is_used(peer, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send("GET", peer.url).status == 200
    assert OAuth2Client(transport=Transport()).request("GET", peer.url, withhold_token=True).status_code == 200
    assert not any(b"authorization" in request.lower() for request in peer.requests)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET /x HTTP/1.1\r\nX:", ""])
def test_only_the_usual_methods_are_called(peer, network, method):
    with pytest.raises(Forbidden):
        send(method, peer.url)
    assert network.dialled == []


@pytest.mark.parametrize(
    "name, value",
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
def test_an_answer_that_is_none_is_the_other_sides_failure(peer, answer):
    peer.answer = answer
    with pytest.raises(Unreachable):
        send("GET", peer.url)


def test_a_name_that_is_not_found_and_a_port_where_nobody_listens_are_unreachable(peer, network):
    with pytest.raises(Unreachable):
        send("GET", "https://nobody.example")
    peer.stop()
    with pytest.raises(Unreachable):
        send("GET", peer.url)


# --- where it may go -----------------------------------------------------------------------------------------

INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "100.100.100.200",
    "127.0.0.1", "127.1.2.3", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1",
    "::2", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1", "2001::1",
    "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::",
    "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("loopback", [False, True])
@pytest.mark.parametrize("address", INSIDE)
def test_no_name_leads_inside(network, settings, address, loopback):
    settings.EGRESS_ALLOW_LOOPBACK = loopback
    network.names["vendor.example"] = [address]
    with pytest.raises(EgressError) as error:
        send("GET", "https://vendor.example/")
    if loopback and address in ("127.0.0.1", "127.1.2.3", "::1"):
        assert network.dialled == [address]
    else:
        assert error.type is Forbidden and network.dialled == [] and address not in str(error.value)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255",
     "2001:4860:4860::8888", "2001:200::1", "2606:4700::1111", "2a00::1", "64:ff9b::808:808"],
)  # fmt: skip
def test_a_public_address_is_dialled_and_no_other(network, address):
    network.names["vendor.example"] = [address]
    with pytest.raises(Unreachable):
        send("GET", "https://vendor.example/")
    assert network.dialled == [address]


NOTATIONS = [
    "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "00", "0x0", "2130706433", "0x7f000001", "0x7F.1", "0x7f.0.0.1",
    "017700000001", "0177.0.0.1", "0177.0.0.01", "127.0.0.1.", "127.0.0.1..", "127.0.0.1%00", "%31%32%37.0.0.1", "localhost",
    "LOCALHOST", "localhost.", "localhost.localdomain", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:ffff:7f00:0001]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[fe80::1]",
    "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%lo]", "[::1", "[]", "[127.0.0.1]", "[v1.x]", "１２７.0.0.1", "127。0。0。1",
    "①②⑦.0.0.1", "ｌｏｃａｌｈｏｓｔ", "127.0.0.1\u3002", "0xa9fea9fe", "2852039166", "169.254.43518", "0xa.1", "10.1", "192.168.257",
    "4294967296", "4294967295", "-1", "", ".", "..", "a..b", "*", "a b", "127.0.0.1\t", "127.0.0.1\n", "127.0.0.1\0.example",
    "a" * 64 + ".example", ".example", "xn--a", "xn--127-0-0-1", "127.0.0.1;x", "127.0.0.1,x", "{x}", "<%= host %>",
]  # fmt: skip


@pytest.mark.parametrize("host", NOTATIONS)
def test_no_notation_of_an_address_leads_inside(network, host):
    for url in (f"https://{host}", f"https://{host}:443/x?y"):
        with pytest.raises((Forbidden, Unreachable)):
            send("GET", url)
    assert network.dialled == [] and all(re.fullmatch("[A-Za-z0-9._:-]+", asked) for asked in network.asked)


@pytest.mark.parametrize(
    "url",
    [
        "https://vendor.example@127.0.0.1/", "https://vendor.example:443@127.0.0.1/", "https://vendor.example\\@127.0.0.1/",
        "https://127.0.0.1\\@vendor.example/", "https://127.0.0.1#@vendor.example/", "https://127.0.0.1?@vendor.example/",
        "https://127.0.0.1/@vendor.example/", "https://a:b@vendor.example/", "https://@vendor.example:@127.0.0.1",
        "https://vendor.example%40127.0.0.1/", "https:127.0.0.1", "https:/127.0.0.1", "https:///127.0.0.1", "//127.0.0.1",
        "https:\\\\127.0.0.1", "https://vendor.example:443:80/", "https://[::1]vendor.example/", "https://[::1]:443@vendor.example",
    ],
)  # fmt: skip
def test_no_trick_with_the_users_part_leads_inside(network, url):
    network.names["vendor.example"] = [PUBLIC]
    with pytest.raises((Forbidden, Unreachable)):
        send("GET", url)
    assert network.dialled == []


ELSEWHERE = [
    "http://vendor.example", "http://vendor.example:443", "https://vendor.example:80", "https://vendor.example:22",
    "https://vendor.example:8443", "https://vendor.example:0", "https://vendor.example:-1", "https://vendor.example:65536",
    "https://vendor.example:99999999", "ftp://vendor.example", "ftp://vendor.example:443", "file:///etc/passwd", "file://vendor.example/x",
    "gopher://vendor.example:443", "wss://vendor.example", "data:text/plain,x", "unix:///run/x", "vendor.example", "",
]  # fmt: skip


@pytest.mark.parametrize("loopback", [False, True])
@pytest.mark.parametrize("url", ELSEWHERE)
def test_outside_only_https_on_port_443_is_called(network, settings, url, loopback):
    settings.EGRESS_ALLOW_LOOPBACK = loopback
    network.names["vendor.example"] = [PUBLIC]
    with pytest.raises(Forbidden):
        send("GET", url)
    assert network.dialled == [] and (loopback or network.asked == [])


@pytest.mark.parametrize("addresses", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC] * 9 + ["::1"], []])
def test_a_name_with_one_address_inside_is_refused_whole(network, addresses):
    network.names["vendor.example"] = addresses
    with pytest.raises(Forbidden):
        send("GET", "https://vendor.example/")
    assert network.dialled == []


def test_a_name_that_says_something_else_after_the_check_changes_nothing(network):
    network.names["vendor.example"] = [[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]]
    with pytest.raises(Unreachable):
        send("GET", "https://vendor.example/")
    assert network.dialled == [PUBLIC] and network.asked == ["vendor.example"]


def test_each_call_looks_the_name_up_anew_on_a_connection_of_its_own(peer, network):
    network.names["vendor.example"] = [["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"]]
    transport = Transport()
    with OAuth2Client(transport=transport) as client:
        for _number in range(2):
            assert client.request("GET", named(peer), withhold_token=True).status_code == 200
        with pytest.raises(Forbidden):
            client.request("GET", named(peer), withhold_token=True)
    assert network.dialled == ["127.0.0.1"] * 2 and len(peer.requests) == 2


def test_loopback_is_refused_unless_settings_allow_it(peer, settings):
    settings.EGRESS_ALLOW_LOOPBACK = False
    for url in (
        peer.url,
        named(peer),
        f"https://127.0.0.1:{peer.port}",
        "https://127.0.0.1",
        "https://localhost",
    ):
        with pytest.raises(Forbidden):
            send("GET", url)
    assert peer.requests == []


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999999", "x"])
def test_a_port_that_is_none_is_refused_on_loopback_too(peer, network, port):
    with pytest.raises(Forbidden):
        send("GET", f"http://127.0.0.1:{port}/")
    assert network.asked == []


def test_the_lookup_is_the_systems_own(monkeypatch):
    monkeypatch.undo()
    assert {ip_address(address).is_loopback for address in egress._resolve("localhost")} == {True}
    with pytest.raises(OSError):
        egress._resolve("a" * 64)


# --- redirects -----------------------------------------------------------------------------------------------


def moves(*places, status=302):
    """Answers each request with the next place, and then with the end."""
    left = list(places)

    def answer(_request, _connection):
        return said(status, Location=left.pop(0)) if left else said(body=b"end")

    return answer


def test_a_redirect_is_an_answer_unless_asked_to_follow(peer):
    peer.answer = moves("/next")
    answer = send("GET", peer.url)
    assert (answer.status, answer.headers["location"], len(peer.requests)) == (302, "/next", 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_on_the_same_host_are_followed_three_times(peer, status):
    peer.answer = moves("/1", named(peer, "/2?q"), "3", status=status)
    assert send("GET", named(peer), follow=True).body == b"end"
    assert [request.split()[1] for request in peer.requests] == [b"/", b"/1", b"/2?q", b"/3"]
    peer.answer = moves("/1", "/2", "/3", "/4")
    assert send("GET", named(peer), follow=True).headers["location"] == "/4"


@pytest.mark.parametrize(
    "place",
    [
        "http://127.0.0.1:{port}/", "http://127.0.0.1/", "https://vendor.example:{port}/", "http://vendor.example/", "//other.example/",
        "http://169.254.169.254/latest", "http://me@vendor.example:{port}/", "file:///etc/passwd", "http://[::1", "http://vendor.example:x/",
        "javascript:x", "http://vendor.example:{port}@127.0.0.1/", "http://xn--a/", "\x7f",
    ],
)  # fmt: skip
def test_a_redirect_to_anywhere_else_is_the_answer(peer, network, place):
    network.names["other.example"] = ["127.0.0.1"]
    peer.answer = moves(place.format(port=peer.port))
    assert send("GET", named(peer), follow=True).status == 302
    assert len(network.dialled) == len(peer.requests) == 1


def test_each_hop_is_judged_anew(peer, network):
    network.names["vendor.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    peer.answer = moves("/next")
    with pytest.raises(Forbidden):
        send("GET", named(peer), follow=True)
    assert network.dialled == ["127.0.0.1"]


def test_what_changes_something_is_never_sent_on(peer):
    peer.answer = moves("/next", status=307)
    assert send("POST", peer.url, content=b"x", follow=True).status == 307 and len(peer.requests) == 1


# --- how long --------------------------------------------------------------------------------------------------


def too_slow(url, within=0.3, **more):
    began = time.monotonic()
    with pytest.raises(TimedOut):
        send("POST" if "content" in more else "GET", url, within=within, **more)
    assert within <= time.monotonic() - began < within + 1


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"]
)  # fmt: skip
def test_a_slow_drip_does_not_outlast_the_time(peer, first):
    peer.answer = peer.drip(first)
    too_slow(peer.url)


def test_an_endless_row_of_interim_answers_does_not_outlast_the_time(peer):
    peer.answer = peer.drip(each=b"HTTP/1.1 103 Early Hints\r\n\r\n")
    too_slow(peer.url)


def test_a_peer_that_says_or_takes_nothing_does_not_outlast_the_time(peer):
    peer.hears, peer.answer = False, lambda *_: b"" if peer.over.wait(5) else b"late"
    too_slow(peer.url)
    too_slow(peer.url.replace("http", "https"))
    too_slow(peer.url, content=b"x" * egress.MOST_BYTES)


def test_a_slow_lookup_does_not_outlast_the_time(monkeypatch, network):
    over = threading.Event()
    monkeypatch.setattr(egress, "_resolve", lambda host: over.wait(5) and [])
    too_slow("https://vendor.example")
    over.set()
    assert network.dialled == []


def test_redirects_have_one_time_together(peer):
    def answer(_request, _connection):
        peer.over.wait(0.2)
        return said(302, Location="/")

    peer.answer = answer
    too_slow(peer.url, follow=True)
    assert len(peer.requests) == 2


def test_an_address_that_says_nothing_leaves_time_for_the_next(peer, network):
    network.names["vendor.example"], network.silent = ["127.0.0.2", "127.0.0.1"], {"127.0.0.2"}
    assert send("GET", named(peer), within=1).status == 200
    network.silent.add("127.0.0.1")
    too_slow(named(peer))


# --- how much --------------------------------------------------------------------------------------------------


def test_a_body_as_large_as_allowed_passes_each_way_and_one_byte_more_does_not(peer, network):
    peer.answer = said(body=b"x" * 1000)
    assert len(send("POST", peer.url, content=b"x" * 1000, most=1000).body) == 1000
    peer.answer = said(body=gzip.compress(b"x" * 1000), Content_Encoding="gzip")
    assert len(send("GET", peer.url, most=1000).body) == 1000
    for body in ({"body": b"x" * 1001}, {"body": gzip.compress(b"x" * 1001), "Content_Encoding": "gzip"}):
        peer.answer = said(**body)
        with pytest.raises(TooLarge):
            send("GET", peer.url, most=1000)
    network.dialled.clear()
    with pytest.raises(TooLarge):
        send("POST", peer.url, content=b"x" * 1001, most=1000)
    assert network.dialled == []


@pytest.mark.parametrize(
    "head", [b"\r\n", b"Content-Length: 99999999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_an_endless_body_is_cut_off(peer, head):
    each = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    peer.answer = peer.drip(b"HTTP/1.1 200 OK\r\n" + head, each)
    with pytest.raises(TooLarge):
        send("GET", peer.url, most=100_000)


def test_an_endless_head_is_cut_off(peer):
    peer.answer = peer.drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 5000)
    with pytest.raises(Unreachable):
        send("GET", peer.url)


@pytest.mark.parametrize("coding, window", [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_a_bomb_does_not_unfold(peer, coding, window):
    packer = zlib.compressobj(9, wbits=window)
    bomb = b"".join([*(packer.compress(bytes(2**20)) for _megabyte in range(40)), packer.flush()])
    peer.answer = said(body=bomb, Content_Encoding=coding)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        send("GET", peer.url, most=200_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < 200_000 and peak < 5_000_000


def packed(window):
    packer = zlib.compressobj(wbits=window)
    return packer.compress(b"hello") + packer.flush()


@pytest.mark.parametrize(
    "coding, body",
    [("gzip", packed(31)), ("GZIP", packed(31)), ("x-gzip", packed(31)), ("deflate", packed(15)), ("deflate", packed(-15)),
     ("identity", b"hello")],
)  # fmt: skip
def test_what_was_packed_unasked_is_unpacked(peer, coding, body):
    peer.answer = said(body=body, Content_Encoding=coding)
    answer = send("GET", peer.url)
    assert answer.body == b"hello" and "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "coding, body",
    [("br", b"hello"), ("zstd", b"hello"), ("gzip, gzip", gzip.compress(packed(31), mtime=0)), ("gzip", b"hello"),
     ("gzip", packed(31)[:-9]), ("gzip", packed(31) + b"x"), ("deflate", packed(31)), ("x" * 99, b"hello")],
)  # fmt: skip
def test_what_is_packed_otherwise_is_refused(peer, coding, body):
    peer.answer = said(body=body, Content_Encoding=coding)
    with pytest.raises(Unreachable):
        send("GET", peer.url)


# --- TLS -------------------------------------------------------------------------------------------------------


@pytest.fixture
def secured(peer, network, tmp_path):
    """The peer with a certificate for vendor.example; `file` is the certificate, `shown` the names it was asked for."""
    peer.tls, peer.file = certificate("vendor.example", tmp_path)
    peer.shown = []
    peer.tls.sni_callback = lambda _socket, name, _context: peer.shown.append(name)
    network.names["other.example"] = ["127.0.0.1"]
    return peer


def test_a_certificate_that_nobody_vouches_for_is_refused(secured):
    with pytest.raises(Unreachable):
        send("GET", f"https://vendor.example:{secured.port}/")
    assert secured.requests == [] and secured.shown == ["vendor.example"]


def test_a_certificate_is_for_the_name_not_for_the_address(secured, monkeypatch):
    monkeypatch.setattr(egress, "_trust", lambda: ssl.create_default_context(cafile=secured.file))
    assert send("GET", f"https://vendor.example:{secured.port}/").body == b"hello"
    for host in ("other.example", "127.0.0.1", "localhost"):
        with pytest.raises(Unreachable):
            send("GET", f"https://{host}:{secured.port}/")
    assert len(secured.requests) == 1 and secured.shown[0] == "vendor.example"


def test_the_time_holds_inside_tls_too(secured, monkeypatch):
    monkeypatch.setattr(egress, "_trust", lambda: ssl.create_default_context(cafile=secured.file))
    secured.answer = secured.drip(b"HTTP/1.1 200 OK\r\n\r\n")
    too_slow(f"https://vendor.example:{secured.port}/")


def test_no_tls_is_unreachable(peer):
    peer.hears, peer.answer = False, b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(Unreachable):
        send("GET", peer.url.replace("http", "https"))


def test_the_public_authorities_are_trusted_and_no_file_of_the_environment(monkeypatch, secured):
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.file))
    egress._trust.cache_clear()
    with pytest.raises(Unreachable):
        send("GET", f"https://vendor.example:{secured.port}/")
    trust = egress._trust()
    assert trust.verify_mode == ssl.CERT_REQUIRED and trust.check_hostname and len(trust.get_ca_certs()) > 50


# --- what is told ------------------------------------------------------------------------------------------------


def test_no_error_and_no_log_tells_what_was_sent_or_where_a_name_leads(peer, network, caplog):
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
            told = "".join(traceback.format_exception(error.value)) + repr(error.value)
            assert secret not in told and "10.1.2.3" not in told, told
        peer.answer = said(body=secret.encode(), Set_Cookie=secret, X_Their=secret)
        answer = send("POST", f"{peer.url}/{secret}", **whole)
        OAuth2Client(transport=Transport()).request("POST", f"{peer.url}/{secret}", withhold_token=True, **whole)
    assert secret in answer.body.decode() and secret not in repr(answer) + caplog.text


# --- Authlib -----------------------------------------------------------------------------------------------------


def test_authlib_calls_in_the_same_way(peer, network):
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
    client = OAuth2Client("me", "mine", token_endpoint=named(peer, "/token"), transport=Transport(most=10_000))
    token = client.fetch_token(named(peer, "/token"), code="c0de", grant_type="authorization_code")
    assert (
        token["access_token"] == "at" and b"code=c0de" in peer.requests[0] and b"Basic bWU6bWluZQ==" in peer.requests[0]
    )
    client.token["expires_at"] = 1
    assert client.get(named(peer, "/me")).text == "hello"
    assert b"grant_type=refresh_token" in peer.requests[1] and b"Authorization: Bearer at" in peer.requests[2]
    assert client.get(named(peer, "/moved")).status_code == 302
    assert not any(b"\r\ncookie" in request.lower() for request in peer.requests)
    assert all(request.lower().count(b"\r\nhost:") == 1 for request in peer.requests)

    network.names["vendor.example"] = ["10.0.0.1"]
    with pytest.raises(Forbidden):
        client.fetch_token(named(peer, "/token"), code="c0de", grant_type="authorization_code")
    with pytest.raises(TooLarge):
        client.post(peer.url, content=b"x" * 10_001)
    peer.answer = peer.drip()
    with pytest.raises(TimedOut):
        OAuth2Client(transport=Transport(within=0.3)).request("GET", peer.url, withhold_token=True)


# --- anything at all ---------------------------------------------------------------------------------------------

FEW = hypothesis_settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=4).map(lambda v4: f"64:ff9b::{v4}"),
    st.sampled_from([PUBLIC, *INSIDE]),
)
HOSTS = st.one_of(
    st.sampled_from([*NOTATIONS, "vendor.example"]), st.text(max_size=12), st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda v6: f"[{v6}]"), st.integers(-1, 2**33).map(str), st.integers(0, 2**32).map(hex),
)  # fmt: skip
URLS = st.one_of(
    st.text(max_size=20),
    st.builds("https://vendor.example/{}".format, st.text(max_size=8)),
    st.tuples(
        st.sampled_from(["https://", "https://", "http://", "https:", "//", "ftp://", ""]), st.sampled_from(["", "", "me@", "a:b@", "@", "\\@"]),
        HOSTS, st.sampled_from(["", "", ":", ":443", ":80", ":8443", ":0", ":-1", ":4_43", ":٤٤٣"]), st.sampled_from(["", "/", "?", "#", "\\"]), st.text(max_size=8),
    ).map("".join),
)  # fmt: skip


@FEW
@given(
    url=URLS,
    addresses=st.lists(st.integers(0, 2**32 - 1).map(lambda v4: str(ip_address(v4))), max_size=2)
    | st.lists(ADDRESSES, max_size=3),
    loopback=st.booleans(),
)
@example(url="https://vendor.example", addresses=["64:ff9b::10.0.0.1"], loopback=True)
@example(url="https://vendor.example/\ud800", addresses=[PUBLIC], loopback=True)
def test_any_url_is_answered_or_refused_and_leads_nowhere_inside(network, settings, url, addresses, loopback):
    settings.EGRESS_ALLOW_LOOPBACK = loopback
    network.names["vendor.example"] = addresses
    network.dialled.clear()
    with contextlib.suppress(EgressError):
        send("GET", url, within=2)
    for address in map(ip_address, network.dialled):
        embedded = ip_address(int(address) & 2**32 - 1) if str(address).startswith("64:ff9b::") else address
        assert (loopback and address.is_loopback) or (embedded.is_global and not embedded.is_multicast), address
        assert getattr(address, "ipv4_mapped", None) is None and getattr(address, "sixtofour", None) is None


@FEW
@given(
    answer=st.one_of(
        st.binary(),
        st.binary().map(lambda more: b"HTTP/1.1 " + more),
        st.tuples(
            st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 302 Found", b"HTTP/1.1 101 Switch", b"HTTP/1.1 999", b"HTTP/1.1 100 Go"]),
            st.lists(
                st.sampled_from([
                    b"Content-Length: 3", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"Content-Encoding: deflate",
                    b"Location: /", b"Location: \xff", b"Location: http://[", b"X: \xfc", b"X\xfc: y", b" folded", b"Connection: upgrade", b"",
                ]), max_size=4,
            ).map(b"\r\n".join),
            st.just(b"\r\n"), st.binary(),
        ).map(b"\r\n".join),
    )
)  # fmt: skip
def test_any_answer_is_an_answer_or_the_other_sides_failure(peer, answer):
    peer.answer = answer
    try:
        send("GET", peer.url, within=2, follow=True)
    except EgressError as error:
        assert type(error) is Unreachable
