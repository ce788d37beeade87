"""What is imported, and when: a command starts with no more than it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.cli.command import Titanic, edited
from tests.cli.process import environment, run_process
from tests.machine import need
from titanic_batch.errors import UsageError
from titanic_batch.runs.options import RunOptions


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


@pytest.mark.parametrize("value", ["abc", "0", "-1", "", "1.5"])
def test_a_limit_of_cores_that_is_no_number_is_refused_by_name(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", value)
    said = f"titanic: LOKY_MAX_CPU_COUNT is {value or 'empty'}: it is a number, 1 or more, so mend it or unset it.\n"
    for arguments in (["score", "in.csv", "-o", "p.csv"], ["validate", "in.csv"], ["fit"], ["serve"]):
        result = titanic(*arguments)
        assert (result.exit_code, result.output) == (2, said)
    with pytest.raises(UsageError, match="LOKY_MAX_CPU_COUNT"):
        _ = RunOptions().threads
    assert RunOptions(jobs=3).threads == 3


def test_a_limit_of_cores_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert RunOptions().threads == 1


@pytest.mark.slow
def test_a_run_without_semaphores_is_silent(tmp_path: Path, model_file: Path, test_csv: Path) -> None:
    need("unshare", "mount", root=True)
    script = (
        f'mount -t tmpfs -o ro none /dev/shm && "$0" -m titanic_batch score {test_csv} -o p.csv -m {model_file} '
        f'&& "$0" -m titanic_batch fit -o new.skops -j 2 > report.txt'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.skops", "p.csv", "report.txt"]
