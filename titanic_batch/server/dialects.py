"""The bodies that clients of MLflow, SageMaker and Vertex AI send, and the answers that they expect.

They send rows as CSV, with or without a header, as lines of JSON, or as one JSON object of which exactly one key says
what it holds: ``dataframe_split``, ``dataframe_records``, ``instances`` or ``inputs``. Rows without names have the
contract's columns, in its order. The answer has one prediction for each row, in order: for a CSV without header, lines
of CSV without header; for lines of JSON, such lines; else ``{"predictions": [...]}``.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Sequence
from typing import Any

from werkzeug.exceptions import BadRequest

from titanic_batch.server.bodies import Record, as_records, json_bytes, parsed_json, parsed_json_lines
from titanic_batch.server.media import CSV, JSON, JSON_LINES
from titanic_batch.server.served_model import Predictions

BODIES = (JSON, CSV, JSON_LINES)
_LINE = re.compile(rb"[^\r\n]*")


def is_wrapped(value: Any) -> bool:
    """Tell whether a JSON value is an object whose keys say how it holds its rows."""
    return isinstance(value, dict) and not _FORMS.keys().isdisjoint(value)


def records_of(value: Any, columns: Sequence[str]) -> list[Record]:
    """Return the rows that one JSON object holds. ``columns`` are those of rows without names.

    Raises
    ------
    BadRequest
    """
    found = [name for name in _FORMS if isinstance(value, dict) and name in value]
    if len(found) != 1:
        raise BadRequest(f"the body is to be an object with exactly one of {', '.join(_FORMS)}.")
    return _FORMS[found[0]](value[found[0]], columns)


def records_of_json(body: bytes, columns: Sequence[str]) -> list[Record]:
    """Return the rows that a body of JSON holds, as `records_of` finds them.

    Raises
    ------
    BadRequest
    """
    return records_of(parsed_json(body), columns)


def records_of_lines(body: bytes, columns: Sequence[str]) -> list[Record]:
    """Return the rows that lines of JSON hold, each a row or an object as for `records_of`.

    Raises
    ------
    BadRequest
    """
    rows: list[Record] = []
    for value in parsed_json_lines(body):
        rows += records_of(value, columns) if is_wrapped(value) else _instances([value], columns)
    return rows


def has_header(body: bytes, columns: Sequence[str]) -> bool:
    """Tell whether the first line of a CSV names any column; an empty body counts as one that does.

    Raises
    ------
    BadRequest
        It can't be read: one of its fields is too long.
    """
    first = _LINE.match(body.lstrip(b"\r\n").removeprefix(codecs.BOM_UTF8))
    assert first is not None  # noqa: S101  # it matches everything
    try:
        fields = next(csv.reader([first[0].decode("utf-8", "replace")]), [])
    except csv.Error:
        raise BadRequest("the first line of the body can't be read as CSV.") from None
    return not fields or not set(columns).isdisjoint(fields)


def with_header(body: bytes, columns: Sequence[str]) -> bytes:
    """Return a CSV without header as one with the given columns."""
    return ",".join(columns).encode() + b"\n" + body


def answer(predictions: Predictions, kind: str, *, header: bool) -> bytes:
    """Return the predictions in a media type; ``header`` tells whether a CSV is to have one."""
    if kind == JSON:
        return json_bytes({"predictions": predictions.records()})
    return predictions.write(kind, header=header)


def _split(value: Any, _: Sequence[str]) -> list[Record]:
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
        raise BadRequest("dataframe_split is to be an object with columns and data.")
    names = value["columns"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest("the columns of dataframe_split are to be a list of names.")
    if len(set(names)) < len(names):
        raise BadRequest("the columns of dataframe_split are to be named once each.")
    return _named(value["data"], names)


def _instances(value: Any, columns: Sequence[str]) -> list[Record]:
    if isinstance(value, list) and any(isinstance(row, list) for row in value):
        return _named(value, columns)
    return as_records(value)


def _inputs(value: Any, columns: Sequence[str]) -> list[Record]:
    if not isinstance(value, dict):
        return _instances(value, columns)
    lists = [values if isinstance(values, list) else [values] for values in value.values()]
    return [dict(zip(value, row, strict=True)) for row in _named_lengths(lists)]


def _named(rows: Any, names: Sequence[str]) -> list[Record]:
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise BadRequest(f"rows are to be lists of {len(names)} values.")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _named_lengths(lists: Sequence[list[Any]]) -> list[tuple[Any, ...]]:
    if len({len(values) for values in lists}) > 1:
        raise BadRequest("the columns of inputs are to have the same number of values.")
    return list(zip(*lists, strict=True))


_FORMS: dict[str, Callable[[Any, Sequence[str]], list[Record]]] = {
    "dataframe_split": _split,
    "dataframe_records": lambda value, _: as_records(value),
    "instances": _instances,
    "inputs": _inputs,
}
