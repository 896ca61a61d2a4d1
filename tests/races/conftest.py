"""The stage of a module's races, and actors to play on it."""

import pytest

from tests.races.pauses import Actor
from tests.races.stage import Stage


@pytest.fixture(scope="module")
def transactional_db(django_db_setup, django_db_blocker):
    """Here the database is flushed after a module, and put back after each race."""
    with django_db_blocker.unblock(), Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def stage(transactional_db):
    return transactional_db


@pytest.fixture(scope="module")
def actors(stage):
    actors = Actor(), Actor()
    yield actors
    for actor in actors:
        actor.leave()
