"""Models fitted, and rows scored, by the command itself: what a server's answers are compared with."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.server.media import ARROW, CSV, JSON, JSON_LINES, PARQUET

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "data" / "train.csv"

Prediction: TypeAlias = tuple[int, int, float]
"""Key, label and probability of a row."""

_NAMES = ("PassengerId", "Survived", "Probability")
_HEADER = ",".join(_NAMES) + "\n"


def fit(model: Path, *parameters: str) -> Path:
    """Fit a model on the committed passengers by ``titanic fit``."""
    options = [option for parameter in parameters for option in ("--param", parameter)]
    _titanic("fit", TRAIN, "-o", model, *options)
    return model


def score(model: Path, rows: bytes, folder: Path) -> list[Prediction]:
    """Score a CSV by ``titanic score``."""
    (folder / "rows.csv").write_bytes(rows)
    _titanic("score", folder / "rows.csv", "-o", folder / "predictions.parquet", "--model", model)
    return _of_table(pq.read_table(folder / "predictions.parquet"))


def predictions_in(content: bytes, media_type: str) -> list[Prediction]:
    """Return the predictions in a response body, whatever its shape.

    Raises
    ------
    ArrowException, KeyError, TypeError, ValueError
        The body is not what a server answers.
    """
    match media_type:
        case _ if media_type == JSON:
            return _of_json(json.loads(content))
        case _ if media_type == JSON_LINES:
            return [_of_record(json.loads(line)) for line in content.splitlines()]
        case _ if media_type == CSV:
            lines = csv.reader(io.StringIO(content.decode().removeprefix(_HEADER)))
            return [(int(key), int(label), float(probability)) for key, label, probability in lines]
        case _ if media_type == PARQUET:
            return _of_table(pq.read_table(io.BytesIO(content)))
        case _ if media_type == ARROW:
            return _of_table(pa.ipc.open_stream(content).read_all())
        case _:
            raise ValueError(f"the answer is {media_type}")


def _of_json(value: Any) -> list[Prediction]:
    if isinstance(value, dict):
        value = value.get("predictions", [value])
    return [_of_record(record) for record in value]


def _of_record(record: Mapping[str, Any]) -> Prediction:
    if set(record) != set(_NAMES):
        raise ValueError(f"a prediction has {', '.join(record)}")
    key, label, probability = (record[name] for name in _NAMES)
    return int(key), int(label), float(probability)


def _of_table(table: pa.Table) -> list[Prediction]:
    types: Sequence[pa.DataType] = (pa.int64(), pa.int8(), pa.float64())
    if table.column_names != list(_NAMES) or table.schema.types != list(types):
        raise ValueError(f"the predictions have other columns: {table.schema.names}, {table.schema.types}")
    return list(zip(*(table[name].to_pylist() for name in _NAMES), strict=True))


def _titanic(*arguments: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TITANIC_")}
    done = subprocess.run(
        [sys.executable, "-m", "titanic_batch", *map(str, arguments)],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"titanic {arguments[0]} ended with {done.returncode}: {done.stderr}")
