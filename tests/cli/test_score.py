"""Scoring: predictions in every format, and rejects beside them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.cli.command import (
    PREDICTED,
    Titanic,
    assert_fails,
    assert_predictions,
    digest_of,
    edited,
    is_silent,
    names_in,
)
from tests.cli.process import TIMEOUT, environment
from titanic_batch.version import __version__


def test_every_passenger_gets_a_prediction(
    titanic: Titanic, tmp_path: Path, test_csv: Path, model_file: Path, expected: pd.DataFrame
) -> None:
    assert is_silent(titanic("score", test_csv, "-o", "p.parquet"))
    table = pq.read_table("p.parquet")
    assert table.num_rows == 418
    assert_predictions(table, expected)
    assert table.schema.types == [pa.int64(), pa.int8(), pa.float64()]
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["titanic_batch.model"] == digest_of(model_file)
    assert metadata["titanic_batch.version"] == __version__
    assert metadata["titanic_batch.schema_version"] == "2"
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


def test_a_kept_column_is_written_unchanged(titanic: Titanic, test_csv: Path) -> None:
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


def test_one_bad_row_fails_the_run_and_is_written_to_the_rejects(
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
def test_rejects_within_the_limit_do_not_fail_the_run(titanic: Titanic, bad_csv: Path, limit: str) -> None:
    result = titanic("score", bad_csv, "-o", "p.parquet", "--max-rejects", limit)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "titanic: 1 of 418 rows rejected: see p.parquet.rejects.csv.\n"
    keys = pq.read_table("p.parquet")["PassengerId"].to_pylist()
    assert keys == [key for key in range(892, 1310) if key != 894]


def test_a_larger_share_of_rejects_than_allowed_fails_the_run(titanic: Titanic, bad_csv: Path) -> None:
    assert_fails(titanic("score", bad_csv, "-o", "p.csv", "--max-rejects", "0.23%"), 65, "0.23% allowed")
    assert not Path("p.csv").exists()


def test_corrected_rejects_can_be_scored(titanic: Titanic, tmp_path: Path, bad_csv: Path) -> None:
    titanic("score", bad_csv, "-o", "p.csv", "--max-rejects", 1, "--rejects", "r.csv")
    mended = edited(tmp_path / "r.csv", tmp_path / "mended.csv", 1, Pclass="3")
    assert is_silent(titanic("score", mended, "-o", "q.csv"))
    assert pd.read_csv("q.csv")["PassengerId"].tolist() == [894]


def test_a_clean_run_removes_the_rejects_of_the_run_before(titanic: Titanic, bad_csv: Path, test_csv: Path) -> None:
    assert titanic("score", bad_csv, "-o", "p.csv").exit_code == 65
    assert Path("p.csv.rejects.csv").exists()
    assert is_silent(titanic("score", test_csv, "-o", "p.csv"))
    assert not Path("p.csv.rejects.csv").exists()


def test_a_failed_run_leaves_the_old_predictions(titanic: Titanic, bad_csv: Path) -> None:
    Path("p.csv").write_text("old")
    assert titanic("score", bad_csv, "-o", "p.csv").exit_code == 65
    assert Path("p.csv").read_text() == "old"


def test_fewer_rows_than_expected_fail_the_run(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
    result = titanic("score", test_csv, "-o", "p.csv", "--min-rows", 419)
    assert_fails(result, 65, "418 rows, at least 419 expected: no predictions written.")
    assert names_in(tmp_path) == []
    assert is_silent(titanic("score", test_csv, "-o", "p.csv", "--min-rows", 418))


# What is shown


@pytest.mark.slow
def test_a_terminal_is_shown_what_was_done(tmp_path: Path, test_csv: Path, model_file: Path) -> None:
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
