"""Inputs of twenty passengers, and what is read from them or reported of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.passengers import csv_bytes, parquet_bytes, passengers, typed
from titanic_batch.errors import TitanicError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.formats import Format, format_of
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source

CSV = csv_bytes(passengers(20))
PARQUET = parquet_bytes(typed(passengers(20)))
KEYS = [str(key) for key in range(1, 21)]


def zstd(data: bytes) -> bytes:
    compressed: bytes = pa.compress(data, "zstd", asbytes=True)
    return compressed


def opened(path: Path | str, kind: Format | None = None, block_bytes: int = 2**20) -> InputTable:
    return open_table(Source(str(path), kind or format_of(str(path))), block_bytes)


def rows_of(table: InputTable) -> list[dict[str, str]]:
    """Return the rows as they stood; blank fields are left out."""
    rows = []
    with table:
        for block in table.blocks(table.names, fields=True):
            count = block.read(dict.fromkeys(table.names)).table.num_rows
            fields = block.fields(np.arange(count)).table.to_pylist()
            rows += [{name: value for name, value in row.items() if value} for row in fields]
    return rows


def keys_of(table: InputTable) -> list[str]:
    return [row["PassengerId"] for row in rows_of(table)]


def message(error: type[TitanicError], data: bytes, path: Path, kind: Format | None = None) -> str:
    """Return what is said of a file, without its name: on opening it, asking for its columns, or reading it."""
    path.write_bytes(data)

    def use() -> None:
        with opened(path, kind) as table:
            table.require(CONTRACT.types)
            rows_of(table)

    with pytest.raises(error) as caught:
        use()
    text = str(caught.value)
    assert text.startswith((f"{path}: ", f"{path} ", f"reading {path} "))
    assert "\n" not in text
    return text.replace(f"{path}: ", "").replace(f"{path} ", "")
