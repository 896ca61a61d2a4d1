"""The lane's answers, and the forms that it reads."""

import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..answers import OAUTH_NO_STORE
from ..parameters import MAX_LENGTH

# In bytes; no form of the lane is longer.
_MAX_FORM = 2 * MAX_LENGTH
_FORM = "application/x-www-form-urlencoded"


class Answer(NamedTuple):
    headers: Mapping[str, str]
    body: bytes = b""


def json_answer(told: dict[str, Any]) -> Answer:
    return Answer({"Content-Type": "application/json", **OAUTH_NO_STORE}, json.dumps(told).encode())


def read_form(environ: dict[str, Any], known: frozenset[str]) -> dict[str, str]:
    """Return the fields of a short form that have a value, or none if any is unknown, repeated or too long.

    Whoever reads the body after this finds it whole.
    """
    length = environ.get("CONTENT_LENGTH") or "0"
    usual = environ.get("REQUEST_METHOD") == "POST" and environ.get("CONTENT_TYPE", "").lower() == _FORM
    if not usual or not length.isdecimal() or int(length) > _MAX_FORM:
        return {}
    body = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = io.BytesIO(body)
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return {}
    found = dict(fields)
    is_usual = len(found) == len(fields) and found.keys() <= known
    if not is_usual or any("\0" in value or len(value) > MAX_LENGTH for value in found.values()):
        return {}
    return {name: value for name, value in found.items() if value}
