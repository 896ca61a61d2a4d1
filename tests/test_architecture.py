"""Which way imports go, and what no file may hold (STYLE.md's one idea: what may be asked, was granted, is asking)."""

import ast
import inspect
import re
from uuid import UUID

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django.urls import get_resolver

from portal.accounts.requests import SignedInRequest
from portal.celery import app as celery
from tests.layers import APPS, BASE, FILES, imports, module, rank, room
from tests.strings import rooms_of, upward_strings


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_go_one_way(path):
    for name in imports(path):
        if name.split(".")[0] in APPS:
            assert rank(name) >= rank(module(path)), f"{module(path)} imports {name}"


# What one app may import of another besides models, actions and `seen`.
PUBLIC = {
    "portal.ledger": {"checkpoints", "events", "exports", "lines", "reading"},
    "portal.accounts": {"choosing", "entrance", "forms", "lookalikes", "requests", "rights"},
    "credentials": {"authentication", "redirect_uris", "registry", "resources", "secrets", "trying"},
    "consent": {
        "agreed", "answers", "asking", "check", "coming_ends", "events", "lane", "pages", "reasons", "receipts",
        "screen", "succession", "texts", "validity",
    },
    "marketplace": {"package", "vendors.oauth_client"},
    "portal.demo": {"embedded", "mail"},
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=module)
def test_apps_import_each_others_models_actions_and_seen_and_what_is_public(path):
    """Never views, forms of a page, or tasks; the foundation is for everyone."""
    files = {module(each) for each in FILES}
    for name in imports(path):
        if name.split(".")[0] not in APPS:
            continue
        while name not in files:
            # A name that a module has, rather than a module.
            name = name.rpartition(".")[0]
        there = room(name)
        if there in (room(module(path)), "portal.foundation") or name == there:
            continue
        part = name.removeprefix(f"{there}.")
        may = {"models", "actions", "seen"} | PUBLIC[there]
        assert any(f"{part}.".startswith(f"{each}.") for each in may), f"{module(path)} imports {name}"


def test_acting_at_vendors_imports_no_view_of_the_marketplace():
    for path in FILES:
        if "vendors" in module(path).split("."):
            assert not [name for name in imports(path) if name.startswith("marketplace.views")], path


def test_strings_name_nothing_of_a_higher_room():
    """Tasks, models, URLs, addresses and templates: passed in from above, registered by `apps.py`, or a setting."""
    assert [found for path in FILES for found in upward_strings(path)] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("consent.tasks.ask_for_successor", "consent"),
        ("portal.wsgi:application", "portal"),
        ("marketplace.Installation", "marketplace"),
        ("oauth-authorize", "consent"),
        ("admin:marketplace_version_change", "marketplace"),
        ("/installations/", "marketplace"),
        ("/healthz", "portal"),
        ("members/mail/notice.txt", "portal.accounts"),
        ("portal/home.html", "portal"),
    ],
)
def test_a_string_tells_which_room_it_names(text, named):
    assert rooms_of(text) == {named}


def test_one_file_alone_can_call_others():
    """E3. Authlib's clients call through egress.Transport."""
    clients = ("httpx", "httpcore", "h11", "http.client", "urllib.request", "urllib3", "requests", "aiohttp", "ssl")
    found = {
        module(path)
        for path in FILES
        for name in imports(path)
        if f"{name}.".startswith(tuple(f"{c}." for c in clients))
    }
    assert found == {"portal.foundation.egress"}


@pytest.mark.parametrize("path", FILES, ids=module)
def test_within_an_app_imports_go_from_urls_to_models(path):
    """urls → views → forms, actions → models; admin → actions; tasks → actions."""
    kinds = ("urls", "views", "admin", "tasks", "forms", "actions", "models")
    allowed = {
        "models": {"models"},
        "actions": {"actions", "models"},
        "forms": {"forms", "actions", "models"},
        "tasks": {"tasks", "actions", "models"},
        "admin": {"admin", "actions", "models", "forms"},
    }

    def kind(name):
        return next((part for part in name.split(".") if part in kinds), None)

    own = kind(module(path))
    # portal.admin is the base class of every window; a sign-up form makes its team.
    for name in imports(path):
        if own in allowed and name.split(".")[0] in APPS and kind(name):
            assert kind(name) in allowed[own], f"{module(path)} imports {name}"


def test_actions_never_take_a_request():
    for path in FILES:
        if "actions" in module(path).split("."):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    assert "request" not in [argument.arg for argument in node.args.args + node.args.kwonlyargs]


def test_no_signal_carries_a_rule():
    for path in FILES:
        assert "django.db.models.signals" not in path.read_text() and "@receiver" not in path.read_text(), path


@pytest.mark.parametrize("path", FILES, ids=module)
def test_files_stay_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert not re.search(r"\bTODO\b|\bFIXME\b|^\s*print\(", text, re.M)


def test_one_file_alone_queues_tasks_in_a_request():
    """Nothing waits for the broker (T3). Sweeps, which run in workers, may queue what they find themselves."""
    for path in FILES:
        queues = re.search(r"send_task|\.apply_async|\.delay\(", path.read_text())
        assert not queues or module(path) == "portal.foundation.broker" or path.name == "tasks.py", path


def test_one_function_alone_mails_about_a_row_and_stamps_it():
    """Read alone, posted and stamped in one transaction, then sent: T3 hangs on this order, so it is written once."""
    for path in FILES:
        used = {*imports(path)}
        # What allauth mails is about no row.
        assert "portal.foundation.mail.post" not in used or module(path) == "portal.accounts.adapter", path
        assert "from django.core.mail" not in path.read_text() or module(path) == "portal.foundation.mail", path


