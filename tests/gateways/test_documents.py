"""The page on gateways shows the configurations that the tests run."""

import importlib.util

from tests.gateways.serving import FILES, SHIPPED

spec = importlib.util.spec_from_file_location("generate", SHIPPED / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)


def test_the_page_on_gateways_shows_the_files_that_are_shipped():
    text = (SHIPPED / "README.md").read_text()
    assert generate.page(text) == text, "run `make docs`"
    assert all((SHIPPED / name).read_text() in text for name in FILES.values())
