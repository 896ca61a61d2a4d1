"""Headless Chromium on a live server with the demo's data. With SCREENSHOTS=1 pictures go to var/screenshots/."""

import contextlib
import json
import os
import re
from collections import defaultdict
from io import StringIO
from types import SimpleNamespace

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from playwright.sync_api import Error, sync_playwright

from marketplace.actions import publishing
from marketplace.models import App, Status
from portal.accounts.models import Account, User
from tests.backend.base import filled, unguarded
from tests.factories import version_fields
from tests.marketplace.connected import installed_with_vendors
from tests.oauth import sign_in

from .looking import WIDTHS, Look, chromium_path

# In milliseconds. A page that takes minutes is not coming.
PATIENCE = 180_000
WIDE = {"width": WIDTHS["wide"], "height": 900}
# A page lives too short for its scripts to be optimized.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--js-flags=--single-threaded --no-opt"]  # fmt: skip


@pytest.fixture(scope="session")
def chromium():
    # Playwright's loop makes Django take this thread for an asynchronous one.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield browser
        browser.close()


class Windows:
    """Browser windows. A used one is handed out again, since a new one reads and compiles all scripts and styles anew."""

    def __init__(self, browser):
        self.browser, self.unused, self.kinds = browser, defaultdict(list), {}

    def open(self, *, axe=False, **options):
        """Return the page of a window that knows nobody; `axe` puts axe into each page."""
        kind = (axe, *sorted(options.items()))
        if self.unused[kind]:
            return self.unused[kind].pop()
        context = self.browser.new_context(viewport=WIDE, **options)
        if axe:
            context.add_init_script(AXE_SCRIPT)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        self.kinds[page] = kind
        return page

    def give_back(self, page, home):
        """Forget who used the window and what it showed."""
        for other in page.context.pages:
            if other is not page:
                other.close()
        kind = self.kinds[page]
        page.unroute_all()
        page.context.clear_cookies()
        page.emulate_media(color_scheme=dict(kind[1:]).get("color_scheme", "light"))
        page.set_viewport_size(WIDE)
        # Of the same site, so that the process stays.
        page.goto(f"{home}/static/img/icon.svg")
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self.unused[kind].append(page)


@pytest.fixture(scope="session")
def windows(chromium):
    return Windows(chromium)


# The columns of tables that are not generated.
WRITTEN = """
SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_schema = 'public' AND is_generated = 'NEVER' AND table_name = ANY (%s) GROUP BY 1
"""


class Seeded:
    """The demo as first seeded. Restoring its rows for each test is ten times as quick as seeding."""

    told = None

    def seed(self):
        out = StringIO()
        call_command("seed_demo", "--json", stdout=out)
        self.told = out.getvalue()
        with connection.cursor() as cursor:
            self.tables = filled(cursor)
            cursor.execute(WRITTEN, [self.tables])
            columns = dict(cursor.fetchall())
            copies = (
                f"CREATE TABLE seeded.{table} AS SELECT {columns[table]} FROM public.{table}" for table in self.tables
            )
            cursor.execute("; ".join(["CREATE SCHEMA seeded", *copies]))
            self.restore = "; ".join(
                f"INSERT INTO public.{table} ({columns[table]}) TABLE seeded.{table}" for table in self.tables
            )

    def put_back(self):
        with transaction.atomic(), connection.cursor() as cursor, unguarded(cursor, self.tables):
            cursor.execute(self.restore)


@pytest.fixture(scope="session")
def seeded():
    return Seeded()


@pytest.fixture
def demo(transactional_db, live_server, settings, seeded):
    """The demo's people and apps, as `seed_demo --json` prints them, and the address of the portal."""
    settings.BASE_URL = live_server.url
    seeded.put_back() if seeded.told else seeded.seed()
    told = json.loads(seeded.told)
    told["url"] = live_server.url
    told["by_name"] = {client["name"]: client for client in told["clients"]}
    return told


def shoot(page, name):
    """The page must not scroll sideways when it is narrow. Take pictures at both widths if somebody wants them."""
    folder = django_settings.VAR / "screenshots"
    # A click returns once the next page has begun to load.
    page.wait_for_load_state()
    for label, width in reversed(WIDTHS.items()):
        page.set_viewport_size({"width": width, "height": 900})
        if label == "narrow":
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} scrolls sideways at {width} pixels"
        if os.environ.get("SCREENSHOTS"):
            page.screenshot(path=folder / f"{name}-{label}.png", full_page=True)


