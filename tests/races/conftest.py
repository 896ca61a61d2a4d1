"""The stage of the races, and actors to play on it. Building its world takes seconds, so all modules here share one."""

import pytest

from tests.races.pauses import Actor
from tests.races.stage import Stage
from tests.races.world import There


@pytest.fixture(scope="package")
def transactional_db(django_db_setup, django_db_blocker):
    """The database is restored after each race, and flushed after the last module that runs in a row."""
    with django_db_blocker.unblock(), Stage() as stage:
        yield stage


@pytest.fixture(scope="package")
def stage(transactional_db):
    return transactional_db


@pytest.fixture
def served(stage, servers):
    """The stage, with apps that ask two server processes."""
    stage.world.there = There(servers)
    yield stage
    stage.world.there = None


@pytest.fixture(scope="package")
def actors(stage):
    actors = Actor(), Actor()
    yield actors
    for actor in actors:
        actor.leave()
