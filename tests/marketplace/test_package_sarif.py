"""A report as SARIF 2.1.0, by the command and by the API; the rules are those of the published schema."""

import json
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from marketplace.package.checking import check_archive
from marketplace.package.facts import Facts
from marketplace.package.sarif import as_sarif
from tests import factories
from tests.marketplace.packages import GOOD, as_zip, good
from tests.oauth import basic

pytestmark = pytest.mark.django_db
CHECK = "/api/v1/packages/check"
BROKEN = {**GOOD, "config/requests.json": {"issues": {"schema": {"method": "FETCH", "host": "a b", "path": "x"}}}}


def check_schema(document):
    """The parts of sarif-schema-2.1.0.json that the report uses: required members, enumerations, bounds and references."""
    assert document["version"] == "2.1.0" and document["$schema"].endswith("/sarif-schema-2.1.0.json")
    assert document.keys() <= {"$schema", "version", "runs"} and len(document["runs"]) == 1
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] and driver["informationUri"].startswith("http")
    rules = [rule["id"] for rule in driver["rules"]]
    assert len({*rules}) == len(rules) and all(rule["shortDescription"]["text"] for rule in driver["rules"])
    for result in run["results"]:
        assert result.keys() == {"ruleId", "ruleIndex", "level", "message", "locations"}
        assert result["level"] in ("none", "note", "warning", "error") and result["message"]["text"]
        assert rules[result["ruleIndex"]] == result["ruleId"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        # A URI reference, relative to the package, as code hosts need it.
        assert re.fullmatch(r"(?!/)[A-Za-z0-9._~!$&'()*+,;=:@/%-]+", place["artifactLocation"]["uri"])
        assert isinstance(place["region"]["startLine"], int) and place["region"]["startLine"] >= 1
        assert all(each["fullyQualifiedName"] for each in location.get("logicalLocations", []))
    return run


@pytest.mark.parametrize(
    "files", [GOOD, BROKEN, {"config/a file é.json": "x"}, {}], ids=["good", "broken", "odd", "empty"]
)
def test_every_report_is_valid_sarif_with_all_its_problems(files):
    report = check_archive(as_zip(files), Facts(None))
    results = check_schema(json.loads(json.dumps(as_sarif(report))))["results"]
    assert [(each["level"], each["message"]["text"]) for each in results] == [
        (problem.level, f"{problem.message} {problem.fix}".strip()) for problem in report.problems
    ]
    assert check_schema(as_sarif(check_archive(b"no zip", Facts(None))))["results"]


def test_a_problem_is_at_its_file_and_line():
    report = check_archive(as_zip(BROKEN), Facts(None))
    problem = next(each for each in report.problems if each.line and each.file == "config/requests.json")
    places = [each["locations"][0] for each in check_schema(as_sarif(report))["results"]]
    assert {
        "physicalLocation": {
            "artifactLocation": {"uri": "config/requests.json"},
            "region": {"startLine": problem.line},
        },
        "logicalLocations": [{"fullyQualifiedName": problem.pointer}],
    } in places


def test_the_command_writes_sarif_beside_what_it_prints(tmp_path, capsys):
    package, report = tmp_path / "app.zip", tmp_path / "app.sarif"
    package.write_bytes(as_zip(BROKEN))
    with pytest.raises(SystemExit):
        call_command("check_package", str(package), "--sarif", str(report), "--json")
    told = json.loads(capsys.readouterr().out)
    assert len(check_schema(json.loads(report.read_text()))["results"]) == len(told["problems"])
    with pytest.raises(CommandError) as refused:
        call_command("check_package", str(package), "--sarif", str(tmp_path / "no/such/folder.sarif"))
    assert refused.value.returncode == 2 and "folder.sarif" in str(refused.value)
    assert Path(report).exists()


def test_the_api_answers_sarif_where_that_is_asked_for(cast, client):
    row, secret = factories.client(cast.dev)
    who = basic(row.client_id, secret)

    def ask(files, accept):
        return client.post(CHECK, as_zip(files), content_type="application/zip", headers={"Accept": accept}, **who)

    for accept in ("application/sarif+json", "application/sarif+json, application/json;q=0.5"):
        answer = ask(BROKEN, accept)
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/sarif+json")
        assert "Accept" in answer["Vary"] and check_schema(answer.json())["results"]
    for accept in ("*/*", "application/json", "text/html", "application/json, application/sarif+json;q=0.5"):
        answer = ask(good(row), accept)
        assert answer["Content-Type"] == "application/json" and answer.json()["valid"]
    refused = client.post(CHECK, b"", content_type="application/zip", headers={"Accept": "application/sarif+json"})
    assert (refused.status_code, refused["Content-Type"]) == (401, "application/json")
