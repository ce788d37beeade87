"""A column of any type that Parquet has as text: what rejects hold of it, and a CSV that has no form for its type."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pyarrow as pa

from titanic_batch.reading.columns import is_text
from titanic_batch.reading.escapes import escape


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as strings, null as null, what is nested as JSON; a byte that is no text as ``\\xNN``."""
    # What is nested can't be cast, nor bytes that are no text, nor moments of a zone that is not known here.
    with suppress(pa.ArrowNotImplementedError, pa.ArrowInvalid):
        if not isinstance(column.type, pa.BaseExtensionType):  # of which what is stored would be cast
            return column.cast(pa.string())
    return pa.chunked_array([pa.array(map(_text, column), pa.string())])


def as_escaped_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as strings, text and bytes as `columns.escape` leaves them."""
    if not is_text(column.type) and not _is_binary(column.type):
        return as_text(column)
    raw = column.cast(pa.string(), safe=False).cast(pa.binary()).to_pylist()
    return pa.chunked_array(
        [pa.array([None if value is None else escape(value).decode() for value in raw], pa.string())]
    )


def is_plain(found: pa.DataType) -> bool:
    """Tell whether an Arrow type is one that a CSV writer knows by itself: a number, a truth value, a date or time."""
    if pa.types.is_timestamp(found):
        return found.tz is None  # which may not be known here
    return bool(pa.types.is_primitive(found) or pa.types.is_decimal(found) or pa.types.is_null(found))


def _text(value: pa.Scalar) -> str | None:
    plain = _plain(value)
    return plain if plain is None or isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: pa.Scalar) -> Any:
    """Return a value in JSON's terms, and as text where JSON has none for it.

    Not as Python's own: for times pyarrow gives pandas' objects where it is installed, and elsewhere refuses some.
    """
    match value:
        case _ if not value.is_valid:
            return None
        case pa.StructScalar():
            parts = [(field.name, _plain(value[place])) for place, field in enumerate(value.type)]
            return dict(parts) if len(dict(parts)) == len(parts) else parts
        case pa.MapScalar():
            return [[_plain(entry["key"]), _plain(entry["value"])] for entry in value.values]
        case pa.ListScalar():
            return [_plain(part) for part in value.values]
        case pa.BinaryScalar():
            return value.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
        case pa.UuidScalar():
            return str(value.as_py())
        case pa.DictionaryScalar() | pa.ExtensionScalar():
            return _plain(value.value)
        case _ if pa.types.is_integer(value.type) or pa.types.is_boolean(value.type):
            return value.as_py()
        case _ if pa.types.is_floating(value.type):
            text = value.cast(pa.string()).as_py()  # as short as the type allows
            return float(text) if math.isfinite(float(text)) else text
        case pa.TimestampScalar(type=pa.TimestampType(unit=unit)):
            try:
                return value.cast(pa.string()).as_py()
            except pa.ArrowInvalid:  # a time zone that is not known here
                return value.cast(pa.timestamp(unit, "UTC")).cast(pa.string()).as_py()
        case _:
            return value.cast(pa.string()).as_py()


def _is_binary(found: pa.DataType) -> bool:
    return any(
        is_kind(found) for is_kind in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    )
