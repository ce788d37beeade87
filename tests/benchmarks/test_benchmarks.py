"""The benchmark's programs work: small runs of each, as a user would start them."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from titanic_batch.passenger.schema import PASSENGER

HERE = Path(__file__).parent
ROWS = 5_000
CONTENDERS = {
    "start": {
        "titanic score",
        "titanic score, no model",
        "titanic validate",
        "titanic serve",
        "pandas",
        "imports",
    },
    "score": {"titanic", "polars", "duckdb", "pyarrow", "pandas"},
    "jobs": {"titanic --jobs 1", "titanic --jobs 2"},
    "validate": {"titanic", "polars", "duckdb", "pyarrow"},
    "help": {"titanic", "typer"},
}
SVG = "{http://www.w3.org/2000/svg}"

pytestmark = pytest.mark.slow


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def make(folder: Path, rows: int, *options: str) -> tuple[pa.Table, pa.Table, bytes]:
    """Return new passengers as their CSV reads, as their Parquet file reads, and the CSV's bytes."""
    csv, parquet = folder / "passengers.csv", folder / "passengers.parquet"
    run("passengers.py", str(rows), csv, parquet, *options)
    types = {field.name: field.type for field in pq.read_schema(parquet) if field.name != "Age"}
    if "--bad" not in options:
        types["Age"] = pa.float64()
    convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True)
    return pacsv.read_csv(csv, convert_options=convert), pq.read_table(parquet), csv.read_bytes()


# passengers.py


@pytest.fixture(scope="module")
def passengers(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, pa.Table, bytes]:
    """More than one batch of passengers."""
    return make(tmp_path_factory.mktemp("passengers"), 300_000)


def test_passengers_satisfy_the_schema(passengers: tuple[pa.Table, pa.Table, bytes]) -> None:
    for table in passengers[:2]:
        PASSENGER.validate(table)
        assert table["PassengerId"].to_pylist() == list(range(1, 300_001))


def test_both_formats_hold_the_same(passengers: tuple[pa.Table, pa.Table, bytes]) -> None:
    csv, parquet, _ = passengers
    assert csv.equals(parquet)


def test_passengers_vary(passengers: tuple[pa.Table, pa.Table, bytes]) -> None:
    _, table, text = passengers
    assert pc.sum(pc.less(table["Age"], 1)).as_py() > 0
    assert {name for name in table.column_names if table[name].null_count} == {"Age", "Fare", "Cabin", "Embarked"}
    assert pc.count_distinct(table["Fare"]).as_py() > 10_000
    assert set(pc.utf8_slice_codeunits(table["Cabin"], 0, 1).unique().to_pylist()) == {*"ABCDEFGT", None}
    assert 60 < len(text) / table.num_rows < 80


def test_only_names_are_quoted(passengers: tuple[pa.Table, pa.Table, bytes]) -> None:
    header, *lines = passengers[2].decode().splitlines()
    assert header == "PassengerId,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked"
    for line in lines[:1_000]:
        before, name, after = line.split('"')
        assert (before.count(","), name.count(","), after.count(",")) == (2, 1, 8)


def test_a_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    first, again = (make(tmp_path, 1_000, "--seed", "7")[2] for _ in range(2))
    assert first == again
    assert first != make(tmp_path, 1_000, "--seed", "8")[2]


@pytest.mark.parametrize("rows", [1, 2, 418, 300_000])
def test_shuffled_has_the_same_ids(tmp_path: Path, rows: int) -> None:
    _, table, _ = make(tmp_path, rows, "--shuffled")
    ids = table["PassengerId"].to_pylist()
    assert sorted(ids) == list(range(1, rows + 1))
    assert rows < 3 or ids != sorted(ids)


def test_bad_spoils_the_share_asked_for(tmp_path: Path) -> None:
    csv, parquet, _ = make(tmp_path, 10_000, "--bad", "0.03")
    for table, is_bad_age in ((csv, pc.equal(csv["Age"], "unknown")), (parquet, pc.greater(parquet["Age"], 120))):
        kinds = [pc.equal(table["Pclass"], 7), pc.fill_null(is_bad_age, False), pc.is_null(table["Sex"])]
        assert [pc.sum(kind).as_py() for kind in kinds] == [100, 100, 100]
        good = pc.invert(pc.or_(pc.or_(kinds[0], kinds[1]), kinds[2]))
        assert pc.sum(good).as_py() == 9_700
        rest = table.filter(good)
        PASSENGER.validate(rest.set_column(rest.column_names.index("Age"), "Age", rest["Age"].cast(pa.float64())))


