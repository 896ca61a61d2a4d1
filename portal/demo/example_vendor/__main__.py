import argparse
import json
import signal
from pathlib import Path
from typing import Any

from .oauth import Client
from .serving import serve
from .switches import Switches
from .vendor import Vendor


def switch(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE, where the value is JSON or a word."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


parser = argparse.ArgumentParser("python -m portal.example_vendor")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--name", default="Example vendor")
parser.add_argument("--state", type=Path, metavar="FILE")
parser.add_argument("--client", nargs="+", action="append", default=[], metavar=("ID SECRET", "REDIRECT_URI"))
parser.add_argument("--switch", type=switch, action="append", default=[], metavar="NAME=VALUE")
given = parser.parse_args()

# Nothing is left to write, so any signal may end this at once.
signal.signal(signal.SIGINT, signal.SIG_DFL)
serve(
    Vendor(
        name=given.name,
        url=f"http://127.0.0.1:{given.port}",
        switches=Switches(**dict(given.switch)),
        clients=[Client(client_id=id, client_secret=secret, redirect_uris=uris) for id, secret, *uris in given.client],
        state=given.state,
    ),
    given.port,
)