class Person:
    """A person at a browser window, signed in through the form or by a cookie."""

    def __init__(self, page, demo, email, *, by_form=False):
        self.page, self.context, self.demo = page, page.context, demo
        # Where a page may fetch from.
        self.welcome = (demo["url"], "data:", "http://127.0.0.1:9000/")
        self.outside = []
        self.page.on("request", self._note)
        if not by_form:
            browser = Client()
            sign_in(browser, User.objects.get(email=email))
            session = browser.cookies["sessionid"].value
            self.context.add_cookies([{"name": "sessionid", "value": session, "url": demo["url"]}])
            return
        password = next(person["password"] for person in demo["people"] if person["email"] == email)
        self.open("/accounts/login/")
        self.page.fill("[name=login]", email)
        self.page.fill("[name=password]", password)
        self.page.click("main button[type=submit]")
        self.page.wait_for_url(f"{demo['url']}/")

    def _note(self, request):
        if not request.url.startswith(self.welcome):
            self.outside.append(request.url)

    def open(self, path):
        self.page.goto(path if path.startswith("http") else self.demo["url"] + path)

    def press(self, name, exact=True):
        main = self.page.locator("main")
        target = main.get_by_role("button", name=name, exact=exact).or_(
            main.get_by_role("link", name=name, exact=exact)
        )
        target.first.click()

    def shoot(self, name):
        shoot(self.page, name)

    def is_sent_to(self, address, act):
        """Do something that redirects to an app, and return the URL called; no app needs to answer."""
        with self.page.expect_request(f"{address}**") as sent, contextlib.suppress(Error):
            act()
        # Chromium's error page is still loading, and would replace a page opened meanwhile.
        with contextlib.suppress(Error):
            self.page.wait_for_url(re.compile(f"^(chrome-error:|{re.escape(address)})"), wait_until="commit")
        return sent.value.url

    def sees(self, text):
        self.page.get_by_text(text).first.wait_for()


@pytest.fixture
def window(windows, live_server):
    """A function that opens a window, which is given back after the test."""
    opened = []

    def begin(**options):
        opened.append(windows.open(base_url=live_server.url, **options))
        return opened[-1]

    yield begin
    for page in opened:
        windows.give_back(page, live_server.url)


@pytest.fixture
def sit_down(window, demo):
    """A function that returns a Person. None of them may fetch anything from another host."""
    people = []

    def begin(email, *, javascript=True, by_form=False, **options):
        people.append(Person(window(java_script_enabled=javascript, **options), demo, email, by_form=by_form))
        return people[-1]

    yield begin
    for person in people:
        person.page.remove_listener("request", person._note)
    assert [person.outside for person in people if person.outside] == []


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.soak)], ids=["new pages", "every page"])
def look(request):
    """Looks at pages for a test marked with @covers, which must see all that it lists and no problem."""
    looking = Look(at_every_page=request.param)
    yield looking
    assert not looking.problems, "\n".join(looking.problems)
    assert request.function.covers <= looking.seen, f"never seen: {request.function.covers - looking.seen}"


@pytest.fixture
def calm(sit_down):
    """Like sit_down, but with axe, and without animation, so that no colour is measured during a transition."""
    return lambda email: sit_down(email, axe=True, reduced_motion="reduce")


@pytest.fixture
def stranger(window, demo):
    """A page of somebody who is not signed in."""
    return window(java_script_enabled=True, axe=True, reduced_motion="reduce")


@pytest.fixture
def board(demo):
    """A developer's app on credentials of the demo, hosted, whose 1.0 is in the marketplace."""
    dev, reviewer = (User.objects.get(email=email) for email in ("dev@example.com", "reviewer@example.com"))
    insights = App.objects.get(slug="ticket-insights")

    class Board:
        app = insights

        def approved(self, number, required, optional=()):
            fields = version_fields(
                number,
                name="Ticket Insights",
                required_scopes=[f"freshservice.tickets.{name}" for name in required],
                optional_scopes=[f"freshservice.tickets.{name}" for name in optional],
            )
            draft = publishing.submit_version(publishing.create_version(self.app, by=dev, **fields), by=dev)
            return publishing.approve_version(draft, by=reviewer)

        def published(self, *asked):
            return publishing.publish_version(self.approved(*asked), by=dev)

    # The demo's own versions make room.
    for version in insights.versions.filter(status=Status.PUBLISHED):
        publishing.withdraw_version(version, reason="Room for this story", by=dev)
    return Board()


@pytest.fixture
def planner(demo, vendors):
    """An app with two vendors, installed in the demo's Acme."""
    dev, admin = (User.objects.get(email=email) for email in ("dev@example.com", "admin@acme.example"))
    cast = SimpleNamespace(dev=dev, acme=Account.objects.get(slug="acme"), admin=admin)
    return installed_with_vendors(cast, vendors)
