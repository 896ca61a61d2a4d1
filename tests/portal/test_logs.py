"""The log outside the demo: stack traces are text, and strangers' bad input is not an error."""

import json

from tests.test_settings import manage


def log_lines(code, **more):
    """Return the lines that `code` logs in production, parsed from JSON."""
    done = manage("shell", "--no-imports", "-c", code, ALLOWED_HOSTS="testserver", **more)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_stack_traces_are_logged_as_text():
    """Both in Django's own records and in structlog's."""
    lines = log_lines(
        "import logging, structlog\n"
        "def fails(): return 1 / 0\n"
        "for log in (logging.getLogger('django.request'), structlog.get_logger('portal')):\n"
        "    try: fails()\n"
        "    except ZeroDivisionError: log.error('it broke', exc_info=True)\n"
    )
    assert [(line["event"], line["level"]) for line in lines] == [("it broke", "error")] * 2
    for line in lines:
        trace = line["exception"].splitlines()
        assert trace[0] == "Traceback (most recent call last):" and trace[-1] == "ZeroDivisionError: division by zero"
        assert any(", in fails" in each for each in trace) and "exc_info" not in line


def test_bad_input_from_strangers_logs_no_error_and_no_stack_trace():
    """A foreign host, an unknown URL, and everything else that Django answers with 400 or 403."""
    lines = log_lines(
        "from django.contrib.auth.decorators import login_not_required\n"
        "from django.core import exceptions as e\n"
        "from django.test import Client\n"
        "from django.contrib.staticfiles.storage import staticfiles_storage\n"
        "from django.http.multipartparser import MultiPartParserError\n"
        "from portal import urls\n"
        "staticfiles_storage.url = lambda name, force=False: name\n"
        "from django.urls import path\n"
        "def raises(error):\n"
        "    def view(request): raise error\n"
        "    return login_not_required(view)\n"
        "kinds = [e.BadRequest, e.SuspiciousOperation, e.DisallowedRedirect, e.PermissionDenied, MultiPartParserError]\n"
        "urls.urlpatterns[:0] = [path(f'raise/{number}', raises(kind('x'))) for number, kind in enumerate(kinds)]\n"
        "https = {'HTTP_X_FORWARDED_PROTO': 'https'}\n"
        "client = Client(raise_request_exception=False)\n"
        "client.get('/', HTTP_HOST='evil.example', **https)\n"
        "client.get('/nowhere/', **https)\n"
        "for number in range(len(kinds)): client.get(f'/raise/{number}', **https)\n"
    )
    assert len(lines) == 7 and {line["level"] for line in lines} == {"info"}
    assert not any("exc" in name for line in lines for name in line)
