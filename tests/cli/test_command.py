"""The command: what it writes where, and how it ends, through real files and, where it matters, real processes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import skops.io
from typer.testing import Result

from titanic_batch.models.artifact import with_manifest
from titanic_batch.models.model import Model, ModelScores
from titanic_batch.version import __version__

Titanic = Callable[..., Result]

TIMEOUT = 300  # of what should take seconds, on a machine that is busy

COMMANDS = ["fit", "score", "validate", "serve", "inspect"]
PREDICTED = ["PassengerId", "Survived", "Probability"]

HOLD = """
import sys
from titanic_batch.writing.publishing import Publication
output = Publication().add(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def edited(source: Path, target: Path, row: int, **fields: str) -> Path:
    """Write a table with other fields in one row; 1 is the first."""
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row - 1] |= fields
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return target


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def assert_fails(result: Result, code: int, *words: str) -> None:
    """Check that a run ended with a code and with one line that says why."""
    assert result.exit_code == code, (result.exit_code, result.output)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout_bytes == b""
    line, end, rest = result.stderr.partition("\n")
    assert (end, rest) == ("\n", "")
    assert line.startswith("titanic: ")
    for word in words:
        assert word in line


def is_silent(result: Result) -> bool:
    """Tell whether a run succeeded as it should under cron."""
    return result.exit_code == 0 and result.output == ""


@pytest.fixture
def bad_csv(tmp_path: Path, test_csv: Path) -> Path:
    """The passengers, the third in a class that there is not."""
    return edited(test_csv, tmp_path / "bad.csv", 3, Pclass="7")


@pytest.fixture
def expected(small_model: Model, test_csv: Path) -> pd.DataFrame:
    """What the model says of the passengers, asked directly."""
    rows = pd.read_csv(test_csv)
    probabilities = small_model.predict_proba(rows)[:, 1]
    return pd.DataFrame(
        {"PassengerId": rows["PassengerId"], "Survived": small_model.predict(rows), "Probability": probabilities}
    )


def assert_are(predictions: pa.Table, expected: pd.DataFrame) -> None:
    assert predictions.column_names == PREDICTED
    for name in PREDICTED:
        assert predictions[name].to_pylist() == expected[name].tolist()


# Scoring


def test_every_passenger_gets_a_prediction(
    titanic: Titanic, tmp_path: Path, test_csv: Path, model_file: Path, expected: pd.DataFrame
) -> None:
    assert is_silent(titanic("score", test_csv, "-o", "p.parquet"))
    table = pq.read_table("p.parquet")
    assert table.num_rows == 418
    assert_are(table, expected)
    assert table.schema.types == [pa.int64(), pa.int8(), pa.float64()]
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["titanic_batch.model"] == digest_of(model_file)
    assert metadata["titanic_batch.version"] == __version__
    assert metadata["titanic_batch.schema_version"] == "1"
    assert names_in(tmp_path) == ["p.parquet"]


@pytest.mark.parametrize("suffix", ["parquet", "csv.gz", "csv.zst"])
def test_the_same_passengers_get_the_same_predictions_in_any_format(
    titanic: Titanic, tmp_path: Path, test_csv: Path, suffix: str
) -> None:
    content = test_csv.read_bytes()
    source = tmp_path / f"input.{suffix}"
    if suffix == "parquet":
        pq.write_table(pyarrow.csv.read_csv(test_csv), source)
    elif suffix == "csv.gz":
        source.write_bytes(gzip.compress(content))
    else:
        with pa.CompressedOutputStream(str(source), "zstd") as stream:
            stream.write(content)
    assert is_silent(titanic("score", test_csv, "-o", "expected.csv"))
    assert is_silent(titanic("score", source, "-o", "p.csv"))
    assert Path("p.csv").read_bytes() == Path("expected.csv").read_bytes()
    assert is_silent(titanic("score", test_csv, "-o", f"p.{suffix}"))
    table = pq.read_table(f"p.{suffix}") if suffix == "parquet" else pyarrow.csv.read_csv(_plain(f"p.{suffix}"))
    assert table.to_pydict() == pyarrow.csv.read_csv("expected.csv").to_pydict()


def _plain(name: str) -> io.BytesIO:
    with pa.input_stream(name, compression="gzip" if name.endswith("gz") else "zstd") as stream:
        return io.BytesIO(stream.read())


def test_a_pipe_gets_the_same_predictions(titanic: Titanic, test_csv: Path, tmp_path: Path) -> None:
    assert is_silent(titanic("score", test_csv, "-o", "expected.csv"))
    content = Path("expected.csv").read_bytes()
    result = titanic("score", "-", "-o", "-", stdin=test_csv.read_bytes())
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout_bytes == content
    parquet = io.BytesIO()
    pq.write_table(pyarrow.csv.read_csv(test_csv), parquet)
    result = titanic("score", "-", "-o", "-", "--input-format", "parquet", stdin=parquet.getvalue())
    assert result.stdout_bytes == content
    result = titanic("score", "-", "-o", "-", "--output-format", "parquet", stdin=test_csv.read_bytes())
    table = pq.read_table(io.BytesIO(result.stdout_bytes))
    assert table.to_pydict() == pyarrow.csv.read_csv("expected.csv").to_pydict()
    assert names_in(tmp_path) == ["expected.csv"]


