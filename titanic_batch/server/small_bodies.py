"""A fast path for small bodies: rows read as plain Python values, without Arrow and pandera.

Those cost milliseconds, however few the rows. The fast path reads only what can have just one meaning, and accepts only
what the schema's own checks accept. In any doubt it returns None; then the general path finds out what is wrong with
the body, or that nothing is.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, is_numeric
from titanic_batch.reading.formats import REJECT_PREFIX

MAX_BYTES = 2**14
MAX_ROWS = 64
_MAX_HEADERS = 64  # that are cached

_MISSING = frozenset(MISSING_TEXTS)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_FIELD = r'(?:"[^"]*"|[^",]*)'
_LINE = re.compile(rf"{_FIELD}(?:,{_FIELD})*")
_INT64 = range(-(2**63), 2**63)

Row = Sequence[Any]
"""The values of a row in the contract's order: int, float, str, or None if missing."""


class SmallBodies:
    """Reads small bodies whose rows a contract accepts. Safe to use from several threads."""

    def __init__(self, contract: Contract) -> None:
        self._names = tuple(contract.types)
        self._key = self._names.index(contract.key)
        checks = contract.checks()
        self._columns = [
            (name, _text_reader(arrow_type), _value_reader(arrow_type), checks[name])
            for name, arrow_type in contract.types.items()
        ]
        self._headers: dict[str, tuple[list[int], int] | None] = {}

    def from_csv(self, body: bytes) -> list[Row] | None:
        """Return the rows of a CSV with a header; None unless the contract clearly accepts all of them."""
        if len(body) > MAX_BYTES:
            return None
        try:
            header, *lines = body.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            return None
        if not 0 < len(lines) <= MAX_ROWS or (layout := self._layout(header)) is None:
            return None
        places, width = layout
        rows: list[Row] = []
        for line in lines:
            fields = _fields(line)
            if fields is None or len(fields) != width or not line:
                return None
            row = []
            for place, (_, read, _, accepts) in zip(places, self._columns, strict=True):
                value = read(fields[place])
                if value is ... or not accepts(value):
                    return None
                row.append(value)
            rows.append(row)
        return self._if_distinct(rows)

    def from_records(self, records: Sequence[Mapping[str, Any]]) -> list[Row] | None:
        """Return the rows of JSON objects; None unless the contract clearly accepts all of them."""
        if not 0 < len(records) <= MAX_ROWS:
            return None
        rows: list[Row] = []
        for record in records:
            row = []
            for name, _, read, accepts in self._columns:
                value = read(record.get(name))
                if value is ... or not accepts(value):
                    return None
                row.append(value)
            rows.append(row)
        return self._if_distinct(rows)

    def _if_distinct(self, rows: list[Row]) -> list[Row] | None:
        """Return the rows, or None if two have the same key."""
        return rows if len(rows) == 1 or len({row[self._key] for row in rows}) == len(rows) else None

    def _layout(self, header: str) -> tuple[list[int], int] | None:
        """Return the positions of the contract's columns and the number of columns; None for an unusual header."""
        if header not in self._headers:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers = {}
            names = _fields(header) or []
            is_plain = header.isprintable() and len(set(names)) == len(names) and set(names) >= set(self._names)
            is_plain = is_plain and not any(name.startswith(REJECT_PREFIX) for name in names)
            places = [names.index(name) for name in self._names] if is_plain else []
            self._headers[header] = (places, len(names)) if is_plain else None
        return self._headers.get(header)


def _fields(line: str) -> list[str] | None:
    """Return the fields of a line of CSV; None if quotes are anywhere but around whole fields."""
    if '"' not in line:
        return None if "\r" in line else line.split(",")
    if "\r" in line or not _LINE.fullmatch(line):
        return None
    return next(csv.reader([line]))


def _text_reader(arrow_type: pa.DataType) -> Callable[[str], Any]:
    """Return a function from a field of CSV to its value, or to ``...`` if the field needs the general path."""
    if arrow_type == STRING:
        return lambda text: None if text in _MISSING else text
    if not is_numeric(arrow_type):
        return lambda text: None if text in _MISSING else ...
    pattern, convert = (_INTEGER, int) if pa.types.is_integer(arrow_type) else (_NUMBER, float)

    def read(text: str) -> Any:
        if pattern.fullmatch(text):
            return convert(text)
        return None if text in _MISSING else ...

    return read


def _value_reader(arrow_type: pa.DataType) -> Callable[[Any], Any]:
    """Return a function from a JSON value to a value of the type, or to ``...`` if it needs the general path."""
    if arrow_type == STRING:
        return lambda value: (None if value in _MISSING else value) if type(value) is str else _none(value)
    if not is_numeric(arrow_type):
        return _none
    if pa.types.is_integer(arrow_type):
        return lambda value: value if type(value) is int and value in _INT64 else _none(value)

    def read(value: Any) -> Any:
        if type(value) is float:
            return value if math.isfinite(value) else ...
        return float(value) if type(value) is int and abs(value) < 2**53 else _none(value)

    return read


def _none(value: Any) -> Any:
    return None if value is None else ...