def test_the_routes_alone_say_in_which_queue_a_task_waits():
    """What may wait for a vendor or a mail server keeps nothing else waiting."""
    for path in FILES:
        assert "queue=" not in path.read_text(), path
    celery.loader.import_default_modules()
    slow = [name for name in celery.tasks if re.search(r"\.tell_of_|\.ask_for_|_connection$", name)]
    queues = {name: celery.amqp.router.route({}, name)["queue"].name for name in [*slow, "consent.tasks.revoke_tokens"]}
    assert len(slow) > 6 and queues == dict.fromkeys(slow, "vendors") | {"consent.tasks.revoke_tokens": "revoke"}


def test_text_of_several_lines_is_taken_in_at_one_place():
    """A browser ends its lines otherwise than they are kept."""
    for path in FILES:
        assert "forms.Textarea" not in path.read_text() or module(path) == "portal.foundation.text", path


def test_no_template_has_inline_code_or_fetches_from_another_host():
    for path in (BASE / "templates").rglob("*.html"):
        text = path.read_text()
        # Mail programs read no stylesheet.
        inline = r"<style|\son[a-z]+=\"|javascript:" + ("" if path.parent.name == "mail" else r"|\sstyle=")
        assert not re.search(inline, text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        assert not re.search(r"(src|<link[^>]*href|action)=\"(https?:)?//", text), path


def test_stylesheet_and_scripts_fetch_nothing_from_another_host():
    for path in [*(BASE / "static/css").glob("*.css"), *(BASE / "static/js").glob("*.js")]:
        assert not re.search(r"url\(['\"]?(https?:)?//|@import|fetch\(['\"]https?:", path.read_text()), path


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_toolkits_models_are_swapped_in_the_very_first_migrations():
    loader = MigrationLoader(None)
    for name, app, model in (
        ("OAUTH2_PROVIDER_APPLICATION_MODEL", "credentials", "client"),
        ("OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL", "consent", "accesstoken"),
        ("OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL", "consent", "refreshtoken"),
        ("OAUTH2_PROVIDER_GRANT_MODEL", "consent", "authorizationcode"),
    ):
        assert apps.get_model(getattr(settings, name))._meta.label_lower == f"{app}.{model}"
        first = loader.get_migration(app, "0001_initial")
        assert model in {operation.name.lower() for operation in first.operations if hasattr(operation, "fields")}


def patterns(resolver=None, prefix=""):
    """Yield (address, pattern) of every URL."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if hasattr(pattern, "url_patterns"):
            yield from patterns(pattern, prefix + str(pattern.pattern))
        else:
            yield prefix + str(pattern.pattern), pattern


def addresses():
    return ((address, pattern.callback) for address, pattern in patterns())


def test_none_of_the_toolkits_own_pages_is_served():
    """They would delete and register clients, and list tokens."""
    for address, view in addresses():
        assert not view.__module__.startswith("oauth2_provider"), address


def test_views_say_what_their_urls_give_them():
    """Each parameter has the type of its converter, and who may be signed out is no SignedInRequest."""
    kinds = {"UUIDConverter": UUID, "IntConverter": int}
    wrong = []
    for _address, pattern in patterns():
        view = inspect.unwrap(pattern.callback)
        if view.__module__.split(".")[0] not in {app.split(".")[0] for app in APPS}:
            continue
        says = inspect.get_annotations(view)
        for name, converter in getattr(pattern.pattern, "converters", {}).items():
            # A decorator may replace a parameter by what it stands for.
            if name in says and says[name] != kinds.get(type(converter).__name__, str):
                wrong.append(f"{view.__module__}.{view.__name__}: {name}")
        is_public = not getattr(pattern.callback, "login_required", True)
        if is_public and says.get("request") is SignedInRequest:
            wrong.append(f"{view.__module__}.{view.__name__}: request")
    assert not wrong


def test_the_top_level_holds_what_the_readme_names():
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=BASE, capture_output=True, text=True, check=True).stdout.split()
    top = {name.split("/")[0] for name in listed}
    assert top == {
        ".ci", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "README.md",
        "SECURITY.md", "consent", "credentials", "docs", "manage.py", "marketplace", "portal", "pyproject.toml",
        "requirements-gateways.txt", "requirements.txt", "static", "templates", "tests",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "least"), [("requirements.txt", 30), ("requirements-gateways.txt", 3)])
def test_the_lock_files_have_hashes_and_no_address(name, least):
    text = (BASE / name).read_text()
    assert "://" not in text and "--index-url" not in text
    pinned = re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,]+\])?==", text, re.M | re.I)
    assert len(pinned) >= least and text.count("--hash=sha256:") >= len(pinned)


@pytest.mark.parametrize("folder", ["tests/load/node", "tests/postman"])
def test_the_lock_files_of_node_packages_have_hashes_and_no_address(folder):
    text = (BASE / folder / "package-lock.json").read_text()
    assert "://" not in text
    assert text.count('"integrity": "sha512-') == text.count('"version": ') >= 30


def test_every_function_that_the_readme_names_exists():
    """What the README claims, a test holds."""
    from importlib import import_module

    readme = (BASE / "README.md").read_text()
    table = readme[readme.index("| step |") : readme.index("The one place")]
    named = 0
    for row in table.splitlines()[2:]:
        here = None
        for name in re.findall(r"`([\w.]+)`", row.split("|")[4]) if row.count("|") > 4 else []:
            here = name.rpartition(".")[0] or here
            assert hasattr(import_module(here), name.rpartition(".")[2]), name
            named += 1
    assert named > 25
