"""The checker finds what is wrong in a record and lets pass what is right, and `make faults` says what it leaves out."""

import argparse
import ast
import inspect

import pytest

from portal.celery import app
from tests.faults import checker
from tests.faults.__main__ import choose
from tests.faults.table import FAULTS, Fault, nothing
from tests.faults.tasks import PLACES

TOKEN, FAMILY = "token 1", "family 1"


def answer(ask, at, verdict="accepted", *, took=0.1, **more):
    """A line of a request that was sent at `at` seconds."""
    writes = ask not in ("check", "page")
    line = {"kind": "answer", "fault": "one", "who": "somebody", "ask": ask, "needs": [], "ends": [], "starts": {}}
    status = {"accepted": 200, "refused": 401, "failed": 503}.get(verdict)
    return {**line, "status": status, "retry_after": "2", "error": "reset", "writes": writes, "verdict": verdict, "sent": at, "received": at + took, **more}  # fmt: skip


def issue(at=0, seconds=1800):
    return answer("refresh", at, starts={TOKEN: seconds, FAMILY: None})


def check(at, verdict="accepted", **more):
    return answer("check", at, verdict, needs=[TOKEN, FAMILY], **more)


def end(at, verdict="accepted", **more):
    return answer("revoke", at, verdict, ends=[FAMILY], **more)


def judged(*lines, cuts=False, **more):
    """Return how many answers of each class there are, without zeros, and why some are wrong."""
    fault = {"kind": "fault", "fault": "one", "begun": 0, "ended": 100, "cuts": cuts}
    (row,) = checker.judge([*lines, fault], **more)
    return {kind: count for kind, count in row.answers.items() if count}, [each["why"] for each in row.wrong]


def test_a_token_accepted_after_its_end_was_acknowledged_is_wrong():
    assert judged(issue(), check(1), end(2), check(3, "refused")) == ({"ok": 3, "refused": 1}, [])
    assert judged(issue(), end(2), check(3)) == ({"ok": 2, "wrong": 1}, ["accepted although over: family 1"])


def test_while_an_end_is_under_way_either_answer_is_right():
    for verdict in ("accepted", "refused"):
        assert judged(issue(), end(2, took=1), check(2.5, verdict))[1] == []


def test_a_token_refused_although_nothing_ended_it_is_wrong():
    assert judged(issue(), check(1, "refused")) == ({"ok": 1, "wrong": 1}, ["refused although all it needs is good"])
    assert judged(issue(), end(1, "refused"), check(2, "refused"))[1], "a refused end ends nothing"
    assert judged(check(1, "refused"), issue(2))[1] == [], "it was told only later"


@pytest.mark.parametrize("verdict", ["failed", "lost"])
def test_after_an_end_of_unknown_outcome_either_answer_is_right_but_no_token_comes_back(verdict):
    unknown = issue(), end(2, verdict)
    assert judged(*unknown, check(3), check(4), cuts=True) == ({"ok": 3, "unknown": 1}, [])
    assert judged(*unknown, check(3), check(4, "refused"), check(5, "refused"), cuts=True)[1] == []
    assert judged(*unknown, check(3, "refused"), check(4), cuts=True)[1] == ["accepted although over: token 1"]


def test_a_token_ends_when_it_expires():
    assert judged(issue(seconds=60), check(30), check(70, "refused")) == ({"ok": 2, "refused": 1}, [])
    assert judged(issue(seconds=60), check(70))[1] == ["accepted although over: token 1"]


def test_a_503_is_clean_or_of_a_write_unknown():
    assert judged(issue(), check(1, "failed"), end(2, "failed")) == ({"ok": 1, "failed cleanly": 1, "unknown": 1}, [])


@pytest.mark.parametrize(
    "more", [{"retry_after": None}, {"status": 500}, {"status": 502}, {"status": 429}, {"took": 5.1}], ids=str
)
def test_any_other_failure_is_wrong(more):
    assert judged(check(1, "failed", **more))[0] == {"wrong": 1}


def test_an_answer_after_fifteen_seconds_is_wrong_unless_the_machine_may_be_busy():
    assert judged(issue(), check(1, took=14.9))[1] == []
    assert judged(issue(), check(1, took=15.1))[1] == ["answered after 15.1 s"]
    assert judged(issue(), check(1, took=15.1), slack=2)[1] == []


def test_a_connection_may_be_lost_only_to_a_process_that_was_killed():
    assert judged(check(1, "lost"), cuts=True) == ({"unknown": 1}, [])
    assert judged(check(1, "lost"))[1] == ["no answer after 0.1 s: reset"]
    assert judged(check(1, "lost", took=40), cuts=True)[1] == ["no answer after 40.0 s: reset"]


def test_what_is_unfinished_after_two_sweeps_is_wrong():
    def audit(sweeps, left):
        return {"kind": "audit", "fault": "one", "sweeps": sweeps, "unfinished": {"mails": left}}

    assert judged(audit(2, 0))[1] == []
    assert judged(audit(3, 1))[1] == ["unfinished after 3 sweeps: 1 mails"]
    assert judged(audit(1, 0))[1] == ["only 1 sweeps ran"]


def test_what_was_acknowledged_and_is_lost_is_wrong():
    installed = answer("install", 0, starts={"pk 7": None})
    uninstalled = answer("uninstall", 1, ends=["pk 7"])

    def facts(*events, uninstalled=False, broken=()):
        known = {"uninstalled": uninstalled, "entries": dict.fromkeys(events, 1)}
        return {"kind": "facts", "installations": {"7": known} if events else {}, "broken": broken}

    both = "installation.installed", "installation.uninstalled"
    assert (
        judged(installed, facts(*both[:1]))[1]
        == judged(installed, uninstalled, facts(*both, uninstalled=True))[1]
        == []
    )
    assert judged(installed, facts())[1] == ["an acknowledged installation is lost"]
    assert judged(installed, uninstalled, facts(*both[:1]))[1] == ["an acknowledged uninstallation is lost"]
    assert judged(installed, facts(*both, uninstalled=True))[1] == ["an installation ended that nobody uninstalled"]
    assert len(judged(installed, uninstalled, facts(*both[:1], uninstalled=True))[1]) == 1, "the ledger does not know"
    assert judged(installed, facts(*both[:1], broken=["counted twice"]))[1] == ["counted twice"]


def test_the_checker_shares_no_code_with_the_portal():
    nodes = ast.walk(ast.parse(inspect.getsource(checker)))
    assert {node.module for node in nodes if isinstance(node, ast.ImportFrom)} == {"collections", "dataclasses"}


def test_a_worker_is_killed_in_every_task_there_is():
    app.loader.import_default_modules()
    assert {name for name in app.tasks if not name.startswith("celery.")} == {*PLACES}


def asked(only=None, without=()):
    return argparse.Namespace(only=only, without=without)


def test_a_missing_program_is_named_and_its_row_left_out_only_when_asked():
    needy, other = Fault("clocks", nothing, needs="no-such-program"), Fault("none", nothing)
    with pytest.raises(SystemExit, match="Missing: no-such-program"):
        choose(asked(), [needy, other])
    assert choose(asked(without=["no-such-program"]), [needy, other]) == (
        [other],
        {"clocks": "--without no-such-program"},
    )
    assert choose(asked(only=["none"]), [needy, other]) == ([other], {})
    with pytest.raises(SystemExit, match="No such fault"):
        choose(asked(only=["nothing"]), FAULTS)
