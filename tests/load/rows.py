"""What is measured against what, and how far it may differ.

A side is a server of `servers.py` and a kind of request, which is a file of requests that `fill_*.py` wrote.
"""

from dataclasses import dataclass

Side = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """A ratio: the requests per second of one side divided by those of another."""

    name: str
    side: Side
    beside: Side


# Rows next to each other with the same side are measured in one alternation.
BENCH = [
    Row("refresh_vs_toolkit_fast", ("portal", "refresh"), ("toolkit", "refresh")),
    Row("refresh_vs_node", ("portal", "refresh"), ("node", "refresh")),
    Row("code_vs_toolkit_fast", ("portal", "code"), ("toolkit", "code")),
    Row("client_credentials_vs_toolkit_fast", ("portal", "client_credentials"), ("toolkit", "client_credentials")),
    Row("limits_on_vs_off", ("portal", "client_credentials"), ("unlimited", "client_credentials")),
    Row("introspect_vs_toolkit_fast", ("portal", "introspect"), ("toolkit", "introspect")),
    Row("check_vs_bare_select", ("portal", "check"), ("bare", "select")),
    Row("sandbox_vs_unchecked", ("portal", "sandbox"), ("unchecked", "sandbox")),
    Row("one_account_vs_many", ("agents", "one_account"), ("agents", "many_accounts")),
]
# Upper bounds of what PostgreSQL lets the portal reach: pgbench runs the statements of the fast lane and nothing else.
PGBENCH = [("pgbench", "refresh"), ("pgbench", "check")]
# The worst of these is `large_vs_small`.
LARGE = [
    Row(f"large_{what}_vs_small", ("large", what), ("portal", what))
    for what in ("refresh", "code", "client_credentials", "introspect", "check", "sandbox")
]

AT_LEAST = {
    "refresh_vs_toolkit_fast": 6,
    "refresh_vs_node": 1,
    "client_credentials_vs_toolkit_fast": 3,
    "code_vs_toolkit_fast": 4,
    "introspect_vs_toolkit_fast": 4,
    "check_vs_bare_select": 0.8,
    "sandbox_vs_unchecked": 0.7,
    "large_vs_small": 0.8,
    "one_account_vs_many": 0.8,
    "limits_on_vs_off": 0.7,
    "erase_vs_delete": 0.5,
}
AT_MOST = {"p99_during_erase_vs_quiet": 1.5, "uninstall_1m_seconds": 0.1}


def missed(ratios: dict[str, float]) -> list[str]:
    """Return a sentence for each ratio that misses its bound."""
    low = [
        f"{name} is {ratios[name]}, below {bound}"
        for name, bound in AT_LEAST.items()
        if ratios.get(name, bound) < bound
    ]
    high = [
        f"{name} is {ratios[name]}, above {bound}" for name, bound in AT_MOST.items() if ratios.get(name, 0) > bound
    ]
    return low + high
