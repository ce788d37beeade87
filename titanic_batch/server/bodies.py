"""Bodies in and out: media types, unpacking, and tables of rows in each of them.

A body becomes what a file would have become: the same `InputTable`, judged and scored the same way. JSON is written as
a CSV first, so that a value means there what it means everywhere.
"""

from __future__ import annotations

import csv
import io
import json
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from werkzeug.exceptions import BadRequest, UnsupportedMediaType
from werkzeug.wrappers import Request

from titanic_batch.errors import DataError
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.formats import Format
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source
from titanic_batch.server.media import ARROW, CSV, JSON, Limits
from titanic_batch.writing.tables import TableWriter

_NAME = "the body"
_GZIP = 31  # zlib's name for a stream with gzip's header
_GZIP_CHUNK = 2**12  # what is left of one is copied behind each of the streams that a body may consist of
_NO_NUMBER = "?"
_COMPRESSIONS = ("gzip", "x-gzip")

Record = Mapping[str, Any]
"""A row as JSON's values by the names of the columns."""


def unpacked(request: Request, limits: Limits) -> bytes:
    """Return a request's body, without the compression that its ``Content-Encoding`` names.

    Raises
    ------
    BadRequest
        It isn't what it is said to be.
    RequestEntityTooLarge
        It has more bytes than it may, packed or not.
    UnsupportedMediaType
        It is compressed with something else than gzip.
    """
    body = request.get_data(cache=False)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in _COMPRESSIONS:
        return _gunzipped(body, limits)
    if encoding not in ("identity", ""):
        raise UnsupportedMediaType("a body may be compressed with gzip, and with nothing else.")
    return body


def _gunzipped(body: bytes, limits: Limits) -> bytes:
    parts: list[bytes] = []
    size = at = 0
    try:
        while at < len(body):
            stream = zlib.decompressobj(_GZIP)
            while not stream.eof:
                if not (chunk := body[at : at + _GZIP_CHUNK]):
                    raise BadRequest("the body is cut short: its gzip stream has no end.")
                parts.append(stream.decompress(chunk, limits.bytes - size + 1))
                size += len(parts[-1])
                limits.check_bytes(size)
                at += len(chunk) - len(stream.unused_data)
    except zlib.error:
        raise BadRequest("the body is no gzip stream, or a damaged one.") from None
    return b"".join(parts)


def parsed_json(body: bytes) -> Any:
    """Return what JSON says; ``NaN`` and ``Infinity`` are understood.

    Raises
    ------
    BadRequest
    """
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8.") from None
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON that can be read.") from None


def parsed_json_lines(body: bytes) -> list[Any]:
    """Return what each line of JSON says; blank lines say nothing.

    Raises
    ------
    BadRequest
    """
    return [parsed_json(line) for line in body.splitlines() if line.strip()]


def as_records(values: Any) -> list[Record]:
    """Return a list of JSON's objects as such.

    Raises
    ------
    BadRequest
    """
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise BadRequest("a row is to be an object of columns and values, and rows a list of such objects.")
    return values


def table_of(kind: str, body: bytes, limits: Limits) -> InputTable:
    """Return the table of rows that a body of CSV, Parquet or an Arrow stream holds.

    Raises
    ------
    DataError
        It is no such table.
    RequestEntityTooLarge
        It would be too large once unpacked, as far as can be told before it is read.
    UnsupportedMediaType
        It is an Arrow stream whose buffers are compressed: how large they are is known too late.
    """
    if kind == CSV:
        return _opened("csv", body)
    return _opened("parquet", _parquet_of_arrow(body, limits) if kind == ARROW else _within(body, limits))


