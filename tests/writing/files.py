"""Written files, read back."""

from __future__ import annotations

import csv
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.reading.formats import Format

FORMATS: list[Format] = ["csv", "csv.gz", "csv.zst", "parquet"]


def unpacked(data: bytes, kind: Format) -> bytes:
    if kind == "csv":
        return data
    codec = {"csv.gz": "gzip", "csv.zst": "zstd"}[kind]
    unpacked_bytes: bytes = pa.CompressedInputStream(pa.BufferReader(data), codec).read()
    return unpacked_bytes


def read_back(data: bytes, kind: Format) -> list[dict[str, Any]]:
    """Return the rows of a file as text; of Parquet as they are."""
    if kind == "parquet":
        found: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).to_pylist()
        return found
    return list(csv.DictReader(io.StringIO(unpacked(data, kind).decode("utf-8"), newline=""), strict=True))
