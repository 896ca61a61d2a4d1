"""The stage of a module's races, and actors to play on it."""

import pytest

from tests.races.pauses import Actor
from tests.races.stage import Stage
from tests.races.world import There


@pytest.fixture(scope="module")
def transactional_db(django_db_setup, django_db_blocker):
    """The database is flushed after a module, and restored after each race."""
    with django_db_blocker.unblock(), Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def stage(transactional_db):
    return transactional_db


@pytest.fixture
def served(stage, servers):
    """The stage, with apps that ask two server processes."""
    stage.world.there = There(servers)
    yield stage
    stage.world.there = None


@pytest.fixture(scope="module")
def actors(stage):
    actors = Actor(), Actor()
    yield actors
    for actor in actors:
        actor.leave()