def test_predictions_as_csv_hold_every_bit(titanic: Titanic, test_csv: Path, expected: pd.DataFrame) -> None:
    titanic("score", test_csv, "-o", "p.csv")
    with Path("p.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == PREDICTED
    assert [(int(key), int(label), float(probability)) for key, label, probability in rows] == list(
        expected.itertuples(index=False, name=None)
    )


def test_threads_change_nothing(titanic: Titanic, test_csv: Path) -> None:
    inputs = (test_csv, test_csv.parent / "train.csv")
    for jobs in (1, 3):
        assert is_silent(titanic("score", *inputs, "-o", f"{jobs}.parquet", "--jobs", jobs))
    assert Path("1.parquet").read_bytes() == Path("3.parquet").read_bytes()


def test_a_kept_column_comes_as_it_stands(titanic: Titanic, test_csv: Path) -> None:
    assert is_silent(titanic("score", test_csv, "-o", "p.parquet", "--keep", "Name", "--keep", "Fare"))
    table = pq.read_table("p.parquet")
    assert table.column_names == ["PassengerId", "Name", "Fare", "Survived", "Probability"]
    assert table.schema.types[1:3] == [pa.string(), pa.float64()]
    rows = pd.read_csv(test_csv)
    assert table["Name"].to_pylist() == rows["Name"].tolist()
    assert table["Fare"].to_pylist() == [None if pd.isna(fare) else fare for fare in rows["Fare"]]
    assert is_silent(titanic("score", test_csv, "-o", "p.csv", "--keep", "Name"))
    assert pd.read_csv("p.csv")["Name"].tolist() == rows["Name"].tolist()


# Rejects


def test_one_bad_row_fails_the_run_and_is_set_aside(
    titanic: Titanic, tmp_path: Path, bad_csv: Path, test_csv: Path
) -> None:
    result = titanic("score", bad_csv, "-o", "p.parquet")
    assert_fails(result, 65, "1 of 418 rows rejected, 0 allowed (not_allowed Pclass: 1)", "p.parquet.rejects.csv")
    assert names_in(tmp_path) == ["bad.csv", "p.parquet.rejects.csv"]
    rejects = tmp_path / "p.parquet.rejects.csv"
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    with rejects.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    with test_csv.open(encoding="utf-8", newline="") as file:
        as_it_was = list(csv.DictReader(file))[2]
    assert row["reject_source"] == str(bad_csv)
    assert row["reject_row"] == "3"
    assert json.loads(row["reject_reasons"]) == [{"rule": "not_allowed", "column": "Pclass", "value": "7"}]
    assert {name: value for name, value in row.items() if not name.startswith("reject_")} == as_it_was | {"Pclass": "7"}


@pytest.mark.parametrize("limit", ["1", "5%", "0.24%"])
def test_rejects_within_the_limit_let_the_others_through(titanic: Titanic, bad_csv: Path, limit: str) -> None:
    result = titanic("score", bad_csv, "-o", "p.parquet", "--max-rejects", limit)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "titanic: 1 of 418 rows rejected: see p.parquet.rejects.csv.\n"
    keys = pq.read_table("p.parquet")["PassengerId"].to_pylist()
    assert keys == [key for key in range(892, 1310) if key != 894]


def test_rejects_over_a_share_fail_the_run(titanic: Titanic, bad_csv: Path) -> None:
    assert_fails(titanic("score", bad_csv, "-o", "p.csv", "--max-rejects", "0.23%"), 65, "0.23% allowed")
    assert not Path("p.csv").exists()


def test_a_row_is_never_shown(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
    source = edited(test_csv, tmp_path / "bad.csv", 5, Sex="SECRET", Age="SECRET", PassengerId="SECRET")
    for arguments in (["score", source, "-o", "p.csv"], ["validate", source], ["validate", source, "--format", "json"]):
        result = titanic(*arguments)
        assert result.exit_code == 65
        assert "SECRET" not in result.output


def test_rejects_can_be_scored_once_they_are_mended(titanic: Titanic, tmp_path: Path, bad_csv: Path) -> None:
    titanic("score", bad_csv, "-o", "p.csv", "--max-rejects", 1, "--rejects", "r.csv")
    mended = edited(tmp_path / "r.csv", tmp_path / "mended.csv", 1, Pclass="3")
    assert is_silent(titanic("score", mended, "-o", "q.csv"))
    assert pd.read_csv("q.csv")["PassengerId"].tolist() == [894]


def test_a_clean_run_removes_the_rejects_of_the_last(titanic: Titanic, bad_csv: Path, test_csv: Path) -> None:
    assert titanic("score", bad_csv, "-o", "p.csv").exit_code == 65
    assert Path("p.csv.rejects.csv").exists()
    assert is_silent(titanic("score", test_csv, "-o", "p.csv"))
    assert not Path("p.csv.rejects.csv").exists()


def test_a_failing_run_leaves_the_last_predictions(titanic: Titanic, bad_csv: Path) -> None:
    Path("p.csv").write_text("old")
    assert titanic("score", bad_csv, "-o", "p.csv").exit_code == 65
    assert Path("p.csv").read_text() == "old"


def test_fewer_rows_than_expected_fail_the_run(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
    result = titanic("score", test_csv, "-o", "p.csv", "--min-rows", 419)
    assert_fails(result, 65, "418 rows, at least 419 expected: no predictions written.")
    assert names_in(tmp_path) == []
    assert is_silent(titanic("score", test_csv, "-o", "p.csv", "--min-rows", 418))


def test_a_check_rejects_what_scoring_rejects_and_writes_nothing(
    titanic: Titanic, tmp_path: Path, bad_csv: Path, test_csv: Path
) -> None:
    result = titanic("validate", bad_csv)
    assert (result.exit_code, result.stderr) == (65, "")
    assert f"{bad_csv}: 418 rows, 1 rejected" in result.stdout
    assert "not_allowed Pclass: 1 row, " in result.stdout
    assert f"{bad_csv}:3" in result.stdout
    assert titanic("validate", bad_csv, "--max-rejects", 1).exit_code == 0
    assert names_in(tmp_path) == ["bad.csv"]
    result = titanic("validate", test_csv)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{test_csv}: 418 rows, 0 rejected\n", "")


def test_a_check_of_labels_asks_for_them(titanic: Titanic, test_csv: Path) -> None:
    assert titanic("validate", "--labelled", test_csv.parent / "train.csv").exit_code == 0
    assert_fails(titanic("validate", "--labelled", test_csv), 65, "column missing: Survived")


# Which model


def scored_by(titanic: Titanic, test_csv: Path, *options: str | Path) -> str:
    """Return what predictions say of the model that made them."""
    assert titanic("score", test_csv, "-o", "p.parquet", *options).exit_code == 0
    return str(pq.read_schema("p.parquet").metadata[b"titanic_batch.model"].decode())


def test_the_option_comes_before_the_environment_before_the_folder_before_the_reference(
    titanic: Titanic,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    test_csv: Path,
    model_file: Path,
) -> None:
    option = tmp_path_factory.mktemp("models") / "option.skops"
    Model(1, n_estimators=1).fit(pd.read_csv(test_csv.parent / "train.csv")).save(option)
    assert scored_by(titanic, test_csv, "--model", option) == digest_of(option)
    assert scored_by(titanic, test_csv) == digest_of(model_file)
    monkeypatch.delenv("TITANIC_MODEL")
    shutil.copy(option, tmp_path / "model.skops")
    assert scored_by(titanic, test_csv) == digest_of(option)
    (tmp_path / "model.skops").unlink()
    result = titanic("score", test_csv, "-o", "p.parquet")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "titanic: no model is named, so the reference model is used, fitted on the packaged passengers.\n"
    )
    assert scored_by(titanic, test_csv) == "reference"


def test_the_reference_model_says_what_the_pipeline_says(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, test_csv: Path, reference: Model
) -> None:
    monkeypatch.delenv("TITANIC_MODEL")
    titanic("score", test_csv, "-o", "p.parquet")
    found = pq.read_table("p.parquet")["Probability"].to_numpy()
    assert found.tobytes() == reference.predict_proba(pd.read_csv(test_csv))[:, 1].tobytes()


def test_a_model_that_is_named_and_missing_is_an_error(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path
) -> None:
    assert_fails(titanic("score", test_csv, "-o", "p.csv", "-m", "gone.skops"), 78, "gone.skops can't be read")
    monkeypatch.setenv("TITANIC_MODEL", "gone.joblib")
    assert_fails(titanic("score", test_csv, "-o", "p.csv"), 78, "gone.joblib can't be read")
    assert_fails(titanic("inspect", "gone.skops"), 78, "gone.skops can't be read")
    assert_fails(titanic("serve"), 78, "gone.joblib can't be read")
    assert names_in(tmp_path) == []


def test_a_damaged_model_in_the_folder_is_an_error(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path, model_file: Path
) -> None:
    monkeypatch.delenv("TITANIC_MODEL")
    (tmp_path / "model.skops").write_bytes(model_file.read_bytes()[:-1])
    assert_fails(titanic("score", test_csv, "-o", "p.csv"), 78, "model.skops is damaged")
    assert names_in(tmp_path) == ["model.skops"]


def test_only_the_pinned_model_is_used(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path, model_file: Path
) -> None:
    digest, wrong = digest_of(model_file), "0" * 64
    score = ("score", test_csv, "-o", "p.csv")
    assert_fails(titanic(*score, "--model-sha256", wrong), 78, "is not the pinned one", digest)
    monkeypatch.setenv("TITANIC_MODEL_SHA256", wrong)
    assert_fails(titanic(*score), 78, "is not the pinned one")
    assert names_in(tmp_path) == []
    assert is_silent(titanic(*score, "--model-sha256", digest))
    monkeypatch.setenv("TITANIC_MODEL_SHA256", digest)
    assert is_silent(titanic(*score))
    monkeypatch.delenv("TITANIC_MODEL")
    assert_fails(titanic(*score), 78, "pinned by its SHA-256 and none is named")


def test_a_pickle_is_used_only_where_it_is_pinned(
    titanic: Titanic, test_csv: Path, small_model: Model, expected: pd.DataFrame
) -> None:
    small_model.save("model.joblib")
    score = ("score", test_csv, "-o", "p.csv", "-m", "model.joblib")
    assert_fails(titanic(*score), 78, "is a pickle, which can run any code", "--model-sha256")
    assert is_silent(titanic(*score, "--model-sha256", digest_of(Path("model.joblib"))))
    assert_are(pyarrow.csv.read_csv("p.csv"), expected)


def test_a_model_for_another_schema_is_refused(titanic: Titanic, test_csv: Path, small_model: Model) -> None:
    manifest = small_model.manifest | {"schema": {"version": 99, "digest": "0"}}
    Path("other.skops").write_bytes(with_manifest(skops.io.dumps(small_model.pipeline), manifest))
    assert_fails(titanic("score", test_csv, "-o", "p.csv", "-m", "other.skops"), 78, "another schema (version 99, ")


def test_a_model_can_be_looked_at_without_being_built(titanic: Titanic, model_file: Path, small_model: Model) -> None:
    result = titanic("inspect", model_file)
    assert (result.exit_code, result.stderr) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert shown["sha256"] == digest_of(model_file)
    assert shown["training.rows"] == "891"
    result = titanic("inspect", model_file, "--json")
    assert json.loads(result.stdout) == {"sha256": digest_of(model_file), "manifest": small_model.manifest}
    joblib.dump(_Exploding(), "model.joblib")
    result = titanic("inspect", "model.joblib")
    assert result.exit_code == 0
    assert result.stdout.endswith(f"\nsha256  {digest_of(Path('model.joblib'))}\n")
    assert not Path("it ran").exists()


class _Exploding:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, ("it ran",)


# Help and wrong usage


def test_help_shows_an_example_for_the_program_and_for_each_command(titanic: Titanic) -> None:
    result = titanic("--help")
    assert result.exit_code == 0
    assert "Example: titanic score input.csv -o preds.parquet" in result.stdout
    for command in COMMANDS:
        assert re.search(rf"^│ {command} ", result.stdout, re.MULTILINE)
        help_of_command = titanic(command, "--help")
        assert help_of_command.exit_code == 0
        assert f" Example: titanic {command} " in help_of_command.stdout


def test_the_version_is_the_packages(titanic: Titanic) -> None:
    result = titanic("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"titanic {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["--nothing"],
        ["score"],
        ["score", "in.csv"],
        ["score", "-o", "p.csv"],
        ["score", "in.csv", "-o", "p.csv", "--nothing"],
        ["score", "in.csv", "-o", "p.csv", "--min-rows", "-1"],
        ["score", "in.csv", "-o", "p.csv", "--jobs", "0"],
        ["score", "in.csv", "-o", "p.csv", "--jobs", "many"],
        ["score", "in.csv", "-o", "p.csv", "--jobs", "513"],
        ["validate", "in.csv", "-j", "1000000"],
        ["fit", "-j", "99999999999999999999"],
        ["score", "in.csv", "-o", "p.csv", "--max-psi", "nan"],
        ["score", "in.csv", "-o", "p.csv", "--wait", "nan"],
        ["fit", "--seed", "-1"],
        ["fit", "--min-accuracy", "nan"],
        ["serve", "--fit-margin", "nan"],
        ["serve", "--port", "65536"],
        ["inspect"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_with_the_usage(titanic: Titanic, tmp_path: Path, arguments: list[str]) -> None:
    result = titanic(*arguments)
    assert result.exit_code == 2
    assert "Usage: titanic" in result.output
    assert "Traceback" not in result.output
    assert names_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["0", "", "7", "many"])
def test_wrong_usage_is_told_however_wide_the_terminal_claims_to_be(columns: str) -> None:
    command = [sys.executable, "-m", "titanic_batch", "score"]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": columns}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Usage" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "in.csv", "-o", "p.csv", "--max-rejects", "few"], "few is no limit of rejects"),
        (["score", "in.csv", "-o", "p.csv", "--max-rejects", "101%"], "101% is no limit of rejects"),
        (["validate", "in.csv", "--max-rejects", "-1"], "-1 is no limit of rejects"),
        (["score", "in.csv", "-o", "p.csv", "--input-format", "xlsx"], "--input-format xlsx: it is one of csv, "),
        (["score", "in.csv", "-o", "p.csv", "--output-format", "arrow"], "--output-format arrow: it is one of csv, "),
        (["score", "in.csv", "-o", "p.xlsx"], "the format of p.xlsx can't be told from its name"),
        (["score", "in.txt", "-o", "p.csv"], "the format of in.txt can't be told from its name"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "Survived"], "Survived is written anyway"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "PassengerId"], "PassengerId is written anyway"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "Probability"], "Probability is written anyway"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "Name", "--keep", "Name"], "Name is written anyway"),
        (["score", "in.csv", "-o", "in.csv"], "in.csv is an input and would be overwritten"),
        (["score", "in.csv", "-o", "p.csv", "--rejects", "p.csv"], "p.csv is named for two outputs"),
        (["score", "-", "-", "-o", "p.csv"], "can be read only once"),
        *(
            (["score", "in.csv", "-o", "p.csv", option, value], f"{option} {value}: it must be a finite number.")
            for option, value in [("--max-psi", "inf"), ("--wait", "inf")]
        ),
        (["score", "in.csv", "-o", ""], "--output is followed by an empty name"),
        *(
            (["score", "in.csv", "-o", "p.csv", f"{option}="], f"{option} is followed by an empty name")
            for option in ("--report", "--metrics", "--rejects", "--model")
        ),
        *((["validate", "in.csv", option, ""], "is followed by an empty name") for option in ("--rejects", "-o")),
        *(
            (["fit", option, ""], "is followed by an empty name")
            for option in ("--output", "--holdout", "--compare", "--report", "--rejects")
        ),
        (["serve", "-m", ""], "--model is followed by an empty name"),
        (["serve", "--fit-token-file", ""], "--fit-token-file is followed by an empty name"),
        (["inspect", "m.skops", "--diff", ""], "--diff is followed by an empty name"),
        (["score", "in.csv", "-o", "-", "--max-rejects", "1"], "name a file with --rejects"),
        (["score", "in.csv", "-o", "p.csv", "-m", "model.pkl"], "a .skops or a .joblib file"),
        (["validate", "in.csv", "--format", "xml"], "--format xml: it is one of"),
        (["validate"], "nothing to validate"),
        (["fit", "-o", "model.pkl"], "a .skops or a .joblib file"),
        (["fit", "-o", "-"], "a .skops or a .joblib file"),
        (["inspect", "model"], "a .skops or a .joblib file"),
    ],
)
def test_what_contradicts_itself_is_wrong_usage(
    titanic: Titanic, tmp_path: Path, test_csv: Path, arguments: list[str], words: str
) -> None:
    shutil.copy(test_csv, "in.csv")
    shutil.copy(test_csv, "in.txt")
    assert_fails(titanic(*arguments), 2, words)
    assert names_in(tmp_path) == ["in.csv", "in.txt"]
    assert Path("in.csv").read_bytes() == test_csv.read_bytes()


