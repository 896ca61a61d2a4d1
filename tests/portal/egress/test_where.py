"""Where a call may go (E3): any notation, name or redirect that leads to an internal address is refused."""

import contextlib
import re
from ipaddress import ip_address

import pytest
from authlib.integrations.httpx_client import OAuth2Client
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from portal.foundation import egress
from portal.foundation.egress import EgressError, Forbidden, Transport, Unreachable, send
from tests.portal.egress.network import PUBLIC, vendor_url

# --- where it may go ---


INTERNAL = [
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
@pytest.mark.parametrize("address", INTERNAL)
def test_no_name_leads_to_an_internal_address(network, settings, address, loopback):
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
def test_only_a_public_address_is_dialled(network, address):
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
def test_no_notation_of_an_internal_address_works(network, host):
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
def test_no_trick_with_the_userinfo_leads_to_an_internal_address(network, url):
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
def test_only_https_on_port_443_is_called_outside_loopback(network, settings, url, loopback):
    settings.EGRESS_ALLOW_LOOPBACK = loopback
    network.names["vendor.example"] = [PUBLIC]
    with pytest.raises(Forbidden):
        send("GET", url)
    assert network.dialled == [] and (loopback or network.asked == [])


@pytest.mark.parametrize("addresses", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC] * 9 + ["::1"], []])
def test_a_name_with_one_internal_address_is_refused(network, addresses):
    network.names["vendor.example"] = addresses
    with pytest.raises(Forbidden):
        send("GET", "https://vendor.example/")
    assert network.dialled == []


def test_a_name_that_resolves_differently_after_the_check_changes_nothing(network):
    network.names["vendor.example"] = [[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]]
    with pytest.raises(Unreachable):
        send("GET", "https://vendor.example/")
    assert network.dialled == [PUBLIC] and network.asked == ["vendor.example"]


def test_each_call_looks_up_the_name_and_opens_a_connection(peer, network):
    network.names["vendor.example"] = [["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"]]
    transport = Transport()
    with OAuth2Client(transport=transport) as client:
        for _number in range(2):
            assert client.request("GET", vendor_url(peer), withhold_token=True).status_code == 200
        with pytest.raises(Forbidden):
            client.request("GET", vendor_url(peer), withhold_token=True)
    assert network.dialled == ["127.0.0.1"] * 2 and len(peer.requests) == 2


def test_loopback_is_refused_unless_settings_allow_it(peer, settings):
    settings.EGRESS_ALLOW_LOOPBACK = False
    for url in (
        peer.url,
        vendor_url(peer),
        f"https://127.0.0.1:{peer.port}",
        "https://127.0.0.1",
        "https://localhost",
    ):
        with pytest.raises(Forbidden):
            send("GET", url)
    assert peer.requests == []


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999999", "x"])
def test_an_invalid_port_is_refused_on_loopback_too(peer, network, port):
    with pytest.raises(Forbidden):
        send("GET", f"http://127.0.0.1:{port}/")
    assert network.asked == []


def test_the_lookup_uses_the_systems_resolver(monkeypatch):
    monkeypatch.undo()
    assert {ip_address(address).is_loopback for address in egress._resolve("localhost")} == {True}
    with pytest.raises(OSError):
        egress._resolve("a" * 64)


# --- arbitrary input ---


FEW = hypothesis_settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=4).map(lambda v4: f"64:ff9b::{v4}"),
    st.sampled_from([PUBLIC, *INTERNAL]),
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
def test_any_url_is_answered_or_refused_and_none_leads_to_an_internal_address(
    network, settings, url, addresses, loopback
):
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
def test_any_bytes_are_an_answer_or_the_other_sides_failure(peer, answer):
    peer.answer = answer
    try:
        send("GET", peer.url, within=2, follow=True)
    except EgressError as error:
        assert type(error) is Unreachable
