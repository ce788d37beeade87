"""Columns that can't be read: named in every report if rejects lack them, and refused where they are needed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from typer.testing import Result

from tests import corpus, odd_parquet
from tests.runs.test_record import SCHEMA
from titanic_batch.reading import parquet_blocks

jsonschema = pytest.importorskip("jsonschema")

Titanic = Callable[..., Result]

LEFT_OUT = "columns Name, Ticket can't be read and are left out of the rejects."
INCOMPLETE = "column Embarked can't be read in full: fields are missing in the rejects."


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve passengers in three row groups, the last of each bad; two columns are damaged, one of them only later."""
    monkeypatch.chdir(tmp_path)
    sexes = pa.array(["male", "female", "female", "x"] * 3)
    content = corpus.parquet_of(corpus.with_columns(corpus.good_table(1, 12), Sex=sexes), 4)
    content = odd_parquet.with_damaged_description(odd_parquet.with_lzo(content, "Ticket"), "Name")
    path = tmp_path / "in.parquet"
    path.write_bytes(odd_parquet.with_lzo(content, "Embarked", 1))
    return path


def fields(path: str, column: str) -> list[str]:
    found: list[str] = pa.csv.read_csv(path)[column].to_pylist()
    return found


def test_score_says_it_and_writes_the_other_fields(titanic: Titanic) -> None:
    done = titanic("score", "in.parquet", "-o", "out.csv", "--max-rejects", "3", "--report", "report.json")
    assert done.exit_code == 0
    assert done.stderr.splitlines()[:2] == [f"titanic: {LEFT_OUT}", f"titanic: {INCOMPLETE}"]
    report = json.loads(Path("report.json").read_text())
    jsonschema.validate(report, SCHEMA)
    assert report["unreadable_columns"] == ["Embarked", "Name", "Ticket"]
    columns = pa.csv.read_csv("out.csv.rejects.csv").column_names
    assert columns[4:] == [name for name in corpus.COLUMNS if name not in ("Name", "Ticket")]
    assert fields("out.csv.rejects.csv", "Embarked") == ["Q", "", "C"]


@pytest.mark.parametrize("block_rows", [1, 8, 100])
@pytest.mark.parametrize("jobs", [1, 3])
def test_rejects_are_the_same_in_any_blocks(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, jobs: int, block_rows: int
) -> None:
    assert titanic("validate", "in.parquet", "--rejects", "whole.csv", "--jobs", 1).exit_code == 65
    monkeypatch.setattr(parquet_blocks, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(parquet_blocks, "MAX_GROUP_ROWS", max(3, block_rows))
    done = titanic("score", "in.parquet", "-o", "out.csv", "--rejects", "cut.csv", "--max-rejects", "3", "--jobs", jobs)
    assert done.exit_code == 0
    assert Path("cut.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_nothing_is_said_while_no_row_is_rejected(titanic: Titanic) -> None:
    Path("in.parquet").write_bytes(odd_parquet.encrypted(corpus.good_table(1, 4), "Name"))
    assert titanic("validate", "in.parquet", "--rejects", "r.csv").stderr == ""
    done = titanic("score", "in.parquet", "-o", "out.csv", "--report", "report.json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(Path("report.json").read_text())["unreadable_columns"] == []
    # The file of no row has the columns that one of many rows would have.
    assert "Name" not in Path("r.csv").read_text()
    assert "Ticket" in Path("r.csv").read_text()


def test_column_that_one_of_several_inputs_lacks_is_empty_for_it(titanic: Titanic) -> None:
    good = corpus.with_columns(corpus.good_table(21, 22), Sex=pa.array(["x", "male"]))
    Path("good.parquet").write_bytes(corpus.parquet_of(good))
    done = titanic("validate", "in.parquet", "good.parquet", "--rejects", "r.csv")
    assert "columns Name, Ticket, Embarked can't be read in full" in done.stderr
    assert fields("r.csv", "Name") == ["", "", "", "Passenger, Mr. No 21"]


def test_folder_run_says_it_of_each_input(titanic: Titanic) -> None:
    Path("good.csv").write_bytes(corpus.csv_of(corpus.lines(1)))
    done = titanic("score", "good.csv", "in.parquet", "-o", "out/", "--max-rejects", "3")
    assert done.exit_code == 0
    assert f"titanic: in.parquet: {LEFT_OUT}\n" in done.stderr


def test_every_report_of_validate_says_it(titanic: Titanic, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = {}
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    for name in ("text", "json", "junit", "github"):
        done = titanic("validate", "in.parquet", "--rejects", "r.csv", "--format", name)
        assert done.exit_code == 65
        assert done.stderr == f"titanic: {LEFT_OUT}\ntitanic: {INCOMPLETE}\n"
        reports[name] = done.stdout
    assert f"\n{LEFT_OUT}\n{INCOMPLETE}\nfailed: " in reports["text"]
    assert json.loads(reports["json"])["unreadable_columns"] == ["Name", "Ticket", "Embarked"]
    output = ET.fromstring(reports["junit"]).find("testsuite/system-out")
    assert output is not None
    assert output.text == f"{LEFT_OUT}\n{INCOMPLETE}"
    assert f"::warning title=titanic validate::{LEFT_OUT}\n" in reports["github"]
    assert LEFT_OUT in Path("summary.md").read_text()


def test_reports_without_rejects_say_nothing(titanic: Titanic) -> None:
    done = titanic("validate", "in.parquet", "--format", "json")
    assert done.stderr == ""
    assert json.loads(done.stdout)["unreadable_columns"] == []


@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
@pytest.mark.parametrize(
    ("name", "says"), [("Name", "damaged"), ("Ticket", "compression"), ("Embarked", "compression"), ("Empty", "type")]
)
def test_column_that_is_to_be_kept_is_named(titanic: Titanic, file: Path, name: str, says: str, output: str) -> None:
    file.write_bytes(odd_parquet.with_empty_struct(file.read_bytes(), "Empty"))
    done = titanic("score", "in.parquet", "-o", output, "--max-rejects", "3", "--keep", name)
    assert done.exit_code == 65
    assert f"column {name}" in done.stderr
    assert says in done.stderr
    assert [path.name for path in Path.cwd().iterdir()] == ["in.parquet"]
