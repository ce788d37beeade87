"""Calling the command, and what tests ask of how it ended."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
from typer.testing import Result

Titanic = Callable[..., Result]

PREDICTED = ["PassengerId", "Survived", "Probability"]


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


def assert_predictions(predictions: pa.Table, expected: pd.DataFrame) -> None:
    assert predictions.column_names == PREDICTED
    for name in PREDICTED:
        assert predictions[name].to_pylist() == expected[name].tolist()