# Faults that are none of ours


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "in.csv", "is empty: not even a header"),
        (b"", "in.parquet", "is empty: not even a header"),
        (b"1,2,3\n", "in.csv", "is the header missing?"),
        (b"PassengerId,Pclass\n1,1\n", "in.csv", "columns missing: "),
        (b"PassengerId;Pclass\n1;1\n", "in.csv", "separated by a semicolon"),
        (b"\xff\xfea\0", "in.csv", "is not UTF-8"),
        (b"PAR1", "in.csv", "say --input-format parquet"),
        (b"no parquet at all", "in.parquet", "is not Parquet, or is cut short"),
        (b"no gzip at all", "in.csv.gz", "in.csv.gz"),
        (gzip.compress(bytes(range(256)) * 500, mtime=0)[:300], "in.csv.gz", "in.csv.gz"),
        (b"no zstd at all", "in.csv.zst", "in.csv.zst"),
    ],
)
@pytest.mark.parametrize("command", ["score", "validate"])
def test_data_that_cannot_be_read_as_passengers_is_told(
    titanic: Titanic, tmp_path: Path, command: str, content: bytes, name: str, words: str
) -> None:
    Path(name).write_bytes(content)
    output = ["-o", "p.csv"] if command == "score" else []
    assert_fails(titanic(command, name, *output), 65, words)
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.csv", "gone.csv does not exist"),
        ("gone/*.csv", "no file matches gone/*.csv"),
        ("empty", "empty holds no file to read"),
    ],
)
@pytest.mark.parametrize("command", ["score", "validate", "fit"])
def test_an_input_that_cannot_be_opened_is_told(
    titanic: Titanic, tmp_path: Path, command: str, name: str, words: str
) -> None:
    Path("empty").mkdir()
    output = {"score": ["-o", "p.csv"], "validate": [], "fit": ["-o", "m.skops"]}[command]
    assert_fails(titanic(command, name, *output), 66, words)
    assert names_in(tmp_path) == ["empty"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "gone/p.csv"], "gone/p.csv can't be created (No such file or directory)"),
        (["-o", "p.csv", "--rejects", "folder.csv"], "folder.csv is a folder"),
        (["-o", "p.csv", "--rejects", "gone/r.csv"], "gone/r.csv can't be created"),
    ],
)
def test_an_output_that_cannot_be_created_is_told(
    titanic: Titanic, tmp_path: Path, test_csv: Path, options: list[str], words: str
) -> None:
    Path("folder.csv").mkdir()
    assert_fails(titanic("score", test_csv, *options), 73, words)
    assert names_in(tmp_path) == ["folder.csv"]


