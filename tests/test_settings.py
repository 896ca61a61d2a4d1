"""Settings outside the demo: strict, complete, and clean by Django's own check."""

import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import oauth2_provider.settings
import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.deprecation import RemovedInDjango60Warning, RemovedInDjango61Warning

from portal.foundation.environment import require_environment

PRODUCTION = {
    "SECRET_KEY": "s" * 20 + "abcdefghijklmnopqrstuvwxyz0123456789",
    "TOKEN_KEYS": "token-key-one,token-key-two",
    "LEDGER_KEYS": "ledger-key",
    "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "BASE_URL": "https://apps.example.com",
    "ALLOWED_HOSTS": "apps.example.com",
    "EMAIL_URL": "smtp+tls://user:mail-password@mail.example.com:587",
}


WITHOUT_ENVIRONMENT = """
import runpy, sys
for sys.argv in (["manage.py", "help"], ["manage.py", "makemigrations", "--check"]):
    runpy.run_path("manage.py", run_name="__main__")
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from portal.accounts.models import User
for act in (lambda: settings.SECRET_KEY, User.objects.exists):
    try:
        act()
    except ImproperlyConfigured as error:
        print(error)
"""
# Reads the settings in three environments, and refuses whatever they do but read.
READ_ONLY = """
import os, runpy, sys
reading = False
def refuse(event, arguments):
    is_written = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if reading and (is_written or event in ("os.mkdir", "os.putenv", "subprocess.Popen", "socket.connect")):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(refuse)
for demo, embedded in ("", ""), ("1", ""), ("", "1"):
    os.environ |= {"DEMO": demo, "EMBEDDED": embedded}
    before, reading = dict(os.environ), True
    assert runpy.run_module("portal.settings")["DEMO"] is bool(demo)
    assert dict(os.environ) == before
    reading = False
"""


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments], cwd=settings.BASE_DIR, env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip


def manage(*arguments, without=(), **more):
    return python("manage.py", *arguments, **production(without, **more))


def production(without=(), **more):
    environment = {
        "DATABASE_URL": os.environ["DATABASE_URL"],
        "REDIS_URL": os.environ["REDIS_URL"],
        **PRODUCTION,
        **more,
    }
    for name in without:
        del environment[name]
    return environment


def settings_with(environment):
    """Return the names of portal/settings.py as a process with this environment has them."""
    former = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        return runpy.run_path(str(settings.BASE_DIR / "portal/settings.py"))
    finally:
        os.environ.clear()
        os.environ.update(former)


def test_check_deploy_finds_nothing():
    done = manage("check", "--deploy", "--fail-level", "INFO")
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout + done.stderr and "WARNING" not in done.stderr


def test_checking_a_package_without_a_migrated_database_is_told_in_one_line(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/oauth_config.json").write_text('{"integrations": {"octo": {"client_id": "x"}}}')
    empty = urlsplit(os.environ["DATABASE_URL"])._replace(path="/postgres").geturl()
    done = manage("check_package", str(tmp_path), DATABASE_URL=empty)
    (told,) = done.stderr.splitlines()
    assert done.returncode == 2 and "database, migrated" in told and done.stdout == ""


REQUIRED = ["SECRET_KEY", "TOKEN_KEYS", "LEDGER_KEYS", "FIELD_ENCRYPTION_KEYS", "BASE_URL", "DATABASE_URL", "REDIS_URL"]


@pytest.mark.parametrize("name", REQUIRED)
def test_outside_the_demo_a_missing_setting_is_refused_by_its_name_without_telling_the_others(settings, name):
    settings.MISSING = settings_with(production(without=[name]))["MISSING"]
    assert len(settings.MISSING) == 1
    with pytest.raises(ImproperlyConfigured, match=rf"\b{name} (is not|must be) set") as told:
        require_environment()
    for secret in production(without=[name]).values():
        assert secret not in str(told.value) or secret in (PRODUCTION["BASE_URL"], PRODUCTION["ALLOWED_HOSTS"])


def test_nothing_is_missing_in_production():
    assert settings_with(production())["MISSING"] == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["manage.py", "check"], "LEDGER_KEYS"),
        (["-c", "import portal.wsgi"], "SECRET_KEY"),
        (["-m", "celery", "-A", "portal", "worker"], "BASE_URL"),
        (["-m", "celery", "-A", "portal", "beat"], "DATABASE_URL"),
    ],
    ids=["command", "web", "worker", "beat"],
)
def test_no_process_starts_without_a_required_variable(command, name):
    done = python(*command, **production(without=[name]))
    assert done.returncode != 0 and re.search(rf"\b{name} (is not|must be) set", done.stderr)
    if command[0] == "manage.py":
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_loading_the_settings_starts_nothing_and_writes_nothing():
    # Celery would name the settings itself.
    done = python("-B", "-c", READ_ONLY, DJANGO_SETTINGS_MODULE="portal.settings")
    assert done.returncode == 0, done.stderr


def test_tools_that_read_code_need_no_environment_and_without_one_nothing_is_signed_or_asked():
    """`makemigrations`, and what mypy and editors do."""
    done = python("-c", WITHOUT_ENVIRONMENT)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert re.search(
        r"Type 'manage.py help <subcommand>'(.*\n)+No changes detected\n"
        r".*SECRET_KEY setting must not be empty.*\n.*DATABASES is improperly configured",
        done.stdout,
    ), done.stdout


def test_a_database_that_is_away_is_told_without_its_password():
    done = manage("migrate", DATABASE_URL="postgres://portal:very-secret@127.0.0.1:1/portal")
    assert done.returncode != 0 and "very-secret" not in done.stdout + done.stderr


def test_production_cookies_and_headers_are_strict():
    names = settings_with(production())
    for name in (
        "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SESSION_COOKIE_HTTPONLY",
    ):  # fmt: skip
        assert names[name], name
    assert names["DEBUG"] is False


@pytest.mark.parametrize("kind", [DeprecationWarning, RemovedInDjango60Warning, RemovedInDjango61Warning])
def test_what_is_deprecated_fails_the_test_that_uses_it(kind):
    with pytest.raises(kind):
        warnings.warn("deprecated", kind, stacklevel=1)


def test_every_gate_of_rfc_9700_is_on():
    """As many as the installed toolkit has."""
    source = Path(oauth2_provider.settings.__file__).read_text()
    gates = set(re.findall(r'"(COMPLIANT_BCP_RFC9700_\w+)"', source))
    assert len(gates) == 10
    for gate in gates:
        assert settings.OAUTH2_PROVIDER.get(gate) is True, gate


def test_secrets_are_not_in_the_repr_of_settings_or_logs_of_oauthlib():
    assert settings.LOGGING["loggers"]["oauthlib"]["level"] == "WARNING"


def test_the_demos_mail_is_kept_under_var():
    """README: `rm -r var` begins anew."""
    demo = settings_with({"DEMO": "1"})
    assert demo["EMAIL_FILE_PATH"] == settings.BASE_DIR / "var/mail" and demo["EMAIL_BACKEND"].endswith(
        "filebased.EmailBackend"
    )


def test_the_tests_process_has_the_settings_of_tests():
    assert settings.SETTINGS_MODULE == "tests.settings" and not settings.LIMITS_ARE_ON
