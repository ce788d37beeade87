"""Request bodies: decompressed, parsed, and opened as tables of rows.

A body becomes the same `InputTable` that a file becomes, so that it is judged and scored in the same way. Rows in JSON
are written as CSV first, so that a value means the same in every format.
"""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from werkzeug.exceptions import BadRequest, UnsupportedMediaType
from werkzeug.wrappers import Request

from titanic_batch.checking.contract import Contract
from titanic_batch.errors import is_out_of_memory
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.decompression import GzipReader
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.moments import is_moment
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source
from titanic_batch.server.json_rows import Record
from titanic_batch.server.media import ARROW, CSV, Limits
from titanic_batch.server.turns import LARGE_BYTES, Turn

_GZIP_ENCODINGS = ("gzip", "x-gzip")
_COMPRESSED = (
    (b"\x1f\x8b", "gzip", "send Content-Encoding: gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd", "send it as it is, or by gzip with Content-Encoding: gzip"),
)
_UNPACKED_BYTES = 2**18
_BLOCK_BYTES = 2**20  # so that rows are counted before many have been read
_NOT_A_NUMBER = "?"  # nor a boolean, a date or a timestamp
_OUT_OF_RANGE = 2**64
_MOST_OTHERS = 1_000  # names that a missing column is compared with


def read_body(request: Request, limits: Limits, turn: Turn) -> bytes:
    """Return a request's body, decompressed as its ``Content-Encoding`` says. If it is large, it takes its turn.

    Raises
    ------
    BadRequest
        The body is not what its ``Content-Encoding`` says, or is compressed without one.
    RequestEntityTooLarge
        It has more bytes than the limits allow, compressed or not.
    UnsupportedMediaType
        It is compressed with something other than gzip.
    """
    body = request.get_data(cache=False)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in _GZIP_ENCODINGS:
        return _gunzip(body, limits, turn)
    if encoding not in ("identity", ""):
        raise UnsupportedMediaType("a body may be compressed with gzip, and with nothing else.")
    for magic, name, remedy in _COMPRESSED:
        if body.startswith(magic):
            raise BadRequest(f"the body is compressed by {name}, and no header says so: {remedy}.")
    if len(body) > LARGE_BYTES:
        turn.take()
    return body


def _gunzip(body: bytes, limits: Limits, turn: Turn) -> bytes:
    content, size = io.BytesIO(), 0
    stream, buffer = GzipReader(io.BytesIO(body)), memoryview(bytearray(_UNPACKED_BYTES))
    try:
        while got := stream.readinto(buffer[: limits.bytes - size + 1]):
            content.write(buffer[:got])
            size += got
            limits.check_bytes(size)
            if size > LARGE_BYTES:
                turn.take()
    except EOFError:
        raise BadRequest("the body is cut short: its gzip stream has no end.") from None
    except zlib.error as error:
        if is_out_of_memory(error):
            raise MemoryError from None
        raise BadRequest("the body is no gzip stream, or a damaged one.") from None
    return content.getvalue()


def table_from_body(media_type: str, body: bytes, limits: Limits) -> InputTable:
    """Open a CSV, Parquet or Arrow body as a table of rows.

    Raises
    ------
    DataError
        The body is not an intact table in that format.
    RequestEntityTooLarge
        It would exceed the limits once decompressed, as far as can be told before it is read.
    UnsupportedMediaType
        It is an Arrow stream whose buffers are compressed.
    """
    if media_type == CSV:
        return _open_csv(io.BytesIO(body))
    from titanic_batch.server.binary_bodies import arrow_body, parquet_body  # few servers accept them

    return (arrow_body if media_type == ARROW else parquet_body)(body, limits)


def table_from_records(records: Iterable[Record], contract: Contract, limits: Limits) -> InputTable:
    """Open the rows of a JSON body as a table of the contract's columns; one that a row doesn't contain is missing.

    If no row contains some required column, the table has no rows, only the names of the columns that there are.
    A numeric column takes JSON numbers only: booleans, and strings that spell a number, break the rule ``type``. Their
    value counts, so an integer may be written as ``1.0`` or ``1e3``.

    Raises
    ------
    BadRequest, RequestEntityTooLarge
        What iterating over ``records`` raises; or there are too many.
    """
    missing, others, rows = set(contract.required), set[str](), 0
    columns = [(name, _field_of(arrow_type)) for name, arrow_type in contract.types.items()]

    def lines() -> Iterator[Sequence[str]]:
        nonlocal rows
        yield list(contract.types)
        for rows, record in enumerate(records, 1):
            limits.check_rows(rows)
            if missing:
                missing.difference_update(record)
                if len(others) < _MOST_OTHERS:
                    others.update(record.keys() - contract.types.keys())
            yield [field(record.get(name)) for name, field in columns]

    content = _csv(lines())
    if missing and rows:
        content = _csv([[*(name for name in contract.types if name not in missing), *sorted(others)]])
    return _open_csv(content)


def _csv(lines: Iterable[Sequence[str]]) -> io.BytesIO:
    content = io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", "surrogatepass", newline="")
    text.writelines(map(_csv_line, lines))
    text.detach()
    content.seek(0)
    return content


def _csv_line(fields: Sequence[str]) -> str:
    """Return a line in which each field is quoted. The writer of ``csv`` takes four bytes or more a character."""
    if not fields:
        return "\n"
    line = '","'.join(fields)
    if line.count('"') > 2 * (len(fields) - 1):
        line = '","'.join([field.replace('"', '""') for field in fields])
    return f'"{line}"\n'


def _open_csv(content: io.BytesIO) -> InputTable:
    return open_table(Source("the body", "csv", content), _BLOCK_BYTES)


def _string_field(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def _float_field(value: Any) -> str:
    if value is None or (type(value) is float and math.isnan(value)):
        return ""
    return repr(value) if type(value) in (int, float) else _NOT_A_NUMBER


def _integer_field(value: Any) -> str:
    # The text of a float may have an exponent, which that of an integer has not.
    if type(value) is int or (type(value) is float and value.is_integer()):
        # What is out of range need not be written with its hundreds of digits.
        return repr(max(-_OUT_OF_RANGE, min(int(value), _OUT_OF_RANGE)))
    return _float_field(value)


def _boolean_field(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if type(value) is bool else _NOT_A_NUMBER


def _moment_field(value: Any) -> str:
    if value is None:
        return ""
    return value if type(value) is str else _NOT_A_NUMBER


def _field_of(arrow_type: pa.DataType) -> Callable[[Any], str]:
    """Return a function from a JSON value in a column of a type to the field of a CSV."""
    if arrow_type == STRING:
        return _string_field
    if pa.types.is_boolean(arrow_type):
        return _boolean_field
    if is_moment(arrow_type):
        return _moment_field
    return _integer_field if pa.types.is_integer(arrow_type) else _float_field
