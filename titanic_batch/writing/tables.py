"""Tables out: predictions and rejects, as CSV or Parquet, written as the rows come."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import BinaryIO, Self, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from titanic_batch.errors import TransferError
from titanic_batch.reading.escapes import unescape
from titanic_batch.reading.formats import COMPRESSION, Format

ROW_GROUP_ROWS = 2**18

Writable: TypeAlias = BinaryIO | io.RawIOBase


class TableWriter:
    """Writes tables of one schema to an open file, which it does not close; left before `close`, it lets go of it.

    What is written depends on the rows alone, not on how they were cut into tables: row groups have a fixed size. The
    schema's metadata goes into Parquet; a CSV has no place for it. ``escaped`` tells that the text is as
    `columns.escape` left it: a CSV gets the bytes that it stood for.
    """

    def __init__(self, file: Writable, file_format: Format, schema: pa.Schema, *, escaped: bool = False) -> None:
        self._open = True
        if file_format == "parquet":
            self._rows: _ParquetRows | _CsvRows = _ParquetRows(file, schema)
        else:
            self._rows = _CsvRows(file, file_format, schema, escaped)

    def write(self, table: pa.Table) -> None:
        """Write the rows of ``table``, which has the schema's columns."""
        self._rows.write(table)

    def close(self) -> None:
        """Write what is left. The file has no end before."""
        if self._open:
            self._open = False
            self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The library's writers would write to the file once more when they are collected.
        with suppress(TransferError, OSError, ValueError):
            self.close()


class _CsvRows:
    def __init__(self, file: Writable, file_format: Format, schema: pa.Schema, escaped: bool) -> None:
        self._compressed = None
        if codec := COMPRESSION.get(file_format):
            self._compressed = pa.CompressedOutputStream(pa.PythonFile(_KeptOpen(file), "w"), codec)
        plain = self._compressed or file
        self._sink = pa.PythonFile(_UnescapedBytes(plain) if escaped else _KeptOpen(plain), "w")
        header = io.StringIO()
        csv.writer(header, lineterminator="\r\n").writerow(schema.names)  # quotes a name that holds one of these
        self._sink.write(header.getvalue().removesuffix("\r\n").encode() + b"\n")
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
        self._csv = pyarrow.csv.CSVWriter(self._sink, schema.remove_metadata(), write_options=options)

    def write(self, table: pa.Table) -> None:
        for batch in table.to_batches():
            if batch.num_rows:  # of an empty one that comes first the library writes what its memory held before
                self._csv.write_batch(batch)

    def close(self) -> None:
        self._csv.close()
        if self._compressed is not None:
            self._compressed.close()


class _ParquetRows:
    def __init__(self, file: Writable, schema: pa.Schema) -> None:
        # Ids hardly repeat and rise: their differences are small. All else repeats, so a dictionary says most of it.
        ids = [field.name for field in schema if pa.types.is_int64(field.type)]
        self._parquet = pq.ParquetWriter(
            file,
            schema,
            compression={field.name: "snappy" if pa.types.is_string(field.type) else "none" for field in schema},
            use_dictionary=[name for name in schema.names if name not in ids],
            column_encoding=dict.fromkeys(ids, "DELTA_BINARY_PACKED"),
        )
        self._pending = pa.Table.from_batches([], schema)  # `empty_table` doesn't know every type

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
        # In one chunk, or the chunks would show in where pages end.
        self._parquet.write_table(rows.combine_chunks(), ROW_GROUP_ROWS)


class _KeptOpen(io.RawIOBase):
    """Passes on what is written, and leaves the file open when it is closed."""

    def __init__(self, file: Writable | pa.NativeFile) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._file.write(data)
        return len(data)


class _UnescapedBytes(_KeptOpen):
    """Passes on what is written, each foreign byte as it was. The CSV writer never cuts a character between writes."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._file.write(unescape(bytes(data)))
        return len(data)
