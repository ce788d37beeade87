"""What is imported, and when: a command starts with no more than it needs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.cli.command import Titanic, edited
from tests.cli.process import environment, run_process


def imported(importtime: str) -> set[str]:
    """Return the packages that `-X importtime` lists."""
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in importtime.splitlines() if "|" in line}


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["score", "--help"], 0), (["--version"], 0), (["score", "--nothing"], 2)]
)
def test_help_and_usage_errors_import_no_library(arguments: list[str], code: int) -> None:
    process = run_process("-X", "importtime", "-m", "titanic_batch", *arguments)
    assert process.returncode == code
    found = imported(process.stderr)
    assert "typer" in found
    assert not found & {"numpy", "pandas", "pandera", "pyarrow", "sklearn", "skops", "joblib", "flask"}


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "code"), [("99999999999999999999", 2), ("", 78)])
def test_source_date_epoch_is_checked_before_numpy_is_imported(epoch: str, code: int, tmp_path: Path) -> None:
    command = ("-m", "titanic_batch", "score", "in.csv", "-o", "p.csv", "-m", "gone.skops")
    process = run_process(*command, cwd=tmp_path, env=environment(SOURCE_DATE_EPOCH=epoch))
    assert process.returncode == code
    said = {2: "titanic: SOURCE_DATE_EPOCH is 9999", 78: "titanic: the model gone.skops can't be read"}
    assert process.stderr.startswith(said[code])
    assert process.stderr.count("\n") == 1


def test_inspect_imports_no_library(model_file: Path) -> None:
    process = run_process("-X", "importtime", "-m", "titanic_batch", "inspect", model_file)
    assert process.returncode == 0
    assert not imported(process.stderr) & {"numpy", "pandas", "pandera", "pyarrow", "sklearn", "skops", "joblib"}


@pytest.mark.slow
def test_validate_imports_no_scikit_learn_and_cannot_be_disabled(bad_csv: Path) -> None:
    process = run_process(
        *("-X", "importtime", "-m", "titanic_batch", "validate", bad_csv),
        env=environment(PANDERA_VALIDATION_ENABLED="False", PANDERA_VALIDATION_DEPTH="SCHEMA_ONLY"),
    )
    assert process.returncode == 65
    assert "not_allowed Pclass: 1 row" in process.stdout
    assert not imported(process.stderr) & {"sklearn", "skops", "scipy", "flask"}


def test_validate_finds_the_same_in_a_process_of_its_own(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
    rows = pyarrow.csv.read_csv(edited(test_csv, tmp_path / "bad.csv", 3, Sex="x", Age="-1"))
    moments = pa.array(
        [[1_700_000_000_123_456_789 + row] for row in range(rows.num_rows)], pa.list_(pa.timestamp("ns"))
    )
    pq.write_table(rows.append_column("Seen", moments), tmp_path / "bad.parquet")
    program = (
        "import atexit, sys\natexit.register(lambda: print(*sys.modules))\n"
        "from titanic_batch.cli.command import main\nmain()"
    )
    process = run_process("-c", program, "validate", "bad.parquet", "--rejects", "one.csv", cwd=tmp_path)
    result = titanic("validate", "bad.parquet", "--rejects", "other.csv")
    assert (process.returncode, process.stderr) == (result.exit_code, result.stderr) == (65, "")
    assert process.stdout.startswith(result.stdout)
    assert Path("one.csv").read_bytes() == Path("other.csv").read_bytes()
    assert b"2023-11-14 22:13:20.123456791" in Path("one.csv").read_bytes()
    modules = set(process.stdout.removeprefix(result.stdout).split())
    assert "pandera" in modules
    assert not modules & {"scipy", "skops", "sklearn"}
