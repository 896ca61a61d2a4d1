"""Start the tests' servers before Django's settings are loaded. The processes of pytest-xdist inherit their addresses."""

import os

import pytest

from portal.demo import environment
from tests.layers import BASE


# As a wrapper, it begins before pytest-django, which loads the settings in the same hook.
@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests():
    environment.complete_for_tests(BASE / "var" / f"test-{os.getpid()}")
    return (yield)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One process more than there are cores: servers, browsers and killed processes are waited for."""
    return (os.cpu_count() or 1) + 1
