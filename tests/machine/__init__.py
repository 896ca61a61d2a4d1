import pytest

pytest.register_assert_rewrite("tests.machine.truth", "tests.machine.world")
