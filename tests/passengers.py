"""Small passengers for tests: rows as text, CSV bytes, typed tables, and sources over bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.csv_blocks import CsvBlock
from titanic_batch.reading.csv_splitter import BLOCK_BYTES
from titanic_batch.reading.formats import Format
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source

Row = dict[str, str]

COLUMNS = tuple(CONTRACT.types)

_AGES = ("22", "", "0.75", "38", "NA", "61.5")
_FARES = ("7.25", "71.2833", "", "8.05", "nan")
_CABINS = ("", "C85", "B57 B59", "T", "NaN", "G6", "F G73")


def passenger(key: int, **fields: str) -> Row:
    """Return a valid row as the text of its fields; ``fields`` overrule it."""
    row = {
        "PassengerId": str(key),
        "Pclass": str(key % 3 + 1),
        "Sex": ("male", "female")[key % 2],
        "Age": _AGES[key % 6],
        "SibSp": str(key % 4),
        "Parch": str(key % 5 % 3),
        "Fare": _FARES[key % 5],
        "Cabin": _CABINS[key % 7],
    }
    return row | fields


def passengers(count: int, first_key: int = 1) -> list[Row]:
    """Return valid rows with rising keys."""
    return [passenger(key) for key in range(first_key, first_key + count)]


def csv_bytes(rows: Iterable[Mapping[str, str]], columns: Sequence[str] = COLUMNS, line_end: str = "\n") -> bytes:
    """Return rows as a CSV with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def csv_block(rows: Iterable[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> CsvBlock:
    """Return rows as one block of a CSV."""
    return CsvBlock(tuple(columns), csv_bytes(rows, columns).partition(b"\n")[2])


def typed(rows: Iterable[Mapping[str, str]]) -> pa.Table:
    """Return rows that can be converted as a table of the contract's types."""
    found = csv_block(rows).read(CONTRACT.types)
    assert not found.problems
    return found.table


def many(count: int, seed: int = 0) -> pa.Table:
    """Return valid passengers of the contract's types, of about 400 kinds, with keys from 1 on."""
    kinds = typed(passengers(420))
    table = kinds.take(pa.array(np.random.default_rng(seed).integers(0, 420, count)))
    return table.set_column(0, "PassengerId", pa.array(np.arange(1, count + 1)))


def parquet_bytes(table: pa.Table, row_group_size: int | None = None) -> bytes:
    """Return a table as a Parquet file."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=row_group_size)
    return file.getvalue()


def table_of(data: bytes, kind: Format = "csv", block_bytes: int = BLOCK_BYTES, name: str = "input") -> InputTable:
    """Return bytes as an open input; close it, or use it as a context."""
    return open_table(Source(name, kind, io.BytesIO(data)), block_bytes)