def table_of_records(records: Sequence[Record], types: Mapping[str, pa.DataType]) -> InputTable:
    """Return rows out of JSON as a table, in which a value that is not there is missing.

    Where a column of ``types`` is in no row at all, the table has the names of the columns and no rows.
    A number is to be a number, and not text that spells one: text, and true and false, break the rule ``type`` there.

    Raises
    ------
    BadRequest
        A value is nested too deeply.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    if set(types) <= set(names):
        names = list(types)
    else:
        records = []  # the names alone tell what is missing: as many columns as there are rows would take their square
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(names)
    writers = [(name, _text_of if types.get(name, STRING) == STRING else _number_text_of) for name in names]
    writer.writerows([write(record.get(name)) for name, write in writers] for record in records)
    return _opened("csv", text.getvalue().encode("utf-8", "surrogatepass"))


def write_table(table: pa.Table, kind: str) -> bytes:
    """Return a table in one of the media types `TABLES`."""
    if kind == JSON:
        return json_bytes(table.to_pylist())
    buffer = io.BytesIO()
    if kind == ARROW:
        with pa.ipc.new_stream(buffer, table.schema) as stream:
            stream.write_table(table)
    else:
        form: Format = "csv" if kind == CSV else "parquet"
        with TableWriter(buffer, form, table.schema) as writer:
            writer.write(table)
            writer.close()
    return buffer.getvalue()


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON; a float as the shortest text that is read as the same bits."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def form_data(parts: Iterable[tuple[str, str, bytes]], boundary: str) -> bytes:
    """Return named parts, each with its media type, as ``multipart/form-data``."""
    lines: list[bytes] = []
    for name, kind, content in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        lines += [f"{head}Content-Type: {kind}\r\n\r\n".encode(), content, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])


def _opened(kind: Format, content: bytes) -> InputTable:
    return open_table(Source(_NAME, kind, io.BytesIO(content)))


def _within(parquet: bytes, limits: Limits) -> bytes:
    """Return a Parquet file that is within the limits; or is none, as who opens it will tell."""
    with suppress(OSError, pa.ArrowException, UnicodeDecodeError):
        metadata = pq.ParquetFile(io.BytesIO(parquet)).metadata
        limits.check_rows(metadata.num_rows)
        limits.check_bytes(sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)))
    return parquet


def _parquet_of_arrow(body: bytes, limits: Limits) -> bytes:
    batches, size, rows = [], 0, 0
    try:
        if any(_is_compressed(message) for message in pa.ipc.MessageReader.open_stream(body)):
            raise UnsupportedMediaType(
                "the buffers of an Arrow stream are not to be compressed; the body may be, by gzip."
            )
        with pa.ipc.open_stream(body) as stream:
            for batch in stream:
                size, rows = size + batch.nbytes, rows + batch.num_rows
                limits.check_rows(rows)
                limits.check_bytes(size)
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, stream.schema)
            names = table.column_names
    except (OSError, pa.ArrowException, UnicodeDecodeError, struct.error):
        raise DataError(f"{_NAME} is no Arrow stream, or a damaged one.") from None
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(f"{_NAME}: column {', '.join(twice)} is there more than once.")
    buffer = io.BytesIO()
    try:
        pq.write_table(table, buffer, compression="none")
    except (pa.ArrowException, UnicodeDecodeError):
        raise DataError(f"{_NAME} has columns of types that can't be used.") from None
    return buffer.getvalue()


def _is_compressed(message: pa.ipc.Message) -> bool:
    """Tell whether the buffers of a message of a stream are compressed, as its metadata (Message.fbs) has it."""
    if message.type not in ("record batch", "dictionary"):
        return False
    data = message.metadata.to_pybytes()

    def follow(place: int) -> int:
        return place + int(struct.unpack_from("<I", data, place)[0])

    def field(table: int, slot: int) -> int | None:
        """Return where a table of flatbuffers has one of its fields."""
        vtable = table - struct.unpack_from("<i", data, table)[0]
        at = 4 + 2 * slot
        size = struct.unpack_from("<H", data, vtable)[0]
        offset = struct.unpack_from("<H", data, vtable + at)[0] if at < size else 0
        return table + offset if offset else None

    header = field(follow(0), 2)  # Message.header
    if header is not None and message.type == "dictionary":
        header = field(follow(header), 1)  # DictionaryBatch.data
    return header is not None and field(follow(header), 3) is not None  # RecordBatch.compression


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else json.dumps(value)
    except RecursionError:  # writing takes a deeper stack than reading does
        raise BadRequest("the body holds a value that is nested too deeply.") from None


def _number_text_of(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if type(value) in (int, float) else _NO_NUMBER
