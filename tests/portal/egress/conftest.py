"""A network with made-up names, and a real peer on loopback."""

import socket

import pytest

from portal.foundation import egress
from tests.peer import Peer, said
from tests.portal.egress.network import Network


@pytest.fixture(autouse=True)
def network(monkeypatch, settings):
    settings.EGRESS_ALLOW_LOOPBACK = False
    network = Network()
    monkeypatch.setattr(egress, "_resolve", network.resolve)
    monkeypatch.setattr(socket.socket, "connect", network.dial(socket.socket.connect))
    return network


@pytest.fixture
def peer(settings, network):
    """A peer on this machine that settings allow, by its address and as vendor.example."""
    settings.EGRESS_ALLOW_LOOPBACK = True
    network.names["vendor.example"] = ["127.0.0.1"]
    peer = Peer(said(body=b"hello"))
    yield peer
    peer.stop()
