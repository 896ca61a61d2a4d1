"""Requests as nobody's library would send them, and what every refusal has to be."""

import contextlib
import functools
import inspect
import re

from tests.rows import changed, contents

FORM = "application/x-www-form-urlencoded"


def refused(response, error, status=400):
    """RFC 6749 section 5.2: the status, the members, their characters, and nothing kept on the way. Return the text."""
    assert response.status_code == status, (response.status_code, response.content[:300])
    assert response["Content-Type"] == "application/json"
    assert "no-store" in response["Cache-Control"] and response["Pragma"] == "no-cache"
    body = response.json()
    # `reauthorize_url` where a person can agree again: tests/consent/test_reauthorizing.py says when.
    assert body.keys() - {"reauthorize_url"} == {"error", "error_description"} and body["error"] == error, body
    assert re.fullmatch(r"[ !#-\[\]-~]+", body["error_description"]), body
    if error == "invalid_client":
        assert status == 401
        # The scheme of the header that was sent; at introspection, the only way there is.
        tried = "HTTP_AUTHORIZATION" in response.request or "introspect" in response.request["PATH_INFO"]
        challenge = 'Basic realm="portal", charset="UTF-8"' if tried else None
        assert response.get("WWW-Authenticate") == challenge
    return body["error_description"]


@contextlib.contextmanager
def nothing_changed():
    before = contents()
    yield
    assert changed(before) == {}


def each(names, cases):
    """Like pytest's `parametrize`, but in one test and on one world, for cases that leave no trace on each other."""
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)

    def decorate(test):
        @functools.wraps(test)
        def run(**fixtures):
            for case in cases:
                drawn = dict(zip(names, case if len(names) > 1 else (case,), strict=True))
                try:
                    test(**fixtures, **drawn)
                except BaseException as problem:
                    problem.add_note(f"with {drawn!r:.500}")
                    raise

        signature = inspect.signature(test)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in names]
        run.__signature__ = signature.replace(parameters=kept)
        return run

    return decorate