def test_a_full_disk_is_told(titanic: Titanic, tmp_path: Path, test_csv: Path, bad_csv: Path) -> None:
    result = titanic("score", test_csv, "-o", "/dev/full", "--output-format", "csv")
    assert_fails(result, 74, "writing /dev/full failed (No space left on device): free some space and try again.")
    result = titanic("validate", bad_csv, "-o", "/dev/full")
    assert_fails(result, 74, "writing /dev/full failed")
    assert names_in(tmp_path) == ["bad.csv"]


def test_a_job_summary_that_cannot_be_written_is_told(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, test_csv: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "gone/summary.md")
    result = titanic("validate", test_csv, "--format", "github")
    assert_fails(result, 74, "writing gone/summary.md failed (No such file or directory)")


def test_an_output_that_another_process_holds_is_left_to_it(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
    Path("p.csv").write_text("old")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, "p.csv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert_fails(titanic("score", test_csv, "-o", "p.csv"), 75, "p.csv is being written by another run")
        assert Path("p.csv").read_text() == "old"
        holder.kill()
    assert is_silent(titanic("score", test_csv, "-o", "p.csv"))
    assert names_in(tmp_path) == ["p.csv"]


def test_what_kubernetes_puts_into_the_environment_changes_nothing(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITANIC_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("TITANIC_SERVICE_HOST", "10.0.0.1")
    assert_fails(titanic("serve", "-m", "gone.skops"), 78)


def test_a_fault_of_ours_is_no_fault_of_the_data(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(ModelScores, "__call__", fail)
    result = titanic("score", test_csv, "-o", "p.csv")
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)
    assert names_in(tmp_path) == []


# The process


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process, as users have it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TITANIC_", "PYTHONUNBUFFERED"))}
    return kept | more


def run_process(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdout: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=env or environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def imported(importtime: str) -> set[str]:
    """Return the packages that `-X importtime` lists."""
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in importtime.splitlines() if "|" in line}


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["score", "--help"], 0), (["--version"], 0), (["score", "--nothing"], 2)]
)
def test_what_needs_no_library_imports_none(arguments: list[str], code: int) -> None:
    process = run_process("-X", "importtime", "-m", "titanic_batch", *arguments)
    assert process.returncode == code
    found = imported(process.stderr)
    assert "typer" in found
    assert not found & {"numpy", "pandas", "pandera", "pyarrow", "sklearn", "skops", "joblib", "flask"}


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "code"), [("99999999999999999999", 2), ("", 78)])
def test_a_date_of_the_source_is_looked_at_before_numpy_does(epoch: str, code: int, tmp_path: Path) -> None:
    command = ("-m", "titanic_batch", "score", "in.csv", "-o", "p.csv", "-m", "gone.skops")
    process = run_process(*command, cwd=tmp_path, env=environment(SOURCE_DATE_EPOCH=epoch))
    assert process.returncode == code
    said = {2: "titanic: SOURCE_DATE_EPOCH is 9999", 78: "titanic: the model gone.skops can't be read"}
    assert process.stderr.startswith(said[code])
    assert process.stderr.count("\n") == 1


