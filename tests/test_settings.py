"""Settings outside the demo: strict, complete, and clean by Django's own check."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import oauth2_provider.settings
import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.utils.deprecation import RemovedInDjango60Warning, RemovedInDjango61Warning

PRODUCTION = {
    "SECRET_KEY": "s" * 20 + "abcdefghijklmnopqrstuvwxyz0123456789",
    "TOKEN_KEYS": "token-key-one,token-key-two",
    "LEDGER_KEYS": "ledger-key",
    "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "BASE_URL": "https://apps.example.com",
    "ALLOWED_HOSTS": "apps.example.com",
    "EMAIL_URL": "smtp+tls://user:mail-password@mail.example.com:587",
}


SET_UP = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'portal.settings'; django.setup()"
# Refuses whatever a module does at its import but read.
READ_ONLY = """
import os, sys
before = dict(os.environ)
def refuse(event, arguments):
    is_written = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if is_written or event in ("os.mkdir", "os.putenv", "subprocess.Popen", "socket.connect"):
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(refuse)
import portal.settings
assert dict(os.environ) == before
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


@pytest.mark.parametrize(
    "name",
    ["SECRET_KEY", "TOKEN_KEYS", "LEDGER_KEYS", "FIELD_ENCRYPTION_KEYS", "BASE_URL", "DATABASE_URL", "REDIS_URL"],
)
def test_outside_the_demo_a_missing_setting_refuses_to_start_and_says_which(name):
    done = manage("check", without=[name])
    (told,) = done.stderr.splitlines()
    assert done.returncode == 2 and name in told
    for secret in (*PRODUCTION.values(), os.environ["DATABASE_URL"], os.environ["REDIS_URL"]):
        assert secret not in done.stdout + done.stderr or secret in (PRODUCTION["BASE_URL"], "apps.example.com")


@pytest.mark.parametrize("name", ["SECRET_KEY", "BASE_URL", "DATABASE_URL", "REDIS_URL"])
@pytest.mark.parametrize(
    "command", [("-c", "import portal.wsgi"), *(("-m", "celery", "-A", "portal", kind) for kind in ("worker", "beat"))]
)
def test_neither_web_server_nor_worker_nor_beat_starts_without_a_required_variable(command, name):
    done = python(*command, **production(without=[name]))
    assert done.returncode != 0 and re.search(rf"\b{name} (is not|must be) set", done.stderr)


@pytest.mark.parametrize("environment", [{}, {"DEMO": "1"}, {"EMBEDDED": "1"}])
def test_loading_the_settings_starts_nothing_and_writes_nothing(environment):
    # Celery would name the settings itself.
    done = python("-B", "-c", READ_ONLY, DJANGO_SETTINGS_MODULE="portal.settings", **environment)
    assert done.returncode == 0, done.stderr


def test_tools_that_read_code_need_no_environment():
    """`makemigrations`, and what mypy and editors do."""
    for command in (["manage.py", "makemigrations", "--check"], ["manage.py", "help"], ["-c", SET_UP]):
        done = python(*command)
        assert done.returncode == 0 and done.stderr == "", command


def test_without_an_environment_nothing_is_signed_or_asked():
    done = python("-c", f"{SET_UP}; from django.conf import settings; settings.SECRET_KEY")
    assert "SECRET_KEY setting must not be empty" in done.stderr
    done = python("-c", f"{SET_UP}; from portal.accounts.models import User; User.objects.exists()")
    assert "DATABASES is improperly configured" in done.stderr


def test_the_demo_is_not_filled_in_outside_the_demo():
    done = manage("seed_demo")
    assert done.returncode != 0 and "DEMO" in done.stderr


def test_a_database_that_is_away_is_told_without_its_password():
    done = manage("migrate", DATABASE_URL="postgres://portal:very-secret@127.0.0.1:1/portal")
    assert done.returncode != 0 and "very-secret" not in done.stdout + done.stderr


def test_production_cookies_and_headers_are_strict():
    names = "SESSION_COOKIE_SECURE CSRF_COOKIE_SECURE SECURE_SSL_REDIRECT SECURE_HSTS_SECONDS SESSION_COOKIE_HTTPONLY"
    show = f"from django.conf import settings; print([bool(getattr(settings, n)) for n in '{names}'.split()], settings.DEBUG)"
    done = manage("shell", "--no-imports", "-c", show)
    assert done.stdout.strip() == "[True, True, True, True, True] False", done.stderr


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
    servers = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    done = python("manage.py", "diffsettings", DEMO="1", **servers)
    assert re.search(r"EMAIL_FILE_PATH = \w*Path\('.*/var/mail'\)", done.stdout), done.stdout + done.stderr


def test_the_tests_process_has_the_settings_of_tests():
    assert settings.SETTINGS_MODULE == "tests.settings" and not settings.LIMITS_ARE_ON
