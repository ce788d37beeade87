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
from tests.model_files import manifest_of, members_of, sealed
from titanic_batch.errors import UsageError
from titanic_batch.models.artifact import PROOF
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


# `-X importtime` does not see what `importlib.import_module` imports, and sees what is looked for in vain.
LISTED = """
import atexit, sys
def list_modules():
    with open("modules.txt", "w") as file:
        print(*[name for name, module in sys.modules.items() if module is not None], file=file)
atexit.register(list_modules)
from titanic_batch.cli.command import main
main()
"""
OF_OTHER_MODELS = {"sklearn", "scipy", "pandas", "skops", "joblib", "flask", "hypothesis"}


def modules_of(folder: Path, *arguments: str | Path, says: str = "") -> set[str]:
    """Run the command in a folder, which must succeed and say nothing else, and return what it imported."""
    process = run_process("-W", "error", "-c", LISTED, *arguments, cwd=folder)
    assert (process.returncode, process.stderr) == (0, says)
    modules = set((folder / "modules.txt").read_text().split())
    assert {"numpy", "pandera.pyarrow", "pyarrow.lib"} <= modules
    return modules


@pytest.fixture
def inputs(tmp_path: Path, test_csv: Path) -> dict[str, Path]:
    """The same rows in several formats."""
    pq.write_table(pyarrow.csv.read_csv(test_csv), tmp_path / "in.parquet")
    return {"csv": test_csv, "parquet": tmp_path / "in.parquet"}


@pytest.mark.parametrize(
    ("source", "target"), [("csv", "parquet"), ("parquet", "csv"), ("csv", "csv"), ("parquet", "parquet")]
)
def test_a_proven_model_scores_without_scikit_learn(
    tmp_path: Path, model_file: Path, inputs: dict[str, Path], source: str, target: str
) -> None:
    modules = modules_of(tmp_path, "score", inputs[source], "-o", f"out.{target}", "-m", model_file)
    assert (tmp_path / f"out.{target}").stat().st_size > 0
    assert not modules & OF_OTHER_MODELS
    assert ("pyarrow.parquet" in modules) == ("parquet" in (source, target))


def test_the_reference_model_scores_without_scikit_learn(tmp_path: Path, test_csv: Path) -> None:
    says = "titanic: no model is named, so the reference model is used, fitted on the packaged passengers.\n"
    assert not modules_of(tmp_path, "score", test_csv, "-o", "p.csv", says=says) & OF_OTHER_MODELS


@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_rows_are_validated_without_scikit_learn_and_pandas(
    tmp_path: Path, inputs: dict[str, Path], source: str
) -> None:
    assert not modules_of(tmp_path, "validate", inputs[source]) & OF_OTHER_MODELS


@pytest.mark.parametrize("target", ["csv", "parquet"])
def test_a_model_without_proof_gives_the_same_output_by_scikit_learn(
    tmp_path: Path, model_file: Path, test_csv: Path, target: str
) -> None:
    members = members_of(model_file.read_bytes())
    del members[PROOF]
    (tmp_path / "unproven.skops").write_bytes(sealed(members, manifest_of(model_file.read_bytes())))
    plain, full = tmp_path / f"plain.{target}", tmp_path / f"full.{target}"
    assert not modules_of(tmp_path, "score", test_csv, "-o", plain, "-m", model_file) & OF_OTHER_MODELS
    assert "sklearn" in modules_of(tmp_path, "score", test_csv, "-o", full, "-m", "unproven.skops")
    if target == "csv":
        assert plain.read_bytes() == full.read_bytes()
    else:  # its metadata name the model's file
        assert pq.read_table(plain).equals(pq.read_table(full))


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
