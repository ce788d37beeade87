"""The rows in JSON bodies, read one by one: objects, lists of values, or columns.

A row is an object of columns and values. Rows come as a list of such objects, or as clients of MLflow, SageMaker and
Vertex AI send them: in an envelope, which is an object with exactly one of the keys ``dataframe_split``,
``dataframe_records``, ``instances`` and ``inputs``, or as lines of JSON. There a row may also be a list of values, in
the order of the contract's columns or of those that the envelope names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal

from werkzeug.exceptions import BadRequest

from titanic_batch.server.json_reader import JsonReader
from titanic_batch.server.media import Limits

Record = Mapping[str, Any]
"""A row: its values by column name. What was nested is text."""

_LINE = re.compile(r"[^\r\n]+")
_SMALL = 2**14  # characters; an object that is not longer is read in one step, which is faster
_NO_ROWS = "a row must be an object of columns and values, and rows a list of such objects."


@dataclass(frozen=True, slots=True)
class JsonRows:
    """The rows of a body, which are read as they are iterated over; what is wrong with them shows then.

    Attributes
    ----------
    records
        The rows. Iterating raises BadRequest where the body is not JSON or does not hold rows, and
        RequestEntityTooLarge where it holds too many.
    kind
        Whether the body is one row, a list of rows, an envelope, or lines of JSON.
    size
        The number of characters of the body.
    """

    records: Iterator[Record]
    kind: Literal["row", "list", "envelope", "lines"]
    size: int


def json_rows(body: bytes, columns: Sequence[str], limits: Limits, *, lists: bool) -> JsonRows:
    """Return the rows of a JSON body.

    Parameters
    ----------
    body
        The body.
    columns
        Those of rows without names.
    limits
        How many rows it may have.
    lists
        Whether a row that stands in no envelope may be a list of values.

    Raises
    ------
    BadRequest
        It is neither a row nor a list nor an envelope, as far as can be told from its beginning.
    """
    text = decoded(body)
    reader = JsonReader(text)
    if reader.peek() == "{":
        return _of_object(reader, columns, limits, len(text))
    if reader.peek() != "[":
        reader.value()
        raise BadRequest(_NO_ROWS)
    return JsonRows(_to_the_end(reader, _rows(reader, columns, lists=lists)), "list", len(text))


def json_line_rows(body: bytes, columns: Sequence[str], limits: Limits) -> JsonRows:
    """Return the rows of lines of JSON, each a row or an envelope. ``columns`` are those of rows without names."""
    text = decoded(body)
    return JsonRows(_of_lines(text, columns, limits), "lines", len(text))


def decoded(body: bytes) -> str:
    """Return a body as text, without a byte-order mark.

    Raises
    ------
    BadRequest
        It is not UTF-8.
    """
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8.") from None


def _of_lines(text: str, columns: Sequence[str], limits: Limits) -> Iterator[Record]:
    lines = (line[0] for line in _LINE.finditer(text) if line[0].strip(" \t"))
    for number, line in enumerate(lines, 1):
        limits.check_rows(number)  # a line may be an envelope without rows
        reader = JsonReader(line)
        if reader.peek() == "{":
            yield from _of_object(reader, columns, limits, len(line)).records
        else:
            names = columns if reader.peek() == "[" else None
            yield _record(reader.row(), names)
            reader.require_end()


def _of_object(reader: JsonReader, columns: Sequence[str], limits: Limits, size: int) -> JsonRows:
    """Return the rows of an object, which is an envelope or else a row itself."""
    start = reader.place
    if size <= _SMALL and _ENVELOPES.keys().isdisjoint(row := reader.value()):
        reader.require_end()
        return JsonRows(iter([_record(row)]), "row", size)
    reader = reader.from_place(start)
    members, row = reader.members(), {}
    for name in members:
        if name in _ENVELOPES:
            return JsonRows(_to_the_end(reader, _of_envelope(reader, members, name, columns, limits)), "envelope", size)
        row[name] = reader.value()
    reader.require_end()
    return JsonRows(iter([_record(row)]), "row", size)


def _of_envelope(
    reader: JsonReader, members: Iterator[str], name: str, columns: Sequence[str], limits: Limits
) -> Iterator[Record]:
    yield from _ENVELOPES[name](reader, columns, limits)
    for other in members:
        if other in _ENVELOPES:
            raise BadRequest(f"the body must be an object with exactly one of {ENVELOPES}.")
        _skip(reader, limits)


def _to_the_end(reader: JsonReader, records: Iterator[Record]) -> Iterator[Record]:
    yield from records
    reader.require_end()


def _skip(reader: JsonReader, limits: Limits) -> None:
    """Read a value that means nothing here, such as the index of a data frame."""
    if reader.peek() == "[":
        for number, _ in enumerate(reader.elements(), 1):
            limits.check_rows(number)
            reader.value()
    else:
        reader.value()


def _rows(reader: JsonReader, columns: Sequence[str], *, lists: bool = True) -> Iterator[Record]:
    """Yield rows that are given as a list, either of objects or of lists."""
    if reader.peek() != "[":
        reader.value()
        raise BadRequest(_NO_ROWS)
    names: Sequence[str] | None = None
    for number, _ in enumerate(reader.elements()):
        if number == 0 and lists and reader.peek() == "[":
            names = columns
        yield _record(reader.row(), names)


def _split(reader: JsonReader, _: Sequence[str], limits: Limits) -> Iterator[Record]:
    """Yield the rows of a data frame that is split into columns and data, which may come in any order."""
    names: Sequence[str] | None = None
    data: int | None = None
    if reader.peek() == "{":
        for name in reader.members():
            if name == "columns":
                names = _column_names(reader.value())
            elif name == "data":
                data = reader.place
            if name == "data" and names is not None:
                yield from _rows_of_lists(reader, names)
                data = -1
            elif name != "columns":
                _skip(reader, limits)
    if names is None or data is None:
        raise BadRequest("dataframe_split must be an object with columns and data.")
    if data >= 0:
        yield from _rows_of_lists(reader.from_place(data), names)


def _column_names(value: Any) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest("the columns of dataframe_split must be a list of names.")
    if len(set(value)) < len(value):
        raise BadRequest("the columns of dataframe_split must be named once each.")
    return value


def _rows_of_lists(reader: JsonReader, names: Sequence[str]) -> Iterator[Record]:
    if reader.peek() != "[":
        raise BadRequest(f"rows must be lists of {len(names)} values.")
    for _ in reader.elements():
        yield _record(reader.row(), names)


def _inputs(reader: JsonReader, columns: Sequence[str], limits: Limits) -> Iterator[Record]:
    """Yield rows given as a list, or as an object of columns, each a list of values or, for one row, a value."""
    if reader.peek() != "{":
        yield from _rows(reader, columns)
        return
    names, lists, lengths = [], [], set()
    for name in reader.members():
        values, count = [], 0
        for _ in reader.elements() if reader.peek() == "[" else (None,):
            count += 1
            limits.check_rows(count)
            value = reader.value()
            if name in columns:
                values.append(_flat(value))
        names.append(name)
        lists.append(values if name in columns else repeat(None, count))
        lengths.add(count)
    if len(lengths) > 1:
        raise BadRequest("the columns of inputs must have the same number of values.")
    for row in zip(*lists, strict=True):
        yield dict(zip(names, row, strict=True))


def _record(value: Any, names: Sequence[str] | None = None) -> Record:
    """Return a row that is an object, or, if ``names`` are given, a list of their values."""
    if names is not None:
        if not isinstance(value, list) or len(value) != len(names):
            raise BadRequest(f"rows must be lists of {len(names)} values.")
        return dict(zip(names, map(_flat, value), strict=True))
    if not isinstance(value, dict):
        raise BadRequest(_NO_ROWS)
    return {name: _flat(part) for name, part in value.items()}


def _flat(value: Any) -> Any:
    """Return a value that is not nested; what is nested becomes text."""
    if not isinstance(value, dict | list):
        return value
    try:
        return json.dumps(value)
    except RecursionError:  # json.dumps recurses deeper than json.loads
        raise BadRequest("the body holds a value that is nested too deeply.") from None


_ENVELOPES: dict[str, Callable[[JsonReader, Sequence[str], Limits], Iterator[Record]]] = {
    "dataframe_split": _split,
    "dataframe_records": lambda reader, columns, _: _rows(reader, columns, lists=False),
    "instances": lambda reader, columns, _: _rows(reader, columns),
    "inputs": _inputs,
}
ENVELOPES = ", ".join(_ENVELOPES)
