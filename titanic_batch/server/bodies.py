"""Request bodies: decompressed, parsed, and opened as tables of rows.

A body becomes the same `InputTable` that a file becomes, so that it is judged and scored in the same way. Rows in JSON
are written as CSV first, so that a value means the same in every format.
"""

from __future__ import annotations

import csv
import io
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pyarrow as pa
from werkzeug.exceptions import BadRequest, UnsupportedMediaType
from werkzeug.wrappers import Request

from titanic_batch.errors import DataError, is_out_of_memory
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.decompression import GzipReader
from titanic_batch.reading.formats import Format
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.parquet_footer import read_footer
from titanic_batch.reading.sources import Source
from titanic_batch.server.arrow_stream import parquet_from_arrow
from titanic_batch.server.media import ARROW, CSV, Limits

_GZIP_ENCODINGS = ("gzip", "x-gzip")
_UNPACKED_BYTES = 2**18
_NOT_A_NUMBER = "?"
_FIRST_INEXACT = 2**53  # from here on, not every integer is a float

Record = Mapping[str, Any]
"""A row of a JSON body: its values by column name."""


def read_body(request: Request, limits: Limits) -> bytes:
    """Return a request's body, decompressed as its ``Content-Encoding`` says.

    Raises
    ------
    BadRequest
        The body is not what its ``Content-Encoding`` says.
    RequestEntityTooLarge
        It has more bytes than the limits allow, compressed or not.
    UnsupportedMediaType
        It is compressed with something other than gzip.
    """
    body = request.get_data(cache=False)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in _GZIP_ENCODINGS:
        return _gunzip(body, limits)
    if encoding not in ("identity", ""):
        raise UnsupportedMediaType("a body may be compressed with gzip, and with nothing else.")
    return body


def _gunzip(body: bytes, limits: Limits) -> bytes:
    content = bytearray()
    stream, buffer = GzipReader(io.BytesIO(body)), memoryview(bytearray(_UNPACKED_BYTES))
    try:
        while got := stream.readinto(buffer[: limits.bytes - len(content) + 1]):
            content += buffer[:got]
            limits.check_bytes(len(content))
    except EOFError:
        raise BadRequest("the body is cut short: its gzip stream has no end.") from None
    except zlib.error as error:
        if is_out_of_memory(error):
            raise MemoryError from None
        raise BadRequest("the body is no gzip stream, or a damaged one.") from None
    return bytes(content)


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text; ``NaN`` and ``Infinity`` are accepted, and large whole numbers are integers.

    Raises
    ------
    BadRequest
        The body is not JSON.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_float=_parse_float)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8.") from None
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON that can be read.") from None


def _parse_float(text: str) -> float | int:
    """Return a number written with a point or an exponent, as an integer if a float would lose its last digits."""
    number = float(text)
    if abs(number) < _FIRST_INEXACT or math.isinf(number):
        return number
    exact = Decimal(text)
    is_lost = exact != Decimal(repr(number)) and exact == exact.to_integral_value()
    return int(exact) if is_lost else number


def parse_json_lines(body: bytes) -> list[Any]:
    """Return the value of each line of JSON; blank lines are skipped.

    Raises
    ------
    BadRequest
        A line is not JSON.
    """
    return [parse_json(line) for line in body.splitlines() if line.strip()]


def require_records(value: Any) -> list[Record]:
    """Return a JSON value that must be a list of objects, one for each row.

    Raises
    ------
    BadRequest
        It is something else.
    """
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise BadRequest("a row is to be an object of columns and values, and rows a list of such objects.")
    return value


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
        return _open("csv", body)
    if media_type == ARROW:
        return _open("parquet", parquet_from_arrow(body, limits))
    _check_parquet(body, limits)
    return _open("parquet", body)


def table_from_records(records: Sequence[Record], types: Mapping[str, pa.DataType]) -> InputTable:
    """Open the rows of a JSON body as a table; a column that a row doesn't contain is missing in that row.

    If no row contains some column of ``types``, the table has no rows, only the names of the columns.
    A numeric column takes JSON numbers only: booleans, and strings that spell a number, break the rule ``type``. Their
    value counts, so an integer may be written as ``1.0`` or ``1e3``.

    Raises
    ------
    BadRequest
        A value is nested too deeply.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    if set(types) <= set(names):
        names = list(types)
    else:
        records = []  # the names say what is missing; with as many columns as rows, the table would be quadratic
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(names)
    columns = [(name, _field_of(types.get(name, STRING))) for name in names]
    writer.writerows([field(record.get(name)) for name, field in columns] for record in records)
    return _open("csv", text.getvalue().encode("utf-8", "surrogatepass"))


def _open(file_format: Format, content: bytes) -> InputTable:
    return open_table(Source("the body", file_format, io.BytesIO(content)))


def _check_parquet(body: bytes, limits: Limits) -> None:
    """Check a Parquet file's footer against the limits; if it can't be read, opening the file will say so."""
    with suppress(DataError):
        metadata = read_footer(io.BytesIO(body), "the body").metadata
        limits.check_rows(metadata.num_rows)
        limits.check_bytes(sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)))


def _string_field(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else json.dumps(value)
    except RecursionError:  # json.dumps recurses deeper than json.loads
        raise BadRequest("the body holds a value that is nested too deeply.") from None


def _float_field(value: Any) -> str:
    if value is None or (type(value) is float and math.isnan(value)):
        return ""
    return repr(value) if type(value) in (int, float) else _NOT_A_NUMBER


def _integer_field(value: Any) -> str:
    if type(value) is int:
        return repr(value)
    # The text of a float may have an exponent, which that of an integer has not.
    return repr(int(value)) if type(value) is float and value.is_integer() else _float_field(value)


def _field_of(arrow_type: pa.DataType) -> Callable[[Any], str]:
    """Return a function from a JSON value in a column of a type to the field of a CSV."""
    if arrow_type == STRING:
        return _string_field
    return _integer_field if pa.types.is_integer(arrow_type) else _float_field
