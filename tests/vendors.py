"""Example vendors, each in a process of its own, which tests control; see portal/demo/example_vendor."""

import functools
import subprocess
import sys

import httpx
from django.conf import settings

from portal.demo import embedded
from tests.clock import eventually
from tests.servers import free_port

CLIENT_ID, SECRET, REDIRECT_URI = "portal", "a secret: of & ours", "https://portal.example/callback"


class Vendor:
    """A vendor with a registered client. Further arguments go to its command line."""

    def __init__(self, name, *more):
        self.name, port = name, free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "portal.demo.example_vendor", "--port", str(port), "--name", name,
                "--client", CLIENT_ID, SECRET, REDIRECT_URI, *more,
            ],
            cwd=settings.BASE_DIR, preexec_fn=embedded.end_with_parent, start_new_session=True,
        )  # fmt: skip
        self.http = httpx.Client(base_url=self.url, trust_env=False)

    def wait(self):
        eventually(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, "the vendor ended by itself"
        return self

    def _answers(self):
        try:
            return self.http.get("/_switches").status_code == 200
        except httpx.TransportError:
            return False

    def _told(self, method, path, **more):
        answer = self.http.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def switch(self, **changes):
        """Change its behaviour by the names in portal/demo/example_vendor/switches.py."""
        self._told("PUT", "/_switches", json=changes)

    def register(self, *redirect_uris, client_id=CLIENT_ID, secret=SECRET):
        """Register a client there, or change the redirect URIs and the secret of one."""
        client = {"client_id": client_id, "client_secret": secret, "redirect_uris": redirect_uris}
        self._told("PUT", "/_clients", json=client)

    def log(self, path=""):
        """Return the calls to a path, oldest first: time, method, path, query, headers, body, form and status."""
        return [entry for entry in self._told("GET", "/_log") if entry["path"].startswith(path)]

    def clear_log(self):
        self._told("DELETE", "/_log")

    def tokens(self, kind=None):
        """Return its good tokens: "access", "refresh" or both."""
        return [token for token in self._told("GET", "/_tokens") if kind in (None, token["kind"])]

    def end_tokens(self, kind="access refresh"):
        """Make tokens unknown to it, as if they had expired or been revoked."""
        self._told("DELETE", "/_tokens", params={"kind": kind})

    def reset(self):
        """Reset it to the state after its start."""
        self._told("DELETE", "/_state")

    def stop(self):
        self.http.close()
        self.process.kill()
        self.process.wait(180)


@functools.cache
def vendors_of_this_run():
    """Start the two vendors that all tests of this process share; whoever asks first waits for them."""
    return [vendor.wait() for vendor in [Vendor("Example Calendar"), Vendor("Example Boards")]]