# measure.py


def test_measure_sums_up_all_processes() -> None:
    hold = f"{shlex.quote(sys.executable)} -c \"import time; held = bytearray(b'x') * 100_000_000; time.sleep(1)\""
    measured = json.loads(run("measure.py", "sh", "-c", f"{hold} & {hold} & wait").stdout)
    assert measured["exit_code"] == 0
    assert measured["seconds"] > 1
    assert measured["peak_bytes"] is None or 2e8 < measured["peak_bytes"] < 3e8


def test_measure_passes_on_how_it_ended() -> None:
    measured = json.loads(run("measure.py", sys.executable, "-c", "raise SystemExit('no such thing')").stdout)
    assert (measured["exit_code"], measured["stderr"]) == (1, "no such thing\n")


# compare.py and chart.py


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    file = folder / "results.json"
    options = ["--rows", "418", str(ROWS), "--repeats", "1", "--skip", "mlflow", "--json", str(file)]
    run("compare.py", *options, "--work", folder)
    assert list(folder.iterdir()) == [file]
    return file


@pytest.fixture(scope="module")
def report(results: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    return content


def left_out(report: dict[str, Any]) -> set[str]:
    return {note.split()[0] for note in report["notes"] if "is not installed" in note}


def test_all_contenders_ran(report: dict[str, Any]) -> None:
    ran = {case: {run["contender"] for run in report["runs"] if run["case"] == case} for case in CONTENDERS}
    assert ran == {case: names - left_out(report) for case, names in CONTENDERS.items()}
    assert {run["exit_code"] for run in report["runs"]} == {0}
    assert all(run["seconds"] > 0 for run in report["runs"])


def test_all_wrote_all_rows(report: dict[str, Any]) -> None:
    wrote = [run for run in report["runs"] if run["case"] in {"score", "jobs"}]
    assert {(run["format"], run["rows"]) for run in wrote} == {(f, n) for f in ("csv", "parquet") for n in (418, ROWS)}
    assert all(run["output_rows"] == run["rows"] for run in wrote)


def test_all_that_score_agree(report: dict[str, Any]) -> None:
    assert report["same_predictions"] == {"418": True, str(ROWS): True}


def test_ratios_are_there(report: dict[str, Any]) -> None:
    """Less start-up, so few rows take too little for a ratio that can be relied on."""
    found = {(ratio["name"], ratio["format"], ratio["rows"]) for ratio in report["ratios"]}
    for file_format in ("csv", "parquet"):
        for rows in (418, ROWS):
            assert ("score / floor, whole", file_format, rows) in found
            assert ("score / pandas, whole", file_format, rows) in found
            assert ("validate / floor's reading, whole", file_format, rows) in found
    for name in ("titanic score", "titanic score, no model", "titanic validate", "titanic serve"):
        assert {(f"{name} / pandas", "csv", 418), (f"{name} / imports", "csv", 418)} <= found
    assert ("--help / bare Typer app", "-", 0) in found
    assert all(ratio["value"] == pytest.approx(ratio["ours"] / ratio["theirs"]) for ratio in report["ratios"])


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_chart_has_a_line_for_each_contender(
    results: Path, report: dict[str, Any], tmp_path: Path, file_format: str
) -> None:
    chart = tmp_path / "chart.svg"
    run("chart.py", results, chart, "--format", file_format)
    root = ElementTree.parse(chart).getroot()
    assert root.tag == f"{SVG}svg"
    lines = [path.findtext(f"{SVG}title") for path in root.iter(f"{SVG}path") if path.find(f"{SVG}title") is not None]
    assert len(set(lines)) == len(lines) == len(CONTENDERS["score"] - left_out(report))
    words = {text.text for text in root.iter(f"{SVG}text")}
    assert {*lines, "rows", "time"} <= words
