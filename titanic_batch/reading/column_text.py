"""Conversion of Parquet columns of any type to text, for rejects files and for types that CSV can't represent."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pyarrow as pa

from titanic_batch.reading.columns import is_text
from titanic_batch.reading.escapes import escape


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as strings.

    Nulls stay null, nested values are written as JSON, and bytes that are not UTF-8 as ``\\xNN``.
    """
    # Arrow can't cast nested types, bytes that are not UTF-8, or timestamps in a time zone unknown to the system.
    with suppress(pa.ArrowNotImplementedError, pa.ArrowInvalid):
        if not isinstance(column.type, pa.BaseExtensionType):  # a cast would convert the storage type instead
            return column.cast(pa.string())
    return pa.chunked_array([pa.array(map(_to_text, column), pa.string())])


def as_escaped_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as strings, with text and binary values escaped by `escapes.escape`."""
    if not is_text(column.type) and not _is_binary(column.type):
        return as_text(column)
    raw = column.cast(pa.string(), safe=False).cast(pa.binary()).to_pylist()
    return pa.chunked_array(
        [pa.array([None if value is None else escape(value).decode() for value in raw], pa.string())]
    )


def is_plain(arrow_type: pa.DataType) -> bool:
    """Return whether Arrow's CSV writer supports a type directly: a number, boolean, date or time without a zone."""
    if pa.types.is_timestamp(arrow_type):
        return arrow_type.tz is None  # the system may not know the time zone
    return bool(pa.types.is_primitive(arrow_type) or pa.types.is_decimal(arrow_type) or pa.types.is_null(arrow_type))


def _to_text(value: pa.Scalar) -> str | None:
    json_value = _to_json_value(value)
    if json_value is None or isinstance(json_value, str):
        return json_value
    return json.dumps(json_value, ensure_ascii=False)


def _to_json_value(value: pa.Scalar) -> Any:
    """Return a value as JSON-compatible Python data, or as text if JSON has no equivalent.

    ``as_py`` is not used for times: it returns pandas objects if pandas is installed, and otherwise fails for some.
    """
    match value:
        case _ if not value.is_valid:
            return None
        case pa.StructScalar():
            parts = [(field.name, _to_json_value(value[index])) for index, field in enumerate(value.type)]
            return dict(parts) if len(dict(parts)) == len(parts) else parts
        case pa.MapScalar():
            return [[_to_json_value(entry[0]), _to_json_value(entry[1])] for entry in value.values]
        case pa.ListScalar():
            return [_to_json_value(part) for part in value.values]
        case pa.BinaryScalar():
            return value.as_buffer().to_pybytes().decode("utf-8", "backslashreplace")
        case pa.UuidScalar():
            return str(value.as_py())
        case pa.DictionaryScalar() | pa.ExtensionScalar():
            return _to_json_value(value.value)
        case _ if pa.types.is_integer(value.type) or pa.types.is_boolean(value.type):
            return value.as_py()
        case _ if pa.types.is_floating(value.type):
            text = value.cast(pa.string()).as_py()  # the shortest form for the type's precision
            return float(text) if math.isfinite(float(text)) else text
        case pa.TimestampScalar(type=pa.TimestampType(unit=unit)):
            try:
                return value.cast(pa.string()).as_py()
            except pa.ArrowInvalid:  # the system doesn't know the time zone
                return value.cast(pa.timestamp(unit, "UTC")).cast(pa.string()).as_py()
        case _:
            return value.cast(pa.string()).as_py()


def _is_binary(arrow_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(arrow_type)
        or pa.types.is_large_binary(arrow_type)
        or pa.types.is_fixed_size_binary(arrow_type)
    )
