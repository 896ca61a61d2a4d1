"""What of `make bench` can be held without running it."""

from tests.load import pgbench_scripts, rows


def test_every_ratio_of_the_bench_has_a_bound():
    assert {row.name for row in rows.BENCH} <= rows.AT_LEAST.keys()
    assert rows.missed({"code_vs_toolkit_fast": 3.9, "uninstall_1m_seconds": 0.2, "limits_on_vs_off": 0.7}) == [
        "code_vs_toolkit_fast is 3.9, below 4",
        "uninstall_1m_seconds is 0.2, above 0.1",
    ]


def test_pgbench_runs_the_fast_lanes_own_statements():
    for script in (pgbench_scripts.check(), pgbench_scripts.refresh()):
        assert "FROM bench_drawn WHERE number = :number" in script and "%(" not in script
