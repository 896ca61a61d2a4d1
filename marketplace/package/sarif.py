"""A report as SARIF 2.1.0, in which code hosts show problems at their lines."""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from django.conf import settings

from .overlooked import FILES
from .problems import Problem, Report

MEDIA_TYPE = "application/sarif+json"
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# Code hosts show only what has a place; what is about the whole package is shown here.
_WHOLE = FILES[0]


def as_sarif(report: Report) -> dict[str, Any]:
    rules = sorted({_rule_of(problem) for problem in report.problems})
    driver = {
        "name": "App Management Portal",
        "informationUri": settings.BASE_URL,
        "rules": [{"id": name, "shortDescription": {"text": f"Problems in {name}"}} for name in rules],
    }
    results = [_result(problem, rules.index(_rule_of(problem))) for problem in report.problems]
    run = {"tool": {"driver": driver}, "invocations": [{"executionSuccessful": True}], "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule_of(problem: Problem) -> str:
    return PurePosixPath(problem.file or "package").name


def _result(problem: Problem, rule: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(problem.file or _WHOLE)}}
    place["region"] = {"startLine": problem.line or 1}
    location: dict[str, Any] = {"physicalLocation": place}
    if problem.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.pointer}]
    return {
        "ruleId": _rule_of(problem),
        "ruleIndex": rule,
        "level": problem.level,
        "message": {"text": f"{problem.message} {problem.fix}".strip()},
        "locations": [location],
    }
