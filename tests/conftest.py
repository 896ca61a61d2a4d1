"""The cast: who takes part in the story."""

from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.db import transaction

from credentials.models import Kind, Level
from marketplace.actions import installing
from tests import descriptions, factories, laning, pressing  # noqa: F401
from tests.factories import EDIT, VIEW
from tests.oauth import AppSide
from tests.people.world import World
from tests.servers import Server, start_worker
from tests.vendors import vendors_of_this_run
from tests.worlds import (  # noqa: F401 (hooks, and a fixture)
    WORLDS,
    own_worlds,
    pytest_collection_modifyitems,
    pytest_fixture_setup,
    pytest_runtest_setup,
    shared,
    signed_in,
)

descriptions.watch()


@shared
def cast():
    """A developer, an account with an admin and two agents, another account with its own."""
    factories.product()
    acme, globex = factories.account("acme"), factories.account("globex")
    return SimpleNamespace(
        dev=factories.person("Dev"),
        other_dev=factories.person("Otto"),
        acme=acme,
        globex=globex,
        admin=factories.member(acme, "admin", "Ada"),
        agent=factories.member(acme, "agent", "Axel"),
        agent2=factories.member(acme, "agent", "Ana"),
        globex_admin=factories.member(globex, "admin", "Gus"),
        globex_agent=factories.member(globex, "agent", "Gia"),
    )


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker):
    """Two tenants with everybody, for a module whose tests roll back their changes."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        WORLDS.leave()
        transaction.set_rollback(True)


@pytest.fixture
def browse():
    """A function that gives a browser signed in as somebody."""
    return signed_in


def _side(cast, client, **more):
    return AppSide(client, *factories.client(cast.dev, **more))


@shared
def external(cast, client):
    """An external, account-level app."""
    return _side(cast, client, kind=Kind.EXTERNAL)


@shared
def external_agent(cast, client):
    return _side(cast, client, kind=Kind.EXTERNAL, level=Level.AGENT)


@shared
def installed(cast, client):
    """A published, account-level platform app, installed in Acme."""
    side = _side(cast, client)
    side.version = factories.publish(
        factories.app(
            cast.dev,
            side.client,
            required_scopes=[VIEW],
            optional_scopes=[EDIT],
            install_url="https://app.example/install",
        ),
        cast.dev,
    )
    side.installation = installing.install(side.version.app, cast.acme, by=cast.admin)
    return side


@shared
def used(installed, browse, cast):
    """Two authorizations, one of them refreshed, and a code that nobody exchanged."""
    for _number in range(2):
        installed.tokens = installed.tokens_for(browse(cast.admin), account=cast.acme.slug)
    installed.tokens = installed.refresh(installed.tokens["refresh_token"]).json()
    installed.code_for(browse(cast.admin), account=cast.acme.slug)
    return installed


@shared
def installed_agent(cast, client):
    """A published, agent-level platform app, installed in Acme."""
    side = _side(cast, client, level=Level.AGENT)
    side.version = factories.publish(
        factories.app(cast.dev, side.client, required_scopes=[VIEW], install_url="https://app.example/install"),
        cast.dev,
    )
    side.installation = installing.install(side.version.app, cast.acme, by=cast.admin)
    return side


@pytest.fixture
def worker(transactional_db):
    """A Celery worker on this test's database and Redis."""
    process = start_worker()
    yield process
    process.terminate()
    process.wait(180)


@pytest.fixture(scope="session")
def _servers(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        servers = [Server(), Server()]
        for server in servers:
            server.wait()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def servers(transactional_db, _servers):
    """Two server processes on this test's database, with warm caches from the second test on."""
    return _servers


@pytest.fixture(scope="session")
def _vendors():
    yield vendors_of_this_run()
    for vendor in vendors_of_this_run():
        vendor.stop()


@pytest.fixture
def vendors(_vendors):
    """Two example vendors, reset as if newly started."""
    for vendor in _vendors:
        vendor.reset()
    return _vendors


@pytest.fixture
def limited(settings):
    """Turn on rate limits, which are off since all tests share one address."""
    settings.LIMITS_ARE_ON = True
    cache.clear()
    yield
    # The servers that tests share always have limits, and count in the same Redis.
    cache.clear()
