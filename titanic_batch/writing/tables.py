"""Incremental writing of predictions and rejects as CSV or Parquet."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import BinaryIO, Self, TypeAlias

import pyarrow as pa

from titanic_batch.errors import OutputError, TransferError
from titanic_batch.reading.escapes import unescape
from titanic_batch.reading.formats import COMPRESSION, Format

ROW_GROUP_ROWS = 2**18

Writable: TypeAlias = BinaryIO | io.RawIOBase


def is_writable(arrow_type: pa.DataType) -> bool:
    """Return whether a type can be written to Parquet. One that was read from it can, unless it has no parts."""
    import pyarrow.parquet as pq

    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("column", arrow_type)])).close()
    except pa.ArrowNotImplementedError:
        return False
    return True


class TableWriter:
    """Writes tables of one schema to an open file, which it does not close.

    The output depends only on the rows, not on how they are split into tables: row groups have a fixed size. The
    schema's metadata is written to Parquet, but can't be stored in a CSV. If ``escaped`` is true, the text was escaped
    by `escapes.escape`, and a CSV contains the original bytes. As a context manager, it always closes its writer,
    and ignores errors if `close` was not called before.
    """

    def __init__(self, file: Writable, file_format: Format, schema: pa.Schema, *, escaped: bool = False) -> None:
        self._open = True
        if file_format == "parquet":
            self._writer: _ParquetWriter | _CsvWriter = _ParquetWriter(file, schema)
        else:
            self._writer = _CsvWriter(file, file_format, schema, escaped)

    def write(self, table: pa.Table) -> None:
        """Write the rows of ``table``, which has the schema's columns."""
        self._writer.write(table)

    def close(self) -> None:
        """Write the remaining rows and the end of the file, which is incomplete until then."""
        if self._open:
            self._open = False
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Otherwise Arrow's writers would write to the file again when they are garbage-collected.
        with suppress(OutputError, TransferError, OSError, ValueError):
            self.close()


class _CsvWriter:
    def __init__(self, file: Writable, file_format: Format, schema: pa.Schema, escaped: bool) -> None:
        import pyarrow.csv

        self._compressed = None
        if codec := COMPRESSION.get(file_format):
            self._compressed = pa.CompressedOutputStream(pa.PythonFile(_KeptOpen(file), "w"), codec)
        plain = self._compressed or file
        self._sink = pa.PythonFile(_UnescapedBytes(plain) if escaped else _KeptOpen(plain), "w")
        header = io.StringIO()
        csv.writer(header, lineterminator="\r\n").writerow(schema.names)  # so that names with \r or \n are quoted
        self._sink.write(header.getvalue().removesuffix("\r\n").encode() + b"\n")
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
        self._csv = pyarrow.csv.CSVWriter(self._sink, schema.remove_metadata(), write_options=options)

    def write(self, table: pa.Table) -> None:
        for batch in table.to_batches():
            if batch.num_rows:  # Arrow writes uninitialized memory if the first batch is empty
                self._csv.write_batch(batch)

    def close(self) -> None:
        self._csv.close()
        if self._compressed is not None:
            self._compressed.close()


class _ParquetWriter:
    def __init__(self, file: Writable, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        # Ids rarely repeat and are mostly ascending, so their differences are small. The values of other columns
        # repeat, so a dictionary saves most of the space.
        ids = [field.name for field in schema if pa.types.is_int64(field.type)]
        self._parquet = pq.ParquetWriter(
            file,
            schema,
            compression={field.name: "snappy" if pa.types.is_string(field.type) else "none" for field in schema},
            use_dictionary=[name for name in schema.names if name not in ids],
            column_encoding=dict.fromkeys(ids, "DELTA_BINARY_PACKED"),
        )
        self._pending = pa.Table.from_batches([], schema)  # `empty_table` doesn't support all types

    def write(self, table: pa.Table) -> None:
        self._pending = pa.concat_tables([self._pending, table])
        while self._pending.num_rows >= ROW_GROUP_ROWS:
            self._write_group(self._pending.slice(0, ROW_GROUP_ROWS))
            self._pending = self._pending.slice(ROW_GROUP_ROWS)

    def close(self) -> None:
        if self._pending.num_rows:
            self._write_group(self._pending)
        self._parquet.close()

    def _write_group(self, rows: pa.Table) -> None:
        # In one chunk, because the ends of pages depend on the chunks.
        self._parquet.write_table(rows.combine_chunks(), ROW_GROUP_ROWS)


class _KeptOpen(io.RawIOBase):
    """Forwards writes to a file, and leaves the file open when it is closed itself."""

    def __init__(self, file: Writable | pa.NativeFile) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # pyarrow gives bytes
        self._file.write(data)
        return len(data)


class _UnescapedBytes(_KeptOpen):
    """Forwards writes with escaped bytes restored. The CSV writer never splits a character between two writes."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # pyarrow gives bytes
        self._file.write(unescape(bytes(data)))
        return len(data)
