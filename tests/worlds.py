"""Worlds that tests share.

A fixture made with @shared is built once for the tests that follow each other, inside a transaction that is never
committed. Each test gets a copy of its value, and a savepoint that takes back whatever the test does. A test with
connections of its own needs committed rows, so it has the same fixture built for itself.
"""

import copy
import inspect
import time
from dataclasses import dataclass, field
from functools import wraps

import pytest
from django.db import connection, transaction
from django.test import Client

from tests.vendors import vendors_of_this_run

# In seconds. A world must be fresh, since a code in it lives for a minute.
FRESH_FOR = 20
_COMMITS = {"transactional_db", "live_server", "django_db_reset_sequences", "django_db_serialized_rollback"}


def signed_in(user):
    """A browser of this person's."""
    from tests.oauth import sign_in

    browser = Client()
    sign_in(browser, user)
    return browser


# What a world may be built with besides other worlds.
_HELPERS = {"client": Client, "browse": lambda: signed_in, "vendors": vendors_of_this_run}


def _copied_browser(self, memo):
    twin = Client(enforce_csrf_checks=self.handler.enforce_csrf_checks)
    twin.cookies = copy.deepcopy(self.cookies, memo)
    return twin


Client.__deepcopy__ = _copied_browser


@dataclass
class Level:
    """One world on top of others: its transaction, and the values of all up to here."""

    build: object
    atomic: transaction.Atomic
    values: dict
    built_at: float = field(default_factory=time.monotonic)


class Worlds:
    """The worlds that are built just now, each inside the one before."""

    def __init__(self):
        self.levels, self.of_this_test = [], None

    def keep(self, chain):
        """Take back what is no part of this chain, and what is no longer fresh."""
        same = 0
        for level, build in zip(self.levels, chain, strict=False):
            if level.build is not build or time.monotonic() - level.built_at > FRESH_FOR:
                break
            same += 1
        while len(self.levels) > same:
            atomic = self.levels.pop().atomic
            transaction.set_rollback(True)
            atomic.__exit__(None, None, None)

    def build(self, chain):
        try:
            self._build(chain)
        except BaseException:
            self.leave()
            raise

    def _build(self, chain):
        self.keep(chain)
        for build in chain[len(self.levels) :]:
            atomic = transaction.atomic()
            # As Django marks those that it opens around a test.
            atomic._from_testcase = True
            atomic.__enter__()
            values = copy.deepcopy(self.levels[-1].values) if self.levels else {}
            self.levels.append(Level(build, atomic, values))
            given = {name: values[name] if name in values else _HELPERS[name]() for name in _parameters(build)}
            values[build.__name__] = build(**given)
            # Or each test would check the rows of the world again.
            connection.check_constraints()
        self.of_this_test = copy.deepcopy(self.levels[-1].values) if self.levels else None

    def leave(self):
        self.of_this_test = None
        self.keep([])


WORLDS = Worlds()


def _parameters(build):
    return list(inspect.signature(build).parameters)


def shared(build):
    """Make a fixture of a function whose parameters are other worlds, `client`, `browse` or `vendors`."""

    @wraps(build)
    def fixture(request, db, **given):
        if WORLDS.of_this_test and build.__name__ in WORLDS.of_this_test:
            return WORLDS.of_this_test[build.__name__]
        return build(**given)

    names = ["request", "db", *_parameters(build)]
    kind = inspect.Parameter.KEYWORD_ONLY
    fixture.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    fixture.builds = build
    return pytest.fixture(fixture)


def _chain(item):
    """The worlds that a test asks for, each after those that it stands on; none where it needs committed rows."""
    definitions = getattr(item, "_fixtureinfo", None)
    marker = item.get_closest_marker("django_db")
    commits = marker and (marker.kwargs.get("transaction") or marker.args[:1] == (True,))
    if definitions is None or commits or _COMMITS & {*item.fixturenames}:
        return []
    chain = []

    def add(name):
        found = definitions.name2fixturedefs.get(name) or item.session._fixturemanager.getfixturedefs(name, item)
        build = found and getattr(found[-1].func, "builds", None)
        if build and build not in chain:
            for below in _parameters(build):
                add(below)
            chain.append(build)

    # In pytest's own order; then those that the test asks for by a parameter.
    for name in (*item.fixturenames, *_named(item)):
        add(name)
    return chain


def _named(item):
    """The worlds that a test may ask `request` for: the words among its parameters."""
    if "request" not in item._fixtureinfo.argnames or not hasattr(item, "callspec"):
        return []
    return [value for value in item.callspec.params.values() if isinstance(value, str)]


def _commits(item):
    return bool(_COMMITS & {*item.fixturenames})


# --- hooks, for conftest.py ---


def pytest_collection_modifyitems(items):
    """In each file, put tests of the same worlds one after the other, and those that need committed rows last."""
    places = {}
    for item in items:
        places.setdefault(item.nodeid.partition("::")[0], len(places))
    chains = {item: [build.__qualname__ for build in _chain(item)] for item in items}
    files_with_worlds = {item.nodeid.partition("::")[0] for item in items if chains[item]}

    def key(item):
        file = item.nodeid.partition("::")[0]
        return places[file], *((_commits(item), chains[item]) if file in files_with_worlds else (False, []))

    items.sort(key=key)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Take back other worlds before fixtures of a wider scope open transactions of their own."""
    if WORLDS.levels:
        WORLDS.of_this_test = None
        blocker = _blocker(item)
        with blocker.unblock():
            WORLDS.keep(_chain(item))


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    """Build the worlds of a test just before Django opens the savepoint that takes back what the test does."""
    if fixturedef.argname == "_django_db_helper" and (chain := _chain(request.node)):
        with _blocker(request.node).unblock():
            WORLDS.build(chain)


def _blocker(item):
    from pytest_django.plugin import blocking_manager_key

    return item.config.stash[blocking_manager_key]


@pytest.fixture(scope="module", autouse=True)
def own_worlds(request):
    """No world outlives its file."""
    yield
    if WORLDS.levels:
        with _blocker(request.node).unblock():
            WORLDS.leave()
