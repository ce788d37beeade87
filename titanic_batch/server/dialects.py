"""Requests of clients of MLflow, SageMaker and Vertex AI, and the answers that they expect.

Such clients send rows as CSV, with or without a header, as lines of JSON, or in an envelope: a JSON object with exactly
one of the keys ``dataframe_split``, ``dataframe_records``, ``instances`` and ``inputs``. Rows without column names have
the contract's columns, in its order. The answer has one prediction for each row, in order: as CSV without a header for
CSV without a header, as lines of JSON for lines of JSON, and as ``{"predictions": [...]}`` otherwise.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Sequence
from typing import Any

from werkzeug.exceptions import BadRequest

from titanic_batch.server.bodies import Record, parse_json, parse_json_lines, require_records
from titanic_batch.server.media import CSV, JSON, JSON_LINES
from titanic_batch.server.responses import encode_json
from titanic_batch.server.served_model import Predictions

BODIES = (JSON, CSV, JSON_LINES)
_FIRST_LINE = re.compile(rb"[^\r\n]*")


def is_envelope(value: Any) -> bool:
    """Tell whether a JSON value is an object with any of the keys of an envelope."""
    return isinstance(value, dict) and not _ENVELOPES.keys().isdisjoint(value)


def records_from_json(body: bytes, columns: Sequence[str]) -> list[Record]:
    """Return the rows of a body that is one envelope. ``columns`` are those of rows without names.

    Raises
    ------
    BadRequest
        The body is not JSON, not an envelope, or an envelope that does not contain rows.
    """
    return _records_from_envelope(parse_json(body), columns)


def records_from_json_lines(body: bytes, columns: Sequence[str]) -> list[Record]:
    """Return the rows of lines of JSON, each a row or an envelope. ``columns`` are those of rows without names.

    Raises
    ------
    BadRequest
        A line is neither.
    """
    rows: list[Record] = []
    for value in parse_json_lines(body):
        rows += _records_from_envelope(value, columns) if is_envelope(value) else _instances([value], columns)
    return rows


def has_header(body: bytes, columns: Sequence[str]) -> bool:
    """Tell whether the first line of a CSV contains the name of a column; True for an empty body.

    Raises
    ------
    BadRequest
        A field of the line is too long for the CSV reader.
    """
    first = _FIRST_LINE.match(body.lstrip(b"\r\n").removeprefix(codecs.BOM_UTF8))
    assert first is not None  # noqa: S101  # the pattern matches the empty string
    try:
        fields = next(csv.reader([first[0].decode("utf-8", "replace")]), [])
    except csv.Error:
        raise BadRequest("the first line of the body can't be read as CSV.") from None
    return not fields or not set(columns).isdisjoint(fields)


def with_header(body: bytes, columns: Sequence[str]) -> bytes:
    """Return a CSV without a header with one that contains ``columns``."""
    return ",".join(columns).encode() + b"\n" + body


def encode_predictions(predictions: Predictions, media_type: str, *, header: bool) -> bytes:
    """Return predictions as these clients expect them; ``header`` applies to CSV."""
    if media_type == JSON:
        return encode_json({"predictions": predictions.records()})
    return predictions.encode(media_type, header=header)


def _records_from_envelope(value: Any, columns: Sequence[str]) -> list[Record]:
    keys = [key for key in _ENVELOPES if isinstance(value, dict) and key in value]
    if len(keys) != 1:
        raise BadRequest(f"the body is to be an object with exactly one of {', '.join(_ENVELOPES)}.")
    return _ENVELOPES[keys[0]](value[keys[0]], columns)


def _dataframe_split(value: Any, _: Sequence[str]) -> list[Record]:
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
        raise BadRequest("dataframe_split is to be an object with columns and data.")
    names = value["columns"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest("the columns of dataframe_split are to be a list of names.")
    if len(set(names)) < len(names):
        raise BadRequest("the columns of dataframe_split are to be named once each.")
    return _records_from_lists(value["data"], names)


def _instances(value: Any, columns: Sequence[str]) -> list[Record]:
    if isinstance(value, list) and any(isinstance(row, list) for row in value):
        return _records_from_lists(value, columns)
    return require_records(value)


def _inputs(value: Any, columns: Sequence[str]) -> list[Record]:
    """Return rows given as a list, or as an object of columns, each a list of values or, for one row, a value."""
    if not isinstance(value, dict):
        return _instances(value, columns)
    lists = [values if isinstance(values, list) else [values] for values in value.values()]
    if len({len(values) for values in lists}) > 1:
        raise BadRequest("the columns of inputs are to have the same number of values.")
    return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)]


def _records_from_lists(rows: Any, names: Sequence[str]) -> list[Record]:
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise BadRequest(f"rows are to be lists of {len(names)} values.")
    return [dict(zip(names, row, strict=True)) for row in rows]


_ENVELOPES: dict[str, Callable[[Any, Sequence[str]], list[Record]]] = {
    "dataframe_split": _dataframe_split,
    "dataframe_records": lambda value, _: require_records(value),
    "instances": _instances,
    "inputs": _inputs,
}