def test_looking_at_a_model_imports_no_library(model_file: Path) -> None:
    process = run_process("-X", "importtime", "-m", "titanic_batch", "inspect", model_file)
    assert process.returncode == 0
    assert not imported(process.stderr) & {"numpy", "pandas", "pandera", "pyarrow", "sklearn", "skops", "joblib"}


@pytest.mark.slow
def test_a_check_needs_no_scikit_learn_and_cannot_be_turned_off(bad_csv: Path) -> None:
    process = run_process(
        *("-X", "importtime", "-m", "titanic_batch", "validate", bad_csv),
        env=environment(PANDERA_VALIDATION_ENABLED="False", PANDERA_VALIDATION_DEPTH="SCHEMA_ONLY"),
    )
    assert process.returncode == 65
    assert "not_allowed Pclass: 1 row" in process.stdout
    assert not imported(process.stderr) & {"sklearn", "skops", "scipy", "flask"}


def test_a_check_leaves_out_pandas_and_finds_the_same(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
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
    assert not modules & {"hypothesis", "pandas", "polars", "sklearn"}


def test_a_fault_of_ours_ends_in_a_traceback(model_file: Path) -> None:
    program = (
        "from titanic_batch.cli import command\n"
        "from titanic_batch.models import artifact\n"
        "def fail(name): raise RuntimeError('ours')\n"
        "artifact.read_artifact = fail\n"
        "command.main()"
    )
    process = run_process("-c", program, "inspect", model_file)
    assert process.returncode == 1
    assert process.stderr.startswith("Traceback (most recent call last):\n")
    assert process.stderr.endswith("RuntimeError: ours\n")


@contextmanager
def closed_pipe() -> Iterator[int]:
    """Give the writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "closed", "exit_code"),
    [
        (["validate", "p.csv"], ">&-", 73),
        (["--version"], ">&-", 73),
        (["validate", "missing.csv"], "2>&-", 66),
        (["validate", "-"], "<&-", 66),
        (["validate", "p.csv", "-o", "r.txt"], "<&- >&- 2>&-", 0),
    ],
)
def test_a_closed_stream_matters_only_where_it_is_used(
    arguments: list[str], closed: str, exit_code: int, test_csv: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_bytes(test_csv.read_bytes())
    command = f'"$0" -m titanic_batch "$@" {closed}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == exit_code
    said = {66: "stdin is closed: lead a file or a pipe into it, or name a file.", 73: "stdout is not open"}
    assert said.get(exit_code, "") in done.stderr if "2>&-" not in closed else not done.stderr
    assert "Traceback" not in done.stderr
    if "-o" in arguments:
        assert (tmp_path / "r.txt").read_text() == "p.csv: 418 rows, 0 rejected\n"


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "exit_code"), [("5", 0), ("0", 65)])
def test_what_cannot_be_said_changes_nothing(
    model_file: Path, test_csv: Path, tmp_path: Path, limit: str, exit_code: int
) -> None:
    (tmp_path / "p.csv").write_bytes(test_csv.read_bytes().replace(b",male,", b",Male,", 2))
    arguments = ["score", "p.csv", "-o", "out.csv", "-m", str(model_file), "--max-rejects", limit]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "titanic_batch", *arguments], cwd=tmp_path, stderr=full)
    assert done.returncode == exit_code
    assert (tmp_path / "out.csv").exists() == (exit_code == 0)


def test_a_message_is_one_line_whatever_a_file_is_called(titanic: Titanic) -> None:
    result = titanic("score", "a\nb\x1b.csv", "-o", "out.csv")
    assert (result.exit_code, result.stderr) == (66, "titanic: a\\nb\\x1b.csv does not exist: check the path.\n")


def test_a_report_has_a_line_for_a_file_whatever_it_is_called(titanic: Titanic, test_csv: Path, tmp_path: Path) -> None:
    shutil.copy(test_csv, tmp_path / "a\n::error::b.csv")
    assert titanic("validate", "a\n::error::b.csv").stdout == "a\\n::error::b.csv: 418 rows, 0 rejected\n"


@pytest.mark.slow
def test_no_folder_for_temporary_files_is_needed_for_little(test_csv: Path) -> None:
    script = (
        "import tempfile\ntempfile._candidate_tempdir_list = lambda: []\n"
        "from titanic_batch.cli.command import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script, "validate", str(test_csv)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{test_csv}: 418 rows, 0 rejected\n"


def test_a_reader_that_goes_away_ends_the_run_quietly(model_file: Path) -> None:
    with closed_pipe() as stdout:
        process = run_process("-m", "titanic_batch", "inspect", model_file, stdout=stdout)
    assert (process.returncode, process.stderr) == (141, "")


def test_a_full_disk_behind_stdout_is_told(model_file: Path) -> None:
    with open("/dev/full", "w") as full:
        process = run_process("-m", "titanic_batch", "inspect", model_file, stdout=full.fileno())
    assert process.returncode == 74
    assert process.stderr.startswith("titanic: writing stdout failed (No space left on device): free some space")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["score", "--help"]], ids=" ".join)
def test_what_the_parser_prints_fails_as_all_else_does(arguments: list[str]) -> None:
    with closed_pipe() as stdout:
        process = run_process("-m", "titanic_batch", *arguments, stdout=stdout)
    assert (process.returncode, process.stderr) == (141, "")
    with open("/dev/full", "w") as full:
        process = run_process("-m", "titanic_batch", *arguments, stdout=full.fileno())
    told = "titanic: writing failed (No space left on device): free some space and try again.\n"
    assert (process.returncode, process.stderr) == (74, told)


def test_a_fault_leaves_one_line_and_no_file(tmp_path: Path) -> None:
    process = run_process("-m", "titanic_batch", "validate", "gone.csv", "--rejects", "r.csv", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (66, "")
    assert process.stderr == "titanic: gone.csv does not exist: check the path.\n"
    assert names_in(tmp_path) == []


class Feed(threading.Thread):
    """Writes passengers to a named pipe without end; after ``rows`` of them it writes no more, and keeps it open."""

    def __init__(self, pipe: Path, rows: float) -> None:
        super().__init__()
        self.written = threading.Event()
        self._pipe = pipe
        self._rows = rows
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            with self._pipe.open("wb") as file:
                file.write(b"PassengerId,Pclass,Sex,Age,SibSp,Parch,Fare,Cabin\n")
                row = 0
                while row < self._rows and not self._stopped.is_set():
                    file.write(b"".join(b"%d,3,male,22,0,0,7.25,\n" % key for key in range(row, row + 20_000)))
                    row += 20_000
                file.flush()
                self.written.set()
                self._stopped.wait()
        except BrokenPipeError:
            pass

    def stop(self) -> None:
        self._stopped.set()
        # Where nobody ever opened the pipe, this lets it be opened.
        os.close(os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK))
        self.join(10)
        assert not self.is_alive()


def stopped_by(number: signal.Signals, folder: Path, rows: float, *arguments: str | Path) -> tuple[int, str, float]:
    """Return how a run over an endless pipe ends when it is told to, and how many seconds that takes."""
    os.mkfifo(folder / "in.csv")
    feed = Feed(folder / "in.csv", rows)
    feed.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "titanic_batch", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        while not (feed.written.is_set() or len(list(folder.glob(".*"))) == 2) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.5)
        started = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        return process.returncode, out + err, time.monotonic() - started
    finally:
        process.kill()
        process.communicate()
        feed.stop()


def test_sigterm_ends_a_run_and_leaves_nothing(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "p.csv").write_text("old")
    code, output, seconds = stopped_by(
        signal.SIGTERM, tmp_path, float("inf"), "score", "in.csv", "-o", "p.csv", "-m", model_file
    )
    assert (code, output) == (143, "titanic: stopped by SIGTERM: nothing was published, so run it again.\n")
    assert seconds < 5
    assert names_in(tmp_path) == ["in.csv", "p.csv"]
    assert (tmp_path / "p.csv").read_text() == "old"


@pytest.mark.slow
def test_sigint_ends_a_run_that_waits_for_input(tmp_path: Path) -> None:
    code, output, seconds = stopped_by(
        signal.SIGINT, tmp_path, 40_000, "validate", "in.csv", "--rejects", "r.csv", "--max-rejects", "100%"
    )
    assert (code, output) == (130, "titanic: stopped by SIGINT: nothing was published, so run it again.\n")
    assert seconds < 5
    assert names_in(tmp_path) == ["in.csv"]


@pytest.mark.slow
def test_sigterm_ends_a_run_whose_input_stalls_midway(tmp_path: Path) -> None:
    code, output, seconds = stopped_by(
        signal.SIGTERM, tmp_path, 4_000_000, "validate", "in.csv", "--rejects", "r.csv", "-j", "2"
    )
    assert (code, output) == (143, "titanic: stopped by SIGTERM: nothing was published, so run it again.\n")
    assert seconds < 5
    assert names_in(tmp_path) == ["in.csv"]


@pytest.mark.slow
def test_a_terminal_is_told_what_was_done(tmp_path: Path, test_csv: Path, model_file: Path) -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "titanic_batch", "score", str(test_csv), "-o", "p.csv", "-m", str(model_file)],
        cwd=tmp_path,
        stdout=secondary,
        stderr=secondary,
        env=environment(TERM="xterm"),
    )
    os.close(secondary)
    shown = b""
    while chunk := _read(primary):
        shown += chunk
    os.close(primary)
    assert process.wait(TIMEOUT) == 0
    assert shown.decode().endswith("titanic: 418 rows scored: see p.csv.\r\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # all is read, and nobody has the other end
        return b""


def test_a_server_answers_until_it_is_told_to_stop(tmp_path: Path, model_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [sys.executable, "-m", "titanic_batch", "serve", "-m", str(model_file), "--port", str(port)]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        answer = b""
        while not answer.startswith(b"HTTP/1.0 200 OK\r\n") and server.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
                    answer = b"".join(iter(lambda: connection.recv(1000), b""))
            except ConnectionRefusedError:
                time.sleep(0.1)
        assert answer.endswith(b"\r\n\r\npong")
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=TIMEOUT)
        assert (server.returncode, out) == (0, "")
        assert err == f"titanic: serving {model_file} on http://127.0.0.1:{port}\n"
    finally:
        server.kill()
        server.communicate()
