"""Rows of an id, a size and a colour, the contract that they keep, and scores for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandera.pyarrow as pap
import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.checking.contract import Contract
from titanic_batch.runs.options import RejectLimit
from titanic_batch.writing.predictions import PredictedColumns

CONTRACT = Contract(
    pap.DataFrameSchema(
        {
            "id": pap.Column(pa.int64(), unique=True),
            "size": pap.Column(pa.float64(), pap.Check.in_range(0, 10), nullable=True),
            "colour": pap.Column(pa.string(), pap.Check.isin(["red", "blue"])),
        }
    ),
    version=1,
)
ALL_MAY_FAIL = RejectLimit.parse("100%")
Rows = Sequence[tuple[str, str, str]]


def large(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Score rows: large are those above 5, and the probability is a tenth of the size."""
    sizes = [size or 0 for size in rows["size"].to_pylist()]
    return pa.array([int(size > 5) for size in sizes], pa.int8()), pa.array([size / 10 for size in sizes], pa.float64())


COLUMNS = PredictedColumns(CONTRACT, "large", large, provenance={"model": "large"})


def write(path: Path, rows: Rows, note: str = "") -> str:
    """Write a table as its suffix tells; each row has a note of its own, ``note`` and its place."""
    if path.suffix == ".parquet":
        table = pa.table(
            {
                "id": [int(key) for key, _, _ in rows],
                "size": [float(size) if size else None for _, size, _ in rows],
                "colour": [colour for _, _, colour in rows],
                "note": [place for place, _ in enumerate(rows)],
            }
        )
        pq.write_table(table, path)
    else:
        lines = [f"{','.join(row)},{note}{place}" for place, row in enumerate(rows)]
        path.write_text("\n".join(["id,size,colour,note", *lines]) + "\n")
    return str(path)
