"""What `titanic validate` says, in each of its formats."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console
from typer.testing import Result

from tests.corpus import ODD_ROWS, SECRET, csv_of, line, lines
from tests.named_inputs import Inputs, validate
from titanic_batch.api import validate_file
from titanic_batch.cli import validation_report
from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT, SCHEMA_VERSION
from titanic_batch.runs.options import RejectLimit
from titanic_batch.runs.report import BrokenRow, RuleCount, RunReport

Titanic = Callable[..., Result]

FORMATS = ("text", "json", "junit", "github")
BAD = csv_of(
    lines(1),
    line(2, Sex=f"x{SECRET}"),
    *(line(key, Age=f"{SECRET}.{key}") for key in range(3, 10)),
    line(10, Sex="y", Age="z"),
    b"a,b\n",
)


@pytest.fixture(autouse=True)
def bad_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with two rows of another sex, seven of too great an age, one of no age and one of two fields."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("bad.csv").write_bytes(BAD)
    Path("good.csv").write_bytes(csv_of(lines(1, 2, 3)))
    return tmp_path / "bad.csv"


# Text


def test_text_gives_counts_rules_and_first_rows(titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv")
    assert done.exit_code == 65
    assert done.stdout == (
        "bad.csv: 11 rows, 10 rejected\n"
        "out_of_range Age: 7 rows, first 5 of 7: bad.csv:3, bad.csv:4, bad.csv:5, bad.csv:6, bad.csv:7\n"
        "not_allowed Sex: 2 rows, bad.csv:2, bad.csv:10\n"
        "type Age: 1 row, bad.csv:10\n"
        "wrong_field_count row: 1 row, bad.csv:11\n"
        "failed: 10 of 11 rows rejected, 0 allowed "
        "(out_of_range Age: 7, not_allowed Sex: 2, type Age: 1, wrong_field_count row: 1)\n"
    )
    assert done.stderr == ""


def test_text_of_good_rows_is_one_line(titanic: Titanic) -> None:
    done = titanic("validate", "good.csv")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "good.csv: 3 rows, 0 rejected\n", "")


def test_text_of_rejects_within_the_limit_does_not_speak_of_failure(titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv", "--max-rejects", "10")
    assert done.exit_code == 0
    assert "10 rejected" in done.stdout
    assert "failed" not in done.stdout


def test_headline_names_three_inputs_and_counts_the_others(titanic: Titanic) -> None:
    for number in range(5):
        Path(f"{number}.csv").write_bytes(csv_of(lines(number)))
    done = titanic("validate", *(f"{number}.csv" for number in range(5)))
    assert done.stdout == "0.csv, 1.csv, 2.csv and 2 more: 5 rows, 0 rejected\n"


def test_terminal_gets_a_table_in_which_nothing_is_taken_for_markup() -> None:
    first = [BrokenRow("a[/red]b :smile:.csv", 1, "[bold]x[/nothing]")]
    report = RunReport(["a[/red]b :smile:.csv"], 3, 2, 1, [RuleCount("type", "Age", 1, first)], failure="too [/many]")
    screen = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    screen.print(validation_report.table(report))
    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    assert "a[/red]b :smile:.csv: 3 rows, 1 rejected" in shown
    assert re.search(r"type\s.*Age\s.*1\s.*a\[/red]b :smile:\.csv:1 '\[bold]x\[/nothing]'", shown)
    assert "failed: too [/many]" in shown


# JSON


def test_json_gives_everything_for_machines(titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv", "--format", "json", "--rejects", "rejects.csv")
    assert done.exit_code == 65
    report = json.loads(done.stdout)
    assert report == {
        "format": "titanic-batch validation",
        "version": 1,
        "passed": False,
        "failure": "10 of 11 rows rejected, 0 allowed "
        "(out_of_range Age: 7, not_allowed Sex: 2, type Age: 1, wrong_field_count row: 1)",
        "sources": ["bad.csv"],
        "passed_over": [],
        "rows": 11,
        "accepted": 1,
        "rejected": 10,
        "rules": [
            {
                "rule": "out_of_range",
                "column": "Age",
                "rows": 7,
                "first_rows": [{"source": "bad.csv", "row": row} for row in (3, 4, 5, 6, 7)],
                "first_rows_are_all": False,
            },
            {
                "rule": "not_allowed",
                "column": "Sex",
                "rows": 2,
                "first_rows": [{"source": "bad.csv", "row": row} for row in (2, 10)],
                "first_rows_are_all": True,
            },
            {
                "rule": "type",
                "column": "Age",
                "rows": 1,
                "first_rows": [{"source": "bad.csv", "row": 10}],
                "first_rows_are_all": True,
            },
            {
                "rule": "wrong_field_count",
                "column": None,
                "rows": 1,
                "first_rows": [{"source": "bad.csv", "row": 11}],
                "first_rows_are_all": True,
            },
        ],
        "rejects": "rejects.csv",
        "unreadable_columns": [],
        "schema": {"version": SCHEMA_VERSION, "digest": CONTRACT.digest},
    }


def test_json_of_good_rows_says_so(titanic: Titanic) -> None:
    report = json.loads(titanic("validate", "good.csv", "--format", "json", "--labelled").stdout or "null")
    assert report is None, "a label is missing: nothing is reported"
    report = json.loads(titanic("validate", "good.csv", "--format", "json").stdout)
    assert report["passed"] is True
    assert report["failure"] is report["rejects"] is None
    assert (report["rows"], report["accepted"], report["rejected"], report["rules"]) == (3, 3, 0, [])


def test_json_passes_while_rejects_are_within_the_limit(titanic: Titanic) -> None:
    report = json.loads(titanic("validate", "bad.csv", "--format", "json", "--max-rejects", "99%").stdout)
    assert report["passed"] is True
    assert report["rejected"] == 10
    assert len(report["rules"]) == 4


# JUnit


def junit(report: str) -> tuple[ET.Element, dict[tuple[str | None, str | None], ET.Element]]:
    """Return the only suite of a report, and its cases by class and name."""
    root = ET.fromstring(report)
    assert root.tag == "testsuites"
    (suite,) = root
    cases = {(case.get("classname"), case.get("name")): case for case in suite}
    assert suite.get("tests") == str(len(suite)) == str(len(cases))
    assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
    assert suite.get("errors") == "0"
    return suite, cases


@pytest.mark.parametrize(("contract", "option"), [(CONTRACT, []), (LABELLED_CONTRACT, ["--labelled"])])
def test_junit_has_a_case_for_each_rule(contract: Any, option: list[str], titanic: Titanic) -> None:
    Path("labelled.csv").write_bytes(csv_of(lines(1)).replace(b"Embarked\n", b"Embarked,Survived\n")[:-1] + b",1\n")
    done = titanic("validate", "labelled.csv", "--format", "junit", *option)
    assert done.exit_code == 0
    suite, cases = junit(done.stdout)
    assert set(cases) == {(f"row.{column}" if column else "row", rule) for rule, column in contract.rules()} | {
        ("file", "min_rows")
    }
    assert suite.get("failures") == "0"
    assert all(len(case) == 0 for case in suite)


def test_junit_fails_the_rules_that_rows_break(titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv", "--format", "junit")
    assert done.exit_code == 65
    suite, cases = junit(done.stdout)
    failures = {name: case.find("failure") for name, case in cases.items()}
    broken = {name: failure.get("message") for name, failure in failures.items() if failure is not None}
    assert broken == {
        ("row.Age", "out_of_range"): ("7 rows, first 5 of 7: bad.csv:3, bad.csv:4, bad.csv:5, bad.csv:6, bad.csv:7"),
        ("row.Sex", "not_allowed"): "2 rows, bad.csv:2, bad.csv:10",
        ("row.Age", "type"): "1 row, bad.csv:10",
        ("row", "wrong_field_count"): "1 row, bad.csv:11",
    }
    assert suite.get("failures") == "4"


def test_junit_passes_while_rejects_are_within_the_limit(titanic: Titanic) -> None:
    suite, cases = junit(titanic("validate", "bad.csv", "--format", "junit", "--max-rejects", "10").stdout)
    assert suite.get("failures") == "0"
    assert cases["row.Sex", "not_allowed"].findtext("system-out") == "within the limit: 2 rows, bad.csv:2, bad.csv:10"


def test_junit_fails_a_case_of_its_own_where_rows_are_too_few(titanic: Titanic) -> None:
    done = titanic("validate", "good.csv", "--format", "junit", "--min-rows", "4")
    assert done.exit_code == 65
    suite, cases = junit(done.stdout)
    failure = cases["file", "min_rows"].find("failure")
    assert failure is not None
    assert failure.get("message") == "3 rows, at least 4 expected"
    assert suite.get("failures") == "1"


def test_junit_blames_the_number_of_rows_alone_where_rejects_are_within_the_limit(titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv", "--format", "junit", "--max-rejects", "10", "--min-rows", "12")
    assert done.exit_code == 65
    suite, cases = junit(done.stdout)
    assert cases["file", "min_rows"].find("failure") is not None
    assert cases["row.Sex", "not_allowed"].find("failure") is None
    assert suite.get("failures") == "1"


@pytest.mark.parametrize("name", ['<a> & "b".csv', "a\x01\x1bb.csv", "a\nb.csv", "é\N{BEETLE}.csv", "a\udcffb.csv"])
def test_junit_is_xml_whatever_files_and_values_are_called(name: str, titanic: Titanic) -> None:
    Path(name).write_bytes(csv_of(line(1, Sex='"<x>&\0\x1b]]>\n"'), line(2, Sex=b"\xff")))
    done = titanic("validate", name, "--format", "junit", "--show-values")
    assert done.exit_code == 65
    _, cases = junit(done.stdout)
    failure = cases["row.Sex", "not_allowed"].find("failure")
    assert failure is not None
    shown = "".join(ascii(c)[1:-1] if c in "\x01\x1b\udcff" else c for c in name)
    assert failure.get("message") == f"1 row, {shown}:1 '<x>&\\x00\\x1b]]>\\n'"


# GitHub


def test_github_annotates_the_first_rows_of_each_rule(titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv", "--format", "github")
    assert done.exit_code == 65
    assert done.stdout.splitlines() == [
        *(
            f"::error file=bad.csv,line={row + 1},title=out_of_range Age::row {row} breaks out_of_range ({place} of 7)"
            for place, row in enumerate((3, 4, 5, 6, 7), 1)
        ),
        "::error file=bad.csv,line=3,title=not_allowed Sex::row 2 breaks not_allowed (1 of 2)",
        "::error file=bad.csv,line=11,title=not_allowed Sex::row 10 breaks not_allowed (2 of 2)",
        "::error file=bad.csv,line=11,title=type Age::row 10 breaks type (1 of 1)",
        "::error file=bad.csv,line=12,title=wrong_field_count row::row 11 breaks wrong_field_count (1 of 1)",
        "::error title=titanic validate::10 of 11 rows rejected, 0 allowed "
        "(out_of_range Age: 7, not_allowed Sex: 2, type Age: 1, wrong_field_count row: 1)",
    ]


def test_github_warns_while_rejects_are_within_the_limit_and_is_silent_on_good_rows(titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv", "--format", "github", "--max-rejects", "10")
    assert done.exit_code == 0
    assert {line_.split()[0] for line_ in done.stdout.splitlines()} == {"::warning"}
    assert titanic("validate", "good.csv", "--format", "github").stdout == ""


def test_github_properties_and_messages_are_escaped(titanic: Titanic) -> None:
    name = "a,b:c%d\ne.csv"
    Path(name).write_bytes(csv_of(line(1, Sex='"100%,\r\n::error::x"')))
    done = titanic("validate", name, "--format", "github", "--show-values")
    assert done.stdout.splitlines()[0] == (
        "::error file=a%2Cb%3Ac%25d%0Ae.csv,line=2,title=not_allowed Sex::"
        "row 1 breaks not_allowed '100%25,\\r\\n::error::x' (1 of 1)"
    )
    assert len(done.stdout.splitlines()) == 2


def test_github_appends_to_the_jobs_summary(titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    Path("a|b.csv").write_bytes(csv_of(line(4, Sex="x")))
    assert titanic("validate", "a|b.csv", "--format", "github").exit_code == 65
    assert summary.read_text() == (
        "before\n"
        "### titanic validate\n\n"
        "a|b.csv: 1 rows, 1 rejected (failed: 1 of 1 rows rejected, 0 allowed (not_allowed Sex: 1))\n\n"
        "| rule | column | rows | first rows |\n"
        "| --- | --- | ---: | --- |\n"
        "| not_allowed | Sex | 1 | a\\|b.csv:1 |\n"
    )


def test_summary_of_good_rows_has_no_table(titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    titanic("validate", "good.csv", "--format", "github")
    assert summary.read_text() == "### titanic validate\n\ngood.csv: 3 rows, 0 rejected (passed)\n\n"


@pytest.mark.parametrize("report", ["text", "json", "junit"])
def test_other_formats_leave_the_summary_alone(
    report: str, titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    titanic("validate", "bad.csv", "--format", report)
    assert not (tmp_path / "summary.md").exists()


# Files that are passed over


@pytest.fixture
def named_over(tmp_path: Path) -> str:
    """A folder with one good file and two of other names; how they are named."""
    (tmp_path / "in").mkdir()
    Path("in/good.csv").write_bytes(csv_of(lines(1, 2, 3)))
    for name in ("a|b.txt", "_c.csv"):
        Path("in", name).touch()
    return "2 files passed over: in/_c.csv (leading underscore), in/a|b.txt (unknown suffix)"


def test_every_format_names_what_is_passed_over(titanic: Titanic, named_over: str) -> None:
    shown = {name: titanic("validate", "in", "--format", name) for name in FORMATS}
    assert {done.exit_code for done in shown.values()} == {0}
    assert {done.stderr.partition(": to read one")[0] for done in shown.values()} == {f"titanic: {named_over}"}
    assert shown["text"].stdout == f"in/good.csv: 3 rows, 0 rejected\n{named_over}\n"
    assert json.loads(shown["json"].stdout)["passed_over"] == [
        {"name": "in/_c.csv", "reason": "leading underscore"},
        {"name": "in/a|b.txt", "reason": "unknown suffix"},
    ]
    suite, cases = junit(shown["junit"].stdout)
    (skipped,) = cases["file", "passed_over"]
    assert (suite.get("skipped"), skipped.tag, skipped.get("message")) == ("1", "skipped", named_over)
    assert shown["github"].stdout == f"::warning title=titanic validate::{named_over}\n"


def test_a_failed_check_names_what_is_passed_over_too(titanic: Titanic, named_over: str) -> None:
    done = titanic("validate", "in", "--min-rows", "4")
    assert done.exit_code == 65
    assert done.stdout.splitlines()[1:] == [named_over, "failed: 3 rows, at least 4 expected"]


def test_summary_and_table_name_what_is_passed_over(
    titanic: Titanic, named_over: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    titanic("validate", "in", "--format", "github")
    assert summary.read_text().endswith(f"in/good.csv: 3 rows, 0 rejected (passed)\n\n{named_over}\n")
    report = validate_file("in")
    screen = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    screen.print(validation_report.table(report))
    assert isinstance(screen.file, io.StringIO)
    assert named_over in " ".join(screen.file.getvalue().split())


def test_names_that_are_passed_over_keep_to_their_line(titanic: Titanic, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Path("in/good.csv").write_bytes(csv_of(lines(1)))
    Path("in/a\n::error::\x1b.txt").touch()
    Path("in/\udcff").touch()
    named = "in/a\\n::error::\\x1b.txt (unknown suffix), in/\\udcff (unknown suffix)"
    assert titanic("validate", "in").stdout.splitlines()[1] == f"2 files passed over: {named}"
    assert len(titanic("validate", "in", "--format", "github").stdout.splitlines()) == 1
    junit(titanic("validate", "in", "--format", "junit").stdout)
    assert len(json.loads(titanic("validate", "in", "--format", "json").stdout)["passed_over"]) == 2


# Values, lists and files


@pytest.mark.parametrize("report", FORMATS)
def test_values_are_shown_only_on_demand_and_only_of_the_first_rows(report: str, titanic: Titanic) -> None:
    assert SECRET not in titanic("validate", "bad.csv", "--format", report).output
    shown = titanic("validate", "bad.csv", "--format", report, "--show-values").stdout
    assert f"x{SECRET}" in shown
    assert [key for key in range(3, 10) if f"{SECRET}.{key}" in shown] == [3, 4, 5, 6, 7]


def test_values_are_shown_as_they_stood(titanic: Titanic) -> None:
    Path("odd.csv").write_bytes(csv_of(line(1, Sex=b"\xe9"), line(2, Age="NULL"), line(3, Pclass=""), b"x\n"))
    report = json.loads(titanic("validate", "odd.csv", "--format", "json", "--show-values").stdout)
    values = {(rule["rule"], rule["column"]): rule["first_rows"][0].get("value", "none") for rule in report["rules"]}
    assert values == {
        ("encoding", "Sex"): "\\xe9",
        ("type", "Age"): "NULL",
        ("missing", "Pclass"): "",
        ("wrong_field_count", None): "none",
    }


@pytest.mark.parametrize(("rows", "cut"), [(4, ""), (5, ""), (6, "first 5 of 6: "), (1_000, "first 5 of 1000: ")])
def test_lists_that_are_cut_short_say_so_with_the_total(rows: int, cut: str, titanic: Titanic) -> None:
    Path("many.csv").write_bytes(csv_of(*(line(key, Sex="x") for key in range(rows))))
    firsts = ", ".join(f"many.csv:{row}" for row in range(1, min(rows, 5) + 1))
    assert titanic("validate", "many.csv").stdout.splitlines()[1] == f"not_allowed Sex: {rows} rows, {cut}{firsts}"
    (rule,) = json.loads(titanic("validate", "many.csv", "--format", "json").stdout)["rules"]
    assert (rule["rows"], rule["first_rows_are_all"]) == (rows, not cut)
    _, cases = junit(titanic("validate", "many.csv", "--format", "junit").stdout)
    failure = cases["row.Sex", "not_allowed"].find("failure")
    assert failure is not None
    assert failure.get("message") == f"{rows} rows, {cut}{firsts}"
    annotations = titanic("validate", "many.csv", "--format", "github").stdout.splitlines()[:-1]
    assert [re.findall(r"\((\d+) of (\d+)\)", annotation) for annotation in annotations] == [
        [(str(place), str(rows))] for place in range(1, min(rows, 5) + 1)
    ]


def test_first_rows_are_those_of_all_inputs_in_order(titanic: Titanic) -> None:
    for name in ("b.csv", "a.csv"):
        Path(name).write_bytes(csv_of(*(line(key + ord(name[0]) * 10, Sex="x") for key in range(3))))
    done = titanic("validate", "b.csv", "a.csv")
    assert "not_allowed Sex: 6 rows, first 5 of 6: b.csv:1, b.csv:2, b.csv:3, a.csv:1, a.csv:2\n" in done.stdout


@pytest.mark.parametrize("report", FORMATS)
def test_report_can_go_to_a_file_instead(report: str, titanic: Titanic) -> None:
    shown = titanic("validate", "bad.csv", "--format", report)
    done = titanic("validate", "bad.csv", "--format", report, "-o", "report.out")
    assert (done.exit_code, done.stdout, done.stderr) == (65, "", "")
    assert Path("report.out").read_text() == shown.stdout


def test_report_that_cannot_be_written_is_an_error(titanic: Titanic) -> None:
    done = titanic("validate", "good.csv", "-o", "no/such/folder/report.txt")
    assert done.exit_code == 73
    assert done.stderr == (
        "titanic: no/such/folder/report.txt can't be created (No such file or directory): "
        "make the folder no/such/folder first.\n"
    )


@pytest.mark.parametrize("taken", ["bad.csv", "./bad.csv", "rejects.csv"])
def test_report_overwrites_neither_an_input_nor_the_rejects(taken: str, titanic: Titanic) -> None:
    done = titanic("validate", "bad.csv", "-o", taken, "--rejects", "rejects.csv")
    assert done.exit_code == 2
    assert Path("bad.csv").read_bytes() == BAD
    assert not Path("rejects.csv").exists()


@pytest.mark.parametrize("report", FORMATS)
def test_file_whose_name_is_not_utf8_is_named_all_the_same(report: str, titanic: Titanic) -> None:
    name = "na\udcffme.csv"
    Path(name).write_bytes(BAD)
    done = titanic("validate", name, "--format", report)
    assert done.exit_code == 65
    assert "na\\udcffme.csv" in done.stdout
    assert titanic("score", name, "-o", "out.csv").exit_code == 65
    assert b'\n"na\xffme.csv",2,' in Path("out.csv.rejects.csv").read_bytes()


def test_format_that_does_not_exist_is_wrong_usage(titanic: Titanic) -> None:
    done = titanic("validate", "good.csv", "--format", "xml")
    assert done.exit_code == 2
    assert done.stderr == "titanic: --format xml: it is one of text, json, junit, github.\n"


# The schema


@pytest.fixture
def validator(titanic: Titanic) -> Any:
    """What checks a row by the schema that is printed."""
    schema = json.loads(titanic("validate", "--print-schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def accepted_rows(content: bytes, folder: Path) -> list[dict[str, Any]]:
    (folder / "rows.csv").write_bytes(content)
    rows: list[dict[str, Any]] = []
    validate(
        Inputs([str(folder / "rows.csv")], max_rejects=RejectLimit(rows=10**9)),
        CONTRACT,
        lambda table: rows.extend(table.to_pylist()),
    )
    return rows


def test_printed_schema_is_json_schema_of_2020_12(titanic: Titanic) -> None:
    schema = json.loads(titanic("validate", "--print-schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(schema["properties"]) == list(CONTRACT.types)
    labelled = json.loads(titanic("validate", "--print-schema", "--labelled").stdout)
    jsonschema.Draft202012Validator.check_schema(labelled)
    assert labelled["properties"]["Survived"]["enum"] == [0, 1]
    assert "Survived" in labelled["required"]


def test_every_accepted_row_fits_the_schema(validator: Any, test_csv: Path, tmp_path: Path) -> None:
    rows = accepted_rows(test_csv.read_bytes(), tmp_path)
    assert len(rows) == 418
    odd = accepted_rows(csv_of(*(odd.plain for odd in ODD_ROWS if not odd.reasons)), tmp_path)
    assert odd
    for row in [*rows, *odd]:
        validator.validate(row)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("PassengerId", None),
        ("PassengerId", "892"),
        ("PassengerId", 1.5),
        ("Pclass", 0),
        ("Pclass", 4),
        ("Pclass", None),
        ("Sex", "Male"),
        ("Sex", None),
        ("Sex", 1),
        ("Age", -0.1),
        ("Age", 120.1),
        ("Age", "old"),
        ("SibSp", -1),
        ("SibSp", 21),
        ("SibSp", 0.5),
        ("Parch", 21),
        ("Parch", True),
        ("Fare", 1000.1),
        ("Fare", -1),
        ("Cabin", "H1"),
        ("Cabin", "c85"),
        ("Cabin", "False"),
        ("Cabin", "\nC85"),
        ("Cabin", "C85\n"),
        ("PassengerId", 2**63),
    ],
)
def test_spoiled_row_does_not_fit_the_schema(
    column: str, value: Any, validator: Any, test_csv: Path, tmp_path: Path
) -> None:
    row = accepted_rows(test_csv.read_bytes(), tmp_path)[0]
    assert validator.is_valid(row)
    assert not validator.is_valid(row | {column: value})


@pytest.mark.parametrize("column", ["PassengerId", "Pclass", "Sex", "SibSp", "Parch"])
def test_row_without_a_required_column_does_not_fit_the_schema(
    column: str, validator: Any, test_csv: Path, tmp_path: Path
) -> None:
    row = accepted_rows(test_csv.read_bytes(), tmp_path)[0]
    del row[column]
    assert not validator.is_valid(row)


def test_schema_is_printed_without_any_input(titanic: Titanic) -> None:
    done = titanic("validate", "--print-schema", "no/such/file.csv")
    assert (done.exit_code, done.stderr) == (0, "")
