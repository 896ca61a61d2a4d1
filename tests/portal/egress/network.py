"""A fake network for tests: names, addresses and dialling; sockets on loopback are real."""

import socket
import threading
from ipaddress import ip_address

PUBLIC = "93.184.215.14"


class Network:
    """Resolve names and record the addresses dialled; loopback is really dialled, all others are refused."""

    def __init__(self):
        self.names, self.asked, self.dialled, self.silent = {"localhost": ["127.0.0.1", "::1"]}, [], [], set()

    def resolve(self, host):
        """Resolve a name, taking the next list from a list of lists; libc reads anything else as an address."""
        self.asked.append(host)
        addresses = self.names.get(host)
        if addresses is None:
            every = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
            return [each[4][0] for each in every]
        return addresses.pop(0) if addresses and isinstance(addresses[0], list) else addresses

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


def vendor_url(peer, path="/"):
    return f"http://vendor.example:{peer.port}{path}"
