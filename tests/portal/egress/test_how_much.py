"""How long a call may take, how large it may be, and how the other side proves its identity."""

import gzip
import ssl
import threading
import time
import tracemalloc
import zlib

import pytest

from portal.foundation import egress
from portal.foundation.egress import TimedOut, TooLarge, Unreachable, send
from tests.peer import certificate, said
from tests.portal.egress.network import vendor_url

# --- how long ---


def assert_timed_out(url, within=0.3, **more):
    began = time.monotonic()
    with pytest.raises(TimedOut):
        send("POST" if "content" in more else "GET", url, within=within, **more)
    assert within <= time.monotonic() - began < within + 60


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"]
)  # fmt: skip
def test_a_slow_drip_times_out(peer, first):
    peer.answer = peer.drip(first)
    assert_timed_out(peer.url)


def test_endless_interim_answers_time_out(peer):
    peer.answer = peer.drip(each=b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert_timed_out(peer.url)


def test_a_peer_that_sends_or_reads_nothing_times_out(peer):
    peer.hears, peer.answer = False, lambda *_: b"" if peer.over.wait(5) else b"late"
    assert_timed_out(peer.url)
    assert_timed_out(peer.url.replace("http", "https"))
    assert_timed_out(peer.url, content=b"x" * egress.MOST_BYTES)


def test_a_slow_lookup_times_out(monkeypatch, network):
    over = threading.Event()
    monkeypatch.setattr(egress, "_resolve", lambda host: over.wait(5) and [])
    assert_timed_out("https://vendor.example")
    over.set()
    assert network.dialled == []


def test_redirects_share_one_time_limit(peer):
    def answer(_request, _connection):
        peer.over.wait(0.2)
        return said(302, Location="/")

    peer.answer = answer
    assert_timed_out(peer.url, follow=True)
    assert len(peer.requests) == 2


def test_a_silent_address_leaves_time_for_the_next(peer, network):
    network.names["vendor.example"], network.silent = ["127.0.0.2", "127.0.0.1"], {"127.0.0.2"}
    assert send("GET", vendor_url(peer), within=1).status == 200
    network.silent.add("127.0.0.1")
    assert_timed_out(vendor_url(peer))


# --- how much ---


def test_a_body_of_the_largest_size_passes_both_ways_and_one_byte_more_does_not(peer, network):
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


@pytest.mark.parametrize(("coding", "window"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_a_compression_bomb_is_not_unpacked(peer, coding, window):
    packer = zlib.compressobj(9, wbits=window)
    bomb = b"".join([*(packer.compress(bytes(2**20)) for _megabyte in range(40)), packer.flush()])
    peer.answer = said(body=bomb, Content_Encoding=coding)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        send("GET", peer.url, most=200_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < 200_000 and peak < 5_000_000


def compressed(window):
    packer = zlib.compressobj(wbits=window)
    return packer.compress(b"hello") + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", compressed(31)), ("GZIP", compressed(31)), ("x-gzip", compressed(31)), ("deflate", compressed(15)), ("deflate", compressed(-15)),
     ("identity", b"hello")],
)  # fmt: skip
def test_an_unrequested_compression_is_unpacked(peer, coding, body):
    peer.answer = said(body=body, Content_Encoding=coding)
    answer = send("GET", peer.url)
    assert answer.body == b"hello" and "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("coding", "body"),
    [("br", b"hello"), ("zstd", b"hello"), ("gzip, gzip", gzip.compress(compressed(31), mtime=0)), ("gzip", b"hello"),
     ("gzip", compressed(31)[:-9]), ("gzip", compressed(31) + b"x"), ("deflate", compressed(31)), ("x" * 99, b"hello")],
)  # fmt: skip
def test_other_compressions_are_refused(peer, coding, body):
    peer.answer = said(body=body, Content_Encoding=coding)
    with pytest.raises(Unreachable):
        send("GET", peer.url)


# --- TLS ---


@pytest.fixture
def tls_peer(peer, network, tmp_path):
    """The peer with a certificate for vendor.example; `file` is the certificate, `shown` the names requested of it."""
    peer.tls, peer.file = certificate("vendor.example", tmp_path)
    peer.shown = []
    peer.tls.sni_callback = lambda _socket, name, _context: peer.shown.append(name)
    network.names["other.example"] = ["127.0.0.1"]
    return peer


def test_an_untrusted_certificate_is_refused(tls_peer):
    with pytest.raises(Unreachable):
        send("GET", f"https://vendor.example:{tls_peer.port}/")
    assert tls_peer.requests == [] and tls_peer.shown == ["vendor.example"]


def test_a_certificate_is_checked_for_the_name_not_the_address(tls_peer, monkeypatch):
    monkeypatch.setattr(egress, "_trust", lambda: ssl.create_default_context(cafile=tls_peer.file))
    assert send("GET", f"https://vendor.example:{tls_peer.port}/").body == b"hello"
    for host in ("other.example", "127.0.0.1", "localhost"):
        with pytest.raises(Unreachable):
            send("GET", f"https://{host}:{tls_peer.port}/")
    assert len(tls_peer.requests) == 1 and tls_peer.shown[0] == "vendor.example"


def test_the_time_limit_applies_inside_tls_too(tls_peer, monkeypatch):
    monkeypatch.setattr(egress, "_trust", lambda: ssl.create_default_context(cafile=tls_peer.file))
    tls_peer.answer = tls_peer.drip(b"HTTP/1.1 200 OK\r\n\r\n")
    assert_timed_out(f"https://vendor.example:{tls_peer.port}/")


def test_a_peer_without_tls_is_unreachable(peer):
    peer.hears, peer.answer = False, b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(Unreachable):
        send("GET", peer.url.replace("http", "https"))


def test_only_the_public_authorities_are_trusted_and_no_file_of_the_environment(monkeypatch, tls_peer):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_peer.file))
    egress._trust.cache_clear()
    with pytest.raises(Unreachable):
        send("GET", f"https://vendor.example:{tls_peer.port}/")
    trust = egress._trust()
    assert trust.verify_mode == ssl.CERT_REQUIRED and trust.check_hostname and len(trust.get_ca_certs()) > 50
