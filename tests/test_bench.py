"""What of `make bench` and `make bench-pages` can be held without running them."""

import json

from tests.load import audit, npm, pgbench_scripts, rows


def test_every_ratio_of_the_bench_has_a_bound():
    assert {row.name for row in rows.BENCH} <= rows.AT_LEAST.keys()
    assert rows.missed({"code_vs_toolkit_fast": 3.9, "uninstall_1m_seconds": 0.2, "limits_on_vs_off": 0.7}) == [
        "code_vs_toolkit_fast is 3.9, below 4",
        "uninstall_1m_seconds is 0.2, above 0.1",
    ]


def test_pgbench_runs_the_fast_lanes_own_statements():
    for script in (pgbench_scripts.check(), pgbench_scripts.refresh()):
        assert "FROM bench_drawn WHERE number = :number" in script and "%(" not in script


def test_npms_packages_are_pinned_by_hash_and_from_no_named_registry():
    for folder in npm.FOLDERS:
        text = (folder / "package-lock.json").read_text()
        packages = json.loads(text)["packages"]
        assert all(package["integrity"].startswith("sha512-") for name, package in packages.items() if name)
        assert "resolved" not in text


def test_an_audited_page_must_be_quick_accessible_light_and_still():
    good = {"performance": 95, "accessibility": 95, "best-practices": 95, "shift": 0, "bytes": 150_000, "failed": []}
    bad = {"performance": 94, "accessibility": 94, "best-practices": 94, "shift": 0.01, "bytes": 150_001, "failed": []}
    assert [*audit.problems({"home": good})] == []
    assert len([*audit.problems({"home": bad})]) == 5
