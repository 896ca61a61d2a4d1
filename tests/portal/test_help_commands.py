"""Every command and snippet of the guides runs as it is shown."""

import json
import os
import re
import shlex
import subprocess

import pytest
import yaml
from django.conf import settings as django_settings
from django.core.management import call_command

from credentials.models import Kind
from portal.help import guides as helping
from tests import factories
from tests.factories import DOCUMENT, VIEW
from tests.marketplace import packages
from tests.oauth import agree, answer
from tests.worlds import signed_in

_BLOCK = re.compile(r"```sh( values| command)?\n(.*?)```", re.S)


def blocks(slug, kind):
    """Return (kind, text) of a guide's blocks: what is run in a shell, with the values to set, or run by manage.py."""
    return [(which.strip(), text) for which, text in _BLOCK.findall(helping.guides()[slug].text)
            if (which == " command") == (kind == "command")]  # fmt: skip


class Shell:
    """Runs blocks one after the other, keeping what they set."""

    def __init__(self, folder):
        self.folder, self.environ = folder, {"PATH": os.environ["PATH"]}

    def run(self, script):
        kept = self.folder / "environ"
        told = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"set -a\n{script}\nenv -0 > {kept}"],
            cwd=self.folder, env=self.environ, capture_output=True, text=True,
        )  # fmt: skip
        assert told.returncode == 0, f"{script}\n{told.stdout}{told.stderr}"
        self.environ = dict(line.partition("=")[::2] for line in kept.read_text().split("\0") if line)
        return told.stdout

    def guide(self, slug, values):
        """Run a guide's blocks; `values` has what a reader would fill in. Return what each block printed."""
        printed = []
        for kind, text in blocks(slug, "shell"):
            if kind == "values":
                # Each is asked for only once it is known.
                wanted = re.findall(r"^(\w+)=…$", text, re.M)
                self.run(
                    text.replace("=…", "=") + "".join(f"{name}={shlex.quote(values[name]())}\n" for name in wanted)
                )
            else:
                printed.append(self.run(text))
                values["printed"] = printed[-1]
        return printed


@pytest.mark.django_db(transaction=True)
def test_the_commands_of_the_guides_work_in_their_order(live_server, settings, tmp_path):
    settings.BASE_URL = live_server.url
    developer, account = factories.person("Dev"), factories.account("acme")
    admin = factories.member(account, "admin")
    client, first_secret = factories.client(developer, kind=Kind.EXTERNAL, scopes=[VIEW])
    shell = Shell(tmp_path)
    values = {
        "CLIENT_ID": lambda: client.client_id,
        "CLIENT_SECRET": lambda: first_secret,
        "ACCOUNT": lambda: account.slug,
    }

    def told(name):
        return lambda: json.loads(values["printed"])[name]

    def code():
        # The browser in which the address is opened.
        return answer(agree(signed_in(admin), values["printed"].strip().removeprefix(live_server.url)))["code"]

    values |= {"CODE": code, "ACCESS_TOKEN": told("access_token")}
    _url, tokens, tickets = shell.guide("start", values)
    tokens = json.loads(tokens)
    assert tokens["expires_in"] > 1790 and (tokens["scope"], tokens["account"]) == (VIEW, account.slug)
    assert json.loads(tickets)["tickets"] == []
    refreshed, revoked = shell.guide("tokens", values | {"REFRESH_TOKEN": lambda: tokens["refresh_token"]})
    assert json.loads(refreshed)["refresh_token"] != tokens["refresh_token"] and revoked == ""
    issued, tickets = shell.guide("workflows", values)
    assert "refresh_token" not in json.loads(issued) and json.loads(tickets)["tickets"] == []
    app, secret = factories.client(developer, name="An app")
    (tmp_path / "app.zip").write_bytes(packages.as_zip(packages.good(app)))
    shell.guide("packages", {"CLIENT_ID": lambda: app.client_id, "CLIENT_SECRET": lambda: secret})
    assert json.loads((tmp_path / "report.json").read_text())["valid"]
    assert json.loads((tmp_path / "app.sarif").read_text())["version"] == "2.1.0"
    assert shell.guide("operators", values)[0].startswith("ok\n")


@pytest.mark.django_db
def test_the_commands_for_operators_work(cast, settings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # `check --deploy` refuses a variable that browser tests set, and need.
    settings.SILENCED_SYSTEM_CHECKS = ["async.E001"]
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "first@example.com")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", factories.PASSWORD)
    settings.STATIC_ROOT = tmp_path / "static"
    document = json.dumps(DOCUMENT).replace("freshservice", "desk")
    (tmp_path / "openapi.json").write_text(document)
    (tmp_path / "app.zip").write_bytes(packages.as_zip(packages.good(factories.client(cast.dev)[0])))
    lines = [line for slug in ("packages", "operators") for _kind, text in blocks(slug, "command") for line in text.splitlines()]  # fmt: skip
    assert len(lines) == 8
    for line in lines:
        python, manage, *command = shlex.split(line)
        assert (python, manage) == ("python", "manage.py")
        call_command(*command)
    assert (tmp_path / "app.sarif").exists() and (django_settings.BASE_DIR / "manage.py").exists()


def test_every_block_of_the_guides_is_of_a_kind_that_is_run():
    kinds = {"sh", "sh values", "sh command", "json", "yaml"}
    for guide in helping.guides().values():
        fences = re.findall(r"^```(.*)$", guide.text, re.M)
        assert {*fences[::2]} <= kinds and not any(fences[1::2]), guide.slug


def test_the_pipeline_is_yaml_and_its_command_is_the_one_that_was_run():
    text = helping.guides()["packages"].text
    steps = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.S)[1])["jobs"]["check"]["steps"]
    commands = [" ".join(each.replace("\\\n", " ").split()) for _kind, each in blocks("packages", "shell")]
    assert " ".join(steps[2]["run"].split()) in commands
